#!/bin/sh
# Who includes whom: every #include "room/..." against the table in tests/layers.txt; and nothing of this tree is included by a bare name.
. "$(dirname "$0")/lib.sh"

rooms=$(sed -n 's/^\([a-z][^ ]*\) .*/\1/p' tests/layers.txt)
bad=0
for room in $rooms; do
    [ -d "$room" ] || continue
    allowed=" $room $(sed -n "s/^$room \(.*\)/\1/p" tests/layers.txt) "
    case $allowed in *' * '*) continue ;; esac
    grep -rn '^ *# *include *"' "$room" --include='*.[ch]' --include='*.def' | sed 's/^\([^:]*:[0-9]*\):.*"\(.*\)".*/\1 \2/' >"$work/includes"
    while read -r place header; do
        target=${header%%/*}
        case $allowed in
        *" $target "*) [ -e "$header" ] || { echo "$place: $header does not exist"; bad=$((bad + 1)); } ;;
        *) echo "$place: $room may not include $header (allowed:$allowed)"; bad=$((bad + 1)) ;;
        esac
    done <"$work/includes"
done
verdict includes $bad "$bad forbidden includes (see the log)"

# A folder with sources that the table does not know would escape the check.
unknown=
for dir in $(find . -name '*.c' -not -path './build/*' -not -path './.git/*' | sed 's,^\./\([^/]*\)/.*,\1,' | sort -u); do
    echo "$rooms" | grep -qx "$dir" || unknown="$unknown $dir"
done
[ -z "$unknown" ]
verdict rooms $? "not in tests/layers.txt:$unknown"
