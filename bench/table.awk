# result.json on a terminal: a line for each workload, then the classes, the machines, the failures. `busy` ratios are of processor time: less exact for
# short runs, but another process on the host disturbs them less.
function field(name,    s) { if (!match($0, "\"" name "\": [^,}]*")) return ""; s = substr($0, RSTART, RLENGTH); sub(/^[^:]*: "?/, "", s); sub(/"$/, "", s); return s == "null" ? "" : s }
function of(who,    s) { if (!match($0, "\"" who "\": {\"median\": [0-9]+")) return ""; s = substr($0, RSTART, RLENGTH); sub(/.* /, "", s); return s }
function show(x, format) { return x == "" ? "-" : sprintf(format, x) }
function busy(who,    s) { if (!match($0, "\"" who "\": {\"median\": [0-9]+, \"busy\": [0-9]+")) return 0; s = substr($0, RSTART, RLENGTH); sub(/.* /, "", s); return s }
function ratio(a, b) { return a > 0 && b > 0 ? sprintf("%.2f", a / b) : "-" }
function ms(who,    x) { x = of(who); return x == "" ? "-" : sprintf("%.0f", x / 1e6) }
BEGIN { printf "%-14s %-12s %10s %10s %10s %10s %12s %7s %7s %12s\n", "workload", "class", "native ms", "duet ms", "qemu ms", "qemu/duet", "duet/native", "busy", "busy", "host/guest" }
/^{"workload"/ {
    printf "%-14s %-12s %10s %10s %10s %10s %12s %7s %7s %12s\n", field("workload"), field("class"), ms("native"), ms("duet"), ms("qemu"),
        show(field("faster"), "%.2f"), show(field("slower"), "%.2f"), ratio(busy("qemu"), busy("duet")), ratio(busy("duet"), busy("native")), show(field("host_per_guest"), "%.2f")
}
/^{"class"/ && field("workloads") > 0 { classes[++n] = sprintf("%-52s %10s %12s %7s %7s %s%s", title(), show(field("faster"), "%.2f"), show(field("slower"), "%.2f"),
    show(field("faster_busy"), "%.2f"), show(field("slower_busy"), "%.2f"), goal("faster", ">="), goal("slower", "<=")) }
function title(    s) { s = $0; sub(/.*"title": "/, "", s); sub(/".*/, "", s); return s }
function goal(which, sign,    g) { g = field(which "_goal"); return g == "" ? "" : sprintf(" %s %s %s %s;", which, sign, g + 0, field(which "_met") == "true" ? "met" : field(which "_met") == "false" ? "MISSED" : "not measured") }
/^{"guest"/ { guests[++n_guests] = sprintf("%s-bit guest, %s: %s MiB beyond guest RAM, idle %s %%", field("guest"), field("who"), show(field("beyond_ram_kib") / 1024, "%.0f"), show(field("idle_share") * 100, "%.1f")) }
/^{"failed"/ { failed[++n_failed] = sprintf("FAILED %s %s, round %s: %s", field("failed"), field("who"), field("round"), why()) }
function why(    s) { s = $0; sub(/.*"why": "/, "", s); sub(/"},?$/, "", s); return s }
END {
    printf "\n%-52s %10s %12s %7s %7s\n", "geometric means", "qemu/duet", "duet/native", "busy", "busy"
    for (i = 1; i <= n; i++) print classes[i]
    for (i = 1; i <= n_guests; i++) print guests[i]
    for (i = 1; i <= n_failed; i++) print failed[i]
}
