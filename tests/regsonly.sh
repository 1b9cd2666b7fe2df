#!/bin/sh
# Code that runs while the host's FPU holds the guest's values (tcg/env.h; REGSONLY in the Makefile) must not touch vector or x87
# registers, nor call the C library, whose string functions do.
. "$(dirname "$0")/lib.sh"

objects=$(sed -n 's/^REGSONLY := //p' Makefile)
# Files compiled so by a pragma also hold set-up and dump functions: of these only the registers are looked at.
by_pragma=$(grep -l '^#pragma GCC target("general-regs-only")' */*.c | sed 's/c$/o/')
# What cannot touch the FPU: a failed assertion does not come back; locks use general registers only.
allowed='__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|pthread_mutex_lock|pthread_mutex_unlock'

nm -g --defined-only build/rel/libduet.a 2>/dev/null | sed -n 's/^[0-9a-f]* [A-Z] //p' | sort -u >"$work/ours"
vectors= calls= missing=
for o in $objects $by_pragma; do
    file=build/rel/$o
    if [ ! -e "$file" ]; then
        missing="$missing $o"
        continue
    fi
    [ "$o" != backend-x86_64/fpu.o ] || continue            # it is the one that saves and loads them
    objdump -d --no-show-raw-insn "$file" >"$work/code"
    n=$(grep -cE '%[xyz]mm[0-9]|%st\b|%mm[0-7]|fxsave|fxrstor|[^a-z]f(ld|st|n?init)' "$work/code")
    [ "$n" = 0 ] || vectors="$vectors $o($n)"
    case " $objects " in *" $o "*) ;; *) continue ;; esac
    foreign=$(nm -u "$file" | sed 's/.* U //; s/ *$//' | grep -vxF -f "$work/ours" | grep -vxE "$allowed" | tr '\n' ' ')
    [ -z "$foreign" ] || calls="$calls $o: $foreign"
done
[ -z "$missing" ]
verdict objects $? "not built:$missing"
[ -z "$vectors" ]
verdict registers $? "vector or x87 registers in:$vectors"
[ -z "$calls" ]
verdict libc $? "calls into the C library:$calls"
