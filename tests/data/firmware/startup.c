/* Enough of a Cortex-M program to run under QEMU with semihosting: vectors, reset, printing, exit. */
#include <stdint.h>

int main(void);
extern uint32_t stack_top[], data_load[], data_start[], data_end[], bss_start[], bss_end[];

static int semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void put(const char *text) { (void)semihost(0x04, text); }

void put_number(int32_t value)
{
    char digits[13];
    int at = 12;
    uint32_t rest = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
    digits[at] = 0;
    do { digits[--at] = (char)('0' + rest % 10u); rest /= 10u; } while (rest);
    if (value < 0) { digits[--at] = '-'; }
    put(&digits[at]);
    put("\n");
}

void leave(int code)
{
    const uint32_t why[2] = {0x20026u, (uint32_t)code}; /* ADP_Stopped_ApplicationExit */
    (void)semihost(0x20, why);                          /* SYS_EXIT_EXTENDED */
    for (;;) { }
}

void reset(void)
{
    uint32_t *to = data_start;
    const uint32_t *from = data_load;
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: the floating-point unit is off at reset */
    while (to < data_end) { *to++ = *from++; }
    for (to = bss_start; to < bss_end; ++to) { *to = 0; }
    leave(main());
}

static void fault(void) { leave(99); }

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))stack_top, reset, fault, fault, fault, fault, fault,
};
