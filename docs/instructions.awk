# Makes docs/instructions.md from frontend-x86/insns.def (whose head explains the columns and the operand letters): a table for each CPUID
# feature, a line for each mnemonic, its encodings in the order of the table. usage: awk -f docs/instructions.awk frontend-x86/insns.def
BEGIN { FS = ","; split("0F 0F38 0F3A", map_name, " ") }
function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); return s }
/^I\(/ {
    sub(/^I\(/, "")
    for (i = 1; i <= 15; i++) f[i] = trim($i)
    evex = f[14] ~ /A_(EVEX|[FS][48]|M[1248]|C[48]|C[12]M|CS[48])/
    vex = evex || f[14] ~ /A_VEX/
    code = evex ? "EVEX" : vex ? "VEX" : ""
    if (f[3] ~ /^P/) code = code (vex ? "." : "") substr(f[3], 2) (vex ? "" : " ")
    if (f[1] > 0) code = code (vex ? "." : "") map_name[f[1]]
    if (f[6] >= 0) code = code (vex ? ".W" f[6] : (f[6] > 0 ? " REX.W" : ""))
    code = code (code == "" || code ~ / $/ ? "" : " ") toupper(substr(f[2], 3))
    if (f[4] >= 0) code = code " /" f[4]
    if (f[5] >= 0) code = code " rm=" f[5]
    args = ""
    for (i = 9; i <= 12; i++) if (f[i] != "_") args = args (args == "" ? " " : ",") f[i]
    feature = f[15]
    if (!(feature in lines)) order[++features] = feature
    key = feature SUBSEP f[7]
    if (!(key in text)) { names[feature, ++lines[feature]] = f[7]; count++ }
    text[key] = text[key] (text[key] == "" ? "" : "; ") code args
    rows++
}
END {
    print "# The instructions\n"
    print "Made from `frontend-x86/insns.def` by `docs/instructions.awk` (`make` keeps it current): " rows " encodings, of " count " mnemonics of their features."
    print "The operand letters are those of Intel's opcode map; the head of `frontend-x86/insns.def` lists them. What is not here is #UD."
    for (k = 1; k <= features; k++) {
        print "\n## " (order[k] == "none" ? "Without a feature bit" : "CPUID feature " order[k]) "\n\n| mnemonic | encodings |\n|---|---|"
        for (n = 1; n <= lines[order[k]]; n++) print "| " names[order[k], n] " | " text[order[k], names[order[k], n]] " |"
    }
}
