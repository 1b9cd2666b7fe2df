# Things whose output says whether instructions are right, and that an interpreter can do in reasonable time.
uname -srm
grep -vE 'MHz|bogomips' /proc/cpuinfo
dd if=/dev/vda bs=64k count=16 2>/dev/null | sha256sum
dd if=/dev/vda bs=64k count=16 2>/dev/null | sha512sum
dd if=/dev/vda bs=64k count=4 2>/dev/null | gzip -c | gunzip -c | md5sum
awk 'BEGIN { for (i = 1; i < 200; i++) s += sqrt(i) / exp(i / 50) * sin(i); printf "%.12f\n", s }'
cat /proc/interrupts | awk '{ print $1, $NF }'
