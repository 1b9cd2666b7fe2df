/*
 * vmm/options.c, vmm/words.c: what the command line means, and that every wrong word is refused.
 */
#include "tests/unit/test.h"
#include "vmm/options.h"
#include "vmm/words.h"
#include <errno.h>
#include <stdlib.h>

static struct options o;

/* Parses a command line given as one string with spaces. */
static int parse(const char *line)
{
    char *argv[64] = { (char *)"duet" }, *save = NULL, *copy = strdup(line);
    int argc = 1;

    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    return options_parse(&o, argc, argv);
}

TEST(sizes)
{
    CHECK_EQ(parse("-kernel k -m 64"), 0);
    CHECK_EQ(o.ram_size, 64 << 20);
    CHECK_EQ(parse("-kernel k -m 1.5G"), 0);
    CHECK_EQ(o.ram_size, 3ull << 29);
    CHECK_EQ(parse("-kernel k -m 2048K"), 0);
    CHECK_EQ(o.ram_size, 2 << 20);
    CHECK(parse("-kernel k -m 65G") < 0);
    CHECK(parse("-kernel k -m 512K") < 0);
    CHECK(parse("-kernel k -m -5") < 0);
    CHECK(parse("-kernel k -m 12Q") < 0);
    CHECK(parse("-kernel k -m nan") < 0);
}

TEST(drives_and_devices)
{
    CHECK_EQ(parse("-kernel k -drive file=a,,b,if=none,id=d0,readonly=on,format=raw -device virtio-blk-pci,drive=d0,addr=0x5"), 0);
    CHECK(!strcmp(o.drives[0].file, "a,b") && o.drives[0].readonly && !o.drives[0].virtio);
    CHECK(o.devices[0].drive == &o.drives[0] && o.devices[0].slot == 5);
    CHECK(parse("-kernel k -drive file=a,if=none") < 0);
    CHECK(parse("-kernel k -drive if=virtio") < 0);
    CHECK(parse("-kernel k -drive file=a,if=ide") < 0);
    CHECK(parse("-kernel k -drive file=a,fromat=raw") < 0);
    CHECK(parse("-kernel k -device virtio-blk-pci") < 0);
    CHECK(parse("-kernel k -device virtio-blk-pci,drive=x") < 0);
    CHECK(parse("-kernel k -device virtio-blk-pcy,drive=x") < 0);
    CHECK_EQ(parse("-kernel k -device isa-debug-exit,iobase=0xf4,iosize=4 -no-reboot"), 0);
    CHECK(o.devices[0].iobase == 0xf4 && o.devices[0].iosize == 4 && o.no_reboot);
}

TEST(networks)
{
    CHECK_EQ(parse("-kernel k -netdev user,id=n,hostfwd=tcp::2222-:22 -device virtio-net-pci,netdev=n,mac=52:54:00:00:00:01"), 0);
    CHECK(o.devices[0].net == &o.netdevs[0] && o.devices[0].mac[5] == 1);
    CHECK_EQ(parse("-kernel k -nic user,model=virtio-net-pci,hostfwd=tcp::1-:2"), 0);
    CHECK(!strcmp(o.netdevs[0].spec, "user,hostfwd=tcp::1-:2"));
    CHECK_EQ(parse("-kernel k -nic none"), 0);
    CHECK(parse("-kernel k -nic user,model=e1000") < 0);
    CHECK(parse("-kernel k -device virtio-net-pci,mac=53:54:00:00:00:01") < 0);
    CHECK(parse("-kernel k -netdev user,id=n -device virtio-net-pci,netdev=n -device virtio-net-pci,netdev=n") < 0);
}

TEST(serials)
{
    CHECK_EQ(parse("-kernel k -nographic"), 0);
    CHECK(!strcmp(o.serial[0], "stdio") && o.serial_mux[0]);
    CHECK_EQ(parse("-kernel k -display none"), 0);
    CHECK(!strcmp(o.serial[0], "null"));
    CHECK_EQ(parse("-kernel k -chardev file,id=c,path=/x -serial chardev:c"), 0);
    CHECK(!strcmp(o.serial[0], "file:/x"));
    CHECK(parse("-kernel k -serial studio") < 0);
    CHECK(parse("-kernel k -serial chardev:c") < 0);
}

TEST(engine)
{
    CHECK_EQ(parse("-kernel k -accel kvm,kernel-irqchip=split"), 0);
    CHECK(!strcmp(o.accel, "kvm"));
    CHECK_EQ(o.kernel_irqchip, 1);
    CHECK_EQ(parse("-kernel k -machine pc,smm=off"), 0);
    CHECK_EQ(o.smm, SMM_OFF);
    CHECK(parse("-kernel k -machine pc,smm=maybe") < 0);
    CHECK_EQ(parse("-kernel k -machine pc,accel=kvm,kernel_irqchip=off"), 0);
    CHECK(!strcmp(o.accel, "kvm"));
    CHECK_EQ(o.kernel_irqchip, 0);
    CHECK(!o.kvm_emulated);
    CHECK_EQ(parse("-kernel k -accel kvm,emulated=on"), 0);
    CHECK(o.kvm_emulated);
}

TEST(wrong_words)
{
    CHECK(parse("-kernal k") < 0);
    CHECK(parse("-kernel") < 0);
    CHECK(parse("-kernel k -M q35") < 0);
    CHECK(parse("-kernel k -accel kvm,kernel-irqchip=maybe") < 0);
    CHECK(parse("-kernel k -accel kvm,kernel-irq=on") < 0);
    CHECK(parse("-kernel k -accel tcg,kernel-irqchip=on") < 0);
    CHECK(parse("-kernel k -machine pc,acel=kvm") < 0);
    CHECK(parse("-kernel k -smp 2,core=2") < 0);
    CHECK(parse("-kernel k -smp 0") < 0);
    CHECK(parse("-kernel k -smp 4,maxcpus=8") < 0);
    CHECK(parse("-kernel k -d in_asm,bogus") < 0);
    CHECK(parse("-kernel k -dfilter 5..2") < 0);
    CHECK(parse("-initrd i") < 0);
    CHECK(parse("disk.img") < 0);
    CHECK(parse("") < 0);
    CHECK_EQ(parse("-kernel k -d int,mmu -dfilter 0x10..0x20 -cpu max"), 0);
    CHECK(o.filter_lo == 0x10 && o.filter_hi == 0x20);
}

TEST(distance)
{
    CHECK_EQ(words_distance("kitten", "sitting"), 3);
    CHECK_EQ(words_distance("", "abc"), 3);
    CHECK_EQ(words_distance("same", "same"), 0);
}
