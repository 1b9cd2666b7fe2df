# result.json from bench/classes, bench/goals, bench/workloads and the raw lines of bench/run (bench/machine.sh says what they are). One object a
# line: bench/fields.awk reads it so.
function text(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); gsub(/[^ -~]/, "?", s); return "\"" s "\"" }
function number(x) { return x == "" ? "null" : x ~ /^[0-9]+$/ ? x "" : sprintf("%.4f", x) }
# An object's fields, one after the other; `item` and the end of the line by list().
function put(key, value) { item = item (item == "" ? "{" : ", ") "\"" key "\": " value }
function push() { items[++n_items] = item "}"; item = "" }
function list(name, last,    i) {
    print "\"" name "\": ["
    for (i = 1; i <= n_items; i++) print items[i] (i < n_items ? "," : "")
    print last ? "]}" : "],"
    n_items = 0
}

function fail(name, who, round, why) {
    gsub(/\|/, "/", why)
    failed[++n_failed] = name "|" who "|" round "|" why;
    bad[name, who] = 1
}

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
function add(class, which, x) { if (x != "") { logs[class, which] += log(x); count[class, which]++ } }
function mean(class, which) { return count[class, which] ? exp(logs[class, which] / count[class, which]) : "" }
function verdict(x, target, at_least) { return x == "" || target == "" ? "null" : (at_least ? x >= target : x <= target) ? "true" : "false" }

# A workload's ratios, counted in its class and in those that the class counts in.
function compare(w,    c) {
    faster[w] = ratio(median[w, "qemu"], median[w, "duet"])
    slower[w] = ratio(median[w, "duet"], median[w, "native"])
    for (c = class_of[w]; c != ""; c = within[c]) {
        add(c, "faster", faster[w])
        add(c, "slower", slower[w])
        add(c, "qemu_slower", ratio(median[w, "qemu"], median[w, "native"]))
        add(c, "faster_busy", ratio(median_busy[w, "qemu"], median_busy[w, "duet"]))
        add(c, "slower_busy", ratio(median_busy[w, "duet"], median_busy[w, "native"]))
        add(c, "density", density[w])
        if (measured[w]) members[c]++
    }
}

function put_class(c) {
    put("class", text(c))
    put("title", text(title[c]))
    put("workloads", members[c] + 0)
    put("faster", number(mean(c, "faster")))
    put("faster_goal", number(goal[c, "faster"]))
    put("faster_met", verdict(mean(c, "faster"), goal[c, "faster"], 1))
    put("slower", number(mean(c, "slower")))
    put("slower_goal", number(goal[c, "slower"]))
    put("slower_met", verdict(mean(c, "slower"), goal[c, "slower"], 0))
    put("qemu_slower", number(mean(c, "qemu_slower")))
    put("faster_busy", number(mean(c, "faster_busy")))
    put("slower_busy", number(mean(c, "slower_busy")))
    put("host_per_guest", number(c in class_density ? class_density[c] : mean(c, "density")))
    push()
}

function put_workload(w,    o, j, who, all) {
    put("workload", text(w))
    put("class", text(class_of[w]))
    put("guest", bits[w])
    put("size", number(mode == "quick" ? quick[w] : full[w]))
    put("command", text(command[w]))
    put("faster", number(faster[w]))
    put("slower", number(slower[w]))
    put("host_per_guest", number(density[w]))
    for (o = 1; o <= 4; o++) {
        who = order[o]
        if (!median[w, who]) continue
        all = ""
        for (j = 1; j <= runs[w, who]; j++) all = all (j > 1 ? ", " : "") sprintf("%.0f", took[w, who, j])
        put(who, sprintf("{\"median\": %.0f, \"busy\": %.0f, \"least\": %.0f, \"most\": %.0f, \"runs\": [%s]}",
            median[w, who], median_busy[w, who], least[w, who], most[w, who], all))
    }
    push()
}

function put_machine(b, who,    k) {
    k = b SUBSEP who
    if (!(k in peak) && !(k in idle)) return
    put("guest", b)
    put("who", text(who))
    put("peak_kib", number(peak[k]))
    put("beyond_ram_kib", number(beyond[k]))
    put("idle_share", number(idle[k]))
    put("clock", number(ratio(its_clock[k], host_clock[k])))
    push()
}

# What a row of bench/goals came to, if it was measured.
function reached(which,    i, least_gain, f) {
    if (which ~ /^memory/) return ratio(beyond[substr(which, 7), "duet"], beyond[substr(which, 7), "qemu"])
    if (which ~ /^idle/) return idle[substr(which, 5), "duet"]
    if (which == "density") return "integer" in class_density ? class_density["integer"] : ""
    for (i = 1; i <= n_pairs; i++) {
        split(pairs[i], f, "|")
        if (f[2] == "duet" && (least_gain == "" || f[3] / f[4] < least_gain)) least_gain = f[3] / f[4]
    }
    return least_gain
}
function put_goal(row,    f, x) {
    split(row, f, "|")
    x = reached(f[1])
    put("goal", text(f[1]))
    put("title", text(f[2]))
    put("value", number(x))
    put("words", text(f[3]))
    put("limit", number(f[4]))
    put("met", verdict(x, f[4], f[3] == "at least"))
    push()
}

function take_time(w, who, round, took_, sum_, busy_, host,    n, k) {
    n = ++runs[w, who]
    took[w, who, n] = took_
    sum[w, who, n] = sum_
    busy[w, who, n] = busy_
    round_of[w, who, n] = round
    measured[w] = 1
    if (who == "native" && !(w in right)) right[w] = sum_
    if (host) {
        k = bits[w] SUBSEP who
        its_clock[k] += took_
        host_clock[k] += host
    }
}

# What a workload has printed must be what it prints natively, or what it printed first.
function check(w,    o, j, who) {
    for (o = 1; o <= 4; o++) {
        who = order[o]
        for (j = 1; j <= runs[w, who]; j++) {
            if (!(w in right)) right[w] = sum[w, who, j]
            if (sum[w, who, j] != right[w]) fail(w, who, round_of[w, who, j], "a wrong result")
        }
    }
}

BEGIN { FS = "|"; split("native duet qemu kvm", order, " ") }
/^#/ { next }
FILENAME ~ /classes$/ { class_name[++n_classes] = $1; title[$1] = $2; goal[$1, "faster"] = $3; goal[$1, "slower"] = $4; within[$1] = $5; next }
FILENAME ~ /goals$/ { goals[++n_goals] = $0; next }
FILENAME ~ /workloads$/ {
    name[++n_names] = $1; class_of[$1] = $2; bits[$1] = $3; quick[$1] = $5; full[$1] = $6
    command[$1] = $0
    for (i = 1; i <= 6; i++) sub(/^[^|]*\|/, "", command[$1])
    next
}
{ split($0, f, " ") }
f[1] == "fact" { key[++n_facts] = f[2]; sub(/^fact [^ ]* /, ""); fact[n_facts] = $0; if (f[2] == "mode") mode = f[3] }
f[1] == "time" { take_time(f[2], f[3], f[4], f[5], f[6], f[7], f[8]) }
f[1] == "fail" { sub(/^fail [^ ]* [^ ]* [^ ]* /, ""); fail(f[2], f[3], f[4], $0); measured[f[2]] = 1 }
f[1] == "density" { density[f[2]] = f[3] }
f[1] == "density_class" { class_density[f[2]] = f[3] }
f[1] == "counter" { counted[++n_counted] = f[2] "|" f[3] "|" f[4] }
f[1] == "scaling" && f[4] > 0 && f[5] > 0 { pairs[++n_pairs] = f[2] "|" f[3] "|" f[4] "|" f[5] }
f[1] == "memory" { k = f[3] SUBSEP f[2]; if (f[6] > beyond[k]) { beyond[k] = f[6]; peak[k] = f[5] } }
f[1] == "idle" { idle[f[3], f[2]] = f[4] }

END {
    for (i = 1; i <= n_names; i++) {
        check(name[i])
        for (o = 1; o <= 4; o++) statistics(name[i], order[o])
        compare(name[i])
    }
    print "{\"facts\": {"
    for (i = 1; i <= n_facts; i++) print text(key[i]) ": " text(fact[i]) (i < n_facts ? "," : "")
    print "},"
    for (i = 1; i <= n_classes; i++) put_class(class_name[i])
    list("classes")
    for (i = 1; i <= n_names; i++) if (measured[name[i]]) put_workload(name[i])
    list("workloads")
    for (b = 64; b >= 32; b -= 32) for (o = 2; o <= 4; o++) put_machine(b, order[o])
    list("guests")
    for (i = 1; i <= n_goals; i++) put_goal(goals[i])
    list("goals")
    for (i = 1; i <= n_pairs; i++) {
        split(pairs[i], f, "|")
        put("scaling", text(f[1])); put("who", text(f[2])); put("one_ms", f[3]); put("two_ms", f[4]); put("gain", number(f[3] / f[4]))
        push()
    }
    list("scaling")
    for (i = 1; i <= n_counted; i++) { split(counted[i], f, "|"); put("counter", text(f[2])); put("guest", f[1]); put("value", f[3]); push() }
    list("counters")
    for (i = 1; i <= n_failed; i++) {
        split(failed[i], f, "|")
        put("failed", text(f[1])); put("who", text(f[2])); put("round", f[3]); put("why", text(f[4]))
        push()
    }
    list("failures", 1)
}
