/*
 * The 8259A pair of a PC: master at 0x20, slave at 0xa0 on the master's IR2, edge/level registers at 0x4d0/0x4d1.
 *
 * In: 16 lines (pic_irq). Out: INTR (an irq), and the vector by pic_ack, which is the INTA cycle.
 * Invariant: INTR is high exactly while some unmasked request outranks what is in service.
 * Locks: machine lock. Manual: 8259A data sheet; PIIX3 ELCR.
 */
#ifndef HW_INTC_PIC_H
#define HW_INTC_PIC_H
#include "core/vm.h"

struct pic_chip {
    uint8_t irr, isr, imr, line;         /* line: last level seen on each input */
    uint8_t base, prio, elcr, elcr_default;   /* prio: the input with the highest priority */
    uint8_t icw1, icw4, init_step, read_isr, poll, smm, rotate_aeoi;
};

struct pic {
    struct device dev;
    struct region io[2], elcr_io;
    struct irq intr;
    struct pic_chip chip[2];
};

/* INTR goes to INTR (level). */
struct pic *pic_new(struct vm *, struct aspace *io, struct irq intr);
/* Input line N (0..15; 2 is the cascade and is ignored). */
struct irq pic_irq(struct pic *, int n);
/* INTA: acknowledge the highest request and return its vector; spurious IRQ7/15 vectors when nothing is left. Machine lock held. */
int pic_ack(struct pic *);
/* Level-triggered lines (bit n = line n), also after each reset: what a BIOS would have programmed, for direct kernel boot. */
void pic_set_elcr(struct pic *, uint16_t mask);
#endif
