#!/bin/sh
# -lockstep: two engines side by side. Bare-metal kernels pass without a difference, in either order; the beginning of Debian's cloud kernel too; and a
# translation that is wrong on purpose is found at its instruction, shown through all stages, with exit status 1. With kvm: on this host's, and nested.
. "$(dirname "$0")/lib.sh"

# together ORDER SECONDS OPTION...: the console is in $work/out, what lock-step says in $work/err
together() {
    order=$1 seconds=$(limit "$2")
    shift 2
    timeout -k 30 -s TERM "$seconds" "$duet" -lockstep "$order" "$@" -nographic -no-reboot </dev/null >"$work/out" 2>"$work/err"
}
run_kernel() {
    case $2 in svm*) cpu=max,+svm ;; *) cpu=max ;; esac
    together "$1" 90 -cpu $cpu -m 64 -kernel "$work/$2" -device isa-debug-exit,iobase=0x501,iosize=1
}
counted() { sed -n 's/^lockstep: \([0-9]*\) instructions without a difference$/\1/p' "$work/err" | tail -n 1; }

# Not among them: exits64, groups64 and svm64, which run for a hundred million instructions. What a kernel says of its own timers is kernels.sh's
# business: here they run late.
for kernel in long64 prot32 real16 paging32 paging64 wide64 smc64 smm32 smm64 exits32 loops64; do
    if ! make_kernel $kernel; then
        fail "$kernel" "cannot build it: $(tail -n 1 "$work/$kernel.log")"
        continue
    fi
    for order in tcg,interp interp,tcg; do
        [ $order/$kernel = interp,tcg/loops64 ] && continue
        run_kernel $order $kernel
        status=$?
        [ $status = 0 ] && grep -q '^end' "$work/out" && [ "$(counted)" -gt 500 ]
        verdict "$order/$kernel" $? "status $status, last: $(tail -n 1 "$work/out") $(grep -m 1 lockstep: "$work/err")"
    done
done

# The first addition to rdi in the start code, turned into a subtraction in the translator's copy of the IR.
pc=$(objdump -d "$work/long64.elf" | sed -n 's/^ *\([0-9a-f]*\):.*add  *\$0x8,%edi.*/\1/p' | head -n 1)
export DUET_LOCKSTEP_SPOIL=0x$pc
run_kernel tcg,interp long64
status=$?
unset DUET_LOCKSTEP_SPOIL
[ $status = 1 ] && grep -q "^lockstep: tcg and interp differ after instruction [0-9]*, at pc 0x$pc\$" "$work/err"
verdict found/where $? "status $status, $(grep -m 1 lockstep: "$work/err")"
grep -q '^\* rdi ' "$work/err" && grep -q '^  rsi ' "$work/err"
verdict found/registers $? "$(grep -c '^\*' "$work/err") registers are marked"
[ "$(grep -c '^IN: ' "$work/err")" = 2 ] && [ "$(grep -c '^IR:' "$work/err")" = 2 ] && [ "$(grep -c '^OPT:' "$work/err")" = 2 ] && grep -q ': sub edi, 8' "$work/err"
verdict found/stages $? "not every stage is shown"

# ---- optimised code: blocks linked, hot loops in their tight copies ----

make_kernel linked64 || fail linked64 "cannot build it: $(tail -n 1 "$work/linked64.log")"
for kernel in long64 prot32 real16 paging32 paging64 wide64 smc64 smm32 smm64 exits32 loops64 linked64; do
    run_kernel tcg,interp,blocks=on $kernel
    status=$?
    [ $status = 0 ] && grep -q '^end' "$work/out" && [ "$(counted)" -gt 500 ]
    verdict "blocks/$kernel" $? "status $status, last: $(tail -n 1 "$work/out") $(grep -m 1 lockstep: "$work/err")"
done
# Wrong on purpose in one form only: a block of several instructions, a hot loop, flags that a linked block does not leave behind. Instruction by
# instruction they are right.
label() { nm "$work/linked64.elf" | sed -n "s/^0*\([0-9a-f]*\) . $1\$/\1/p"; }
for form in in_a_block,block in_a_hot_loop,hot by_flags,flags; do
    pc=$(label ${form%,*})
    export DUET_LOCKSTEP_SPOIL=0x$pc,${form#*,}
    run_kernel tcg,interp linked64
    [ $? = 0 ]
    verdict "found/${form#*,}_not_by_instructions" $? "$(grep -m 1 lockstep: "$work/err")"
    run_kernel tcg,interp,blocks=on linked64
    status=$?
    unset DUET_LOCKSTEP_SPOIL
    if [ $form = by_flags,flags ]; then
        [ $status = 1 ] && grep -q '^lockstep: .* each block alone is right: by the linking of blocks' "$work/err" && grep -q "^IN: pc 0x$pc " "$work/err"
    else
        [ $status = 1 ] && grep -q "^lockstep: tcg and interp differ after the block at pc 0x$pc, by its optimisation" "$work/err" &&
            grep -qE '^\* r(ax|bx|si) ' "$work/err" && [ "$(grep -c '^OUT: ' "$work/err")" = 1 ]
    fi
    verdict "found/${form#*,}" $? "status $status, $(grep -m 2 lockstep: "$work/err" | tail -n 1)"
done

# ---- with kvm ----

# On this host's, which may be one that emulates guest kernels: its single steps and breakpoints are not to be trusted beyond this kernel.
make_kernel exits32 || fail exits32 "cannot build it: $(tail -n 1 "$work/exits32.log")"
if "$duet" -accel kvm,emulated=on -m 16 -kernel "$work/exits32" -device isa-debug-exit,iobase=0x501,iosize=1 -nographic </dev/null 2>&1 | grep -q '^end'; then
    for order in tcg,kvm kvm,interp; do
        run_kernel $order exits32
        status=$?
        [ $status = 0 ] && grep -q '^end' "$work/out" && [ "$(counted)" -gt 500 ]
        verdict "$order/exits32" $? "status $status, last: $(tail -n 1 "$work/out") $(grep -m 1 -E 'lockstep:|duet:' "$work/err")"
    done
    pc=$(objdump -d "$work/exits32" | sed -n 's/^ *\([0-9a-f]*\):.*add  *\$0x8,%edi.*/\1/p' | head -n 1)
    DUET_LOCKSTEP_SPOIL=0x$pc run_kernel tcg,kvm exits32
    status=$?
    [ $status = 1 ] && grep -q "^lockstep: tcg and kvm differ after instruction [0-9]*, at pc 0x$pc: registers" "$work/err"
    verdict found/by_kvm $? "status $status, $(grep -m 1 lockstep: "$work/err")"
else
    skip tcg,kvm "no usable /dev/kvm on this host"
fi

need_guest
# A KVM with hardware behind it, as the translator shows it.
if [ -z "$(find "$guest/cloud/lib/modules" -name kvm-amd.ko)" ]; then
    skip nested "the guest kernel's package has no kvm-amd module"
else
    set --
    for kernel in exits16 exits32 real16 paging64; do
        make_kernel $kernel && mv "$work/$kernel" "$work/$kernel.lockstep"
        set -- "$@" "$work/$kernel.lockstep"
    done
    tests/guest/mknested.sh "$duet" "$work/outer.gz" tests/guest/nested_lockstep.sh "$@" >"$work/mknested.log" 2>&1
    timeout -k 5 "$(limit 200)" "$duet" -accel tcg -cpu max,+svm -m 512 -nographic -no-reboot -kernel "$guest/vmlinuz-cloud" -initrd "$work/outer.gz" \
        -append "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check" </dev/null 2>"$work/outer.err" | tr -d '\r' >"$work/outer"
    sed -n "s,^\(ok\|FAIL\|skip\) nested/,\1 $test_name/nested/,p" "$work/outer"
    grep -q '^nested: end' "$work/outer"
    verdict nested $? "last: $(grep -v '^ *$' "$work/outer" | tail -n 1 | cut -c1-100)"
fi

together tcg,interp ${SOAK:+1}20 -m 256 -kernel "$guest/vmlinuz-cloud" -initrd "$guest/initrd-cloud.gz" -append "console=ttyS0"
lockstep_status=$?
[ "$(counted)" -gt 2000000 ]
verdict cloud $? "status $lockstep_status; $(counted) instructions; $(grep -m 1 lockstep: "$work/err")"
together tcg,interp,blocks=on ${SOAK:+1}20 -m 256 -kernel "$guest/vmlinuz-cloud" -initrd "$guest/initrd-cloud.gz" -append "console=ttyS0"
lockstep_status=$?
[ "$(counted)" -gt 50000000 ]
verdict blocks/cloud $? "status $lockstep_status; $(counted) instructions; $(grep -m 1 lockstep: "$work/err")"
