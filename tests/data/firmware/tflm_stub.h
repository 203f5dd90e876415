// What the firmware's sources use of TFLite Micro, declared for a check of their syntax. Signatures as in
// micro_mutable_op_resolver.h, micro_interpreter.h, c/common.h and schema_generated.h of tflite-micro.
#ifndef TFLM_STUB_H_
#define TFLM_STUB_H_
#ifdef __cplusplus
extern "C" {
#endif
void RegisterDebugLogCallback(void (*callback)(const char* text));
#ifdef __cplusplus
}
#include <stddef.h>
#include <stdint.h>

enum TfLiteType { kTfLiteNoType, kTfLiteFloat32, kTfLiteInt32, kTfLiteUInt8, kTfLiteInt8, kTfLiteInt64 };
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
#define TF_LITE_ENSURE_STATUS(a) do { const TfLiteStatus s = (a); if (s != kTfLiteOk) return s; } while (0)
#define TFLITE_SCHEMA_VERSION (3)
union TfLitePtrUnion { char* raw; };
struct TfLiteTensor { TfLitePtrUnion data; size_t bytes; TfLiteType type; };

namespace tflite {
struct TFLMRegistration {};
#define KERNEL(NAME) TFLMRegistration Register_##NAME(); TFLMRegistration Register_##NAME##_INT8();
KERNEL(ADD) KERNEL(AVERAGE_POOL_2D) KERNEL(CONV_2D) KERNEL(DEPTHWISE_CONV_2D) KERNEL(FULLY_CONNECTED) KERNEL(SOFTMAX)
TFLMRegistration Register_RESHAPE();
TFLMRegistration Register_VAR_HANDLE();

class MicroOpResolver {};
template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  TfLiteStatus AddAdd(const TFLMRegistration& registration = Register_ADD());
  TfLiteStatus AddAveragePool2D(const TFLMRegistration& registration = Register_AVERAGE_POOL_2D());
  TfLiteStatus AddConv2D(const TFLMRegistration& = Register_CONV_2D()) { return kTfLiteOk; }
  TfLiteStatus AddDepthwiseConv2D(const TFLMRegistration& registration = Register_DEPTHWISE_CONV_2D());
  TfLiteStatus AddEthosU();
  TfLiteStatus AddFullyConnected(const TFLMRegistration& registration = Register_FULLY_CONNECTED());
  TfLiteStatus AddReshape(const TFLMRegistration& = Register_RESHAPE()) { return kTfLiteOk; }
  TfLiteStatus AddSoftmax(const TFLMRegistration& registration = Register_SOFTMAX());
  TfLiteStatus AddVarHandle();
};

class Model { public: uint32_t version() const; };
const Model* GetModel(const void* buf);

class MicroAllocator { public: static MicroAllocator* Create(uint8_t* tensor_arena, size_t arena_size); };
class MicroResourceVariables {
 public:
  static MicroResourceVariables* Create(MicroAllocator* allocator, int num_variables);
};

class MicroInterpreter {
 public:
  MicroInterpreter(const Model* model, const MicroOpResolver& op_resolver, uint8_t* tensor_arena, size_t size);
  MicroInterpreter(const Model* model, const MicroOpResolver& op_resolver, MicroAllocator* allocator,
                   MicroResourceVariables* resource_variables);
  ~MicroInterpreter();
  TfLiteStatus AllocateTensors();
  TfLiteStatus Reset();
  TfLiteStatus Invoke();
  TfLiteTensor* input(size_t index);
  TfLiteTensor* output(size_t index);
};
}  // namespace tflite
#endif
#endif
