#!/bin/sh
# bench/engines, a reduced set with one round: the JSON, and the page in a real headless browser. Each row is in the document, the script has not
# failed, every mark is where its number says, its number is the raw lines' number, and a screenshot is not blank. A broken page is noticed.
. "$(dirname "$0")/lib.sh"

names="integer system_call port_read apic_read page_fault disk_read net_round_trip"
if ! DUET=$duet OUT=$work ROUNDS=1 TICKS=2000000 bench/engines $names >"$work/log" 2>&1; then
    fail runs "$(tail -n 1 "$work/log")"
    exit 0
fi
ok runs
json=$work/engines.json page=$work/engines.html

# ---- the counters, by what was asked of the machine: one port read an op ----

per_op() { awk -v e="$1" -v n="$2" -v c="$3" '$1 == "count" && $2 == e && $3 == n && $5 == c { printf "%.3f\n", $6 / $4 }' "$work/engines.raw"; }
near() { awk -v v="${1:-0}" -v lo="$2" -v hi="$3" 'BEGIN { exit !(v >= lo && v <= hi) }'; }
for engine in tcg interp; do
    near "$(per_op $engine port_read port_read)" 1 1.5 && near "$(per_op $engine page_fault exceptions)" 1 1.05
    verdict counters/$engine $? "$(per_op $engine port_read port_read) port reads, $(per_op $engine page_fault exceptions) exceptions an op"
done
if grep -q '^set host none' "$work/engines.raw"; then
    skip counters/kvm "no KVM"
else
    near "$(per_op kvm port_read kvm_io)" 1 3 && [ "$(per_op kvm port_read kvm_io_time)" != "" ]
    verdict counters/kvm $? "$(per_op kvm port_read kvm_io) exits for ports an op"
fi
# A wrong result is noticed.
sed 's/^\(time tcg integer [0-9]* [0-9]*\) .*/\1 1/' "$work/engines.raw" >"$work/wrong.raw"
awk -f bench/engines.awk bench/engines.rows core/counters.def "$work/wrong.raw" | grep -q '"tcg": {"failed": "a wrong result"}'
verdict wrong_result $? "another value in the raw lines is not noticed"
# The monitor shows the same table while the guest runs; the numbers grow.
(sleep 0.5; echo info counters; sleep 0.5; echo info counters; echo quit) | timeout -k 5 "$(limit 20)" "$duet" -accel tcg -m 64 \
    -kernel "$work/engines64" -append 'port_read 90000000000' -no-reboot -display none -serial null -monitor stdio >"$work/monitor" 2>&1
# shellcheck disable=SC2046
set -- $(tr -d '\r' <"$work/monitor" | sed -n 's/^(duet) port_read *\([0-9]*\) .*/\1/p')
[ $# = 2 ] && [ "$1" -gt 1000 ] && [ "$2" -gt "$1" ] && grep -qE '^blocks +[1-9][0-9]* ' "$work/monitor"
verdict monitor $? "port reads: $*; $(tail -n 1 "$work/monitor")"

# ---- the page ----

browser=$(command -v chromium) || { skip page "no chromium"; exit 0; }
# browse OPTION... URL: a profile of its own, nothing fetched
browse() {
    timeout -k 5 "$(limit 60)" "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
        --user-data-dir="$work/profile" --window-size=1100,2600 "$@" 2>>"$work/browser.log"
}
browse --dump-dom "file://$page" >"$work/dom"
[ -s "$work/dom" ] || fail page/loads "$(tail -n 1 "$work/browser.log")"
tr '<' '\n' <"$work/dom" >"$work/tags"
grep -q "^html.* data-drawn=\"$(echo $names | wc -w)\"" "$work/tags" && ! grep -q '^html.* data-errors=' "$work/tags"
verdict page/no_script_errors $? "$(grep -m 1 '^html' "$work/tags") $(sed -n 's/^div id="errors">//p' "$work/tags")"

missing=
for name in $names; do grep -q "^tr data-name=\"$name\"" "$work/tags" || missing="$missing $name"; done
[ -z "$missing" ]
verdict page/rows $? "not in the document:$missing"
missing=
for word in commit cpu kernel kvm engines date; do sed -n "s/^dd data-fact=\"$word\">//p" "$work/tags" | grep -q . || missing="$missing $word"; done
[ -z "$missing" ] && sed -n 's/^dd data-fact="commit">//p' "$work/tags" | grep -q "^$(git rev-parse --short=12 HEAD)"
verdict page/facts $? "empty or wrong:$missing $(sed -n 's/^dd data-fact="commit">//p' "$work/tags")"

# Marks: KIND ROW ENGINE VALUE WHERE, WHERE being a dot's place or a bar's width; the value against the raw ticks, the place against the logarithm.
sed -n 's/^circle .*cx="\([^"]*\)".*data-row="\([^"]*\)" data-engine="\([^"]*\)" data-value="\([^"]*\)".*/dot \2 \3 \4 \1/p
        s/^svg .*data-plot.*/plot/p
        s/^rect .*width="\([^"]*\)".*data-row="\([^"]*\)" data-engine="\([^"]*\)" data-value="\([^"]*\)".*/bar \2 \3 \4 \1/p' \
    "$work/tags" >"$work/marks"
awk 'FNR == NR { if ($1 == "tsc") hz = $2; if ($1 == "time") ns[$3, $2] = $4 / $5 * 1e9 / hz; next }
     $1 == "dot" && (d = $4 / ns[$2, $3] - 1) * d > 1e-8 { print $0 " but measured " ns[$2, $3]; bad = 1 }
     $1 == "bar" && (d = $4 / (ns[$2, $3] / ns[$2, "native"]) - 1) * d > 1e-8 { print $0 " but measured " ns[$2, $3] / ns[$2, "native"]; bad = 1 }
     { n += $1 != "plot" }
     END { if (n < 10) print n " marks"; exit bad || n < 10 }' "$work/engines.raw" "$work/marks" >"$work/values"
verdict page/numbers_are_the_measured_ones $? "$(head -n 1 "$work/values")"
# Between two dots of a plot: so many pixels a factor of ten, always the same; all bars of a plot likewise, from 1.
awk 'function off(a, b) { return a - b > 0.5 || b - a > 0.5 }
     $1 == "plot" { n = 0; per = 0; next }
     $1 == "bar" { l = log($4); l = l < 0 ? -l : l; if (l > 0.1) { if (!per) per = $5 / l; bars++; if (off($5, per * l)) { print; bad = 1 } } }
     $1 == "dot" { l = log($4)
         if (!n++) { l0 = l; x0 = $5 }
         else if ((d = l - l0) * d > 0.04) { if (!per) per = ($5 - x0) / d; dots++; if (off($5 - x0, per * d) || per <= 0) { print; bad = 1 } } }
     END { if (dots < 4 || bars < 1) { print dots + 0 " dots and " bars + 0 " bars to compare"; bad = 1 } exit bad }' "$work/marks" >"$work/places"
verdict page/marks_are_where_they_belong $? "$(head -n 1 "$work/places")"

# A page whose numbers are cut short says so.
sed 's/"sets": \[/"sets": [{"where": "host", "engines": [], "rows": [{}]}, /' "$page" >"$work/broken.html"
browse --dump-dom "file://$work/broken.html" | grep -q '<html[^>]* data-errors="1"'
verdict page/a_broken_one_is_noticed $? "no data-errors on a page with a row without results"

# PNG signature and size; a blank page's picture is many times smaller.
echo '<!DOCTYPE html><title>blank</title>' >"$work/blank.html"
browse --screenshot="$work/blank.png" "file://$work/blank.html" >/dev/null
browse --screenshot="$work/engines.png" "file://$page" >/dev/null
size=$(wc -c <"$work/engines.png") blank=$(wc -c <"$work/blank.png")
[ "$(od -An -tx1 -N8 "$work/engines.png" | tr -d ' ')" = 89504e470d0a1a0a ] &&
    [ "$(od -An -tx1 -j16 -N8 "$work/engines.png" | tr -d ' ')" = 0000044c00000a28 ] && [ "$blank" -gt 100 ] && [ "$size" -gt $((blank * 8)) ]
verdict page/screenshot $? "$size bytes, a blank page $blank"

# ---- nested ----

need_guest
if [ -z "$(find "$guest/cloud/lib/modules" -name kvm-amd.ko)" ]; then
    skip nested "the guest kernel's package has no kvm-amd module"
    exit 0
fi
mkdir -p "$work/nested"
DUET=$duet OUT=$work/nested ROUNDS=1 TICKS=5000000 ENGINES=native bench/engines nested integer port_read >"$work/nested/log" 2>&1
status=$?
raw=$work/nested/engines.raw
[ $status = 0 ] && grep -q '^set nested hardware .*hardware assistance' "$raw" && near "$(sed '1,/^set nested/d' "$raw" |
    awk '$1 == "count" && $2 == "kvm" && $3 == "port_read" && $5 == "kvm_io" { print $6 / $4 }')" 1 1.5
verdict nested $? "status $status; $(tail -n 1 "$work/nested/log")"
browse --dump-dom "file://$work/nested/engines.html" | tr '<' '\n' >"$work/nested/tags"
grep -q '^section data-set="nested"' "$work/nested/tags" && grep -q 'ran inside a translated machine' "$work/nested/tags" &&
    grep -q '^html.* data-drawn="3"' "$work/nested/tags" && ! grep -q 'data-errors=' "$work/nested/tags"
verdict nested/page_marks_it $? "$(grep -m 1 '^html' "$work/nested/tags")"
