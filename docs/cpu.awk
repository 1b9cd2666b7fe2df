# Makes docs/cpu.md from x86/feat.def, x86/models.def and frontend-x86/insns.def (whose heads explain the columns): the models, and for each feature how
# it is made, who has it and what proves it. usage: awk -f docs/cpu.awk frontend-x86/insns.def x86/models.c x86/feat.def x86/models.def
function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); return s }
function add(model, words,   n, i, w, part, k) {
    n = split(words, part, " ")
    for (i = 1; i <= n; i++) {
        w = part[i]
        if (w == "*") { for (k = 1; k <= features; k++) if (kind[order[k]] < 2) has[model, order[k]] = 1 }
        else if (w == "?") continue
        else if (w ~ /^-/) delete has[model, substr(w, 2)]
        else if (!(w in kind)) { print "docs/cpu.awk: " model ": no feature " w > "/dev/stderr"; exit 1 }
        else if (kind[w] != 2) has[model, w] = 1
    }
}
# What a feature builds on, of the table in models.c; taken away where that is missing.
FILENAME ~ /models\.c$/ { while (match($0, /\{ FEAT_[a-z0-9_]*, FEAT_[a-z0-9_]* \}/)) {
    split(substr($0, RSTART, RLENGTH), f, /[ ,]+/); need[substr(f[2], 6)] = need[substr(f[2], 6)] " " substr(f[3], 6); $0 = substr($0, RSTART + RLENGTH) } }
function drop(model,   again, k, i, n, part) {
    do {
        again = 0
        for (k = 1; k <= features; k++) {
            n = (model, order[k]) in has ? split(need[order[k]], part, " ") : 0
            for (i = 1; i <= n; i++) if (!((model, part[i]) in has)) { delete has[model, order[k]]; again = 1 }
        }
    } while (again)
}
FILENAME ~ /insns\.def$/ && /^I\(/ { split($0, f, ","); encodings[trim(f[15])]++ }
FILENAME ~ /feat\.def$/ && /^FEAT\(/ {
    sub(/^FEAT\(/, ""); split($0, f, /[,)]/)
    name = f[1]; order[++features] = name; kind[name] = trim(f[6])
    split("eax ebx ecx edx", reg, " ")
    place[name] = toupper(sprintf("%s", trim(f[2]))) (trim(f[3]) > 0 ? "." trim(f[3]) : "") " " reg[trim(f[4]) + 1] "[" trim(f[5]) "]"
    sub(/^0X/, "", place[name])
    if (match($0, /\/\*.*\*\//)) proof[name] = trim(substr($0, RSTART + 2, RLENGTH - 4))
}
FILENAME ~ /models\.def$/ && /^MODEL\(/ { text = "" }
FILENAME ~ /models\.def$/ && (/^MODEL\(/ || text != "") {
    text = text $0
    if ($0 !~ /\)$/) next
    nq = split(text, q, "\"")                  # between quotes: base, brand, features (a list may be of several strings)
    split(q[1], a, /[(,]/); split(q[3], b, ",")
    model = trim(a[2]); list[++models] = model; base[model] = q[2]; brand[model] = q[4]
    id[model] = trim(b[2]) " " trim(b[3]) "/" trim(b[4]) "/" trim(b[5]); up[model] = trim(b[6]) ", " trim(b[7])
    words = ""; for (i = 6; i <= nq; i += 2) words = words q[i]
    adds[model] = words; sub(/ \?$/, "; what the host lacks is left out", adds[model])
    for (i = 1; i <= features; i++) if ((q[2], order[i]) in has) has[model, order[i]] = 1
    add(model, words)
    drop(model)
    text = ""
}
END {
    split("emulated,native,absent,emulated; when asked for", how, ",")
    print "# The processor: models and features\n"
    print "Made from `x86/feat.def`, `x86/models.def` and `frontend-x86/insns.def` by `docs/cpu.awk` (`make` keeps it current)."
    print "`-cpu MODEL[,+F][,-F]` chooses; `-cpu help` says what this host can give. A feature that a model lacks is not in CPUID, its instructions are #UD,"
    print "its bits in CR4, EFER, page-table entries and model-specific registers are reserved.\n"
    print "- *native*: instructions are re-emitted for the host's processor, which must have the feature.\n- *emulated*: made by us on any host."
    print "- *absent*: known by name, in no model, #UD.\n\nFor all features, `x86_cpuid` proves that CPUID's bit follows the model, and `models32`, that the machine follows CPUID."
    print "\n## Models\n\n| model | from | family/model/stepping | highest leaves | features, beside the base's |\n|---|---|---|---|---|"
    for (i = 1; i <= models; i++) { m = list[i]; print "| " m " | " base[m] " | " id[m] " | " up[m] " | " (adds[m] == "*" ? "all that is offered" : adds[m]) " |" }
    print "\n## Features\n\n| feature | CPUID | how | encodings | models | proved by |\n|---|---|---|---|---|---|"
    for (k = 1; k <= features; k++) {
        ft = order[k]; who = ""; lack = ""; n = 0
        for (i = 1; i <= models; i++) if ((list[i], ft) in has) { who = who (who == "" ? "" : " ") list[i]; n++ } else lack = lack " " list[i]
        if (n && models - n < 8) who = n == models ? "all" : "all but" lack
        if (!n && kind[ft] < 2) who = "(with" need[ft] ")"
        print "| " ft " | " place[ft] " | " how[kind[ft] + 1] " | " (encodings[ft] ? encodings[ft] : "") " | " who " | " proof[ft] " |"
    }
}
