/*
 * System management mode of several processors: each has an SMBASE of its own, which its handler moves; SMIs by interprocessor interrupts, to all of
 * them at a time; what one saves is in its own map. SDM vol. 3 ch. 34.11, 34.16.
 */
#include "smp.h"

static struct { u32 base[4], count[4]; u16 cs[4]; } *const box = (void *)0x600;
static u32 sent[MAX_CPUS];

/* The processor's number from its APIC; its SMBASE from the table; how often, and where from. */
__asm__(".pushsection .pieces,\"awx\",@progbits\n.code16\nhandler:\n"
        "xor %ax,%ax; mov %ax,%ds; mov $0xfee00020,%ebx; addr32 mov (%ebx),%eax; shr $24,%eax; mov %ax,%di; shl $1,%di; mov %di,%si; shl $1,%si\n"
        "mov 0x600(%si),%eax; mov %eax,%cs:0xff00; mov %cs,%ax; mov %ax,0x620(%di); lock incl 0x610(%si); rsm\nhandler_end:\n.code64\n.popsection\n");
extern u8 handler[], handler_end[];

static void smi_to(unsigned cpu)
{
    while (apic_read(0x300) & 0x1000)
        pause();
    apic_write(0x310, cpu << 24);
    apic_write(0x300, 0x4200);
}

static u32 base_of(unsigned cpu) { return 0x40000 + cpu * 0x10000; }
static void handler_at(u32 base) { memcpy((void *)(ul)(base + 0x8000), handler, (ul)(handler_end - handler)); }

static void wait_for(unsigned cpu, u32 count)
{
    for (unsigned i = 0; i < 5000 && *(volatile u32 *)&box->count[cpu] != count; i++)
        wait_us(1000);
    EQ(box->count[cpu], count);
}

/* One at a time: they share the first map. */
static void move_each(void)
{
    memset(box, 0, sizeof *box);
    handler_at(0x30000);
    for (unsigned i = 0; i < n_cpus; i++) {
        box->base[i] = base_of(i);
        handler_at(base_of(i));
    }
    for (unsigned i = n_cpus; i--;) {
        smi_to(i);
        wait_for(i, 1);
        EQ(box->cs[i], 0x3000);
    }
}

static void own_base(void)
{
    for (unsigned i = 0; i < n_cpus; i++) {
        *(volatile u32 *)(ul)(base_of(i) + 0xfefc) = 0;
        box->count[i] = 0;
    }
    for (unsigned i = 0; i < n_cpus; i++) {
        smi_to(i);
        wait_for(i, 1);
        EQ(box->cs[i], base_of(i) >> 4);
        for (unsigned k = 0; k < n_cpus; k++)
            EQ(*(volatile u32 *)(ul)(base_of(k) + 0xfefc), k <= i ? 0x20064 : 0);
        EQ(*(volatile u32 *)(ul)(base_of(i) + 0xff00), base_of(i));
    }
}

/* All at once, each to the next and to itself, with work that must not change under them. */
static void storm(unsigned cpu)
{
    barrier();
    for (unsigned i = 0; i < 200; i++) {
        u64 a = 0x1111111111111111 * (cpu + 1), sum = 0;
        u32 before = *(volatile u32 *)&box->count[cpu];
        smi_to((cpu + 1) % n_cpus);
        smi_to(cpu);
        for (unsigned k = 0; k < 50000 && *(volatile u32 *)&box->count[cpu] == before; k++)
            sum += a - 0x1111111111111111 * (cpu + 1);
        sent[cpu] += sum == 0 && *(volatile u32 *)&box->count[cpu] != before;
    }
    barrier();
}

static void all_at_once(void)
{
    everywhere(storm);
    for (unsigned i = 0; i < n_cpus; i++) {
        EQ(sent[i], 200);
        EQ(box->cs[i], base_of(i) >> 4);
        EQ(box->count[i] >= 200 && box->count[i] <= 401, 1);              /* two that wait are one */
    }
}

void main(void);
void main(void)
{
    RUN(start_up);
    RUN(move_each);
    RUN(own_base);
    RUN(all_at_once);
    finish();
}
