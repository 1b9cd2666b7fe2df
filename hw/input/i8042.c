/*
 * 8042 with keyboard and mouse. See i8042.h.
 *
 * In: ports 0x60 and 0x64, keys in set 1, mouse movement. Out: irq1, irq12, A20, reset.
 * Devices speak their native protocol (keyboard set 2) into their queues; a byte moves to the output buffer when that is empty, through the
 * 2-to-1 translation when the command byte asks for it. Invariant: a line is high exactly while its byte is in the output buffer and enabled.
 * Locks: machine lock. Manual: IBM PS/2 Hardware Interface Technical Reference.
 */
#include "hw/input/i8042.h"
#include "core/alloc.h"
#include <string.h>

enum { ST_OBF = 1, ST_SYS = 4, ST_CMD = 8, ST_UNLOCKED = 0x10, ST_AUX = 0x20, CB_IRQ1 = 1, CB_IRQ12 = 2, CB_SYS = 4, CB_KBD_OFF = 0x10,
       CB_AUX_OFF = 0x20, CB_XLATE = 0x40, OUT_RESET = 1, OUT_A20 = 2 };
enum { ACK = 0xfa, RESEND = 0xfe, BAT_OK = 0xaa };

/* Set 1 codes of the keys by set 2 code (the 8042's translation); 0x80 and above are passed through. */
static const uint8_t set2_to_set1[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

static bool push(struct i8042_queue *q, uint8_t v)
{
    if (q->len == I8042_QUEUE)
        return false;
    q->data[(q->head + q->len++) % I8042_QUEUE] = v;
    return true;
}

static uint8_t pop(struct i8042_queue *q)
{
    uint8_t v = q->data[q->head % I8042_QUEUE];
    q->head = (uint16_t)((q->head + 1) % I8042_QUEUE);
    q->len--;
    return v;
}

static void update_lines(struct i8042 *k)
{
    bool full = k->status & ST_OBF, aux = k->status & ST_AUX;
    irq_set(k->irq1, full && !aux && (k->ram[0] & CB_IRQ1));
    irq_set(k->irq12, full && aux && (k->ram[0] & CB_IRQ12));
}

/* 0xf0 marks a release: the next translated byte gets bit 7. kbd_last remembers it. */
static bool translate(struct i8042 *k, uint8_t *v)
{
    if (!(k->ram[0] & CB_XLATE))
        return true;
    if (*v == 0xf0) {
        k->kbd_last = 0x80;
        return false;
    }
    uint8_t release = k->kbd_last;
    if (*v == 0x83)
        *v = 0x41 | release;                      /* F7, the one key above 0x7f */
    else if (*v == 0x84)
        *v = 0x54 | release;                      /* SysRq */
    else if (*v < 0x80)
        *v = set2_to_set1[*v] | release;
    k->kbd_last = 0;
    return true;
}

static void fill_output(struct i8042 *k)
{
    while (!(k->status & ST_OBF)) {
        uint8_t v;
        bool aux = false;
        if (k->ctrl.len) {
            v = pop(&k->ctrl);
        } else if (k->kbd.len && !(k->ram[0] & CB_KBD_OFF)) {
            v = pop(&k->kbd);
            if (!translate(k, &v))
                continue;
        } else if (k->aux.len && !(k->ram[0] & CB_AUX_OFF)) {
            v = pop(&k->aux);
            aux = true;
        } else {
            break;
        }
        k->out = v;
        k->status = (uint8_t)((k->status & ~ST_AUX) | ST_OBF | (aux ? ST_AUX : 0));
    }
    update_lines(k);
}

/* --- keyboard --- */

static void kbd_defaults(struct i8042 *k)
{
    k->kbd_set = 2;
    k->kbd_rate = 0x2b;
    k->kbd_cmd = 0;
    k->kbd_leds = 0;
}

static void kbd_parameter(struct i8042 *k, uint8_t cmd, uint8_t val)
{
    k->kbd_cmd = 0;
    push(&k->kbd, ACK);
    if (cmd == 0xed)
        k->kbd_leds = val & 7;
    else if (cmd == 0xf3)
        k->kbd_rate = val & 0x7f;
    else if (val == 0)
        push(&k->kbd, k->kbd_set);
    else if (val <= 3)
        k->kbd_set = val;
}

static void kbd_write(struct i8042 *k, uint8_t val)
{
    if (k->kbd_cmd && val < 0x80) {
        kbd_parameter(k, k->kbd_cmd, val);
        return;
    }
    k->kbd_cmd = 0;
    switch (val) {
    case 0xed: case 0xf0: case 0xf3: k->kbd_cmd = val; push(&k->kbd, ACK); break;
    case 0xee: push(&k->kbd, 0xee); break;
    case 0xf2:
        push(&k->kbd, ACK);
        push(&k->kbd, 0xab);
        push(&k->kbd, 0x83);
        break;
    case 0xf4: k->kbd_scanning = 1; push(&k->kbd, ACK); break;
    case 0xf5: kbd_defaults(k); k->kbd_scanning = 0; push(&k->kbd, ACK); break;
    case 0xf6: kbd_defaults(k); k->kbd_scanning = 1; push(&k->kbd, ACK); break;
    case 0xff:
        kbd_defaults(k);
        k->kbd_scanning = 1;
        k->kbd.len = 0;
        push(&k->kbd, ACK);
        push(&k->kbd, BAT_OK);
        break;
    case 0x00: push(&k->kbd, RESEND); break;
    default: push(&k->kbd, val >= 0xf7 && val <= 0xfd ? ACK : RESEND);
    }
}

static uint8_t set1_to_set2(uint8_t code)
{
    if (code == 0x41)
        return 0x83;
    for (unsigned i = 1; i < 128; i++) {
        if (set2_to_set1[i] == code)
            return (uint8_t)i;
    }
    return 0;
}

static void kbd_send(struct i8042 *k, const uint8_t *bytes, unsigned n)
{
    if (k->kbd.len + n > I8042_QUEUE - 16)        /* whole keys only, and replies must still fit */
        return;
    while (n--)
        push(&k->kbd, *bytes++);
}

void i8042_key(struct i8042 *k, uint8_t code, bool extended, bool down)
{
    static const uint8_t pause_set2[] = { 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77 };
    static const uint8_t pause_set1[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
    uint8_t buf[4];
    unsigned n = 0;
    if (!k->kbd_scanning)
        return;
    if (extended && code == I8042_KEY_PAUSE) {
        if (down && k->kbd_set == 1)
            kbd_send(k, pause_set1, sizeof(pause_set1));
        else if (down)
            kbd_send(k, pause_set2, sizeof(pause_set2));
        fill_output(k);
        return;
    }
    if (extended)
        buf[n++] = 0xe0;
    if (k->kbd_set == 1) {
        buf[n++] = (code & 0x7f) | (down ? 0 : 0x80);
    } else {
        if (!down)
            buf[n++] = 0xf0;
        buf[n++] = set1_to_set2(code & 0x7f);
    }
    kbd_send(k, buf, n);
    fill_output(k);
}

/* --- mouse --- */

static void aux_defaults(struct i8042 *k)
{
    k->aux_enabled = k->aux_remote = k->aux_wrap = k->aux_scaling = k->aux_cmd = 0;
    k->aux_rate = 100;
    k->aux_res = 2;
    k->aux_dx = k->aux_dy = k->aux_dz = 0;
}

static int take(int32_t *v, int lo, int hi)
{
    int n = *v < lo ? lo : *v > hi ? hi : *v;
    *v -= n;
    return n;
}

static void aux_packet(struct i8042 *k)
{
    int dx = take(&k->aux_dx, -255, 255), dy = take(&k->aux_dy, -255, 255);
    push(&k->aux, (uint8_t)(8 | (k->aux_buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0)));
    push(&k->aux, (uint8_t)dx);
    push(&k->aux, (uint8_t)dy);
    if (k->aux_id == 3)
        push(&k->aux, (uint8_t)take(&k->aux_dz, -8, 7));
    else
        k->aux_dz = 0;
    k->aux_sent_buttons = k->aux_buttons;
}

static void aux_stream(struct i8042 *k)
{
    while (k->aux_enabled && !k->aux_remote && k->aux.len < 32 &&
           (k->aux_dx || k->aux_dy || k->aux_dz || k->aux_buttons != k->aux_sent_buttons))
        aux_packet(k);
}

void i8042_mouse(struct i8042 *k, int dx, int dy, int dz, unsigned buttons)
{
    if (!k->aux_enabled && !k->aux_remote)
        return;
    k->aux_dx = MAX(-4096, MIN(4096, k->aux_dx + MAX(-4096, MIN(4096, dx))));
    k->aux_dy = MAX(-4096, MIN(4096, k->aux_dy + MAX(-4096, MIN(4096, dy))));
    k->aux_dz = MAX(-64, MIN(64, k->aux_dz + MAX(-64, MIN(64, dz))));
    k->aux_buttons = buttons & 7;
    aux_stream(k);
    fill_output(k);
}

static void aux_parameter(struct i8042 *k, uint8_t cmd, uint8_t val)
{
    k->aux_cmd = 0;
    push(&k->aux, ACK);
    if (cmd == 0xe8) {
        k->aux_res = val & 3;
        return;
    }
    k->aux_rate = val;
    memmove(k->aux_rates, k->aux_rates + 1, 2);
    k->aux_rates[2] = val;
    if (k->aux_rates[0] == 200 && k->aux_rates[1] == 100 && val == 80)
        k->aux_id = 3;
}

static void aux_status(struct i8042 *k)
{
    push(&k->aux, ACK);
    push(&k->aux, (uint8_t)(k->aux_remote << 6 | k->aux_enabled << 5 | k->aux_scaling << 4 | (k->aux_buttons & 1) << 2 |
                            (k->aux_buttons & 4) >> 1 | (k->aux_buttons & 2) >> 1));
    push(&k->aux, k->aux_res);
    push(&k->aux, k->aux_rate);
}

static void aux_reset(struct i8042 *k)
{
    aux_defaults(k);
    k->aux_id = 0;
    k->aux.len = 0;
    push(&k->aux, ACK);
    push(&k->aux, BAT_OK);
    push(&k->aux, 0);
}

static void aux_write(struct i8042 *k, uint8_t val)
{
    if (k->aux_cmd) {
        aux_parameter(k, k->aux_cmd, val);
        return;
    }
    if (k->aux_wrap && val != 0xec && val != 0xff) {
        push(&k->aux, val);
        return;
    }
    switch (val) {
    case 0xe6: k->aux_scaling = 0; push(&k->aux, ACK); break;
    case 0xe7: k->aux_scaling = 1; push(&k->aux, ACK); break;
    case 0xe8: case 0xf3: k->aux_cmd = val; push(&k->aux, ACK); break;
    case 0xe9: aux_status(k); break;
    case 0xea: k->aux_remote = 0; push(&k->aux, ACK); break;
    case 0xeb: push(&k->aux, ACK); aux_packet(k); break;
    case 0xec: k->aux_wrap = 0; push(&k->aux, ACK); break;
    case 0xee: k->aux_wrap = 1; push(&k->aux, ACK); break;
    case 0xf0: k->aux_remote = 1; push(&k->aux, ACK); break;
    case 0xf2: push(&k->aux, ACK); push(&k->aux, k->aux_id); break;
    case 0xf4: k->aux_enabled = 1; push(&k->aux, ACK); break;
    case 0xf5: k->aux_enabled = 0; push(&k->aux, ACK); break;
    case 0xf6: aux_defaults(k); push(&k->aux, ACK); break;
    case 0xff: aux_reset(k); break;
    default: push(&k->aux, RESEND);
    }
}

/* --- controller --- */

static void outport_write(struct i8042 *k, uint8_t val)
{
    k->outport = val | OUT_RESET;
    irq_set(k->a20, (val & OUT_A20) != 0);
    if (!(val & OUT_RESET))
        vm_request(k->vm, VM_RESET, 0);
}

static void set_command_byte(struct i8042 *k, uint8_t val)
{
    k->ram[0] = val;
    k->status = (uint8_t)((k->status & ~ST_SYS) | (val & CB_SYS ? ST_SYS : 0));
}

static void command(struct i8042 *k, uint8_t val)
{
    k->cmd = 0;
    if (val >= 0xf0) {                            /* pulse the output bits that are 0; only bit 0 is wired */
        if (!(val & 1))
            vm_request(k->vm, VM_RESET, 0);
        return;
    }
    if (val >= 0x20 && val < 0x40) {
        push(&k->ctrl, k->ram[val & 0x1f]);
        return;
    }
    switch (val) {
    case 0xa7: k->ram[0] |= CB_AUX_OFF; break;
    case 0xa8: k->ram[0] &= (uint8_t)~CB_AUX_OFF; break;
    case 0xa9: push(&k->ctrl, 0); break;
    case 0xaa: push(&k->ctrl, 0x55); set_command_byte(k, k->ram[0] | CB_SYS); break;
    case 0xab: push(&k->ctrl, 0); break;
    case 0xad: k->ram[0] |= CB_KBD_OFF; break;
    case 0xae: k->ram[0] &= (uint8_t)~CB_KBD_OFF; break;
    case 0xc0: push(&k->ctrl, 0x80); break;
    case 0xd0: push(&k->ctrl, k->outport); break;
    case 0xdd: outport_write(k, k->outport & (uint8_t)~OUT_A20); break;
    case 0xdf: outport_write(k, k->outport | OUT_A20); break;
    case 0xd1: case 0xd2: case 0xd3: case 0xd4: k->cmd = val; break;
    default:
        if (val >= 0x60 && val < 0x80)
            k->cmd = val;
    }
}

/* Data for the command given before; without one, for the keyboard, whose clock it also enables. */
static void data(struct i8042 *k, uint8_t val)
{
    uint8_t cmd = k->cmd;
    k->cmd = 0;
    if (cmd == 0x60)
        set_command_byte(k, val);
    else if (cmd > 0x60 && cmd < 0x80)
        k->ram[cmd & 0x1f] = val;
    else if (cmd == 0xd1)
        outport_write(k, val);
    else if (cmd == 0xd2)
        push(&k->ctrl, val);
    else if (cmd == 0xd3)
        push(&k->aux, val);
    else if (cmd == 0xd4)
        aux_write(k, val);
    else {
        k->ram[0] &= (uint8_t)~CB_KBD_OFF;
        kbd_write(k, val);
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8042 *k = opaque;
    uint8_t v = k->out;
    if (k->status & ST_OBF) {
        k->status &= (uint8_t)~(ST_OBF | ST_AUX);
        update_lines(k);                          /* the line drops before the next byte raises it: controllers see an edge */
        aux_stream(k);
        fill_output(k);
    }
    return v;
}

static void data_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct i8042 *k = opaque;
    k->status &= (uint8_t)~ST_CMD;
    data(k, (uint8_t)val);
    fill_output(k);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct i8042 *)opaque)->status;
}

static void command_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct i8042 *k = opaque;
    k->status |= ST_CMD;
    command(k, (uint8_t)val);
    fill_output(k);
}

static void i8042_reset(void *dev)
{
    struct i8042 *k = dev;
    k->ctrl.head = k->kbd.head = k->aux.head = k->ctrl.len = k->kbd.len = k->aux.len = 0;
    memset(k->ram, 0, sizeof(k->ram));
    k->ram[0] = CB_XLATE | CB_SYS | CB_IRQ1 | CB_IRQ12;
    k->status = ST_UNLOCKED | ST_SYS | ST_CMD;
    k->out = k->cmd = k->kbd_last = k->aux_last = 0;
    k->outport = 0xcf;
    kbd_defaults(k);
    k->kbd_scanning = 1;
    aux_defaults(k);
    k->aux_id = k->aux_buttons = k->aux_sent_buttons = 0;
    memset(k->aux_rates, 0, sizeof(k->aux_rates));
    update_lines(k);
}

/* Saved queues come from a file: bound them. */
static void i8042_post_load(void *dev)
{
    struct i8042 *k = dev;
    struct i8042_queue *q[] = { &k->ctrl, &k->kbd, &k->aux };
    for (unsigned i = 0; i < ARRAY_SIZE(q); i++) {
        q[i]->head %= I8042_QUEUE;
        q[i]->len = MIN(q[i]->len, (uint16_t)I8042_QUEUE);
    }
    update_lines(k);
}

#define SAVE(f) S_SAVE(struct i8042, f)
static const struct state_row i8042_rows[] = {
    S_SKIP(struct i8042, dev), S_SKIP(struct i8042, data_io), S_SKIP(struct i8042, cmd_io), S_SKIP(struct i8042, vm), S_SKIP(struct i8042, irq1),
    S_SKIP(struct i8042, irq12), S_SKIP(struct i8042, a20), SAVE(ctrl), SAVE(kbd), SAVE(aux), SAVE(ram), SAVE(status), SAVE(out), SAVE(outport),
    SAVE(cmd), SAVE(kbd_cmd), SAVE(kbd_scanning), SAVE(kbd_set), SAVE(kbd_leds), SAVE(kbd_rate), SAVE(kbd_last), SAVE(aux_cmd),
    SAVE(aux_enabled), SAVE(aux_remote), SAVE(aux_wrap), SAVE(aux_scaling), SAVE(aux_rate), SAVE(aux_res), SAVE(aux_id), SAVE(aux_buttons),
    SAVE(aux_sent_buttons), SAVE(aux_last), SAVE(aux_rates), SAVE(aux_dx), SAVE(aux_dy), SAVE(aux_dz), S_END
};

struct i8042 *i8042_new(struct vm *vm, struct aspace *io, struct irq irq1, struct irq irq12, struct irq a20)
{
    struct i8042 *k = xzalloc(sizeof(*k));
    k->vm = vm;
    k->irq1 = irq1;
    k->irq12 = irq12;
    k->a20 = a20;
    k->data_io = (struct region){ .kind = REGION_IO, .name = "i8042-data", .read = data_read, .write = data_write, .opaque = k, .max_size = 1 };
    k->cmd_io = (struct region){ .kind = REGION_IO, .name = "i8042-cmd", .read = status_read, .write = command_write, .opaque = k, .max_size = 1 };
    as_add(io, &k->data_io, 0x60, 1);
    as_add(io, &k->cmd_io, 0x64, 1);
    device_add(vm, &k->dev, "i8042", i8042_rows, sizeof(*k), i8042_reset);
    k->dev.post_load = i8042_post_load;
    i8042_reset(k);
    return k;
}
