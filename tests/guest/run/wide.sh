# A program's view of protection keys and 5-level paging (tests/wide.sh puts it there).
grep -m 1 '^flags' /proc/cpuinfo
/bin/wide
