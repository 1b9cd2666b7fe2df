# Runs in the guest (tests/rewrite.sh): the kernel's function tracer rewrites the beginnings of the functions that four busy CPUs are running; $full times
# those of all functions, $rounds times those of some hundreds.
mkdir -p /tmp/t && mount -t tracefs none /tmp/t && cd /tmp/t || exit 1
busy() { while [ ! -e /tmp/end ]; do (cat /proc/self/stat /proc/cpuinfo | sha256sum) >/dev/null; done; }
for i in 1 2 3 4; do busy & done
seen=0
switch() {
    echo function >current_tracer || exit 1
    [ $(($1 % 10)) != 9 ] || [ "$(head -n 30 trace | grep -c '<-')" -gt 5 ] && seen=$((seen + 1))
    echo nop >current_tracer || exit 1
}
i=0
while [ $i -lt "$full" ]; do switch $i; i=$((i + 1)); done
echo 'vfs_* seq_* do_sys* schedule* try_to_wake_up ttwu*' >set_ftrace_filter
echo "functions $(wc -l <set_ftrace_filter)"
i=0
while [ $i -lt "$rounds" ]; do switch $i; i=$((i + 1)); [ $((i % 100)) != 0 ] || echo "round $i"; done
touch /tmp/end
wait
echo "switched $seen"
dmesg | grep -E 'BUG|stall|lockup|unstable|WARNING|Oops' | sed 's/^/kernel: /'
