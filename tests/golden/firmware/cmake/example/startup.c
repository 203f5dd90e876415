/* Written by edgecompile; changes are lost with the next build. */
/* Startup of QEMU's boards mps2-an385, -an386 and -an500; prints and exits by semihosting. */
#include <stdint.h>
#include <stdlib.h>

int main(void);
void initialise_monitor_handles(void);
void __libc_init_array(void);
void _init(void);
void _fini(void);
void reset(void);
extern uint32_t stack_top[], data_load[], data_start[], data_end[], bss_start[], bss_end[];

void _init(void) {}
void _fini(void) {}

void reset(void)
{
    const uint32_t *from = data_load;
    uint32_t *to;
#ifdef __ARM_FP
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: the floating-point unit is off at reset */
    __asm__ volatile("dsb\n isb");
#endif
    for (to = data_start; to < data_end; ++to) { *to = *from++; }
    for (to = bss_start; to < bss_end; ++to) { *to = 0; }
    initialise_monitor_handles();
    __libc_init_array();
    exit(main());
}

static void fault(void) { _Exit(99); }

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))stack_top, reset, fault, fault, fault, fault, fault,
};
