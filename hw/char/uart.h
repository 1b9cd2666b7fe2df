/*
 * 16550A serial port.
 *
 * In: port accesses; bytes of a struct chr (may be NULL). Out: irq; bytes to the chr, which may refuse some: then THRE stays low until it
 * takes more. Characters take no line time: a byte written is sent at once. The character timeout interrupt follows after 4 characters
 * at the programmed speed. Locks: machine lock. Manual: PC16550D data sheet.
 */
#ifndef HW_CHAR_UART_H
#define HW_CHAR_UART_H
#include "core/vm.h"
#include "host/chr.h"

#define UART_FIFO 16

struct uart {
    struct device dev;
    struct region io;
    struct irq irq;
    struct chr *chr;
    struct clock *clock;
    struct timer timeout, retry;
    char name[16];
    uint8_t rx[UART_FIFO], tx[UART_FIFO];
    uint8_t rx_head, rx_len, tx_head, tx_len;
    uint8_t rbr, thr, ier, lcr, mcr, lsr, msr, scr, fcr;
    uint8_t thre_pending, timeout_pending;
    uint16_t divisor;
    int64_t timeout_at;                   /* CLOCK_NEVER when idle */
};

struct uart *uart_new(struct vm *, struct aspace *io, uint16_t port, struct irq irq, struct chr *chr);
#endif
