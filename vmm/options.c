/*
 * The command line (vmm/options.h): one table row an option, in QEMU's words.
 *
 * In: argv. Out: struct options, checked as a whole. Strings are kept as given or copied and live as long as the process.
 * Whatever is not known, or cannot work together, is one line on stderr that names the nearest valid words; nothing has been opened,
 * created or changed by then.
 */
#define _GNU_SOURCE
#include "vmm/options.h"
#include "vmm/smp.h"
#include "core/alloc.h"
#include "core/log.h"
#include "vmm/accel.h"
#include "vmm/cpu_models.h"
#include "vmm/lockstep.h"
#include "vmm/words.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB (1ull << 20)
#define GIB (1ull << 30)

struct option_row { const char *name, *arg, *help; int (*take)(struct options *, const char *opt, char *arg); };

static int take_memory(struct options *o, const char *opt, char *arg)
{
    char *end, *s = strncmp(arg, "size=", 5) ? arg : arg + 5;
    double v = strtod(s, &end);
    double unit = !*end || *end == 'M' || *end == 'm' ? MIB : *end == 'G' || *end == 'g' ? GIB : *end == 'K' || *end == 'k' ? 1024 : 0;

    if (end == s || unit == 0 || (*end && end[1]) || v < 0) {
        log_error("-m: '%s' is not a size (valid: a number with K, M or G after it; M is meant when none)", arg);
        return -EINVAL;
    }
    if (!(v * unit >= MIB && v * unit <= 64.0 * GIB)) {          /* also not a NaN */
        log_error("-m: '%s' is out of range (valid: 1M to 64G)", arg);
        return -EINVAL;
    }
    o->ram_size = ((uint64_t)(v * unit) + 4095) & PAGE_MASK;
    return 0;
}

static int take_kernel(struct options *o, const char *opt, char *arg) { o->kernel = arg; return 0; }
static int take_initrd(struct options *o, const char *opt, char *arg) { o->initrd = arg; return 0; }
static int take_append(struct options *o, const char *opt, char *arg) { o->append = arg; return 0; }
static int take_bios(struct options *o, const char *opt, char *arg) { o->bios = arg; return 0; }
static int take_symbols(struct options *o, const char *opt, char *arg) { o->symbols = arg; return 0; }
static int take_perfmap(struct options *o, const char *opt, char *arg) { o->perfmap = true; return 0; }
static int take_jitdump(struct options *o, const char *opt, char *arg) { o->jitdump = true; return 0; }
static int take_logfile(struct options *o, const char *opt, char *arg) { o->log_path = arg; return 0; }

/* ---- drives, networks, character devices ---- */

static int full(const char *opt)
{
    log_error("%s: given too often (at most %d)", opt, OPT_MAX);
    return -EINVAL;
}

static int take_drive(struct options *o, const char *opt, char *arg)
{
    static const char *const keys[] = { "file", "if", "format", "snapshot", "readonly", "id", "cache", "serial", "index", "media", "werror", "rerror", NULL };
    static const char *const ifs[] = { "virtio", "none", NULL }, *const formats[] = { "raw", NULL }, *const medias[] = { "disk", NULL };
    static const char *const caches[] = { "writeback", "writethrough", "unsafe", "none", NULL };
    struct drive_opt *d = &o->drives[o->n_drives];
    struct words w;

    if (o->n_drives == OPT_MAX)
        return full(opt);
    *d = (struct drive_opt){ .virtio = true };
    if (words_split_keys(&w, arg, opt))
        return -EINVAL;
    for (unsigned i = 0; i < w.n; i++) {
        const char *k = w.key[i], *v = w.val[i];
        int ret = 0;
        if (!strcmp(k, "file")) d->file = v;
        else if (!strcmp(k, "if")) { ret = words_check_value("-drive if", v, ifs); d->virtio = !strcmp(v, "virtio"); }
        else if (!strcmp(k, "format")) { ret = words_check_value("-drive format", v, formats); d->raw = true; }
        else if (!strcmp(k, "snapshot")) ret = words_bool("-drive snapshot", v, &d->snapshot);
        else if (!strcmp(k, "readonly")) ret = words_bool("-drive readonly", v, &d->readonly);
        else if (!strcmp(k, "id")) d->id = v;
        else if (!strcmp(k, "serial")) d->serial = v;
        else if (!strcmp(k, "cache")) { ret = words_check_value("-drive cache", v, caches); d->cache = v; }
        else if (!strcmp(k, "media")) ret = words_check_value("-drive media", v, medias);
        else if (strcmp(k, "index") && strcmp(k, "werror") && strcmp(k, "rerror")) ret = words_unknown(opt, k, keys);
        if (ret)
            return ret;
    }
    if (!d->file) {
        log_error("-drive: file= is missing");
        return -EINVAL;
    }
    if (!d->virtio && !d->id) {
        log_error("-drive: if=none needs id=, for -device virtio-blk-pci,drive=");
        return -EINVAL;
    }
    o->n_drives++;
    return 0;
}

static int take_hda(struct options *o, const char *opt, char *arg)
{
    if (o->n_drives == OPT_MAX)
        return full(opt);
    o->drives[o->n_drives++] = (struct drive_opt){ .file = arg, .virtio = true };
    return 0;
}

static int parse_mac(const char *what, const char *v, uint8_t mac[6])
{
    unsigned b[6];
    char extra;

    if (strlen(v) != 17 || sscanf(v, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &extra) != 6 || (b[0] & 1)) {
        log_error("%s: '%s' is not a unicast MAC address (valid: 52:54:00:12:34:56)", what, v);
        return -EINVAL;
    }
    for (int i = 0; i < 6; i++)
        mac[i] = (uint8_t)b[i];
    return 0;
}

static void default_mac(struct options *o, uint8_t mac[6])
{
    const uint8_t base[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, (uint8_t)(0x56 + o->n_netdevs) };
    memcpy(mac, base, 6);
}

/* The words that host/net.c knows. */
static const char *const net_keys[] = { "id", "net", "host", "dns", "dhcpstart", "hostname", "domainname", "restrict", "ipv6", "ipv4", "tftp", "bootfile",
    "hostfwd", "ifname", NULL };
static const char *const net_kinds[] = { "user", "tap", NULL };

static int check_net_key(const char *opt, const char *key) { return words_check_value(opt, key, net_keys); }

static int take_netdev(struct options *o, const char *opt, char *arg)
{
    struct netdev_opt *n = &o->netdevs[o->n_netdevs];
    const char *spec = xstrdup(arg);
    struct words w;

    if (o->n_netdevs == OPT_MAX)
        return full(opt);
    if (words_split(&w, arg, opt) || words_check_value(opt, w.head, net_kinds))
        return -EINVAL;
    *n = (struct netdev_opt){ .spec = spec, .id = words_get(&w, "id") };
    for (unsigned i = 0; i < w.n; i++) {
        if (check_net_key(opt, w.key[i]))
            return -EINVAL;
    }
    if (!n->id) {
        log_error("-netdev: id= is missing");
        return -EINVAL;
    }
    o->n_netdevs++;
    return 0;
}

/* A network and its card in one: the card's words are taken out, the rest is the network's. */
static int take_nic(struct options *o, const char *opt, char *arg)
{
    static const char *const models[] = { "virtio-net-pci", "virtio", NULL }, *const kinds[] = { "user", "tap", "none", NULL };
    struct device_opt *d = &o->devices[o->n_devices];
    struct netdev_opt *n = &o->netdevs[o->n_netdevs];
    struct words w;

    if (o->n_netdevs == OPT_MAX || o->n_devices == ARRAY_SIZE(o->devices))
        return full(opt);
    if (words_split(&w, arg, opt) || words_check_value(opt, w.head, kinds))
        return -EINVAL;
    if (!strcmp(w.head, "none"))
        return w.n ? words_unknown(opt, w.key[0], (const char *const[]){ NULL }) : 0;
    *d = (struct device_opt){ .kind = DEVICE_VIRTIO_NET, .slot = -1, .net = n };
    default_mac(o, d->mac);
    char *spec = xstrdup(w.head);
    for (unsigned i = 0; i < w.n; i++) {
        if (!strcmp(w.key[i], "model")) {
            if (words_check_value("-nic model", w.val[i], models))
                return -EINVAL;
        } else if (!strcmp(w.key[i], "mac")) {
            if (parse_mac("-nic mac", w.val[i], d->mac))
                return -EINVAL;
        } else {
            if (check_net_key(opt, w.key[i]))
                return -EINVAL;
            char *more = xasprintf("%s,%s=%s", spec, w.key[i], w.val[i]);
            free(spec);
            spec = more;
        }
    }
    *n = (struct netdev_opt){ .spec = spec, .id = "", .used = true };
    o->n_netdevs++;
    o->n_devices++;
    return 0;
}

static int take_net(struct options *o, const char *opt, char *arg)
{
    if (!strcmp(arg, "none"))
        return 0;
    log_error("-net: '%s': the old form is not known; use -nic user, or -netdev with -device virtio-net-pci", arg);
    return -EINVAL;
}

static const char *chardev_spec(const char *opt, const struct words *w)
{
    const char *path = words_get(w, "path"), *host = words_get(w, "host"), *port = words_get(w, "port");
    const char *server = words_get(w, "server"), *wait = words_get(w, "wait");

    if (!strcmp(w->head, "stdio") || !strcmp(w->head, "null") || !strcmp(w->head, "pty"))
        return w->head;
    if (!strcmp(w->head, "file") && path)
        return xasprintf("file:%s", path);
    if (!strcmp(w->head, "socket") && (path || (host && port)))
        return xasprintf("%s%s%s%s%s%s%s", path ? "unix:" : "tcp:", path ? path : host, path ? "" : ":", path ? "" : port,
                         server ? (strcmp(server, "off") ? ",server=on" : ",server=off") : "", wait ? ",wait=" : "", wait ? wait : "");
    log_error("%s %s: %s is missing", opt, w->head, !strcmp(w->head, "file") ? "path=" : "path= (or host= and port=)");
    return NULL;
}

static int take_chardev(struct options *o, const char *opt, char *arg)
{
    static const char *const kinds[] = { "stdio", "file", "pty", "socket", "null", NULL };
    static const char *const keys[] = { "id", "path", "host", "port", "server", "wait", "signal", "mux", NULL };
    struct chardev_opt *c = &o->chardevs[o->n_chardevs];
    bool dummy = false;
    struct words w;

    if (o->n_chardevs == OPT_MAX)
        return full(opt);
    if (words_split(&w, arg, opt) || words_check_value(opt, w.head, kinds))
        return -EINVAL;
    *c = (struct chardev_opt){ .id = words_get(&w, "id") };
    for (unsigned i = 0; i < w.n; i++) {
        const char *k = w.key[i];
        if (words_check_value(opt, k, keys))
            return -EINVAL;
        if (!strcmp(k, "signal") && words_bool("-chardev signal", w.val[i], &c->signals))
            return -EINVAL;
        if ((!strcmp(k, "server") || !strcmp(k, "wait") || !strcmp(k, "mux")) && words_bool(opt, w.val[i], &dummy))
            return -EINVAL;
    }
    if (!c->id) {
        log_error("-chardev: id= is missing");
        return -EINVAL;
    }
    if (!(c->spec = chardev_spec(opt, &w)))
        return -EINVAL;
    o->n_chardevs++;
    return 0;
}

static int take_serial(struct options *o, const char *opt, char *arg)
{
    static const char *const kinds[] = { "stdio", "mon:stdio", "file:PATH", "pty", "unix:PATH", "tcp:HOST:PORT", "none", "null", "chardev:ID", NULL };
    bool mux = !strncmp(arg, "mon:", 4);
    const char *s = mux ? arg + 4 : arg;

    if (o->n_serial == OPT_SERIALS) {
        log_error("-serial: given too often (at most %d)", OPT_SERIALS);
        return -EINVAL;
    }
    if (strcmp(s, "stdio") && strcmp(s, "pty") && strcmp(s, "none") && strcmp(s, "null") && strncmp(s, "file:", 5) && strncmp(s, "unix:", 5) &&
        strncmp(s, "tcp:", 4) && strncmp(s, "chardev:", 8))
        return words_bad_value(opt, arg, kinds);
    o->serial_mux[o->n_serial] = mux;
    o->serial[o->n_serial++] = s;
    return 0;
}

/* ---- devices ---- */

static const struct device_row { const char *name; enum device_kind kind; const char *keys[10]; } device_rows[] = {
    { "virtio-blk-pci", DEVICE_VIRTIO_BLK, { "drive", "id", "serial", "num-queues", "addr" } },
    { "virtio-net-pci", DEVICE_VIRTIO_NET, { "netdev", "mac", "id", "addr" } },
    { "virtio-rng-pci", DEVICE_VIRTIO_RNG, { "id", "addr" } },
    { "virtio-serial-pci", DEVICE_VIRTIO_SERIAL, { "id", "addr" } },
    { "virtconsole", DEVICE_VIRTIO_CONSOLE, { "chardev", "id", "addr" } },
    { "isa-debug-exit", DEVICE_DEBUG_EXIT, { "iobase", "iosize", "id" } },
    { "isa-debugcon", DEVICE_DEBUGCON, { "iobase", "chardev", "id" } },
};

static int unknown_device(const char *name)
{
    const char *names[ARRAY_SIZE(device_rows) + 1] = { NULL };

    for (unsigned i = 0; i < ARRAY_SIZE(device_rows); i++)
        names[i] = device_rows[i].name;
    return words_bad_value("-device", name, names);
}

static const struct device_row *find_device(const char *name)
{
    static const char *const aliases[][2] = { { "virtio-blk", "virtio-blk-pci" }, { "virtio-net", "virtio-net-pci" }, { "virtio-rng", "virtio-rng-pci" },
        { "virtio-serial", "virtio-serial-pci" } };

    for (unsigned i = 0; i < ARRAY_SIZE(aliases); i++) {
        if (!strcmp(name, aliases[i][0]))
            name = aliases[i][1];
    }
    for (unsigned i = 0; i < ARRAY_SIZE(device_rows); i++) {
        if (!strcmp(name, device_rows[i].name))
            return &device_rows[i];
    }
    return NULL;
}

static int device_prop(struct device_opt *d, const struct device_row *row, const char *k, const char *v)
{
    char *what = xasprintf("-device %s,%s", row->name, k);
    unsigned slot = 0;
    int ret = 0;

    if (!strcmp(k, "serial"))
        d->serial = v;
    else if (!strcmp(k, "num-queues"))
        ret = words_number(what, v, 1, 4, &d->num_queues);
    else if (!strcmp(k, "mac"))
        ret = parse_mac(what, v, d->mac);
    else if (!strcmp(k, "iobase"))
        ret = words_number(what, v, 1, 0xffff, &d->iobase);
    else if (!strcmp(k, "iosize"))
        ret = words_number(what, v, 1, 8, &d->iosize);
    else if (!strcmp(k, "addr") && !(ret = words_hex(what, v, 2, 31, &slot)))
        d->slot = (int)slot;
    free(what);
    return ret;
}

/* The names are resolved when the whole command line is known: words are kept until then. */
static struct { struct device_opt *d; const char *key, *val; } later[2 * OPT_MAX];
static unsigned n_later;

static int take_device(struct options *o, const char *opt, char *arg)
{
    struct device_opt *d = &o->devices[o->n_devices];
    struct words w;

    if (o->n_devices == ARRAY_SIZE(o->devices))
        return full(opt);
    if (words_split(&w, arg, opt))
        return -EINVAL;
    const struct device_row *row = find_device(w.head);
    if (!row)
        return unknown_device(w.head);
    *d = (struct device_opt){ .kind = row->kind, .slot = -1 };
    default_mac(o, d->mac);
    d->mac[5] = (uint8_t)(d->mac[5] + o->n_devices);
    for (unsigned i = 0; i < w.n; i++) {
        const char *k = w.key[i];
        char *what = xasprintf("-device %s", row->name);
        int ret = words_check_value(what, k, row->keys);
        free(what);
        if (ret || device_prop(d, row, k, w.val[i]))
            return -EINVAL;
        if (!strcmp(k, "drive") || !strcmp(k, "netdev") || !strcmp(k, "chardev")) {
            later[n_later].d = d;
            later[n_later].key = k;
            later[n_later++].val = w.val[i];
        }
    }
    o->n_devices++;
    return 0;
}

static int unresolved(const char *what, const char *id)
{
    log_error("-device: %s=%s: there is no -%s with id=%s", what, id, what, id);
    return -EINVAL;
}

static int in_use(const char *what, const char *id)
{
    log_error("-device: %s=%s is used twice", what, id);
    return -EINVAL;
}

static int resolve_one(struct options *o, struct device_opt *d, const char *key, const char *id)
{
    for (unsigned i = 0; !strcmp(key, "drive") && i < o->n_drives; i++) {
        struct drive_opt *x = &o->drives[i];
        if (x->id && !strcmp(x->id, id)) {
            d->drive = x;
            return x->used || x->virtio ? in_use(key, id) : (x->used = true, 0);
        }
    }
    for (unsigned i = 0; !strcmp(key, "netdev") && i < o->n_netdevs; i++) {
        struct netdev_opt *x = &o->netdevs[i];
        if (!strcmp(x->id, id)) {
            d->net = x;
            return x->used ? in_use(key, id) : (x->used = true, 0);
        }
    }
    for (unsigned i = 0; !strcmp(key, "chardev") && i < o->n_chardevs; i++) {
        struct chardev_opt *x = &o->chardevs[i];
        if (!strcmp(x->id, id)) {
            d->chr = x;
            return x->used ? in_use(key, id) : (x->used = true, 0);
        }
    }
    return unresolved(key, id);
}

static int resolve(struct options *o)
{
    for (unsigned i = 0; i < n_later; i++) {
        if (resolve_one(o, later[i].d, later[i].key, later[i].val))
            return -EINVAL;
    }
    for (unsigned i = 0; i < o->n_serial; i++) {
        const char *id = o->serial[i] + 8;
        struct device_opt dummy;
        if (!strncmp(o->serial[i], "chardev:", 8)) {
            if (resolve_one(o, &dummy, "chardev", id))
                return -EINVAL;
            o->serial[i] = dummy.chr->spec;
        }
    }
    for (unsigned i = 0; i < o->n_devices; i++) {
        const struct device_opt *d = &o->devices[i];
        if (d->kind == DEVICE_VIRTIO_BLK && !d->drive) {
            log_error("-device virtio-blk-pci: drive= is missing");
            return -EINVAL;
        }
    }
    return 0;
}

/* ---- the rest ---- */

static int take_display(struct options *o, const char *opt, char *arg)
{
    static const char *const valid[] = { "none", NULL };
    o->no_display = true;
    return words_check_value(opt, arg, valid);
}

static int take_monitor(struct options *o, const char *opt, char *arg)
{
    static const char *const kinds[] = { "stdio", "unix:PATH,server,nowait", "none", NULL };

    if (strcmp(arg, "none") && strcmp(arg, "stdio") && strncmp(arg, "unix:", 5))
        return words_bad_value(opt, arg, kinds);
    o->monitor = strcmp(arg, "none") ? arg : NULL;
    return 0;
}

/* base: the guest's date at its start. clock=accesses: time goes on by the guest's accesses to devices alone, so that a run can be repeated exactly. */
static int take_rtc(struct options *o, const char *opt, char *arg)
{
    static const char *const clocks[] = { "host", "accesses", NULL }, *const keys[] = { "base", "clock", NULL };
    struct words w;
    int ret = words_split_keys(&w, arg, opt);

    for (unsigned i = 0; i < w.n && !ret; i++) {
        struct tm tm = { 0 };
        if (!strcmp(w.key[i], "clock")) {
            ret = words_check_value("-rtc clock", w.val[i], clocks);
            o->clock_by_access = !strcmp(w.val[i], "accesses");
        } else if (strcmp(w.key[i], "base")) {
            ret = words_unknown(opt, w.key[i], keys);
        } else if (!strcmp(w.val[i], "utc")) {
            o->rtc_base = -1;
        } else {
            const char *end = strptime(w.val[i], "%Y-%m-%dT%H:%M:%S", &tm);
            if (!end || *end)
                ret = words_bad_value("-rtc base", w.val[i], (const char *const[]){ "utc", "2026-01-31T12:00:00", NULL });
            o->rtc_base = timegm(&tm);
        }
    }
    return ret;
}

static int take_vga(struct options *o, const char *opt, char *arg)
{
    static const char *const valid[] = { "none", NULL };
    return words_check_value(opt, arg, valid);
}

static int take_log(struct options *o, const char *opt, char *arg)
{
    static const char *const valid[] = { "in_asm", "ir", "opt", "out_asm", "int", "mmu", "guest", "exec", "unimp", "count", "io", "devices", "speed",
        "hot", NULL };
    const char *bad;

    if (!log_parse(arg, &o->log_mask, &bad))
        return 0;
    return words_bad_value(opt, xasprintf("%.*s", (int)strcspn(bad, ","), bad), valid);
}

static int take_dfilter(struct options *o, const char *opt, char *arg)
{
    char *end;

    o->filter_lo = strtoull(arg, &end, 0);
    if (end != arg && !strncmp(end, "..", 2)) {
        char *hi = end + 2;
        o->filter_hi = strtoull(hi, &end, 0);
        if (end != hi && !*end && o->filter_lo <= o->filter_hi)
            return 0;
    }
    log_error("-dfilter: '%s' is not a range (valid: LO..HI, as in 0x1000..0x1fff)", arg);
    return -EINVAL;
}

static int take_lockstep(struct options *o, const char *opt, char *arg)
{
    o->lockstep = arg;
    return words_check_value(opt, arg, lockstep_orders);
}

static int take_nographic(struct options *o, const char *opt, char *arg) { o->nographic = o->no_display = true; return 0; }
static int take_snapshot(struct options *o, const char *opt, char *arg) { o->snapshot = true; return 0; }
static int take_no_reboot(struct options *o, const char *opt, char *arg) { o->no_reboot = true; return 0; }
static int take_no_shutdown(struct options *o, const char *opt, char *arg) { o->no_shutdown = true; return 0; }
static int take_stopped(struct options *o, const char *opt, char *arg) { o->stopped = true; return 0; }
static int take_nothing(struct options *o, const char *opt, char *arg) { return 0; }
static int take_help(struct options *o, const char *opt, char *arg);

static int take_version(struct options *o, const char *opt, char *arg)
{
    printf("duet 0.1\n");
    return 1;
}

static const struct option_row rows[] = {
    { "M", "pc", "machine", machine_take },
    { "machine", "pc[,accel=ENGINE][,kernel-irqchip=on|split|off][,smm=auto|on|off]", "same as -M", machine_take },
    { "accel", "tcg|interp|auto|kvm[,kernel-irqchip=on|split|off][,emulated=on]"
      "[,profile=on|off|count][,one-insn-per-tb=on][,check-moves=on][,tb-size=MIB][,cache-kib=N][,tlb=N][,random=SEED]",
      "engine that runs the guest's instructions; emulated: take a slow KVM too; profile: sample where time goes for -d speed,hot, count: and count "
      "the guest's instructions; tb-size: of the translator's code cache; the last four make tcg's life hard", accel_take },
    { "lockstep", "tcg,interp[,blocks=on]|interp,tcg|tcg,kvm|interp,kvm",
      "both engines run the guest, instruction by instruction, up to the first difference (exit status 1); blocks: tcg runs on in between", take_lockstep },
    { "cpu", "MODEL[,+F][,-F][,F=on|off][,vendor=V]...|help", "CPU model and features", cpu_take },
    { "m", "SIZE[K|M|G]", "RAM, 128M by default", take_memory },
    { "smp", "N[,sockets=S,cores=C,threads=T]", "number of CPUs (1 to 32), and how they are put together", smp_take },
    { "kernel", "FILE", "bzImage, multiboot or PVH kernel to start", take_kernel },
    { "initrd", "FILE", "initial RAM disk; multiboot: \"FILE ARGS,FILE2...\"", take_initrd },
    { "append", "TEXT", "kernel command line", take_append },
    { "bios", "FILE", "firmware image", take_bios },
    { "drive", "file=F,if=virtio|none,format=raw,snapshot=on|off,readonly=on|off,id=ID", "disk", take_drive },
    { "hda", "FILE", "disk image, as a virtio disk", take_hda },
    { "snapshot", NULL, "discard all writes to disks at exit", take_snapshot },
    { "netdev", "user,id=ID[,hostfwd=RULE][,net=...]", "network", take_netdev },
    { "nic", "user,...|none", "network and card in one", take_nic },
    { "net", "none", "no default network (there is none)", take_net },
    { "device", "NAME[,PROP=VALUE...]", "device: virtio-blk-pci, virtio-net-pci, virtio-rng-pci, virtconsole, isa-debug-exit, isa-debugcon", take_device },
    { "chardev", "stdio|file|pty|socket|null,id=ID[,path=...]", "character stream", take_chardev },
    { "serial", "stdio|mon:stdio|file:PATH|pty|unix:PATH,server,nowait|none|null", "serial port", take_serial },
    { "display", "none", "display", take_display },
    { "vga", "none", "graphics card", take_vga },
    { "nographic", NULL, "serial port on the terminal; Ctrl-A X quits", take_nographic },
    { "monitor", "stdio|unix:PATH,server,nowait|none", "commands to the running machine (help lists them)", take_monitor },
    { "nodefaults", NULL, "accepted: there are no default devices to leave out", take_nothing },
    { "no-user-config", NULL, "accepted: there is no configuration file", take_nothing },
    { "no-reboot", NULL, "exit when the guest resets", take_no_reboot },
    { "no-shutdown", NULL, "stay when the guest powers off", take_no_shutdown },
    { "S", NULL, "start with the guest stopped; the monitor's cont lets it go", take_stopped },
    { "d", "in_asm,ir,opt,out_asm,int,mmu,guest,exec,unimp,count,io,devices,speed,hot",
      "trace; devices, speed, hot (blocks that took most time; switches the profile on): at the end", take_log },
    { "rtc", "[base=utc|DATE][,clock=host|accesses]", "the guest's date at its start; accesses: time goes on by device accesses alone", take_rtc },
    { "D", "FILE", "where the trace goes", take_logfile },
    { "dfilter", "LO..HI", "trace code only at these guest addresses", take_dfilter },
    { "symbols", "FILE", "names of the guest's addresses for -d hot and perf: an ELF file or a System.map; an ELF -kernel by default", take_symbols },
    { "perfmap", NULL, "names of translated code for perf: /tmp/perf-PID.map", take_perfmap },
    { "jitdump", NULL, "translated code and its names for perf inject --jit: jit-PID.dump", take_jitdump },
    { "version", NULL, "version", take_version },
    { "help", NULL, "this list", take_help },
    { "h", NULL, "this list", take_help },
};

static int take_help(struct options *o, const char *opt, char *arg)
{
    printf("usage: duet [options]\n");
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        printf("  -%s%s%s\n        %s\n", rows[i].name, rows[i].arg ? " " : "", rows[i].arg ? rows[i].arg : "", rows[i].help);
    return 1;
}

static const struct option_row *find_row(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (!strcmp(rows[i].name, name))
            return &rows[i];
    }
    return NULL;
}

static int unknown_option(const char *arg)
{
    const char *names[ARRAY_SIZE(rows) + 1] = { NULL };

    if (*arg != '-') {
        log_error("unknown argument '%s' (a disk image is given as -drive file=%s,if=virtio)", arg, arg);
        return -EINVAL;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        names[i] = rows[i].name;
    return words_unknown_option(arg, names);
}

static int check_together(struct options *o)
{
    if (o->kernel && o->bios)
        log_error("-kernel and -bios: a kernel is started directly; give one of them");
    else if (o->initrd && !o->kernel)
        log_error("-initrd needs -kernel");
    else if (o->append && !o->kernel)
        log_error("-append needs -kernel");
    else if (o->stopped && !o->monitor)
        log_error("-S needs -monitor, whose cont lets the guest go");
    else if (!o->kernel && !o->bios)
        log_error("nothing to run: give -kernel FILE or -bios FILE (-help lists the options)");
    else
        return cpu_check(o) ? -EINVAL : resolve(o);
    return -EINVAL;
}

/* Without -serial the first port is on the terminal, unless that is wanted by something else or -display none asks for silence. */
static void default_serial(struct options *o)
{
    bool free_terminal = (o->nographic || !o->no_display) && !(o->monitor && !strcmp(o->monitor, "stdio"));

    for (unsigned i = 0; i < o->n_chardevs; i++)
        free_terminal &= strcmp(o->chardevs[i].spec, "stdio") != 0;
    if (o->n_serial == 0) {
        o->serial_mux[0] = true;
        o->serial[o->n_serial++] = free_terminal ? "stdio" : "null";
    }
}

int options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){ .accel = "auto", .kernel_irqchip = 2, .ram_size = 128 * MIB, .rtc_base = -1, .filter_hi = UINT64_MAX };
    n_later = 0;
    for (int i = 1; i < argc; i++) {
        const char *name = *argv[i] == '-' ? argv[i] + (argv[i][1] == '-' ? 2 : 1) : "";
        const struct option_row *row = find_row(name);
        if (!row)
            return unknown_option(argv[i]);
        if (row->arg && i + 1 >= argc) {
            log_error("-%s needs a value (%s)", name, row->arg);
            return -EINVAL;
        }
        char *opt = xasprintf("-%s", name);
        int ret = row->take(o, opt, row->arg ? xstrdup(argv[++i]) : NULL);
        free(opt);
        if (ret)
            return ret;
    }
    default_serial(o);
    return check_together(o);
}
