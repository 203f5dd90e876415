/* Written by edgecompile; changes are lost with the next build. */
#include <string.h>

#include "golden.h"
#include "model.h"

int model_selftest(void) {
  static int8_t output0[MODEL_OUTPUT0_SIZE];
  int wrong = 0;
  const int ready = model_setup();
  if (ready != 0) return ready;
  for (unsigned row = 0; row < GOLDEN_ROWS; ++row) {
    const int ran = model_run(golden_input0[row], output0);
    if (ran != 0) return ran;
    if (memcmp(output0, golden_output0[row], sizeof(output0)) != 0) ++wrong;
  }
  return wrong;
}
