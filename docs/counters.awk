# docs/counters.md from core/counters.def and tcg/places.def: what `info speed` shows.
function text(line) { sub(/^[^"]*"/, "", line); sub(/"\)[^"]*$/, "", line); return line }
BEGIN {
    print "# What is counted, and where time goes\n"
    print "`info counters`, `info speed [-j]`, `-d exec` and `-d speed` show these (made from `core/counters.def` and `tcg/places.def`)."
    print "Units: n is how often; ticks are those of the host's time stamp counter, shown as nanoseconds.\n"
}
FNR == 1 { print FILENAME ~ /places/ ? "\n## Where a vCPU's time goes (`-accel tcg,profile=on`)\n" : "## Counters\n" }
FNR == 1 && FILENAME ~ /places/ { print "| place | what |\n|---|---|" }
FNR == 1 && FILENAME !~ /places/ { print "| counter | unit | what |\n|---|---|---|" }
/^PLACE\(/ { split($0, part, /[(,] */); print "| `" part[2] "` | " text($0) " |" }
/^COUNTER\(/ { split($0, part, /[(,] */); print "| `" part[2] "` | " part[3] " | " text($0) " |" }
