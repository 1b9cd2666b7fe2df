# Reading result.json, which has one object a line (report.awk). field: a field of this line, empty for null and for what is not there;
# of: a number of the object that WHO has in a workload's line.
function field(name,    s) {
    if (!match($0, "\"" name "\": (\"[^\"]*\"|[^,}]*)")) return ""
    s = substr($0, RSTART, RLENGTH)
    sub(/^[^:]*: "?/, "", s)
    sub(/"$/, "", s)
    return s == "null" ? "" : s
}
function of(who, name,    s) {
    if (!match($0, "\"" who "\": {[^}]*")) return ""
    s = substr($0, RSTART, RLENGTH)
    if (!match(s, "\"" name "\": [0-9]+")) return ""
    s = substr(s, RSTART, RLENGTH)
    sub(/.* /, "", s)
    return s
}
function show(x, format) { return x == "" ? "-" : sprintf(format, x) }
function mebibytes(name) { return show(field(name) == "" ? "" : field(name) / 1024, "%.0f") }
function percent(name) { return show(field(name) == "" ? "" : field(name) * 100, "%.1f") }
