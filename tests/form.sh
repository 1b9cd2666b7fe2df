#!/bin/sh
# The form: a Makefile under 120 lines, no function over 100 lines, no C file over 1,000 (tables exempt), an opening comment
# in each file, nothing left to do.
. "$(dirname "$0")/lib.sh"

files=$(find core x86 host hw softmmu tcg frontend-x86 backend-x86_64 kvm vmm tests bench -name '*.[ch]' | sort)

[ "$(wc -l <Makefile)" -lt 120 ]
verdict makefile $? "the Makefile has $(wc -l <Makefile) lines"

# shellcheck disable=SC2086
long=$(awk 'FNR == 1 { inside = 0 } /^\{/ { inside = FNR } /^\}/ && inside { if (FNR - inside > 100) printf " %s:%d(%d)", FILENAME, inside, FNR - inside; inside = 0 }' $files)
[ -z "$long" ]
verdict functions $? "over 100 lines:$long"

long=
for f in $files; do
    n=$(wc -l <"$f")
    [ "$n" -le 1000 ] || long="$long $f($n)"
done
[ -z "$long" ]
verdict files $? "over 1000 lines:$long"

bare=
for f in $files; do
    head -n 1 "$f" | grep -q '^/\*' || bare="$bare $f"
done
[ -z "$bare" ]
verdict openings $? "no opening comment:$bare"

# shellcheck disable=SC2086
left=$(grep -nE '\b(TODO|FIXME|XXX)\b' $files | cut -d: -f1,2 | tr '\n' ' ')
[ -z "$left" ]
verdict finished $? "left to do: $left"
