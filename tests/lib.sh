# Shared by tests/*.sh (sourced): where things are, and how a result is said. Each test prints `ok NAME`, `FAIL NAME: why` or
# `skip NAME: reason`; tests/run counts those lines. Everything a test writes is in $work, which is emptied first.
# Environment: DUET (the program under test), ACCEL (its engine), SLOW (a factor for all time limits).
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
test_name=$(basename "$0" .sh)
duet=${DUET:-$top/build/duet}
accel=${ACCEL:-tcg}
guest=$top/build/guest
work=$top/build/tmp/$test_name
rm -rf "$work"
mkdir -p "$work"

ok() { echo "ok $test_name/$1"; }
fail() { echo "FAIL $test_name/$1: $2"; }
skip() { echo "skip $test_name/$1: $2"; }
# verdict NAME STATUS WHY: ok when STATUS is 0
verdict() { if [ "$2" = 0 ]; then ok "$1"; else fail "$1" "$3"; fi; }

limit() { echo $(($1 * ${SLOW:-1})); }

# Kernels and initrds, or a skip of the whole test when they cannot be had (no network).
need_guest() {
    if ! { tests/guest/fetch.sh && tests/guest/mkinitrd.sh; } >"$work/fetch.log" 2>&1; then
        skip all "no guest kernels: $(tail -n 1 "$work/fetch.log")"
        exit 0
    fi
}

# boot KERNEL SECONDS APPEND [OPTION...]: runs a guest that ends by itself; its console is in $work/console; the status is duet's (124: time limit)
boot() {
    boot_kernel=$1 boot_limit=$(limit "$2") boot_append=$3
    shift 3
    timeout -k 5 "$boot_limit" "$duet" -accel "$accel" -m 512 -kernel "$guest/vmlinuz-$boot_kernel" -initrd "$guest/initrd-$boot_kernel.gz" \
        -append "console=ttyS0 panic=-1 $boot_append" -nographic -no-reboot "$@" </dev/null >"$work/console.raw" 2>"$work/stderr"
    boot_status=$?
    tr -d '\r' <"$work/console.raw" >"$work/console"
    return $boot_status
}

# booted NAME: a verdict on the last boot of a duet.run= script
booted() {
    if [ "$boot_status" = 0 ] && grep -aq 'DUET-RESULT: ok' "$work/console"; then
        ok "$1"
    else
        cp "$work/console" "$work/console.$1"
        fail "$1" "status $boot_status; $(tail -n 1 "$work/stderr") last: $(grep -v '^ *$' "$work/console" | tail -n 1 | cut -c1-100)"
        return 1
    fi
}

# make_kernel NAME: a bare-metal test kernel (tests/guest/kernels/) as $work/NAME. Names that end in 64 run in 64-bit mode and are linked so,
# then wrapped as the 32-bit ELF that multiboot wants. FILE: further sources and options of the compiler.
# make_kernel NAME [FILE...]
make_kernel() {
    kernel_src=tests/guest/kernels kernel_name=$1
    shift
    kernel_flags="-Os -ffreestanding -fno-stack-protector -fno-pic -fno-asynchronous-unwind-tables -mgeneral-regs-only -Wall -Wextra -nostdlib -static
        -no-pie -Wl,--build-id=none,-n,-T,$kernel_src/kernel.ld,--no-warn-rwx-segments"
    case $kernel_name in
    *64)
        gcc -m64 -mno-red-zone -mcmodel=kernel $kernel_flags \
            -o "$work/$kernel_name.elf" $kernel_src/start64.S $kernel_src/kit.c "$kernel_src/$kernel_name.c" "$@" &&
            objcopy -O elf32-i386 "$work/$kernel_name.elf" "$work/$kernel_name"
        ;;
    *16) gcc -m32 $kernel_flags -o "$work/$kernel_name" "$kernel_src/$kernel_name.S" ;;
    *) gcc -m32 $kernel_flags -o "$work/$kernel_name" $kernel_src/start32.S $kernel_src/kit.c "$kernel_src/$kernel_name.c" "$@" ;;
    esac >"$work/$kernel_name.log" 2>&1
}

# make_tiny KIND: the tiny kernel of that kind (tests/guest/tiny.S) as $work/kindKIND
make_tiny() {
    gcc -m32 -nostdlib -static -no-pie -Wl,--build-id=none,-Ttext=0x100000,-N,--no-warn-rwx-segments -DKIND="$1" -o "$work/kind$1" tests/guest/tiny.S
}

# dialog SECONDS: an expect script on stdin, after the procedures of tests/dialog.exp; its transcript goes to $work/transcript
dialog() {
    { echo "set limit $(limit "$1")"; cat tests/dialog.exp -; } >"$work/dialog.exp"
    duet=$duet accel=$accel guest=$guest work=$work test_name=$test_name timeout -k 5 "$(($(limit "$1") + 10))" expect -f "$work/dialog.exp"
}
