/* What the samples of all vCPUs (tcg/profile.h) say, put together for `info speed` and `info hot`. */
#ifndef VMM_PROFILE_H
#define VMM_PROFILE_H
#include "tcg/profile.h"
#include "vmm/options.h"

/* A slot's samples as time. */
struct profile_site { struct profile_slot s; uint64_t ns; };
struct profile_name { char name[64]; uint64_t ns; };

/* A block: in its code, and in what it called (slow paths, helpers). */
struct profile_block {
    struct tb_key key; gpa_t phys;
    uint64_t own_ns, called_ns;
    const struct profile_site *sites; unsigned n_sites;
};

struct profile {
    uint64_t ns[N_PLACES], samples, lost;
    uint64_t user_ns, system_ns;                       /* of blocks with what they called, by the guest's privilege: ring 3, others */
    struct profile_name *helpers, *hosts, *guests;     /* by time, longest first: helpers, our functions, the guest's */
    unsigned n_helpers, n_hosts, n_guests;
    struct profile_block *blocks; unsigned n_blocks;   /* likewise */
    struct profile_site *sites; size_t n_sites;        /* a block's are neighbours */
};

/* Where the guest's names are: -symbols, or an ELF -kernel. 0 or -EINVAL after saying why. */
int profile_symbols(const struct options *);
/* The function that guest address PC is in, or, without one, the address of the block. */
void profile_guest_name(uint64_t pc, uint64_t block, char *name, size_t len);
/* function+offset of PC, or its number. */
void profile_guest_place(uint64_t pc, char *name, size_t len);

/* NULL: there is no translator, or it was never asked. A vCPU may go on meanwhile. */
struct profile *profile_collect(void);
void profile_free(struct profile *);
#endif
