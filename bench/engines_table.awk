# bench/engines on a terminal: one line a workload and set, nanoseconds an op, the best of the rounds.
FILENAME ~ /\.rows$/ { if (!/^#/) { split($0, f, "|"); order[++n] = f[1] } next }
$1 == "set" { s = $2; sets[++n_sets] = s }
$1 == "tsc" && $2 > hz[s] { hz[s] = $2 }
$1 == "time" { k = s SUBSEP $2 SUBSEP $3; if (!(k in best) || $4 / $5 < best[k]) best[k] = $4 / $5 }
$1 == "fail" { failed[s, $2, $3] }
END {
    split("native kvm tcg interp", engine, " ")
    for (i = 1; i <= n_sets; i++) {
        s = sets[i]
        printf "%-18s %10s %10s %10s %10s   ns an op, %s\n", "", engine[1], engine[2], engine[3], engine[4], s
        for (r = 1; r <= n; r++) {
            line = ""
            some = 0
            for (e = 1; e <= 4; e++) {
                k = s SUBSEP engine[e] SUBSEP order[r]
                some += (k in best) || (k in failed)
                line = line sprintf(" %10s", (k in failed) ? "failed" : (k in best) ? sprintf("%.4g", best[k] * 1e9 / hz[s]) : "-")
            }
            if (some) printf "%-18s%s\n", order[r], line
        }
    }
}
