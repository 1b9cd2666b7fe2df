/*
 * Tracking a page when there are other vCPUs. [regs] but for mmu_settle_locked.
 *
 * A vCPU may be between the probe of an access and its store when another one sets the page's track byte, even for long, if the host's scheduler
 * wants it so. Such a store is noticed by nobody. It cannot be prevented without stopping everybody, so it is put up with and its
 * effect bounded: each event has a number (epoch), and is settled when every vCPU has since been at a point where it is not inside an
 * access (mmu_quiesce: the run loop; or it is outside of guest code). Until then
 *   - what is remembered of a table page is compared with a copy of the page whenever a processor would have to look again (INVLPG, a root
 *     load, a mode change) and at the end;
 *   - a block of a code page is compared with its bytes each time it is entered (tcg/fast.c), and nobody links to it.
 * Both are what the manual asks of software on several processors: SDM 3A 4.10.5 (propagation of changes), 8.1.3 (cross-modifying code).
 */
#include "softmmu/internal.h"

uint64_t epoch_new_locked(struct mmu_shared *m)
{
    if (m->n_vcpus < 2)
        return 0;
    uint64_t epoch = __atomic_add_fetch(&m->epoch, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < m->n_vcpus; i++)      /* soon, please */
        if (m->vcpu[i]->poll && !__atomic_load_n(&m->vcpu[i]->outside, __ATOMIC_RELAXED))
            __atomic_store_n(m->vcpu[i]->poll, 1, __ATOMIC_RELEASE);
    return epoch;
}

bool epoch_settled(const struct mmu_shared *m, uint64_t epoch)
{
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        const struct mmu *v = m->vcpu[i];
        if (!__atomic_load_n(&v->outside, __ATOMIC_SEQ_CST) && __atomic_load_n(&v->seen, __ATOMIC_SEQ_CST) < epoch)
            return false;
    }
    return true;
}

bool mmu_settled(const struct mmu *m, uint64_t epoch) { return epoch_settled(m->sh, epoch); }

/* The descriptors go because emitted code may have filled one from a TLB entry while that was being taken away. */
void mmu_quiesce(struct mmu *m)
{
    __atomic_store_n(&m->outside, false, __ATOMIC_SEQ_CST);
    uint64_t epoch = __atomic_load_n(&m->sh->epoch, __ATOMIC_SEQ_CST);
    if (likely(epoch == m->seen))
        return;
    regions_drop_own(m, 0);
    __atomic_store_n(&m->seen, epoch, __ATOMIC_SEQ_CST);
}

void mmu_outside(struct mmu *m) { __atomic_store_n(&m->outside, true, __ATOMIC_SEQ_CST); }

void mmu_set_poll(struct mmu *m, uint32_t *word) { m->poll = word; }
