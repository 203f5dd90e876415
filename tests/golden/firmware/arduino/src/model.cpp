/* Written by edgecompile; changes are lost with the next build. */
#include <TensorFlowLite.h>

#include "model.h"

#include <string.h>

#include "model_data.h"
#include "model_ops.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {
alignas(16) uint8_t arena[MODEL_ARENA_BYTES];
tflite::MicroInterpreter* interpreter = nullptr;
}  // namespace

int model_setup(void) {
  if (interpreter != nullptr) return 0;
  const tflite::Model* model = tflite::GetModel(model_data);
  if (model->version() != TFLITE_SCHEMA_VERSION) return -1;
  static ModelOps ops;
  if (RegisterModelOps(ops) != kTfLiteOk) return -2;
  static tflite::MicroInterpreter instance(model, ops, arena, sizeof(arena));
  if (instance.AllocateTensors() != kTfLiteOk) return -3;
  interpreter = &instance;
  if (interpreter->input(0)->bytes != sizeof(int8_t) * MODEL_INPUT0_SIZE) return -4;
  return 0;
}

int model_run(const int8_t *input0, int8_t *output0) {
  if (interpreter == nullptr) return -5;
  memcpy(interpreter->input(0)->data.raw, input0, sizeof(*input0) * MODEL_INPUT0_SIZE);
  if (interpreter->Invoke() != kTfLiteOk) return -5;
  memcpy(output0, interpreter->output(0)->data.raw, sizeof(*output0) * MODEL_OUTPUT0_SIZE);
  return 0;
}
