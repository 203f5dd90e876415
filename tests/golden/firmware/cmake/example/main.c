/* Written by edgecompile; changes are lost with the next build. */
#include <stdio.h>

#include "model.h"
#include "model_io.h"

#ifdef __arm__ /* TFLite Micro's messages go where the application wants them */
#include "tensorflow/lite/micro/cortex_m_generic/debug_log_callback.h"
static void log_message(const char *text) { fputs(text, stdout); }
#endif

static model_input0_t input0[MODEL_INPUT0_SIZE];
static uint8_t sensor0[MODEL_INPUT0_SIZE]; /* values as the validation data has them */
static model_output0_t output0[MODEL_OUTPUT0_SIZE];

int main(void)
{
    int code;
#ifdef __arm__
    RegisterDebugLogCallback(log_message);
#endif
    code = model_selftest();
    printf("model_selftest: %d\n", code);
    if (code != 0) { return 1; }
    model_fill_input0_u8(sensor0, input0);
    code = model_run(input0, output0);
    printf("model_run: %d\n", code);
    if (code != 0) { return 1; }
    printf("largest of output 0: %u, %s\n", (unsigned)model_argmax_output0(output0), model_label(model_argmax_output0(output0)));
    return 0;
}
