# Linux as Xen's second domain: its disk and its console are rings that it shares with the first. One line a fact, as in xen.sh.
say() { name=$1; shift; if detail=$("$@" 2>&1); then echo "domu $name yes $detail"; else echo "domu $name no $detail"; bad=1; fi; }
paravirtual() { [ "$(cat /sys/hypervisor/type /sys/hypervisor/guest_type | tr '\n' ' ')" = "xen PV " ]; }
disk() {
    while read -r module; do insmod "/modules-xen/$module" || return 1; done </modules-xen/order
    i=0
    while [ ! -b /dev/xvda ]; do [ $((i += 1)) -lt 20 ] && sleep 1 || return 1; done
    mount -t ext4 /dev/xvda /mnt && grep -q "a file on the disk" /mnt/note && seq 1 200000 >/mnt/second && sync && umount /mnt && echo "after $i s"
}
forks() { n=0; while [ $n -lt 40 ]; do n=$((n + $(sh -c 'echo 1 | cat'))); done; echo $n; }
memory() { seq 1 200000 >/tmp/big && md5sum /tmp/big | cut -c1-32 | grep 0e10426a1d5bddffcef02f1345787128 && rm /tmp/big; }
bad=0
for what in paravirtual disk forks memory; do
    say $what $what
done
exit $bad
