/* Written by edgecompile; changes are lost with the next build. */
#define EDGECOMPILE_TFLM_WITHOUT_STATIC_MEMORY /* as Arduino_TensorFlowLite */
#include <TensorFlowLite.h>

#include "model.h"

#include <string.h>

#include <new>

#include "model_data.h"
#include "model_ops.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

#if !defined(TF_LITE_STATIC_MEMORY) && !defined(EDGECOMPILE_TFLM_WITHOUT_STATIC_MEMORY)
#error "Compile this file with the defines of TFLite Micro: TF_LITE_STATIC_MEMORY changes its structures. If TFLite Micro was built without it, define EDGECOMPILE_TFLM_WITHOUT_STATIC_MEMORY."
#endif

#ifndef MODEL_ARENA_ATTRIBUTE
#define MODEL_ARENA_ATTRIBUTE
#endif

#ifdef MODEL_ARENA_EXTERN
extern "C" uint8_t* model_arena; // aligned to 16; set by the application before model_setup()
#endif

namespace {
#ifdef MODEL_ARENA_EXTERN
uint8_t*& arena = model_arena;
#else
alignas(16) MODEL_ARENA_ATTRIBUTE uint8_t arena[MODEL_ARENA_BYTES];
#endif
constexpr size_t arena_bytes = MODEL_ARENA_BYTES;
alignas(tflite::MicroInterpreter) uint8_t place[sizeof(tflite::MicroInterpreter)];
alignas(ModelOps) uint8_t ops_place[sizeof(ModelOps)];
const tflite::Model* model = nullptr;
ModelOps* ops = nullptr;
tflite::MicroInterpreter* interpreter = nullptr;
bool ready = false;

// Makes the interpreter, in the same memory each time.
int Start() {
  interpreter = ::new (place) tflite::MicroInterpreter(model, *ops, arena, arena_bytes);
  if (interpreter->AllocateTensors() != kTfLiteOk) return -3;
  if (interpreter->input(0)->type != kTfLiteInt8 ||
      interpreter->output(0)->type != kTfLiteInt8) return -6;
  if (interpreter->input(0)->bytes != sizeof(int8_t) * MODEL_INPUT0_SIZE ||
      interpreter->output(0)->bytes != sizeof(int8_t) * MODEL_OUTPUT0_SIZE) return -4;
  ready = true;
  return 0;
}
}  // namespace

int model_setup(void) {
  if (ready) return 0;
  model = tflite::GetModel(model_data);
  if (model->version() != TFLITE_SCHEMA_VERSION) return -1;
  ops = ::new (ops_place) ModelOps;
  if (RegisterModelOps(*ops) != kTfLiteOk) return -2;
  return Start();
}

int model_run(const int8_t *input0, int8_t *output0) {
  if (!ready) return -5;
  memcpy(interpreter->input(0)->data.raw, input0, sizeof(*input0) * MODEL_INPUT0_SIZE);
  if (interpreter->Invoke() != kTfLiteOk) return -5;
  memcpy(output0, interpreter->output(0)->data.raw, sizeof(*output0) * MODEL_OUTPUT0_SIZE);
  return 0;
}

int model_reset(void) {
  if (!ready) return -5;
  return interpreter->Reset() == kTfLiteOk ? 0 : -5;
}
