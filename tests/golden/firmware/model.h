/* Written by edgecompile; changes are lost with the next build. */
#ifndef MODEL_H_
#define MODEL_H_

#include <stdint.h>

#include "model_config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All return 0, or a negative number:
     -1  another version of the model's schema
     -2  an op could not be added
     -3  the arena is too small, or a kernel refuses its op
     -4  sizes of inputs or outputs are not those of model_config.h
     -5  not set up, or a run failed
     -6  model.cc and TFLite Micro were compiled with different defines */

/* Call once, before the others. */
int model_setup(void);

/* Runs the model once. Sizes are MODEL_INPUTi_SIZE and MODEL_OUTPUTi_SIZE. */
int model_run(const int8_t *input0, int8_t *output0);

/* Makes what the model keeps from run to run as it was after setup. Models without state need it never. */
int model_reset(void);

/* Replays model_golden.h and resets the model. Returns how many rows differ (0: all as measured), or what
   the functions above returned. In a source of its own: without it the golden vectors take no flash. */
int model_selftest(void);

#ifdef __cplusplus
}
#endif

#endif  /* MODEL_H_ */
