#!/bin/sh
# bench/run with two workloads, one round, natively and under the translator: what the raw lines say is what the JSON, the page and the README's table
# say; a wrong result, a wrong clock, a machine that does not start and a wrong name are noticed.
. "$(dirname "$0")/lib.sh"

if [ "$(id -u)" != 0 ]; then
    skip all "debootstrap and chroot need root"
    exit 0
fi
need_guest
if ! bench/guest.sh 64 >"$work/guest.log" 2>&1; then
    skip all "no guest: $(tail -n 1 "$work/guest.log")"
    exit 0
fi

raw=$work/result.raw json=$work/result.json page=$work/result.html
DUET=$duet OUT=$work ROUNDS=1 IDLE=1 WHO="native duet" bench/run quick quick strings >"$work/log" 2>&1
status=$?
[ $status = 0 ] && [ "$(grep -c '^time \(quick\|strings\) \(native\|duet\) 1 [0-9]* [0-9a-f]\{32\} ' "$raw")" = 4 ] && ! grep -q '^fail' "$raw"
verdict runs $? "status $status; $(grep -m 1 '^fail' "$raw") $(tail -n 1 "$work/log")"

# ---- the JSON against the raw lines ----

nanoseconds() { awk -v name="$1" -v who="$2" '$1 == "time" && $2 == name && $3 == who { print $5 }' "$3"; }
# get LINE FIELD: of the JSON's line that has LINE in it
get() { grep -F "$1" "$json" | sed -n "s/.*\"$2\": \([^,}]*\).*/\1/p"; }
same() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0 && b > 0 && (a / b - 1) ^ 2 < 1e-6) }'; }
for name in quick strings; do
    want=$(awk -v a="$(nanoseconds $name duet "$raw")" -v b="$(nanoseconds $name native "$raw")" 'BEGIN { printf "%.6f", a / b }')
    same "$(get "\"workload\": \"$name\"" slower)" "$want"
    verdict ratio/$name $? "$(get "\"workload\": \"$name\"" slower) instead of $want"
done
mean=$(awk -v a="$(get '"workload": "quick"' slower)" -v b="$(get '"workload": "strings"' slower)" 'BEGIN { printf "%.6f", sqrt(a * b) }')
same "$(get '"class": "integer", "title"' slower)" "$mean" && same "$(get '"class": "all"' slower)" "$mean"
verdict geometric_mean $? "$(get '"class": "integer", "title"' slower) instead of $mean"
memory=$(get '"guest": 64' beyond_ram_kib)
[ "${memory:-0}" -gt 10000 ] && [ "$memory" -lt 2000000 ] && awk -v i="$(get '"guest": 64' idle_share)" 'BEGIN { exit !(i >= 0 && i < 1) }'
verdict machine $? "memory $memory KiB, idle $(get '"guest": 64' idle_share)"

# Five made-up rounds: the median, the ends, the verdicts on the targets.
mkdir -p "$work/made"
{
    echo "fact mode full"
    echo "memory duet 64 1 2000 1000"
    echo "memory qemu 64 1 4000 2500"
    echo "idle duet 64 0.05"
    echo "density_class integer 3.2"
    echo "scaling int duet 1000 500"
    echo "scaling sort duet 1000 800"
    echo "scaling sort qemu 1000 900"
    for r in 1 2 3 4 5; do
        echo "time gzip native $r 100 x 0 100"
        echo "time gzip duet $r $((r * 50)) x 0 100"
        echo "time gzip qemu $r $((2000 / r)) x 0 100"
        echo "time dash duet $r 100 x 0 100"
        echo "time dash qemu $r 300 x 0 100"
    done
} >"$work/made/raw"
bench/report "$work/made/raw" "$work/made" >"$work/made/log"
json=$work/made/result.json
grep -q '"workload": "gzip".*"duet": {"median": 150, "busy": 0, "least": 50, "most": 250, "runs": \[50, 100, 150, 200, 250\]}' "$json" &&
    [ "$(get '"class": "integer", "title"' faster_met)" = true ] && [ "$(get '"class": "integer", "title"' slower_met)" = true ] &&
    [ "$(get '"class": "interpreter", "title"' faster_met)" = false ] && [ "$(get '"class": "interpreter", "title"' slower_met)" = null ]
verdict medians_and_targets $? "$(grep -m 1 '"workload": "gzip"' "$json")"
goals=$(sed -n 's/^{"goal": "\([a-z0-9]*\)".*"value": \([^,]*\),.*"met": \([a-z]*\)}.*/\1=\2:\3/p' "$json" | tr '\n' ' ')
[ "$goals" = "memory64=0.4000:true memory32=null:null idle64=0.0500:false idle32=null:null density=3.2000:true scaling=1.2500:false " ]
verdict goals $? "$goals"
json=$work/result.json

# ---- what must be noticed ----

mkdir -p "$work/wrong"
awk '$1 == "time" && $2 == "quick" && $3 == "duet" { $6 = "0123" } { print }' "$raw" >"$work/wrong/raw"
! bench/report "$work/wrong/raw" "$work/wrong" >"$work/wrong/log" &&
    grep -q '^{"failed": "quick", "who": "duet", "round": 1, "why": "a wrong result"}' "$work/wrong/result.json" &&
    ! grep '"workload": "quick"' "$work/wrong/result.json" | grep -q '"duet": {' &&
    grep -q '^FAILED quick duet, round 1: a wrong result' "$work/wrong/log"
verdict wrong_result $? "$(grep failed "$work/wrong/result.json")"
! DUET=/bin/false OUT=$work/none ROUNDS=1 IDLE=0 WHO=duet bench/run quick quick >"$work/none.log" 2>&1 &&
    grep -q '^fail boot64 duet 1 ' "$work/none/result.raw"
verdict no_machine $? "$(tail -n 1 "$work/none.log")"
# A machine that only says it has worked, for five seconds.
cat >"$work/liar" <<'MACHINE'
#!/bin/sh
echo "login: root"
echo "ready liar"
while read -r word name command; do
    [ "$word" = run ] || exit 0
    echo "start $name"; read -r go; echo "stop $name"; read -r go; echo "took $name 5000000000 0 00 0"
done
MACHINE
chmod +x "$work/liar"
! DUET=$work/liar OUT=$work/none ROUNDS=1 IDLE=0 WHO=duet bench/run quick quick >"$work/none.log" 2>&1 &&
    grep -q '^fail quick duet 1 clocks disagree: 5000000000 ns in the guest' "$work/none/result.raw"
verdict wrong_clock $? "$(tail -n 1 "$work/none.log")"
! OUT=$work/none bench/run quick quik >"$work/name.log" 2>&1 && grep -q 'no workload or class quik' "$work/name.log"
verdict wrong_name $? "$(cat "$work/name.log")"

# ---- the README's table ----

printf 'before\n<!-- bench -->\nold\n<!-- end of bench -->\nafter\n' >"$work/README.md"
bench/readme "$work/made/result.json" "$work/README.md" && [ "$(head -n 2 "$work/README.md" | tail -n 1)" = '<!-- bench -->' ] &&
    grep -q '^| integer compute | 1 | 4.44 (at least 3.5) | 1.50 (at most 2) |$' "$work/README.md" && ! grep -q old "$work/README.md" &&
    [ "$(tail -n 1 "$work/README.md")" = after ]
verdict readme $? "$(grep integer "$work/README.md")"
cp "$work/README.md" "$work/README.before"
! bench/readme "$work/wrong/result.json" "$work/README.md" 2>"$work/readme.log" && cmp -s "$work/README.md" "$work/README.before"
verdict readme/failed_results_are_refused $? "$(cat "$work/readme.log")"
grep -q '^<!-- bench -->$' README.md && grep -q '^<!-- end of bench -->$' README.md
verdict readme/marks $? "README.md has no place for the table"

# ---- the page ----

browser=$(command -v chromium) || { skip page "no chromium"; exit 0; }
browse() {
    timeout -k 5 "$(limit 60)" "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
        --user-data-dir="$work/profile" --window-size=1100,2600 "$@" 2>>"$work/browser.log"
}
browse --dump-dom "file://$page" | tr '<' '\n' >"$work/tags"
grep -q '^html.* data-drawn="3"' "$work/tags" && ! grep -q '^html.* data-errors=' "$work/tags" && ! grep -q -E '(src|href)="?http' "$work/tags"
verdict page/drawn $? "$(grep -m 1 '^html' "$work/tags") $(sed -n 's/^div id="errors">//p' "$work/tags")"
for name in quick strings; do
    bar=$(sed -n "s/^rect .*data-workload=\"$name\" data-who=\"duet\" data-value=\"\([^\"]*\)\".*/\1/p" "$work/tags")
    same "${bar:-0}" "$(get "\"workload\": \"$name\"" slower)" && grep -q "^tr data-name=\"$name\"" "$work/tags"
    verdict page/$name $? "a bar of ${bar:-nothing} for $(get "\"workload\": \"$name\"" slower)"
done
browse --dump-dom "file://$work/made/result.html" | tr '<' '\n' >"$work/made/tags"
grep -q '^td class="met">≥ 3.5: met' "$work/made/tags" && grep -q '^td class="missed">≥ 4: missed' "$work/made/tags"
verdict page/targets $? "$(grep -m 3 '^td class="m' "$work/made/tags" | tr '\n' ' ')"
# The spread of the rounds: 400 / 250 to 2000 / 50 around 666 / 150, on a scale of logarithms that puts 1 and the value where the bar is.
sed -n 's/^line class="spread" x1="\([^"]*\)" x2="\([^"]*\)".*/\1 \2/p
        s/^rect .* x="\([^"]*\)".* width="\([^"]*\)".*data-workload="gzip" data-who="duet".*/bar \1 \2/p' \
    "$work/made/tags" >"$work/made/marks"
awk 'NR == 1 { x1 = $2; per = $3 / log(666 / 150) }
     NR == 2 { a = $1 - x1 - per * log(400 / 250); b = $2 - x1 - per * log(2000 / 50); exit !(a * a < 1 && b * b < 1) }' "$work/made/marks"
verdict page/spread $? "$(head -n 2 "$work/made/marks" | tr '\n' ' ')"
sed 's/"failures": \[/"failures": [{"failed": "x"}, /; s/"runs": \[/"runs": null, "x": [/' "$page" >"$work/broken.html"
browse --dump-dom "file://$work/broken.html" | grep -q '<html[^>]* data-errors="1"'
verdict page/a_broken_one_is_noticed $? "no data-errors on a page without rounds"
