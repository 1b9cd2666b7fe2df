/*
 * 8042 keyboard and PS/2 mouse controller (ports 0x60, 0x64) with an AT keyboard and a three-button wheel mouse.
 *
 * In: port accesses; keys as set 1 scancodes, mouse movement. Out: irq1, irq12, A20, machine reset (command 0xfe, pulse of bit 0).
 * The output buffer holds one byte; keyboard and mouse each queue behind it. Locks: machine lock.
 * Manual: IBM PS/2 Hardware Interface Technical Reference, keyboard and auxiliary device controller.
 */
#ifndef HW_INPUT_I8042_H
#define HW_INPUT_I8042_H
#include "core/vm.h"

#define I8042_QUEUE 256

struct i8042_queue { uint8_t data[I8042_QUEUE]; uint16_t head, len; };

struct i8042 {
    struct device dev;
    struct region data_io, cmd_io;
    struct vm *vm;
    struct irq irq1, irq12, a20;
    struct i8042_queue ctrl, kbd, aux;    /* controller replies outrank the devices */
    uint8_t ram[32];                      /* ram[0] is the command byte */
    uint8_t status, out, outport, cmd;    /* cmd: controller command waiting for its data byte, 0 none */
    uint8_t kbd_cmd, kbd_scanning, kbd_set, kbd_leds, kbd_rate, kbd_last;
    uint8_t aux_cmd, aux_enabled, aux_remote, aux_wrap, aux_scaling, aux_rate, aux_res, aux_id, aux_buttons, aux_sent_buttons, aux_last;
    uint8_t aux_rates[3];                 /* the last three sample rates: the knock that turns the wheel on */
    int32_t aux_dx, aux_dy, aux_dz;       /* movement not yet reported */
};

struct i8042 *i8042_new(struct vm *, struct aspace *io, struct irq irq1, struct irq irq12, struct irq a20);
/* A key in set 1: code 0x01..0x7f; EXTENDED for the 0xe0 prefix; down or up. Pause and PrintScreen are made from I8042_KEY_PAUSE / _PRTSC. */
#define I8042_KEY_PRTSC 0x37              /* with extended */
#define I8042_KEY_PAUSE 0x46              /* with extended */
void i8042_key(struct i8042 *, uint8_t code, bool extended, bool down);
/* Relative movement (dy positive is up), wheel, buttons (bit 0 left, 1 right, 2 middle). */
void i8042_mouse(struct i8042 *, int dx, int dy, int dz, unsigned buttons);
#endif
