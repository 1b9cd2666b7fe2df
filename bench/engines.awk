# bench/engines: its rows, the counters' table and the raw lines (bench/engines_run.sh) become one JSON object. Times are the best of the rounds, in
# nanoseconds an op; a compute kernel whose check value differs between engines has failed. Events an op: what was counted, less what the
# workload `empty` counts in the same engine (start-up and output), by the ops of that run.
function quote(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); gsub(/</, "\\u003c", s); gsub(/[[:cntrl:]]/, " ", s); return "\"" s "\"" }
function member(name, value) { printf "%s%s: %s", sep, quote(name), value; sep = ", " }

FILENAME ~ /\.rows$/ {
    if (!/^#/) { n_rows++; split($0, f, "|"); for (i = 1; i <= 6; i++) row[n_rows, i] = f[i] }
    next
}
FILENAME ~ /\.def$/ {
    if (match($0, /^COUNTER\(/)) {
        split(substr($0, 9), f, /, *|"/)
        split($0, q, "\"")
        counter[++n_counters] = f[1]
        unit[f[1]] = f[2]
        what[f[1]] = q[2]
    }
    next
}
$1 == "fact" { fact[++n_facts] = $2; value[n_facts] = substr($0, length($1 $2) + 3) }
$1 == "set" { s = $2; sets[++n_sets] = s; kind[s] = $3; why[s] = substr($0, length($1 $2 $3) + 4) }
$1 == "tsc" && $2 > hz[s] { hz[s] = $2 }
$1 == "time" || $1 == "fail" { if (!((s, $2) in has)) { has[s, $2]; engines[s, ++n_engines[s]] = $2 } }
$1 == "time" {
    k = s SUBSEP $2 SUBSEP $3
    raw[k, ++n_raw[k]] = $4 / $5
    if ($6) {
        if (!((s, $3) in check)) check[s, $3] = $6
        else if (check[s, $3] != $6) bad[k] = "a wrong result"
    }
}
$1 == "fail" { k = s SUBSEP $2 SUBSEP $3; bad[k] = substr($0, length($1 $2 $3) + 4) }
$1 == "count" { k = s SUBSEP $2 SUBSEP $3; ops[k] = $4; count[k, $5] = $6 }

# Events an op of one result.
function events(k, base,    i, c, v, first) {
    printf ", \"events\": {"
    first = 1
    for (i = 1; i <= n_counters; i++) {
        c = counter[i]
        v = (count[k, c] - count[base, c]) / ops[k]
        if (v >= 0.01 && count[k, c] > 1.25 * count[base, c]) { printf "%s%s: %.4g", (first ? "" : ", "), quote(c), v; first = 0 }
    }
    printf "}"
}

function result(k, base,    i, best) {
    if (k in bad) { printf "{\"failed\": %s}", quote(bad[k]); return }
    best = raw[k, 1]
    for (i = 2; i <= n_raw[k]; i++) if (raw[k, i] < best) best = raw[k, i]
    printf "{\"ns\": %.6g, \"rounds\": [", best * 1e9 / hz[s]
    for (i = 1; i <= n_raw[k]; i++) printf "%s%.6g", (i > 1 ? ", " : ""), raw[k, i] * 1e9 / hz[s]
    printf "]"
    if (k in ops) events(k, base)
    printf "}"
}

END {
    printf "{"
    for (i = 1; i <= n_facts; i++) member(fact[i], quote(value[i]))
    printf ",\n\"counters\": {"
    sep = ""
    for (i = 1; i <= n_counters; i++) member(counter[i], "[" quote(unit[counter[i]]) ", " quote(what[counter[i]]) "]")
    printf "},\n\"sets\": ["
    for (n = 1; n <= n_sets; n++) {
        s = sets[n]
        printf "%s{\"where\": %s, \"kvm\": %s, \"why\": %s, ", (n > 1 ? ",\n" : ""), quote(s), quote(kind[s]), quote(why[s])
        printf "\"tsc_hz\": %d, \"engines\": [", hz[s]
        for (e = 1; e <= n_engines[s]; e++) printf "%s%s", (e > 1 ? ", " : ""), quote(engines[s, e])
        printf "], \"rows\": ["
        sep = "\n"
        for (r = 1; r <= n_rows; r++) {
            some = 0
            for (e = 1; e <= n_engines[s]; e++) { k = s SUBSEP engines[s, e] SUBSEP row[r, 1]; some += (k in bad) || (k in n_raw) }
            if (!some) continue
            printf "%s{\"name\": %s, \"group\": %s, \"op\": %s, \"title\": %s, \"what\": %s, \"natively\": %s, \"results\": {", sep,
                quote(row[r, 1]), quote(row[r, 2]), quote(row[r, 3]), quote(row[r, 4]), quote(row[r, 5]), quote(row[r, 6])
            some = 0
            for (e = 1; e <= n_engines[s]; e++) {
                k = s SUBSEP engines[s, e] SUBSEP row[r, 1]
                if (!(k in bad) && !(k in n_raw)) continue
                printf "%s%s: ", (some++ ? ", " : ""), quote(engines[s, e])
                result(k, s SUBSEP engines[s, e] SUBSEP "empty")
            }
            printf "}}"
            sep = ",\n"
        }
        printf "]}"
    }
    printf "]}\n"
}
