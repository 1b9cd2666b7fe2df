/*
 * Firmware configuration device. See fw_cfg.h.
 *
 * In: selector, data and DMA ports. Out: item bytes, to ports or to guest memory.
 * Invariants: reading past an item gives zeros; a DMA request is copied before use and its length only bounds a copy of at most the item.
 * Locks: machine lock. Manual: the fw_cfg interface as documented for QEMU guests.
 */
#include "hw/misc/fw_cfg.h"
#include "core/alloc.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16, DIR_ENTRY = 64 };

static struct fw_cfg_item *by_key(struct fw_cfg *f, uint16_t key)
{
    for (int i = 0; i < f->n_items; i++) {
        if (f->items[i].key == key)
            return &f->items[i];
    }
    return NULL;
}

static struct fw_cfg_item *by_name(struct fw_cfg *f, const char *name)
{
    for (int i = 0; i < f->n_items; i++) {
        if (f->items[i].key >= FW_CFG_FILE_FIRST && f->items[i].name[0] && !strcmp(f->items[i].name, name))
            return &f->items[i];
    }
    return NULL;
}

static struct fw_cfg_item *item_new(struct fw_cfg *f, uint16_t key)
{
    if (f->n_items == (int)ARRAY_SIZE(f->items))
        return NULL;
    struct fw_cfg_item *it = &f->items[f->n_items++];
    *it = (struct fw_cfg_item){ .key = key };
    return it;
}

static void item_set(struct fw_cfg_item *it, const void *data, uint32_t len)
{
    uint8_t *copy = xmalloc(len ? len : 1);
    if (len)
        memcpy(copy, data, len);
    free(it->data);
    it->data = copy;
    it->len = len;
}

int fw_cfg_add_bytes(struct fw_cfg *f, uint16_t key, const void *data, uint32_t len)
{
    struct fw_cfg_item *it = by_key(f, key);
    if (!it)
        it = item_new(f, key);
    if (!it)
        return -ENOSPC;
    item_set(it, data, len);
    return 0;
}

/* The directory: a big-endian count, then entries of size, key, reserved, name. */
static void build_directory(struct fw_cfg *f)
{
    uint32_t len = 4 + (uint32_t)f->n_files * DIR_ENTRY, be = htobe32((uint32_t)f->n_files), at = 4;
    uint8_t *dir = xzalloc(len);
    memcpy(dir, &be, 4);
    for (int i = 0; i < f->n_items; i++) {
        const struct fw_cfg_item *it = &f->items[i];
        if (!it->name[0])
            continue;
        uint32_t size = htobe32(it->len);
        uint16_t key = htobe16(it->key);
        memcpy(dir + at, &size, 4);
        memcpy(dir + at + 4, &key, 2);
        memcpy(dir + at + 8, it->name, sizeof(it->name));
        at += DIR_ENTRY;
    }
    fw_cfg_add_bytes(f, FW_CFG_FILE_DIR, dir, len);
    free(dir);
}

int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, uint32_t len)
{
    struct fw_cfg_item *it;
    if (!*name || strlen(name) >= sizeof(it->name))
        return -EINVAL;
    it = by_name(f, name);
    if (!it) {
        it = f->n_files < FW_CFG_MAX ? item_new(f, (uint16_t)(FW_CFG_FILE_FIRST + f->n_files)) : NULL;
        if (!it)
            return -ENOSPC;
        strcpy(it->name, name);
        f->n_files++;
    }
    item_set(it, data, len);
    build_directory(f);
    return 0;
}

int fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t val) { return fw_cfg_add_bytes(f, key, &val, sizeof(val)); }
int fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t val) { return fw_cfg_add_bytes(f, key, &val, sizeof(val)); }
int fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t val) { return fw_cfg_add_bytes(f, key, &val, sizeof(val)); }

static void fw_select(struct fw_cfg *f, uint16_t key)
{
    f->key = key;
    f->offset = 0;
}

/* Bytes of the selected item from the present offset on. */
static uint32_t available(struct fw_cfg *f, const uint8_t **data)
{
    struct fw_cfg_item *it = by_key(f, f->key);
    if (!it || f->offset >= it->len)
        return 0;
    *data = it->data + f->offset;
    return it->len - f->offset;
}

/* Zeros after the end are written a page at a time; the guest's length cannot exceed what is RAM. */
static int dma_copy_out(struct fw_cfg *f, uint64_t addr, uint32_t len)
{
    static const uint8_t zeros[PAGE_SIZE];
    const uint8_t *data = zeros;
    uint32_t have = MIN(available(f, &data), len);
    int r = have ? as_dma_write(f->mem, addr, data, have) : 0;
    f->offset += have;
    for (uint32_t done = have; !r && done < len;) {
        uint32_t n = MIN(len - done, (uint32_t)sizeof(zeros));
        r = as_dma_write(f->mem, addr + done, zeros, n);
        done += n;
    }
    return r;
}

static void dma_run(struct fw_cfg *f, uint64_t at)
{
    struct { uint32_t control, length; uint64_t address; } req;
    uint32_t control, result = 0;
    if (as_dma_read(f->mem, at, &req, sizeof(req)))
        return;
    control = be32toh(req.control);
    if (control & DMA_SELECT)
        fw_select(f, (uint16_t)(control >> 16));
    if (control & DMA_READ)
        result = dma_copy_out(f, be64toh(req.address), be32toh(req.length)) ? DMA_ERROR : 0;
    else if (control & DMA_WRITE)
        result = DMA_ERROR;
    else if (control & DMA_SKIP)
        f->offset += MIN(be32toh(req.length), UINT32_MAX - f->offset);
    result = htobe32(result);
    as_dma_write(f->mem, at, &result, sizeof(result));
}

static uint64_t io_read(void *opaque, uint64_t offset, unsigned size)
{
    struct fw_cfg *f = opaque;
    const uint8_t *data;
    uint8_t v = 0;
    if (offset == 0)
        return f->key & size_mask(size);
    if (available(f, &data)) {
        v = *data;
        f->offset++;
    }
    return v;
}

static void io_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    if (offset == 0 && size == 2)
        fw_select(opaque, (uint16_t)val);
}

/* Reads give the signature "QEMU CFG"; the low half of the address starts the transfer. */
static uint64_t dma_read(void *opaque, uint64_t offset, unsigned size)
{
    static const char signature[8] = { 'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G' };
    uint64_t v = 0;
    memcpy(&v, signature + offset, size);
    return v;
}

static void dma_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct fw_cfg *f = opaque;
    if (size == 8) {
        f->dma_addr = be64toh(val);
    } else if (size == 4 && offset == 0) {
        f->dma_addr = (uint64_t)be32toh((uint32_t)val) << 32;
        return;
    } else if (size == 4) {
        f->dma_addr |= be32toh((uint32_t)val);
    } else {
        return;
    }
    dma_run(f, f->dma_addr);
    f->dma_addr = 0;
}

static void fw_cfg_reset(void *dev)
{
    struct fw_cfg *f = dev;
    fw_select(f, 0);
    f->dma_addr = 0;
}

static const struct state_row fw_cfg_rows[] = {
    S_SKIP(struct fw_cfg, dev), S_SKIP(struct fw_cfg, io), S_SKIP(struct fw_cfg, dma_io), S_SKIP(struct fw_cfg, mem), S_SKIP(struct fw_cfg, items),
    S_SKIP(struct fw_cfg, n_items), S_SKIP(struct fw_cfg, n_files), S_SAVE(struct fw_cfg, dma_addr), S_SAVE(struct fw_cfg, offset),
    S_SAVE(struct fw_cfg, key), S_END
};

struct fw_cfg *fw_cfg_new(struct vm *vm, struct aspace *io, struct aspace *mem)
{
    struct fw_cfg *f = xzalloc(sizeof(*f));
    f->mem = mem;
    f->io = (struct region){ .kind = REGION_IO, .name = "fw_cfg", .read = io_read, .write = io_write, .opaque = f, .max_size = 2 };
    f->dma_io = (struct region){ .kind = REGION_IO, .name = "fw_cfg-dma", .read = dma_read, .write = dma_write, .opaque = f, .max_size = 8 };
    as_add(io, &f->io, 0x510, 2);
    as_add(io, &f->dma_io, 0x514, 8);
    fw_cfg_add_bytes(f, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_u32(f, FW_CFG_ID, 3);              /* traditional interface and DMA */
    build_directory(f);
    device_add(vm, &f->dev, "fw_cfg", fw_cfg_rows, sizeof(*f), fw_cfg_reset);
    fw_cfg_reset(f);
    return f;
}
