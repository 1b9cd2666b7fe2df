# The README's table from result.json (after fields.awk).
function target(which, words) { return field(which "_goal") == "" ? "" : " (" words " " field(which "_goal") + 0 ")" }
BEGIN { name["duet"] = "Duet"; name["qemu"] = "QEMU"; name["kvm"] = "Duet on KVM" }
/^"[a-z]*": "/ { key = substr($1, 2, length($1) - 3); fact[key] = field(key) }
/^{"class"/ && field("workloads") > 0 && field("class") != "loops" {
    lines[++n] = sprintf("| %s | %s | %s%s | %s%s |", field("title"), field("workloads"), show(field("faster"), "%.2f"),
        target("faster", "at least"), show(field("slower"), "%.2f"), target("slower", "at most"))
}
/^{"guest"/ {
    machines[++n_machines] = sprintf("%s-bit guest under %s: %s MiB of the program beside guest RAM, idle %s %% of a processor", field("guest"),
        name[field("who")], mebibytes("beyond_ram_kib"), percent("idle_share"))
}
END {
    printf "Measured by `bench/run%s` on %s, commit %s: %s,\nrounds: %s, host load %s; beside %s.\nGeometric means; in brackets what is aimed at.\n\n",
        fact["mode"] == "quick" ? " quick" : "", fact["date"], fact["commit"], fact["cpu"], fact["rounds"], fact["load"], fact["qemu"]
    print "| class | workloads | times faster than QEMU's translator | times slower than native |\n|---|---|---|---|"
    for (i = 1; i <= n; i++) print lines[i]
    print ""
    for (i = 1; i <= n_machines; i++) print "- " machines[i]
}
