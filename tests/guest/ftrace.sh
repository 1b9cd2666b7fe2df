# Runs in the guest (tests/rewrite.sh): the kernel's function tracer rewrites the beginnings of the functions that four busy CPUs are running; $full times
# those of all functions, $rounds times those of some hundreds. Most of these by the sysctl: a change of the tracer also waits until every task has
# slept, which is what takes the time when all CPUs are busy.
mkdir -p /tmp/t && mount -t tracefs none /tmp/t && cd /tmp/t || exit 1
busy() { while [ ! -e /tmp/end ]; do (cat /proc/self/stat /proc/cpuinfo | sha256sum) >/dev/null; done; }
for i in 1 2 3 4; do busy & done
seen=0
enabled=/proc/sys/kernel/ftrace_enabled
traced() { [ $(($1 % 10)) != 9 ] || [ "$(head -n 30 trace | grep -c '<-')" -gt 5 ] && seen=$((seen + 1)); }
switch() {
    echo function >current_tracer || exit 1
    traced "$1"
    echo nop >current_tracer || exit 1
}
quick() {
    echo 1 >$enabled || exit 1
    traced "$1"
    echo 0 >$enabled || exit 1
    [ $(($1 % 10)) != 9 ] || echo >trace
}
i=0
while [ $i -lt "$full" ]; do switch $i; i=$((i + 1)); done
echo 'vfs_* proc_* __x64_sys_* seq_* do_sys* schedule* try_to_wake_up ttwu*' >set_ftrace_filter
echo "functions $(wc -l <set_ftrace_filter)"
i=0
while [ $i -lt "$rounds" ]; do
    if [ $((i % 100)) = 0 ]; then
        echo 1 >$enabled
        switch $i
        echo function >current_tracer || exit 1
        echo 0 >$enabled
        echo >trace
    else
        quick $i
    fi
    i=$((i + 1))
    [ $((i % 100)) != 0 ] || echo "round $i"
done
echo 1 >$enabled
echo nop >current_tracer || exit 1
touch /tmp/end
wait
echo "switched $seen"
dmesg | grep -E 'BUG|stall|lockup|unstable|WARNING|Oops' | sed 's/^/kernel: /'
