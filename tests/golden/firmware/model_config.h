/* Written by edgecompile; changes are lost with the next build. */
#ifndef MODEL_CONFIG_H_
#define MODEL_CONFIG_H_

#include <stddef.h>
#include <stdint.h>

/* Bytes for the tensor arena with cmsis-dsp kernels. -DMODEL_ARENA_BYTES=N sets
   another size, MODEL_ARENA_ATTRIBUTE its place; with MODEL_ARENA_EXTERN the application gives the memory. */
#ifndef MODEL_ARENA_BYTES
#if !defined(EDGECOMPILE_TFLM_WITHOUT_STATIC_MEMORY)
#define MODEL_ARENA_BYTES 4096u
#else  /* larger structures */
#define MODEL_ARENA_BYTES 4160u
#endif
#endif

#define MODEL_INPUTS 1u
#define MODEL_OUTPUTS 1u

/* image * /: int8 [1, 4, 4, 3] */
typedef int8_t model_input0_t;
#define MODEL_INPUT0_SIZE 48u
#define MODEL_INPUT0_DIM0 1
#define MODEL_INPUT0_DIM1 4
#define MODEL_INPUT0_DIM2 4
#define MODEL_INPUT0_DIM3 3
#define MODEL_INPUT0_SCALE 3.92e-02f
#define MODEL_INPUT0_ZERO_POINT (-11)

/* scores: int8 [1, 5] */
typedef int8_t model_output0_t;
#define MODEL_OUTPUT0_SIZE 5u
#define MODEL_OUTPUT0_DIM0 1
#define MODEL_OUTPUT0_DIM1 5
#define MODEL_OUTPUT0_SCALE 3.90625e-03f
#define MODEL_OUTPUT0_ZERO_POINT (-128)

#define MODEL_LABELS 5u
static inline const char *model_label(size_t i)
{
    static const char *const names[] = {
    "cat",
    "a \042dog\042\134",
    "K\303\274",
    "\077",
    "e"
    };
    return i < MODEL_LABELS ? names[i] : "";
}

#endif  /* MODEL_CONFIG_H_ */
