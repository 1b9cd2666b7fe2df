/*
 * An interrupt line as a value: a device raises and lowers it without knowing the controller.
 * A zeroed irq is "not connected" and may be set freely.
 */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

struct irq {
    void (*set)(void *opaque, int n, int level);   /* level 0 or 1; repeated calls with the same level are allowed */
    void *opaque;
    int n;
};

static inline void irq_set(struct irq i, int level)
{
    if (i.set)
        i.set(i.opaque, i.n, level);
}
static inline void irq_raise(struct irq i) { irq_set(i, 1); }
static inline void irq_lower(struct irq i) { irq_set(i, 0); }
static inline void irq_pulse(struct irq i) { irq_set(i, 1); irq_set(i, 0); }
#endif
