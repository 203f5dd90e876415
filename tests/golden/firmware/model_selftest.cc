/* Written by edgecompile; changes are lost with the next build. */
#include <string.h>

#include "model_golden.h"
#include "model.h"

int model_selftest(void) {
  static int8_t output0[MODEL_OUTPUT0_SIZE];
  int wrong = 0;
  int code = model_setup();
  if (code != 0) return code;
  for (unsigned row = 0; row < MODEL_GOLDEN_ROWS; ++row) {
    if (row == 0 || !MODEL_GOLDEN_STREAM) {
      code = model_reset();
      if (code != 0) return code;
    }
    code = model_run(model_golden_input0[row], output0);
    if (code != 0) return code;
    if (memcmp(output0, model_golden_output0[row], sizeof(output0)) != 0) ++wrong;
  }
  code = model_reset();
  return code != 0 ? code : wrong;
}
