/*
 * The guest CPU's architectural state, shared by every engine, the monitor and the debugger.
 *
 * Under tcg the six arithmetic flags live in the translator's flags value, and DF in df; `rflags` holds the other bits (bit 1 set).
 * x86_get_rflags / x86_set_rflags compose and split through flags_word, which the engine points at the canonical flags word
 * (tcg_env.flags; KVM: its own). Segment attributes are kept as the second dword of a descriptor (bits 8..23 used): type 8..11, S 12, DPL 13..14, P 15,
 * AVL 20, L 21, D/B 22, G 23. SDM vol. 3 ch. 2, 3.
 */
#ifndef X86_CPU_H
#define X86_CPU_H
#include "core/types.h"
#include "core/vcpu.h"

enum { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI, X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15 };
enum { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_LDTR, X86_TR, X86_SEGS };

#define X86_PHYS_BITS 46      /* physical address width told to the guest */

struct x86_seg { uint64_t base; uint32_t limit; uint32_t attr; uint16_t sel; uint16_t pad; uint32_t pad2; };

enum { /* vectors */
    X86_DE = 0, X86_DB = 1, X86_NMI = 2, X86_BP = 3, X86_OF = 4, X86_BR = 5, X86_UD = 6, X86_NM = 7, X86_DF = 8, X86_TS = 10, X86_NP = 11,
    X86_SSF = 12, X86_GP = 13, X86_PF = 14, X86_MF = 16, X86_AC = 17, X86_MC = 18, X86_XM = 19 };

#define RF_CF 0x1u
#define RF_PF 0x4u
#define RF_AF 0x10u
#define RF_ZF 0x40u
#define RF_SF 0x80u
#define RF_TF 0x100u
#define RF_IF 0x200u
#define RF_DF 0x400u
#define RF_OF 0x800u
#define RF_IOPL 0x3000u
#define RF_NT 0x4000u
#define RF_RF 0x10000u
#define RF_VM 0x20000u
#define RF_AC 0x40000u
#define RF_VIF 0x80000u
#define RF_VIP 0x100000u
#define RF_ID 0x200000u
#define RF_ARITH 0x8d5u

#define CR0_PE 1u
#define CR0_MP 2u
#define CR0_EM 4u
#define CR0_TS 8u
#define CR0_ET 16u
#define CR0_NE 32u
#define CR0_WP 0x10000u
#define CR0_AM 0x40000u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u
#define CR4_VME 1u
#define CR4_PVI 2u
#define CR4_TSD 4u
#define CR4_DE 8u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_MCE 0x40u
#define CR4_PGE 0x80u
#define CR4_PCE 0x100u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define CR4_UMIP 0x800u
#define CR4_LA57 0x1000u
#define CR4_FSGSBASE 0x10000u
#define CR4_PCIDE 0x20000u
#define CR4_OSXSAVE 0x40000u
#define CR4_SMEP 0x100000u
#define CR4_SMAP 0x200000u
#define CR4_PKE 0x400000u
#define DEBUGCTL_LBR 1u
#define DEBUGCTL_BTF 2u
#define EFER_SCE 1u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define EFER_NXE 0x800u
#define EFER_SVME 0x1000u
#define EFER_FFXSR 0x4000u

#define SEG_A 0x100u          /* accessed */
#define SEG_RW 0x200u         /* readable code / writable data */
#define SEG_EC 0x400u         /* expand-down data / conforming code */
#define SEG_CODE 0x800u
#define SEG_S 0x1000u
#define SEG_DPL(attr) (((attr) >> 13) & 3)
#define SEG_P 0x8000u
#define SEG_L 0x200000u
#define SEG_DB 0x400000u
#define SEG_G 0x800000u

#define X86_XSAVE_SIZE 2688   /* x87, SSE and header 576, AVX 256, AVX-512 1600; processors with MPX have a gap of 256 before that (x86/xstate.h) */

struct x86_dtr { uint64_t base; uint32_t limit; uint32_t pad; };

/* Secure virtual machine (x86/svm.h): the world that is not running, and what of the VMCB is kept at hand. Without EFER.SVME only gif matters. */
struct x86_svm {
    bool guest;                         /* between VMRUN and #VMEXIT */
    bool gif;                           /* global interrupt flag */
    bool np;                            /* the guest runs with nested paging */
    bool shadow;                        /* the guest's instruction under way is in an interrupt shadow */
    bool exit_pending;                  /* a #VMEXIT has been recorded; the run loop makes it */
    uint16_t ctx;                       /* number of the translation context in force (frontend-x86/svm_tlb.c) */
    uint32_t asid, intercept[6], int_ctl, int_vector;
    uint64_t vmcb, iopm, msrpm, ncr3, tsc_offset;
    uint64_t inject;                    /* EVENTINJ, until it is delivered */
    uint64_t inject_rip;
    uint64_t delivering;                /* the event whose delivery is under way: EXITINTINFO when that fails */
    uint64_t exit_code, exit_info1, exit_info2, next_rip;
    struct {
        struct x86_seg seg[4];          /* ES CS SS DS */
        struct x86_dtr gdt, idt;
        uint64_t efer, cr0, cr3, cr4, pat, rflags, rip, rsp, rax;
    } host;
    uint64_t vm_cr, hsave_pa;
};
#define X86_SVM_CONTEXTS 32
struct x86_svm_context { uint64_t ncr3, bits, stamp; uint32_t asid; uint16_t id; };     /* id 0: free */

/* The OUT that an SMI follows; size 0: none. */
struct x86_io_smi { uint64_t rip; uint16_t port; uint8_t size; };

/* Performance counters (x86/pmu.c). */
#define X86_PMU_COUNTERS 4u
#define X86_PMU_FIXED 3u
#define X86_PMU_WIDTH 48
struct timer;
struct x86_pmu {
    uint64_t sel[X86_PMU_COUNTERS], pmc[X86_PMU_COUNTERS + X86_PMU_FIXED], fixed_ctrl, ctrl, status;
    uint64_t since, insns_seen;         /* host TSC and insns at which pmc was right */
    uint64_t insns, open;               /* translated code counts here: complete instructions; 1: and the last one, if it is complete */
    uint8_t count;                      /* instructions are counted, bit 0 below CPL 3, bit 1 at CPL 3 */
    bool user;                          /* the processor has been at CPL 3 since */
    bool halted, filter, interrupt;     /* filter: a counter counts at one level only; interrupt: owed */
    struct timer *timer;                /* the overflow that comes first; made when first wanted */
};

struct x86_cpu {
    uint64_t regs[16];
    uint64_t rip;                       /* guest view (offset in CS) */
    int64_t df;                         /* +1 or -1 */
    uint64_t rflags;                    /* without RF_ARITH and RF_DF */
    uint32_t *flags_word;               /* canonical arithmetic flags: bits 8..15 as LAHF, bit 0 OF */
    struct x86_seg seg[X86_SEGS];
    uint8_t fpu[X86_XSAVE_SIZE] __attribute__((aligned(64)));   /* XSAVE standard format; where components lie: x86/xstate.h */
    uint64_t cr0, cr2, cr3, cr4, xcr0, efer;
    uint64_t pkru;                      /* XSAVE component 9, which the host's registers never hold */
    uint8_t pkru_id;                    /* stands for its value (frontend-x86/mmu_x86.c) */
    uint64_t pdpte[4];                  /* PAE paging: as read when CR3 was loaded (x86_load_pdptes), whatever became of memory since */
    uint32_t pauses;                    /* PAUSEs so far: when to let others run */
    bool pdpte_stale;                   /* a walk met memory that says something else */
    uint64_t dr[8];
    struct x86_dtr gdt, idt;
    uint8_t cpl;                        /* current privilege level */
    bool intr_shadow;                   /* STI / MOV SS: interrupts blocked for the next instruction */
    bool nmi_masked;
    bool a20_off;
    uint32_t smbase;
    bool smm;                           /* in system management mode */
    uint8_t smram;                      /* what the board says: bit 0 open to everybody, bit 1 shown in system management mode */
    struct x86_io_smi io_smi;
    /* fault being raised: recorded by x86_fault, delivered by the run loop */
    bool exc_pending;
    uint8_t exc_vector; bool exc_has_error; uint8_t exc_soft;   /* 1 INT3, INTO; 2 INT n: pushes the next rip */
    uint32_t exc_error; uint64_t exc_next_rip; uint64_t exc_cr2;
    uint8_t exc_delivering;             /* for #DF: vector whose delivery is under way, 0xff none */
    bool ss_shadow;                     /* MOV SS / POP SS: debug traps too are held off for the next instruction */
    bool exc_bad_va;                    /* the #GP(0) recorded is for a non-canonical address: #SS(0) when the access was one to the stack */
    bool exc_ext;                       /* EXT bit of error codes: an event not caused by software is being delivered */
    bool exc_rf;                        /* a #DB that is a fault with RF in its frame: general detect */
    bool rep_more;                      /* a repeated string instruction has stopped between two elements */
    bool x87_wait;                      /* a waiting instruction has met an error with CR0.NE clear */
    uint32_t x87_ignored;               /* it runs now although (IGNNE#): BIT(16) and the control word to be restored */
    bool wait_sipi;                     /* INIT has happened: only SIPI starts this processor */
    uint64_t tsc_offset;
    /* MSRs (x86/msr.def names each field) */
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux, sysenter_cs, sysenter_esp, sysenter_eip, pat, misc_enable, mcg_status, mcg_ctl, debugctl,
        mtrr_def, mtrr_fix[11], mtrr_phys[16], tsc_adjust, bios_sign, mce_banks[4 * 10], xss,
        spec_ctrl, pv_wall_clock, pv_system_time, pv_async_pf, pv_async_pf_int, pv_steal_time, pv_eoi, pv_poll;
    struct x86_pmu pmu;
    struct x86_svm svm;
    struct x86_svm_context svm_contexts[X86_SVM_CONTEXTS]; uint64_t svm_stamp; uint16_t svm_last_id;
    struct x86_cpuid *cpuid;            /* the CPU model's leaves (x86/cpuid.h) */
    struct vcpu *vcpu;
};

/* ---- composition (x86/state.c) ---- */
uint64_t x86_get_rflags(const struct x86_cpu *);
void x86_set_rflags(struct x86_cpu *, uint64_t v);                  /* all bits, no checks */
void x86_reset(struct x86_cpu *);                                    /* SDM vol. 3 table 9-1 (INIT values differ: x86_init) */
void x86_init(struct x86_cpu *);                                     /* as INIT: MSRs, FPU, XCR0, TSC and CR0.CD/NW are kept */
void x86_dump(const struct x86_cpu *, char *buf, size_t len);        /* registers in QEMU's layout, for -d int and errors */
static inline bool x86_long_mode(const struct x86_cpu *c) { return c->efer & EFER_LMA; }
static inline bool x86_code64(const struct x86_cpu *c) { return (c->efer & EFER_LMA) && (c->seg[X86_CS].attr & SEG_L); }
static inline bool x86_vm86(const struct x86_cpu *c) { return (c->rflags & RF_VM) != 0; }
/* Virtual-8086 mode with the virtual interrupt flag (SDM vol. 3 ch. 20.3). */
static inline bool x86_vme(const struct x86_cpu *c) { return x86_vm86(c) && (c->cr4 & CR4_VME) && (c->rflags & RF_IOPL) != RF_IOPL; }

/* SMRAM lies behind the VGA hole at A0000h..BFFFFh. Those who see it find it at an address that no page table can name. */
#define X86_SMRAM_ALIAS BIT(X86_PHYS_BITS)
static inline bool x86_sees_smram(const struct x86_cpu *c) { return ((c->smram & 1) || (c->smm && (c->smram & 2))) && !c->svm.guest; }
static inline gpa_t x86_smram_at(const struct x86_cpu *c, gpa_t gpa)
{
    return gpa - 0xa0000 < 0x20000 && x86_sees_smram(c) ? gpa | X86_SMRAM_ALIAS : gpa;
}

/* ---- page walk (x86/walk.c): every paging mode; SDM vol. 3 ch. 4 ---- */
struct x86_walk {
    gpa_t gpa; unsigned page_bits;          /* as struct mmu_walk */
    unsigned pkey;                          /* protection key of the leaf */
    bool w, u, x, g, d;                     /* combined over levels: writable bit, user bit, executable, global, dirty bit of the leaf */
    unsigned n; gpa_t entry[6]; uint8_t entry_bits[6]; unsigned entry_size;
    uint32_t fault;                         /* error code when the walk fails (P W U RSVD I PK) */
    /* Nested paging: entry[] are system-physical; where the nested page is smaller, the leaf is split (entry[0..] beside the guest's leaf). */
    bool nested, nested_w, nested_x;        /* nested_w: writable and dirty */
    bool npf, npf_table; gpa_t npf_gpa;     /* fault is the nested tables'; at a guest-physical address, of a table entry */
};
struct aspace;
/* access 0 read 1 write 2 fetch 3 none (rights are not asked about); user: the access is a user-mode one; ac: SMAP is suspended; set_ad: update
   A and D. 0 or -1 (out->fault). */
int x86_walk(struct x86_cpu *, struct aspace *mem, gva_t va, unsigned access, bool user, bool ac, bool set_ad, struct x86_walk *out);

/* Reads the four PDPTEs that CR3 points at, as MOV CR3 does under PAE paging. 0, or -1: one has reserved bits, nothing is changed. */
int x86_load_pdptes(struct x86_cpu *, struct aspace *mem, uint64_t cr3);

/* ---- MSRs (x86/msr.c from msr.def) ---- */
int x86_rdmsr(struct x86_cpu *, uint32_t msr, uint64_t *v);         /* 0, or -1: #GP */
int x86_wrmsr(struct x86_cpu *, uint32_t msr, uint64_t v);

/* The table itself, for engines and snapshots: rows in order of number. offset: of the uint64_t in struct x86_cpu, 0 when computed or constant. */
struct x86_msr { uint32_t num, offset; uint64_t mask; uint8_t kind; const char *name; };
extern const struct x86_msr x86_msrs[];
extern const unsigned x86_n_msrs;

/* ---- performance counters (x86/pmu.c); [regs]: general registers only ---- */
int x86_pmu_rdmsr(struct x86_cpu *, uint32_t msr, uint64_t *v);      /* 0, or -1: #GP */
int x86_pmu_wrmsr(struct x86_cpu *, uint32_t msr, uint64_t v);
int x86_rdpmc(struct x86_cpu *, uint32_t n, uint64_t *v);            /* [regs] 0, or -1: #GP */
void x86_pmu_mode(struct x86_cpu *);                                 /* [regs] privilege may have changed, and pmu.filter is set */
void x86_pmu_retire(struct x86_cpu *, bool user);                    /* an instruction of that level has ended outside translated code */
void x86_pmu_full(struct x86_cpu *);                                 /* [regs] insns is not negative any more */
void x86_pmu_halt(struct x86_cpu *, bool halt);                      /* the processor halts, or goes on */
void x86_pmu_reset(struct x86_cpu *);
void x86_pmu_event(struct x86_cpu *);                                /* VCPU_PMI is pending */

/* ---- time: guest TSC = host TSC - tsc_offset (x86/tsc.c; general registers only) ---- */
uint64_t x86_rdtsc(struct x86_cpu *);                                /* the processor's own, which its timers go by; any thread */
uint64_t x86_seen_tsc(struct x86_cpu *);                             /* as an instruction reads it: an SVM guest's has an offset */
uint64_t x86_host_tsc(void);
void x86_freeze_tsc(uint64_t v);                                     /* the host TSC as everybody reads it from now on; 0: it runs again */
void x86_write_tsc(struct x86_cpu *, uint64_t v);                    /* TSC_ADJUST follows */
uint64_t x86_tsc_hz(void);                                           /* measured once, at the first call of x86_cpuid_model or this */
void x86_set_tsc_hz(uint64_t hz);                                    /* before the first question: an engine knows it, nothing is measured */
uint64_t x86_tsc_epoch(void);                                        /* host TSC at which every vCPU's TSC was 0 */

/* Linear addresses have 48 bits, with 5-level paging 57. x86_canonical: what the paging in force asks of rip, stack and data. */
static inline bool x86_canonical_in(uint64_t va, unsigned bits) { return (uint64_t)((int64_t)(va << (64 - bits)) >> (64 - bits)) == va; }
static inline unsigned x86_va_bits(const struct x86_cpu *c) { return c->cr4 & CR4_LA57 ? 57 : 48; }
static inline bool x86_canonical(const struct x86_cpu *c, uint64_t va) { return x86_canonical_in(va, x86_va_bits(c)); }
#endif
