// TFLite Micro as tflm_stub.h declares it, for one model that the tests state: one input, one output, both int8.
// Each value of the output is the first of the input plus the state, and the first of the input is added to the state.
// A fresh interpreter has the state 0, or 5 where it was given resource variables (as CALL_ONCE would set them); Reset()
// gives 0 either way, as TFLite Micro's does. STUB_TYPE is the type that tensors have in the memory of "the library".
#include "tensorflow/lite/micro/micro_interpreter.h"

#ifndef STUB_TYPE
#define STUB_TYPE kTfLiteInt8
#endif

namespace {
char input_values[STUB_INPUTS], output_values[STUB_OUTPUTS];
TfLiteTensor input_tensor = {{input_values}, sizeof(input_values), STUB_TYPE};
TfLiteTensor output_tensor = {{output_values}, sizeof(output_values), STUB_TYPE};
signed char state;
}  // namespace

extern "C" void RegisterDebugLogCallback(void (*)(const char*)) {}

namespace tflite {
TFLMRegistration Register_CONV_2D() { return {}; }
TFLMRegistration Register_CONV_2D_INT8() { return {}; }
TFLMRegistration Register_RESHAPE() { return {}; }
uint32_t Model::version() const { return 3; }
const Model* GetModel(const void*) { static Model model; return &model; }
MicroAllocator* MicroAllocator::Create(uint8_t*, size_t) { static MicroAllocator made; return &made; }
MicroResourceVariables* MicroResourceVariables::Create(MicroAllocator*, int) {
  static MicroResourceVariables made;
  return &made;
}
MicroInterpreter::MicroInterpreter(const Model*, const MicroOpResolver&, uint8_t* arena, size_t size) {
  for (size_t i = 0; i < size; ++i) arena[i] = 1;  // all of it is there to be used
  state = 0;
}
MicroInterpreter::MicroInterpreter(const Model*, const MicroOpResolver&, MicroAllocator*, MicroResourceVariables*) {
  state = 5;
}
MicroInterpreter::~MicroInterpreter() {}
TfLiteStatus MicroInterpreter::AllocateTensors() { return kTfLiteOk; }
TfLiteStatus MicroInterpreter::Reset() { state = 0; return kTfLiteOk; }
TfLiteStatus MicroInterpreter::Invoke() {
  for (char& value : output_values) value = static_cast<char>(input_values[0] + state);
  state = static_cast<signed char>(state + input_values[0]);
  return kTfLiteOk;
}
TfLiteTensor* MicroInterpreter::input(size_t) { return &input_tensor; }
TfLiteTensor* MicroInterpreter::output(size_t) { return &output_tensor; }
}  // namespace tflite
