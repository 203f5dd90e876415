/* Written by edgecompile; changes are lost with the next build. */
#ifndef MODEL_OPS_H_
#define MODEL_OPS_H_

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

using ModelOps = tflite::MicroMutableOpResolver<2>;

inline TfLiteStatus RegisterModelOps(ModelOps& ops) {
  TF_LITE_ENSURE_STATUS(ops.AddConv2D(tflite::Register_CONV_2D_INT8()));
  TF_LITE_ENSURE_STATUS(ops.AddReshape());
  return kTfLiteOk;
}

#endif  /* MODEL_OPS_H_ */
