#!/bin/sh
# Every hop `file:function` of docs/tour.md names a file that exists and a function that is defined (not only declared or called) in it;
# every other path of the documents exists; the page of instructions is current.
. "$(dirname "$0")/lib.sh"

# defines FILE NAME: a definition at the left margin: of a function (its `{` comes before any `;`), a macro, or a struct or table.
defines() {
    awk -v name="$2" '
        !open && $0 ~ "^[A-Za-z_].*[ *]" name "\\(" { open = 1; text = "" }
        open { text = text $0 }
        open && text ~ /;/ && (text !~ /\{/ || index(text, ";") < index(text, "{")) { open = 0; next }
        open && text ~ /\{/ { found = 1; exit }
        $0 ~ "^# *define " name "([ (]|$)" || $0 ~ "^struct " name " \\{" || $0 ~ "^[A-Za-z_].*[ *]" name "(\\[[^;]*)? = \\{" { found = 1; exit }
        END { exit !found }' "$1"
}

hops=0 bad=0
for hop in $(grep -oE '`[a-z][A-Za-z0-9_/-]*\.(c|h|def|S):[A-Za-z_][A-Za-z0-9_]*`' docs/tour.md | tr -d '`' | sort -u); do
    file=${hop%%:*} name=${hop##*:}
    hops=$((hops + 1))
    if [ ! -e "$file" ]; then
        echo "$hop: there is no such file"
        bad=$((bad + 1))
    elif ! defines "$file" "$name"; then
        echo "$hop: not defined there"
        bad=$((bad + 1))
    fi
done
[ "$hops" -ge 20 ]
verdict length $? "only $hops hops in docs/tour.md"
verdict hops $bad "$bad of $hops hops lead nowhere (see the log)"

lost=
for path in $(grep -ohE '`[a-z][A-Za-z0-9_-]*/[A-Za-z0-9_/.-]*`' docs/*.md README.md | tr -d '`' | sort -u); do
    case $path in build/*) continue ;; esac
    [ -e "$path" ] || lost="$lost $path"
done
[ -z "$lost" ]
verdict paths $? "there is no$lost"
# The check itself: what is only called or declared is not defined.
! defines softmmu/mmu.h mmu_set_root && ! defines frontend-x86/fast_sys.c mmu_set_root && defines softmmu/refill.c mmu_set_root
verdict definitions_only $? "a declaration or a call passes for a definition"

# The generated page of instructions says what the table says.
awk -f docs/instructions.awk frontend-x86/insns.def | cmp - docs/instructions.md
verdict instructions $? "docs/instructions.md is not current (make)"
awk -f docs/cpu.awk frontend-x86/insns.def x86/models.c x86/feat.def x86/models.def | cmp - docs/cpu.md
verdict cpu $? "docs/cpu.md is not current (make)"

awk -f docs/counters.awk core/counters.def tcg/places.def | cmp - docs/counters.md
verdict counters $? "docs/counters.md is not current (make)"

# Each feature that is offered names what proves it, and that is there.
lost=
for proof in $(sed -n 's,^FEAT(\([a-z0-9_]*\)\(.*\)[^2])$,\1:nothing,p; s,^FEAT(.*) */\* \(.*\) \*/$,\1,p' x86/feat.def); do
    [ -e "tests/unit/$proof.c" ] || [ -e "tests/guest/kernels/$proof.c" ] || [ -e "tests/$proof.sh" ] || lost="$lost $proof"
done
[ -z "$lost" ]
verdict proofs $? "no such test:$lost"
