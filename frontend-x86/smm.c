/*
 * System management mode: SMI, RSM and the state save map.
 *
 * The map is the AMD64 one (revision 20064h) whatever the vendor: it is the one that firmware for virtual machines knows, and that for 64-bit
 * Intel processors is not published. SMRAM behind the VGA hole shows itself by x86_sees_smram: those address spaces have roots of their own
 * (mmu_x86.c). SMI is taken between two instructions; one that an OUT has caused comes right after it (x86_end_insn), so that the handler finds
 * that instruction in the map and may have it done again. RSM with a state that cannot be is a shutdown. APM vol. 2 ch. 10, SDM vol. 3 ch. 34.
 */
#include "core/vm.h"
#include "frontend-x86/deliver.h"
#include "frontend-x86/helper_sys.h"
#include "frontend-x86/insn.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include "frontend-x86/smm.h"
#include <string.h>

#define MAP_AT 0xfe00u                             /* from SMBASE; 512 bytes to the end of its 64 KiB */
#define REVISION 0x00020064u                       /* SMBASE relocation, I/O restart */
enum { M_SEGS = 0, M_GDT = 0x60, M_LDT = 0x70, M_IDT = 0x80, M_TR = 0x90, M_IO_RIP = 0xa0, M_IO_RCX = 0xa8, M_IO_RSI = 0xb0, M_IO_RDI = 0xb8, M_IO = 0xc0,
       M_IO_RESTART = 0xc8, M_AUTO_HALT = 0xc9, M_NMI_MASK = 0xca, M_SVM = 0xd8, M_REVISION = 0xfc, M_SMBASE = 0x100, M_RFLAGS = 0x170 };

#define F(at, field) { at, offsetof(struct x86_cpu, field) }
static const struct { uint16_t at, offset; } fields[] = {
    F(0xd0, efer), F(0x148, cr4), F(0x150, cr3), F(0x158, cr0), F(0x160, dr[7]), F(0x168, dr[6]), F(0x178, rip), F(0x180, regs[15]), F(0x188, regs[14]),
    F(0x190, regs[13]), F(0x198, regs[12]), F(0x1a0, regs[11]), F(0x1a8, regs[10]), F(0x1b0, regs[9]), F(0x1b8, regs[8]), F(0x1c0, regs[X86_RDI]),
    F(0x1c8, regs[X86_RSI]), F(0x1d0, regs[X86_RBP]), F(0x1d8, regs[X86_RSP]), F(0x1e0, regs[X86_RBX]), F(0x1e8, regs[X86_RDX]), F(0x1f0, regs[X86_RCX]),
    F(0x1f8, regs[X86_RAX]),
};
static const struct { uint8_t seg, at; } segs[X86_SEGS] = { { X86_ES, 0 }, { X86_CS, 0x10 }, { X86_SS, 0x20 }, { X86_DS, 0x30 }, { X86_FS, 0x40 },
                                                           { X86_GS, 0x50 }, { X86_LDTR, M_LDT }, { X86_TR, M_TR } };

static void put(uint8_t *m, unsigned at, uint64_t v, unsigned n) { memcpy(m + at, &v, n); }

static uint64_t get(const uint8_t *m, unsigned at, unsigned n)
{
    uint64_t v = 0;
    memcpy(&v, m + at, n);
    return v;
}

static uint64_t *field(struct x86_cpu *cpu, unsigned i) { return (uint64_t *)((uint8_t *)cpu + fields[i].offset); }

/* The map in memory, as the processor in this mode sees it. */
static void transfer(struct x86_cpu *cpu, uint8_t *m, bool write)
{
    struct aspace *mem = cpu->vcpu->vm->mem;
    for (unsigned i = 0; i < 512; i += 8) {
        gpa_t at = x86_smram_at(cpu, (uint32_t)(cpu->smbase + MAP_AT + i));
        if (write)
            as_write(mem, at, get(m, i, 8), 8);
        else
            put(m, i, as_read(mem, at, 8), 8);
    }
}

static void save_seg(uint8_t *m, const struct x86_seg *s)
{
    put(m, 0, s->sel, 2);
    put(m, 2, s->attr >> 8 & 0xf0ff, 2);
    put(m, 4, s->limit, 4);
    put(m, 8, s->base, 8);
}

static void load_seg(const uint8_t *m, struct x86_seg *s)
{
    s->sel = (uint16_t)get(m, 0, 2);
    s->attr = (uint32_t)(get(m, 2, 2) & 0xf0ff) << 8;
    s->limit = (uint32_t)get(m, 4, 4);
    s->base = get(m, 8, 8);
}

static void save(struct x86_cpu *cpu, uint8_t *m)
{
    const struct x86_io_smi *io = &cpu->io_smi;
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        put(m, fields[i].at, *field(cpu, i), 8);
    for (unsigned i = 0; i < X86_SEGS; i++)
        save_seg(m + segs[i].at, &cpu->seg[segs[i].seg]);
    put(m, M_GDT + 4, cpu->gdt.limit, 4);
    put(m, M_GDT + 8, cpu->gdt.base, 8);
    put(m, M_IDT + 4, cpu->idt.limit, 4);
    put(m, M_IDT + 8, cpu->idt.base, 8);
    put(m, M_RFLAGS, x86_get_rflags(cpu), 8);
    m[M_AUTO_HALT] = cpu->vcpu->halted;
    m[M_NMI_MASK] = cpu->nmi_masked;
    put(m, M_SVM, cpu->svm.guest, 8);
    put(m, M_REVISION, REVISION, 4);
    put(m, M_SMBASE, cpu->smbase, 4);
    if (!io->size)
        return;
    put(m, M_IO, (uint32_t)io->port << 16 | (uint32_t)io->size << 4 | 2, 4);
    put(m, M_IO_RIP, io->rip, 8);
    put(m, M_IO_RCX, cpu->regs[X86_RCX], 8);
    put(m, M_IO_RSI, cpu->regs[X86_RSI], 8);
    put(m, M_IO_RDI, cpu->regs[X86_RDI], 8);
}

static void look_anew(struct x86_cpu *cpu)
{
    if (cpu->a20_off)                              /* not so in this mode */
        mmu_flush_all(x86_mmu(cpu));
    x86_paging_changed(cpu);
    mmu_set_mode(x86_mmu(cpu));
}

/* Big real mode at SMBASE:8000h. */
static void initial_state(struct x86_cpu *cpu)
{
    for (unsigned i = X86_ES; i <= X86_GS; i++)
        cpu->seg[i] = (struct x86_seg){ .limit = 0xffffffff, .attr = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_G | (i == X86_CS ? SEG_CODE : 0) };
    cpu->seg[X86_CS].sel = (uint16_t)(cpu->smbase >> 4);
    cpu->seg[X86_CS].base = cpu->smbase;
    x86_set_rflags(cpu, 2);
    cpu->rip = 0x8000;
    cpu->cr0 &= ~(uint64_t)(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    cpu->cr4 = cpu->efer = 0;
    cpu->dr[7] = 0x400;
    cpu->cpl = 0;
    cpu->nmi_masked = true;
    cpu->intr_shadow = cpu->ss_shadow = cpu->svm.guest = false;
    cpu->io_smi.size = 0;
}

void x86_smi(struct x86_cpu *cpu)
{
    uint8_t m[512] = { 0 };
    vcpu_clear_pending(cpu->vcpu, VCPU_SMI);
    save(cpu, m);
    cpu->svm.guest = false;
    cpu->smm = true;
    transfer(cpu, m, true);
    cpu->vcpu->halted = false;
    initial_state(cpu);
    look_anew(cpu);
}

/* Can a processor be in this state? */
static bool possible(const struct x86_cpu *cpu, const uint8_t *m)
{
    uint64_t cr0 = get(m, 0x158, 8), cr4 = get(m, 0x148, 8), efer = get(m, 0xd0, 8);
    bool pg = cr0 & CR0_PG, lme = efer & EFER_LME;
    if (cr0 >> 32 || (pg && !(cr0 & CR0_PE)) || ((cr0 & CR0_NW) && !(cr0 & CR0_CD)) || (cr4 & ~x86_cr4_known(cpu->cpuid)))
        return false;
    if ((efer & ~(uint64_t)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME | EFER_FFXSR)) || !!(efer & EFER_LMA) != (pg && lme))
        return false;
    if ((efer & EFER_LMA) && !(cr4 & CR4_PAE))
        return false;
    return get(m, M_RFLAGS, 8) & 2;
}

static void restore(struct x86_cpu *cpu, const uint8_t *m)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        *field(cpu, i) = get(m, fields[i].at, 8);
    cpu->cr0 |= CR0_ET;
    cpu->dr[6] = (cpu->dr[6] & 0xe00f) | 0xffff0ff0;
    cpu->dr[7] = (cpu->dr[7] & 0xffff23ff) | 0x400;
    for (unsigned i = 0; i < X86_SEGS; i++)
        load_seg(m + segs[i].at, &cpu->seg[segs[i].seg]);
    cpu->gdt = (struct x86_dtr){ .limit = (uint32_t)get(m, M_GDT + 4, 4), .base = get(m, M_GDT + 8, 8) };
    cpu->idt = (struct x86_dtr){ .limit = (uint32_t)get(m, M_IDT + 4, 4), .base = get(m, M_IDT + 8, 8) };
    x86_set_rflags(cpu, get(m, M_RFLAGS, 8) & 0x3f7fd7);
    cpu->cpl = !(cpu->cr0 & CR0_PE) ? 0 : x86_vm86(cpu) ? 3 : SEG_DPL(cpu->seg[X86_SS].attr);
    cpu->smbase = (uint32_t)get(m, M_SMBASE, 4);
    cpu->nmi_masked = m[M_NMI_MASK] & 1;
    cpu->svm.guest = m[M_SVM] & 1;
    if (m[M_IO_RESTART] != 0xff)
        return;
    cpu->rip = get(m, M_IO_RIP, 8);
    cpu->regs[X86_RCX] = get(m, M_IO_RCX, 8);
    cpu->regs[X86_RSI] = get(m, M_IO_RSI, 8);
    cpu->regs[X86_RDI] = get(m, M_IO_RDI, 8);
}

uint64_t helper_rsm(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint8_t m[512];
    if (!cpu->smm)
        x86_raise(cpu, X86_UD);
    transfer(cpu, m, false);
    bool good = possible(cpu, m);
    if (good) {
        restore(cpu, m);
        cpu->smm = false;
        bool pae = (cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !(cpu->efer & EFER_LMA);
        good = !pae || svm_nested(cpu) || !x86_load_pdptes(cpu, cpu->vcpu->vm->mem, cpu->cr3);
    }
    if (!good) {
        x86_shutdown(cpu);
        return 0;
    }
    cpu->vcpu->halted = m[M_AUTO_HALT] & 1;
    look_anew(cpu);
    x86_after_transfer(cpu);
    return 0;
}

/* ---- instructions after which something outside wants to be seen at once ---- */
void x86_end_out(struct x86_cpu *cpu, unsigned port, unsigned size)
{
    uint32_t pending = __atomic_load_n(&cpu->vcpu->pending, __ATOMIC_ACQUIRE);
    bool smi = (pending & VCPU_SMI) && !cpu->smm;
    if ((!smi && !(pending & VCPU_WORK)) || (cpu->rflags & RF_TF) || (cpu->dr[7] & 0xff))       /* single steps end by themselves */
        return;
    cpu->io_smi = (struct x86_io_smi){ .port = (uint16_t)port, .size = smi ? (uint8_t)size : 0, .end = true };
    tcg_unwind(tcg_env_of(cpu), TCG_UNWIND_FAULT);
}

void x86_step_over(struct x86_cpu *cpu)
{
    struct x86_insn i;
    cpu->io_smi.end = false;
    cpu->io_smi.rip = cpu->rip;
    if (x86_decode_at(cpu, cpu->rip, &i) == X86_OK)
        cpu->rip = x86_code64(cpu) ? cpu->rip + i.len : (uint32_t)(cpu->rip + i.len);
}
