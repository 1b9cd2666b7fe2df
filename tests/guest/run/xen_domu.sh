# Linux as Xen's first domain starts a second one, whose disk is the machine's (tests/guest/mkxen.sh has put the tools there). What the second says on
# its console comes out of xenconsoled's log.
while read -r module; do insmod "/modules-xen/$module" || echo "domu module $module does not load"; done </modules-xen/order
mount -t xenfs xenfs /proc/xen
export LD_LIBRARY_PATH=/usr/lib
mkdir -p /var/run/xenstored /var/lock
xenstored --pid-file /var/run/xenstored.pid
i=0
while ! xenstore-read / >/dev/null 2>&1; do [ $((i += 1)) -lt 20 ] && sleep 1 || { echo "domu xenstored does not answer"; exit 1; }; done
xenstore-write /local/domain/0/name Domain-0
xen-init-dom0
xenconsoled --log=guest --log-dir=/var/log/xen/console --pid-file=/var/run/xenconsoled.pid
echo "domu domains before: $(xl list | tail -n +2 | wc -l)"
xl create /domu/config || { cat /var/log/xen/*.log; exit 1; }
i=0
while xl list second >/dev/null 2>&1; do [ $((i += 1)) -lt 100 ] && sleep 1 || { echo "domu does not end"; xl list; break; }; done
tr -d '\r' </var/log/xen/console/guest-second.log
mount /dev/vda /mnt && echo "domu wrote $(md5sum </mnt/second | cut -c1-32)" && umount /mnt
grep -q 'DUET-RESULT: ok domu.sh' /var/log/xen/console/guest-second.log
