# The smallest guest test: the machine boots, sees its devices and powers off.
uname -srm
grep -c '^processor' /proc/cpuinfo
ls /sys/bus/virtio/devices 2>/dev/null | tr '\n' ' '
echo
ip -4 addr show dev eth0 2>/dev/null | sed -n 's/ *inet \([^ ]*\).*/eth0 \1/p'
true
