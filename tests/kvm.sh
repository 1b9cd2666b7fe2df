#!/bin/sh
# The engine on /dev/kvm. On this host: what is said when there is none, or when it fails; where there is one, a battery of tiny guests. Nested: an
# outer guest, translated by this program and by QEMU on a processor with SVM, runs Debian's kvm modules and this program, with each kernel-irqchip mode.
# A /dev/kvm that emulates guest-kernel code has limits of its own, which are skipped by name.
. "$(dirname "$0")/lib.sh"

for kernel in exits16 exits32 exits64 smc64 groups64 compute64; do
    make_kernel $kernel || fail "$kernel" "cannot build it: $(tail -n 1 "$work/$kernel.log")"
done
make_kernel insn64 -I. tests/insn/*.S || fail insn64 "cannot build it: $(tail -n 1 "$work/insn64.log")"
make_kernel short32 -I. tests/insn/short/*.S || fail short32 "cannot build it: $(tail -n 1 "$work/short32.log")"
for kind in 1 2 3 5 6 7; do
    make_tiny $kind || fail "kind$kind" "cannot build it"
done
gcc -shared -fPIC -O1 -Wall -o "$work/shim.so" tests/guest/kvm_shim.c -ldl || fail shim "cannot build it"
truncate -s 1M "$work/disk.img"
disk="file=$work/disk.img,if=virtio,format=raw"
disk_before=$(cksum <"$work/disk.img")

# run OPTION...: status, $work/out, $work/err
run() {
    timeout -k 5 "$(limit 40)" "$duet" "$@" -nographic -no-reboot </dev/null >"$work/out.raw" 2>"$work/err"
    status=$?
    tr -d '\r' <"$work/out.raw" >"$work/out"
}

# refuses NAME PATTERN OPTION...: status 1, the pattern on stderr, nothing on stdout; without a guest one line
refuses() {
    name=$1 pattern=$2
    shift 2
    run "$@" -m 16 -drive "$disk"
    [ $status = 1 ] && grep -qE -- "$pattern" "$work/err" && [ ! -s "$work/out" ] && [ "$(cksum <"$work/disk.img")" = "$disk_before" ]
    verdict "$name" $? "status $status; $(head -n 1 "$work/err")"
}

one_line() {
    [ "$(wc -l <"$work/err")" = 1 ]
    verdict "$1_one_line" $? "$(wc -l <"$work/err") lines on stderr"
}

export LD_PRELOAD KVM_SHIM_OPEN KVM_SHIM_IOCTL KVM_SHIM_VERSION
LD_PRELOAD=$work/shim.so KVM_SHIM_OPEN=2 refuses missing '/dev/kvm is missing' -accel kvm -kernel "$work/kind1"
one_line missing
LD_PRELOAD=$work/shim.so KVM_SHIM_OPEN=13 refuses forbidden 'no permission to open /dev/kvm' -accel kvm -kernel "$work/kind1"
one_line forbidden
LD_PRELOAD=$work/shim.so KVM_SHIM_OPEN=13 run -accel auto -m 16 -kernel "$work/kind1"
[ $status = 0 ] && grep -q 'using tcg: no permission' "$work/err" && grep -q boot "$work/out"
verdict auto_without_kvm $? "status $status; $(head -n 1 "$work/err")"
one_line auto_without_kvm
unset LD_PRELOAD KVM_SHIM_OPEN KVM_SHIM_IOCTL KVM_SHIM_VERSION

# ---- this host's /dev/kvm ----

run -accel kvm -m 16 -kernel "$work/kind1"
host=assisted
grep -q 'emulates guest-kernel code' "$work/err" && host=emulated
if ! [ -c /dev/kvm ] || grep -qE 'is missing|no permission|API version|has no KVM_CAP|cannot' "$work/err"; then
    skip host "$(sed -n 's/^duet: //p' "$work/err" | head -n 1)"
    host=none
fi

# What a KVM without hardware assistance is known to do wrong, under other programs too: no TSC offset; its local APIC has no in-service bits.
limits_emulated="exits64/time_stamp on/exits64/wake_by_local_timer split/exits64/wake_by_local_timer on/exits64/wake_by_io_apic
    split/exits64/wake_by_io_apic on/exits64/task_priority split/exits64/task_priority"
known_limit() {
    for known in $limits_emulated; do
        case $1 in */"$known") return 0 ;; esac
    done
    return 1
}

# battery CHIPS KERNEL
battery() {
    run -accel "kvm,emulated=on,kernel-irqchip=$1" -m 64 -kernel "$work/$2" -device isa-debug-exit,iobase=0x501,iosize=1
    limited=
    while read -r word name rest; do
        name=host/$1/$2/${name%:}
        case $word in
        ok) ok "$name" ;;
        skip) skip "$name" "$rest" ;;
        FAIL)
            if [ $host = emulated ] && known_limit "$name"; then
                [ "$name" = "$limited" ] || skip "$name" "a limit of a KVM that emulates guest kernels"
                limited=$name
            else
                fail "$name" "$rest"
            fi
            ;;
        esac
    done <"$work/out"
    grep -q '^end' "$work/out" && [ $status = 1 -o \( -n "$limited" -a $status = 3 \) ]
    verdict "host/$1/$2" $? "status $status; $(tail -n 1 "$work/err")"
}

if [ $host != none ]; then
    for chips in off split on; do
        for kernel in exits16 exits32 exits64; do
            battery $chips $kernel
        done
    done

    # Ring 3 runs on the processor itself.
    cat >"$work/native.c" <<'C'
#include <stdio.h>
#include "tests/guest/compute.h"
void compute(void);
__asm__(".globl compute\ncompute: mov $" COMPUTE_ROUNDS ", %ecx\n" COMPUTE_LOOP "ret");
int main(void)
{
    unsigned long long best = ~0ull;
    for (int i = 0; i < 10; i++) {
        unsigned long long a = __builtin_ia32_rdtsc();
        compute();
        unsigned long long b = __builtin_ia32_rdtsc() - a;
        best = b < best ? b : best;
    }
    printf("%llu\n", best);
    return 0;
}
C
    gcc -O1 -I. -o "$work/native" "$work/native.c" || fail host/native "cannot build it"
    for try in 1 2 3 4 5; do                       # the host is busy with other things at times
        run -accel kvm,emulated=on -m 64 -kernel "$work/compute64" -device isa-debug-exit,iobase=0x501,iosize=1
        inside=$(sed -n 's/^ticks //p' "$work/out") outside=$("$work/native")
        echo "# ring 3: $inside ticks, native $outside"
        [ -n "$inside" ] && [ -n "$outside" ] && [ "$inside" -le $((outside * 11 / 10)) ] && break
    done
    verdict host/ring3_is_native $? "$inside ticks in the guest, $outside natively"

    # What the kernel cannot go on with: the message has registers and code; the disk is as it was.
    run -accel kvm,emulated=on -m 16 -kernel "$work/kind2" -drive "$disk"
    [ $status = 1 ] && grep -q 'KVM_EXIT_INTERNAL_ERROR' "$work/err" && grep -q 'EIP=f1234567' "$work/err" && grep -q 'code at pc:' "$work/err" &&
        [ "$(cksum <"$work/disk.img")" = "$disk_before" ]
    verdict host/internal_error $? "status $status; $(head -n 1 "$work/err")"

    # A failing ioctl, each at its first use: named in the message.
    export LD_PRELOAD KVM_SHIM_IOCTL KVM_SHIM_VERSION
    LD_PRELOAD=$work/shim.so KVM_SHIM_VERSION=11 refuses host/wrong_version 'API version 11; .* needs 12' -accel kvm -kernel "$work/exits64"
    one_line host/wrong_version
    for pair in CREATE_VM=0xae01 GET_SUPPORTED_CPUID=0xc008ae05 CREATE_IRQCHIP=0xae60 SET_USER_MEMORY_REGION=0x4020ae46 CREATE_VCPU=0xae41 \
        SET_CPUID2=0x4008ae90 SET_SREGS=0x4138ae84 SET_MSRS=0x4008ae89 RUN=0xae80; do
        LD_PRELOAD=$work/shim.so KVM_SHIM_IOCTL=${pair#*=} refuses "host/fails_${pair%=*}" "KVM_${pair%=*}: Input/output error" \
            -accel kvm,emulated=on -kernel "$work/exits64"
    done
    unset LD_PRELOAD KVM_SHIM_IOCTL KVM_SHIM_VERSION
fi

if [ $host = emulated ]; then
    refuses host/too_slow 'too slow' -accel kvm -kernel "$work/kind1"
    one_line host/too_slow
    grep -qE '[0-9.]+ million ring-0 instructions a second' "$work/err"
    verdict host/says_the_rate $? "$(cat "$work/err")"
    run -accel auto -m 16 -kernel "$work/kind1"
    [ $status = 0 ] && grep -q 'using tcg: .*emulates guest-kernel code' "$work/err" && grep -q boot "$work/out"
    verdict host/auto $? "status $status; $(head -n 1 "$work/err")"
fi
# Root may open everything: this one runs as nobody.
if [ $host != none ] && [ "$(id -u)" = 0 ] && ! setpriv --reuid=65534 --regid=65534 --clear-groups test -r /dev/kvm &&
    setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$duet"; then
    setpriv --reuid=65534 --regid=65534 --clear-groups "$duet" -accel kvm -kernel "$work/kind1" -nographic </dev/null >"$work/out" 2>"$work/err"
    [ $? = 1 ] && grep -q 'no permission' "$work/err"
    verdict host/nobody $? "$(head -n 1 "$work/err")"
else
    skip host/nobody "user nobody cannot reach the program, or may open /dev/kvm, or there is none"
fi

# ---- nested ----

need_guest
if [ -z "$(find "$guest/cloud/lib/modules" -name kvm-amd.ko)" ]; then
    skip nested "the guest kernel's package has no kvm-amd module"
    exit 0
fi
mkdir -p "$work/files"
echo "a file on the disk" >"$work/files/note"
mke2fs -q -t ext4 -d "$work/files" "$work/inner.img" 8M >/dev/null
mv "$work/inner.img" "$work/disk.img"
[ ! -x build/rel/tests/kvm_host ] || cp build/rel/tests/kvm_host "$work/kvm_host"
set -- "$guest/vmlinuz-cloud" "$guest/initrd-cloud.gz" "$guest/vmlinuz-generic" "$guest/initrd-generic.gz" "$work/disk.img"
if { tests/guest/fetch.sh i386 && tests/guest/mkinitrd.sh; } >"$work/fetch.log" 2>&1; then
    set -- "$@" "$guest/vmlinuz-686" "$guest/initrd-686.gz" "$guest/vmlinuz-686-pae" "$guest/initrd-686-pae.gz"
else
    skip nested/on/linux_686-pae "no i386 kernels: $(tail -n 1 "$work/fetch.log")"
    skip nested/on/linux_686 "no i386 kernels: $(tail -n 1 "$work/fetch.log")"
fi
for file in kvm_host exits16 exits32 exits64 smc64 groups64 insn64 short32 kind1 kind2 kind3 kind5 kind6 kind7; do
    [ ! -e "$work/$file" ] || set -- "$@" "$work/$file"
done
if ! tests/guest/mknested.sh "$duet" "$work/outer.gz" tests/guest/nested.sh "$@" >"$work/mknested.log" 2>&1; then
    fail nested "cannot make the outer initrd: $(tail -n 1 "$work/mknested.log")"
    exit 0
fi
# outer NAME PROGRAM...: the outer machine; what is said inside becomes kvm/NAME/...
outer() {
    outer_name=$1
    said=$work/outer.$outer_name
    shift
    timeout -k 5 "$(limit 320)" "$@" -m 1024 -nographic -no-reboot -kernel "$guest/vmlinuz-cloud" -initrd "$work/outer.gz" \
        -append "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check duet.outer=$outer_name" </dev/null >"$work/outer.raw" 2>"$work/outer.err"
    status=$?
    tr -d '\r' <"$work/outer.raw" >"$said"
}
# ... and the verdicts.
outer_says() {
    sed -n "s,^\(ok\|FAIL\|skip\) nested/,\1 $test_name/$outer_name/,p" "$said"
    grep -q '^nested: end' "$said"
    verdict "$outer_name" $? "status $status; last: $(grep -v '^ *$' "$said" | tail -n 1 | cut -c1-100)"
}
# The program in itself, with everything.
outer in_duet "$duet" -accel tcg -cpu max,+svm
outer_says
# In QEMU, whose nested paging stops guests with three levels of page tables (its own -accel kvm hangs in it too), and which stands still at
# times, the sign of life included: then its clock says far less than the time limit. Once more.
if command -v qemu-system-x86_64 >/dev/null; then
    set -- qemu-system-x86_64 -accel tcg -cpu max -nic none
    outer in_qemu "$@"
    if [ $status = 124 ] && [ "$(sed -n 's/^# alive \([0-9]*\).*/\1/p' "$said" | tail -n 1)" -lt "$(limit 270)" ]; then
        echo "# the outer machine stood still; $(tail -n 1 "$said")"
        cp "$said" "$work/outer.stood"
        outer in_qemu "$@"
    fi
    outer_says
else
    skip in_qemu "no qemu-system-x86_64 for the outer machine"
fi
