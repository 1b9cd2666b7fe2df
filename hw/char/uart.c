/*
 * 16550A. See uart.h.
 *
 * In: eight ports; bytes, hang-ups and breaks from the stream. Out: irq level, bytes to the stream.
 * Invariants: irq is high exactly while an enabled condition holds and OUT2 is set; with FIFOs off, the queues are one byte long.
 * Bytes that the stream refuses stay in the transmit queue and are retried when it is writable. Locks: machine lock. Manual: PC16550D.
 */
#include "hw/char/uart.h"
#include "core/alloc.h"
#include <stdio.h>

enum { IER_RX = 1, IER_THRE = 2, IER_LINE = 4, IER_MODEM = 8, FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_PE = 4, LSR_FE = 8, LSR_BI = 0x10, LSR_THRE = 0x20, LSR_TEMT = 0x40, LSR_ERRORS = 0x1e };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_THRE = 2, IIR_RX = 4, IIR_LINE = 6, IIR_TIMEOUT = 12, IIR_FIFO = 0xc0 };
#define RETRY_NS 10000000

static bool fifo_on(const struct uart *u) { return u->fcr & FCR_ENABLE; }
static unsigned fifo_size(const struct uart *u) { return fifo_on(u) ? UART_FIFO : 1; }

static unsigned rx_trigger(const struct uart *u)
{
    static const uint8_t level[4] = { 1, 4, 8, 14 };
    return fifo_on(u) ? level[u->fcr >> 6] : 1;
}

/* The interrupt with the highest priority, as IIR shows it. */
static uint8_t cause(const struct uart *u)
{
    if ((u->ier & IER_LINE) && (u->lsr & LSR_ERRORS))
        return IIR_LINE;
    if ((u->ier & IER_RX) && u->rx_len >= rx_trigger(u))
        return IIR_RX;
    if ((u->ier & IER_RX) && u->timeout_pending)
        return IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_pending)
        return IIR_THRE;
    if ((u->ier & IER_MODEM) && (u->msr & 15))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_irq(struct uart *u)
{
    irq_set(u->irq, cause(u) != IIR_NONE && (u->mcr & MCR_OUT2) && !(u->mcr & MCR_LOOP));
}

/* Four characters at the programmed speed. */
static int64_t timeout_ns(const struct uart *u)
{
    unsigned bits = 2 + 5 + (u->lcr & 3) + (u->lcr >> 2 & 1) + (u->lcr >> 3 & 1);
    return (int64_t)(4ull * bits * MAX(u->divisor, 1u) * NS_PER_SEC / 115200);
}

static void timeout_arm(struct uart *u)
{
    u->timeout_at = u->rx_len && fifo_on(u) ? clock_ns(u->clock) + timeout_ns(u) : CLOCK_NEVER;
    if (u->timeout_at == CLOCK_NEVER)
        timer_del(&u->timeout);
    else
        timer_set(&u->timeout, u->timeout_at);
}

static void timeout_fire(void *opaque)
{
    struct uart *u = opaque;
    u->timeout_at = CLOCK_NEVER;
    u->timeout_pending = u->rx_len != 0;
    update_irq(u);
}

static void rx_push(struct uart *u, uint8_t byte)
{
    if (u->rx_len == fifo_size(u)) {
        u->lsr |= LSR_OE;
        if (fifo_on(u))
            return;                               /* a full FIFO keeps its bytes; without one the new byte wins */
        u->rx_len = 0;
    }
    u->rx[(u->rx_head + u->rx_len++) % UART_FIFO] = byte;
    u->lsr |= LSR_DR;
    u->timeout_pending = 0;
    timeout_arm(u);
}

/* A line held low for longer than a character: a zero byte, marked. */
static void rx_break(struct uart *u)
{
    rx_push(u, 0);
    u->lsr |= LSR_BI;
}

static bool looped_break(const struct uart *u) { return (u->mcr & MCR_LOOP) && (u->lcr & LCR_BREAK); }

static size_t can_receive(void *opaque)
{
    struct uart *u = opaque;
    return u->mcr & MCR_LOOP ? 0 : fifo_size(u) - MIN(u->rx_len, fifo_size(u));
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    struct uart *u = opaque;
    while (len--)
        rx_push(u, *buf++);
    update_irq(u);
}

static void chr_event(void *opaque, int event)
{
    struct uart *u = opaque;
    if (event != CHR_BREAK || (u->mcr & MCR_LOOP))        /* in loopback the line in is cut off */
        return;
    rx_break(u);
    update_irq(u);
}

static void accept_input(struct uart *u)
{
    if (u->chr && can_receive(u))
        chr_accept_input(u->chr);
}

/* Send what is queued; THRE (and its interrupt) come when the queue is empty. */
static void tx_drain(struct uart *u)
{
    while (u->tx_len) {
        uint8_t byte = u->tx[u->tx_head];
        if (looped_break(u))
            ;                                     /* the break hides what is sent under it */
        else if (u->mcr & MCR_LOOP)
            rx_push(u, byte);
        else if (u->chr && chr_write(u->chr, &byte, 1) < 1) {
            timer_set(&u->retry, clock_ns(u->clock) + RETRY_NS);
            return;
        }
        u->tx_head = (u->tx_head + 1) % UART_FIFO;
        u->tx_len--;
    }
    if (!(u->lsr & LSR_THRE))
        u->thre_pending = 1;
    u->lsr |= LSR_THRE | LSR_TEMT;
}

static void tx_retry(void *opaque)
{
    struct uart *u = opaque;
    tx_drain(u);
    update_irq(u);
}

static void tx_write(struct uart *u, uint8_t byte)
{
    u->thr = byte;
    u->thre_pending = 0;
    u->lsr &= (uint8_t)~(LSR_THRE | LSR_TEMT);
    if (u->tx_len < fifo_size(u))                 /* beyond that the guest did not look at THRE: lost, as on the wire */
        u->tx[(u->tx_head + u->tx_len++) % UART_FIFO] = byte;
    tx_drain(u);
}

static uint8_t rx_read(struct uart *u)
{
    if (u->rx_len) {
        u->rbr = u->rx[u->rx_head];
        u->rx_head = (u->rx_head + 1) % UART_FIFO;
        u->rx_len--;
    }
    if (!u->rx_len)
        u->lsr &= (uint8_t)~LSR_DR;
    u->timeout_pending = 0;
    timeout_arm(u);
    accept_input(u);
    return u->rbr;
}

/* Modem lines: in loopback the outputs come back; otherwise a ready peer. */
static void modem_update(struct uart *u, bool deltas)
{
    uint8_t now = MSR_CTS | MSR_DSR | MSR_DCD, changed;
    if (u->mcr & MCR_LOOP)
        now = (uint8_t)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) | (u->mcr & MCR_OUT1 ? MSR_RI : 0) |
                        (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
    changed = (now ^ u->msr) & 0xf0;
    if (now & MSR_RI)
        changed &= (uint8_t)~MSR_RI;              /* the RI delta is a trailing edge */
    u->msr = (uint8_t)(now | (u->msr & 15) | (deltas ? changed >> 4 : 0));
}

static void fcr_write(struct uart *u, uint8_t val)
{
    bool toggled = (val ^ u->fcr) & FCR_ENABLE;
    if (toggled || (val & FCR_CLEAR_RX)) {
        u->rx_len = u->rx_head = u->timeout_pending = 0;
        u->lsr &= (uint8_t)~(LSR_DR | LSR_BI);
    }
    if (toggled || (val & FCR_CLEAR_TX)) {
        u->tx_len = u->tx_head = 0;
        tx_drain(u);
    }
    u->fcr = val & FCR_ENABLE ? val & 0xc9 : 0;
    timeout_arm(u);
    accept_input(u);
}

static void ier_write(struct uart *u, uint8_t val)
{
    if ((val & IER_THRE) && !(u->ier & IER_THRE) && (u->lsr & LSR_THRE))
        u->thre_pending = 1;                      /* enabling with an empty transmitter interrupts at once */
    u->ier = val & 15;
}

static uint8_t iir_read(struct uart *u)
{
    uint8_t c = cause(u);
    if (c == IIR_THRE)
        u->thre_pending = 0;
    return c | (fifo_on(u) ? IIR_FIFO : 0);
}

static uint8_t reg_read(struct uart *u, unsigned reg)
{
    uint8_t v;
    switch (reg) {
    case 0: return u->lcr & LCR_DLAB ? (uint8_t)u->divisor : rx_read(u);
    case 1: return u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
    case 2: return iir_read(u);
    case 3: return u->lcr;
    case 4: return u->mcr;
    case 5: v = u->lsr; u->lsr &= (uint8_t)~LSR_ERRORS; return v;
    case 6: v = u->msr; u->msr &= 0xf0; return v;
    default: return u->scr;
    }
}

static void reg_write(struct uart *u, unsigned reg, uint8_t val)
{
    bool low;
    switch (reg) {
    case 0:
        if (u->lcr & LCR_DLAB)
            u->divisor = (uint16_t)((u->divisor & 0xff00) | val);
        else
            tx_write(u, val);
        break;
    case 1:
        if (u->lcr & LCR_DLAB)
            u->divisor = (uint16_t)((u->divisor & 0xff) | val << 8);
        else
            ier_write(u, val);
        break;
    case 2: fcr_write(u, val); break;
    case 3:
    case 4:
        low = looped_break(u);
        if (reg == 3)
            u->lcr = val;
        else
            u->mcr = val & 0x1f;
        modem_update(u, true);
        if (looped_break(u) && !low)
            rx_break(u);
        accept_input(u);
        break;
    case 7: u->scr = val; break;
    }
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned size)
{
    uint8_t v = reg_read(opaque, (unsigned)offset);
    update_irq(opaque);
    return v;
}

static void uart_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    reg_write(opaque, (unsigned)offset, (uint8_t)val);
    update_irq(opaque);
}

static void uart_reset(void *dev)
{
    struct uart *u = dev;
    u->rx_head = u->rx_len = u->tx_head = u->tx_len = u->rbr = u->thr = u->ier = u->lcr = u->mcr = u->msr = u->scr = u->fcr = 0;
    u->thre_pending = u->timeout_pending = 0;
    u->divisor = 12;
    u->lsr = LSR_THRE | LSR_TEMT;
    modem_update(u, false);
    timer_del(&u->retry);
    timeout_arm(u);
    update_irq(u);
}

static void uart_post_load(void *dev)
{
    struct uart *u = dev;
    u->rx_head %= UART_FIFO;
    u->tx_head %= UART_FIFO;
    u->rx_len = MIN(u->rx_len, UART_FIFO);
    u->tx_len = MIN(u->tx_len, UART_FIFO);
    if (u->timeout_at == CLOCK_NEVER)             /* also when it has fired already: not armed anew */
        timer_del(&u->timeout);
    else
        timer_set(&u->timeout, u->timeout_at);
    if (u->tx_len)
        timer_set(&u->retry, clock_ns(u->clock));
}

static const struct state_row uart_rows[] = {
    S_SKIP(struct uart, dev), S_SKIP(struct uart, io), S_SKIP(struct uart, irq), S_SKIP(struct uart, chr), S_SKIP(struct uart, clock),
    S_SKIP(struct uart, timeout), S_SKIP(struct uart, retry), S_SKIP(struct uart, name), S_SAVE(struct uart, rx), S_SAVE(struct uart, tx),
    S_SAVE(struct uart, rx_head), S_SAVE(struct uart, rx_len), S_SAVE(struct uart, tx_head), S_SAVE(struct uart, tx_len),
    S_SAVE(struct uart, rbr), S_SAVE(struct uart, thr), S_SAVE(struct uart, ier), S_SAVE(struct uart, lcr), S_SAVE(struct uart, mcr),
    S_SAVE(struct uart, lsr), S_SAVE(struct uart, msr), S_SAVE(struct uart, scr), S_SAVE(struct uart, fcr), S_SAVE(struct uart, thre_pending),
    S_SAVE(struct uart, timeout_pending), S_SAVE(struct uart, divisor), S_SAVE(struct uart, timeout_at), S_END
};

struct uart *uart_new(struct vm *vm, struct aspace *io, uint16_t port, struct irq irq, struct chr *chr)
{
    struct uart *u = xzalloc(sizeof(*u));
    u->irq = irq;
    u->chr = chr;
    u->clock = vm->clock;
    snprintf(u->name, sizeof(u->name), "uart%x", port);
    timer_init(&u->timeout, vm->clock, timeout_fire, u);
    timer_init(&u->retry, vm->clock, tx_retry, u);
    u->io = (struct region){ .kind = REGION_IO, .name = u->name, .read = uart_read, .write = uart_write, .opaque = u, .max_size = 1 };
    as_add(io, &u->io, port, 8);
    device_add(vm, &u->dev, u->name, uart_rows, sizeof(*u), uart_reset);
    u->dev.post_load = uart_post_load;
    uart_reset(u);
    if (chr) {
        chr_set_receiver(chr, can_receive, receive, chr_event, u);
        chr_set_writable(chr, tx_retry, u);
    }
    return u;
}
