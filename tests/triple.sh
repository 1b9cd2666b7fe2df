#!/bin/sh
# Kernels that run into nothing: the machine resets, or with -no-reboot the program ends with status 0; it never crashes.
. "$(dirname "$0")/lib.sh"

# run_kernel KIND OPTION...
run_kernel() {
    kind=$1
    shift
    timeout -k 5 "$(limit 15)" "$duet" -accel "$engine" -m 16 -kernel "$work/kind$kind" -nographic \
        -device isa-debug-exit,iobase=0xf4,iosize=4 "$@" </dev/null >"$work/out" 2>"$work/err"
    status=$?
    said=$(tr -d '\r' <"$work/out" | grep -aoE 'boot|again' | tr '\n' ' ')
}

# resets NAME KIND: both ways
resets() {
    make_tiny "$2" || { fail "$1" "cannot assemble it"; return; }
    run_kernel "$2"
    [ "$status" = 33 ] && [ "$said" = "boot again " ]
    verdict "$engine/$1_reset" $? "status $status, it said '$said'"
    run_kernel "$2" -no-reboot
    [ "$status" = 0 ] && [ "$said" = "boot " ]
    verdict "$engine/$1_no_reboot" $? "status $status, it said '$said'"
}

for engine in tcg interp; do
    resets triple_fault 1
    resets jump_into_nowhere 2
    resets keyboard_reset 3
    resets port_cf9 5
    resets bad_idt 6
    resets no_page_tables 7
    # A guest that halts for good stays, and ends in order when it is asked to.
    make_tiny 4
    timeout -k 3 3 "$duet" -accel "$engine" -m 16 -kernel "$work/kind4" -nographic </dev/null >"$work/out" 2>"$work/err"
    status=$?
    [ $status = 124 ] && grep -aq boot "$work/out"
    verdict "$engine/halted" $? "status $status"
done
