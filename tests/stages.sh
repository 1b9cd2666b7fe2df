#!/bin/sh
# -d with -D and -dfilter: each stage of one address range is in the file, and nothing of other addresses.
. "$(dirname "$0")/lib.sh"
gcc -m32 -nostdlib -static -no-pie -Wl,--build-id=none,-Ttext=0x100000,-N,--no-warn-rwx-segments -DKIND=8 -o "$work/kernel" tests/guest/tiny.S
symbol() { nm "$work/kernel" | sed -n "s/^0*\([0-9a-f]*\) [tTdD] $1\$/0x\1/p"; }
start=$(symbol _start)
end=$(symbol halt)

# trace CATEGORY LO HI: the trace of a short run is in $work/CATEGORY
trace() {
    rm -f "$work/$1"
    timeout -k 2 "$(limit 20)" "$duet" -accel tcg -m 16 -kernel "$work/kernel" -nographic -no-reboot -d "$1" -D "$work/$1" -dfilter "$2..$3" \
        </dev/null >/dev/null 2>"$work/err"
}
# says CATEGORY NAME PATTERN...: each pattern is in a line of its trace
says() {
    file=$work/$1 name=$2 missing=
    shift 2
    for pattern in "$@"; do
        grep -aqE -- "$pattern" "$file" || missing="$missing [$pattern]"
    done
    [ -z "$missing" ]
    verdict "$name" $? "not in the $(wc -l <"$file") lines of $file:$missing"
}

# The guest's first block: mov $stack, %esp ... cmp $0xa5, %al; je again ... call print.
trace in_asm "$start" "$end"
says in_asm in_asm "^IN: pc $start " "^  $start: mov +esp, 0x" '^  0x[0-9a-f]+: cmp +al, 0xa5$' '^  0x[0-9a-f]+: mov +cr3, eax$' '^  0x[0-9a-f]+: mov +eax, .*0x12345678'
trace ir "$start" "$end"
says ir ir '^IR:' "^block $start\$" '^; guest 0 ' '^ *sub\.b _, rax, \$0xa5 \{flags\}' '^ *jcc\.e' '^ *call\..*@out' '^ *ld\.d .*0x12345678'
trace opt "$start" "$end"
says opt opt '^OPT:' "^block $start\$" '^ *sub\.b _, rax, \$0xa5 \{flags\} live=Z' '^ *jcc\.e'
trace out_asm "$start" "$end"
says out_asm out_asm '^OUT: [0-9]+ bytes for [0-9]+ guest instructions' '^  0x[0-9a-f]+: cmp +.*0xa5$' '^  0x[0-9a-f]+: je +0x' '^  0x[0-9a-f]+: call +0x'
trace int "$start" "$end"
says int int '^exception v=0e e=0000 .*cr2=0000000012345678' '^exception v=08 e=0000 '
trace mmu 0 0xffffffff
says mmu mmu '^mmu: root 0000000000000000 .*no paging' '^mmu: root 8000000000[0-9a-f]+000000? |^mmu: root [89a-f][0-9a-f]+ cr3 0000000000[0-9a-f]+' \
    '^mmu: fetch \(super\) va 0000000000100[0-9a-f]+ -> gpa 100[0-9a-f]+ page 2\^22 perm [0-7]/[0-7]/0 ' \
    '^mmu: read \(super\) va 0000000012345678 -> fault, error code 0 '
# What a guest does to places where nothing is.
gcc -m32 -nostdlib -static -no-pie -Wl,--build-id=none,-Ttext=0x100000,-N,--no-warn-rwx-segments -DKIND=7 -o "$work/kernel7" tests/guest/tiny.S
timeout -k 2 "$(limit 20)" "$duet" -accel tcg -m 16 -kernel "$work/kernel7" -nographic -no-reboot -d guest -D "$work/guest" </dev/null >/dev/null 2>"$work/err"
says guest guest '^guest: memory: read of [0-9]+ bytes at 0xf0000000'

# The filter: a range that holds the first block only shows the first block only; a range without any code shows nothing.
trace in_asm "$start" "$start"
[ "$(grep -ac '^IN:' "$work/in_asm")" = 1 ] && grep -aq "^IN: pc $start " "$work/in_asm"
verdict filter_one_block $? "$(grep -ac '^IN:' "$work/in_asm") blocks instead of the one at $start"
bad=
for what in in_asm ir opt out_asm int mmu; do
    trace $what 0x40000000 0x4fffffff
    ! grep -aqE '^(IN|IR|OPT|OUT|exception|mmu)' "$work/$what" || bad="$bad $what"
done
[ -z "$bad" ]
verdict filter_elsewhere $? "lines of other addresses:$bad"
