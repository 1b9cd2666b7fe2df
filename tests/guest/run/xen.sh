# Linux as Xen's first domain: one line a fact, xen NAME yes|no DETAIL. Disk and network are the machine's own, by way of Xen's event channels.
say() { name=$1; shift; if detail=$("$@" 2>&1); then echo "xen $name yes $detail"; else echo "xen $name no $detail"; bad=1; fi; }
hypervisor() { cat /sys/hypervisor/type /sys/hypervisor/version/major /sys/hypervisor/version/minor | tr '\n' ' ' | grep "xen 4 "; }
clock() { grep xen /sys/devices/system/clocksource/clocksource0/available_clocksource; }
processors() { [ "$(grep -c '^processor' /proc/cpuinfo)" = "${cpus:-1}" ] && echo "${cpus:-1}"; }
interrupts() { grep -c 'xen-pirq\|xen-percpu\|xen-dyn' /proc/interrupts; }
disk() { mount /dev/vda /mnt && grep -q "a file on the disk" /mnt/note && echo hello >/mnt/new && sync && umount /mnt; }
net() { ping -c 1 -W 5 10.0.2.2 >/dev/null; }
sleeping() { a=$(cut -d. -f1 /proc/uptime); sleep 2; b=$(cut -d. -f1 /proc/uptime); [ $((b - a)) -ge 1 ] && [ $((b - a)) -le 4 ] && echo $((b - a)); }
# Many processes and much memory: each page table goes through the hypervisor.
forks() { n=0; while [ $n -lt 60 ]; do n=$((n + $(sh -c 'echo 1 | cat'))); done; echo $n; }
memory() { seq 1 3000000 >/tmp/big && md5sum /tmp/big | grep -o 603ea3c5a8c80940ca761f015046e950 && rm /tmp/big; }
bad=0
for what in hypervisor clock processors interrupts sleeping forks memory disk net; do
    say $what $what
done
exit $bad
