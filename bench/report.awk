# result.json from bench/classes, bench/workloads and the raw lines of bench/run (bench/machine.sh says what they are). One object a line, fields in a
# fixed order: bench/table.awk and bench/readme.awk read it so.
function text(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); gsub(/[^ -~]/, "?", s); return "\"" s "\"" }
function number(x) { return x == "" ? "null" : x ~ /^[0-9]+$/ ? x "" : sprintf("%.4f", x) }
function fail(name, who, round, why) { failures[++n_failures] = sprintf("{\"failed\": %s, \"who\": \"%s\", \"round\": %d, \"why\": %s}", text(name), who, round, text(why)); bad[name, who] = 1 }

# The runs of a workload by one of the four, in order of size: median and ends, of the times and of the processor times.
function sorted(what, name, who, v,    n, i, j, x) {
    n = runs[name, who]
    for (i = 1; i <= n; i++) {
        x = what == "busy" ? busy[name, who, i] : took[name, who, i]
        for (j = i - 1; j > 0 && v[j] > x; j--) v[j + 1] = v[j]
        v[j + 1] = x
    }
    return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}
function statistics(name, who,    v) {
    if (!runs[name, who] || (name, who) in bad) return
    median_busy[name, who] = sorted("busy", name, who, v)
    median[name, who] = sorted("took", name, who, v)
    least[name, who] = v[1]
    most[name, who] = v[runs[name, who]]
}
function ratio(a, b) { return a > 0 && b > 0 ? a / b : "" }
function mean(sum, n) { return n ? exp(sum / n) : "" }
function add(class, which, x) { if (x != "") { logs[class, which] += log(x); count[class, which]++ } }
function verdict(x, target, at_least) { return x == "" || target == "" ? "null" : (at_least ? x >= target : x <= target) ? "true" : "false" }

BEGIN { FS = "|"; split("native duet qemu kvm", order, " ") }
/^#/ { next }
FILENAME ~ /classes$/ { class_name[++n_classes] = $1; title[$1] = $2; goal[$1, "faster"] = $3; goal[$1, "slower"] = $4; in_all[$1] = $5 == "all"; next }
FILENAME ~ /workloads$/ {
    name[++n_names] = $1; class_of[$1] = $2; bits[$1] = $3
    command[$1] = $0
    for (i = 1; i <= 6; i++) sub(/^[^|]*\|/, "", command[$1])
    next
}
{ split($0, f, " ") }
f[1] == "fact" { key[++n_facts] = f[2]; sub(/^fact [^ ]* /, ""); fact[n_facts] = $0 }
f[1] == "time" && f[3] == "native" && !(f[2] in right) { right[f[2]] = f[6] }
f[1] == "time" { took[f[2], f[3], ++runs[f[2], f[3]]] = f[5]; sum[f[2], f[3], runs[f[2], f[3]]] = f[6]; round_of[f[2], f[3], runs[f[2], f[3]]] = f[4]; busy[f[2], f[3], runs[f[2], f[3]]] = f[7]; if (f[8]) { guest_clock[f[3]] += f[5]; host_clock[f[3]] += f[8] } }
f[1] == "fail" { who = f[3]; r = f[4]; n = f[2]; sub(/^fail [^ ]* [^ ]* [^ ]* /, ""); fail(n, who, r, $0) }
f[1] == "density" { density[f[2]] = f[3] }
f[1] == "memory" { k = f[3] SUBSEP f[2]; if (f[6] > beyond[k]) { beyond[k] = f[6]; peak[k] = f[5] }; sizes[f[3]] }
f[1] == "idle" { idle[f[3], f[2]] = f[4]; sizes[f[3]] }

END {
    for (i = 1; i <= n_names; i++) {
        w = name[i]
        for (o = 1; o <= 4; o++)
            for (j = 1; j <= runs[w, order[o]]; j++) {
                if (!(w in right)) right[w] = sum[w, order[o], j]
                if (sum[w, order[o], j] != right[w]) fail(w, order[o], round_of[w, order[o], j], "a wrong result")
            }
        for (o = 1; o <= 4; o++) statistics(w, order[o])
        faster[w] = ratio(median[w, "qemu"], median[w, "duet"])
        slower[w] = ratio(median[w, "duet"], median[w, "native"])
        faster_busy = ratio(median_busy[w, "qemu"], median_busy[w, "duet"]); slower_busy = ratio(median_busy[w, "duet"], median_busy[w, "native"])
        qemu_slower = ratio(median[w, "qemu"], median[w, "native"])
        for (j = 1; j <= 2; j++) {
            c = j == 1 ? class_of[w] : "all"
            if (j == 2 && !in_all[class_of[w]]) continue
            add(c, "faster", faster[w]); add(c, "slower", slower[w]); add(c, "qemu", qemu_slower); add(c, "density", density[w])
            add(c, "faster_busy", faster_busy); add(c, "slower_busy", slower_busy)
        }
    }
    print "{\"facts\": {"
    for (i = 1; i <= n_facts; i++) printf "%s: %s%s\n", text(key[i]), text(fact[i]), i < n_facts ? "," : ""
    print "},\n\"classes\": ["
    for (i = 1; i <= n_classes; i++) {
        c = class_name[i]
        f1 = mean(logs[c, "faster"], count[c, "faster"]); s1 = mean(logs[c, "slower"], count[c, "slower"])
        printf "{\"class\": \"%s\", \"title\": %s, \"workloads\": %d, \"faster\": %s, \"faster_goal\": %s, \"faster_met\": %s, \"slower\": %s, \"slower_goal\": %s, \"slower_met\": %s, \"qemu_slower\": %s, \"faster_busy\": %s, \"slower_busy\": %s, \"host_per_guest\": %s}%s\n",
            c, text(title[c]), count[c, "faster"], number(f1), number(goal[c, "faster"]), verdict(f1, goal[c, "faster"], 1), number(s1), number(goal[c, "slower"]),
            verdict(s1, goal[c, "slower"], 0), number(mean(logs[c, "qemu"], count[c, "qemu"])),
            number(mean(logs[c, "faster_busy"], count[c, "faster_busy"])), number(mean(logs[c, "slower_busy"], count[c, "slower_busy"])), number(mean(logs[c, "density"], count[c, "density"])), i < n_classes ? "," : ""
    }
    print "],\n\"workloads\": ["
    separator = ""
    for (i = 1; i <= n_names; i++) {
        w = name[i]
        some = 0
        for (o = 1; o <= 4; o++) some += runs[w, order[o]] || ((w, order[o]) in bad)
        if (!some) continue
        printf "%s{\"workload\": %s, \"class\": \"%s\", \"guest\": %s, \"command\": %s, \"faster\": %s, \"slower\": %s, \"host_per_guest\": %s",
            separator, text(w), class_of[w], bits[w], text(command[w]), number(faster[w]), number(slower[w]), number(density[w])
        separator = ",\n"
        for (o = 1; o <= 4; o++) {
            if (!median[w, order[o]]) continue
            printf ", \"%s\": {\"median\": %.0f, \"busy\": %.0f, \"least\": %.0f, \"most\": %.0f, \"runs\": [", order[o], median[w, order[o]], median_busy[w, order[o]], least[w, order[o]], most[w, order[o]]
            for (j = 1; j <= runs[w, order[o]]; j++) printf "%s%.0f", (j > 1 ? ", " : ""), took[w, order[o], j]
            printf "]}"
        }
        printf "}"
    }
    print "\n],\n\"guests\": ["
    separator = ""
    for (b = 64; b >= 32; b -= 32) {
        if (!(b in sizes)) continue
        for (o = 2; o <= 4; o++) {
            k = b SUBSEP order[o]
            if (!(k in peak) && !(k in idle)) continue
            printf "%s{\"guest\": %d, \"who\": \"%s\", \"peak_kib\": %s, \"beyond_ram_kib\": %s, \"idle_share\": %s}", separator, b, order[o], number(peak[k]), number(beyond[k]), number(idle[k])
            separator = ",\n"
        }
    }
    print "\n],\n\"failures\": ["
    for (i = 1; i <= n_failures; i++) print failures[i] (i < n_failures ? "," : "")
    print "]}"
}
