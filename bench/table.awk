# result.json on a terminal (after fields.awk): a line for each workload, then the classes, the machines, the failures. `busy` ratios are of processor
# time: less exact for short runs, but other processes on the host disturb them less.
function ms(who) { return show(of(who, "median") == "" ? "" : of(who, "median") / 1e6, "%.0f") }
function busy(a, b) { a = of(a, "busy"); b = of(b, "busy"); return show(a > 0 && b > 0 ? a / b : "", "%.2f") }
function times(name) { return show(field(name), "%.2f") }
function goal(which, sign,    met) {
    met = field(which "_met")
    if (field(which "_goal") == "") return ""
    return sprintf(" %s %s %s %s;", which, sign, field(which "_goal") + 0, met == "" ? "not measured" : met == "true" ? "met" : "MISSED")
}
BEGIN {
    head = "%-14s %-12s %10s %10s %10s %10s %12s %7s %7s %11s\n"
    printf head, "workload", "class", "native ms", "duet ms", "qemu ms", "qemu/duet", "duet/native", "busy", "busy", "host/guest"
}
/^{"workload"/ {
    printf head, field("workload"), field("class"), ms("native"), ms("duet"), ms("qemu"), times("faster"), times("slower"),
        busy("qemu", "duet"), busy("duet", "native"), times("host_per_guest")
}
/^{"class"/ && field("workloads") > 0 {
    classes[++n] = sprintf("%-52s %6s %12s %7s %7s %11s %s%s", field("title"), times("faster"), times("slower"), times("faster_busy"),
        times("slower_busy"), times("host_per_guest"), goal("faster", ">="), goal("slower", "<="))
}
/^{"guest"/ {
    guests[++n_guests] = sprintf("%s-bit guest, %s: %s MiB beyond guest RAM, idle %s %%", field("guest"), field("who"), mebibytes("beyond_ram_kib"),
        percent("idle_share"))
}
/^{"goal"/ && field("value") != "" {
    guests[++n_guests] = sprintf("%s: %.3g, %s %s: %s", field("title"), field("value"), field("words"), field("limit") + 0,
        field("met") == "true" ? "met" : "MISSED")
}
/^{"scaling"/ {
    guests[++n_guests] = sprintf("two jobs at once, %s, %s: %s ms on one processor, %s on two: gain %s", field("scaling"), field("who"),
        field("one_ms"), field("two_ms"), times("gain"))
}
/^{"failed"/ { failed[++n_failed] = sprintf("FAILED %s %s, round %s: %s", field("failed"), field("who"), field("round"), field("why")) }
END {
    printf "\n%-48s %10s %12s %7s %7s %11s\n", "geometric means", "qemu/duet", "duet/native", "busy", "busy", "host/guest"
    for (i = 1; i <= n; i++) print classes[i]
    for (i = 1; i <= n_guests; i++) print guests[i]
    for (i = 1; i <= n_failed; i++) print failed[i]
}
