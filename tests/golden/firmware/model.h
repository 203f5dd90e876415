/* Written by edgecompile; changes are lost with the next build. */
#ifndef MODEL_H_
#define MODEL_H_

#include <stdint.h>

#include "model_config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Call once. Returns 0, or a negative number: -1 schema, -2 ops, -3 arena, -4 shapes. */
int model_setup(void);

/* Runs the model once. Returns 0, or -5. Sizes are MODEL_INPUTi_SIZE and MODEL_OUTPUTi_SIZE. */
int model_run(const int8_t *input0, int8_t *output0);

/* Replays golden.h. Returns how many rows differ (0: all as measured), or what the functions above
   returned. In a source of its own: without it the golden vectors take no flash. */
int model_selftest(void);

#ifdef __cplusplus
}
#endif

#endif  /* MODEL_H_ */
