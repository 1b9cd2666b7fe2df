#!/bin/sh
# Makes an initrd for an outer guest that has KVM: busybox, Debian's kvm and kvm-amd modules, the program under test with its shared
# libraries, and what is to run inside. The outer guest runs /run.sh and powers off; it is started with a CPU that has SVM.
# usage: tests/guest/mknested.sh DUET OUT RUN.sh [FILE...]       FILE is put at / of the outer guest under its own name; after fetch.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
guest=$here/../../build/guest
duet=$1 out=$2 run=$3
shift 3
tree=$out.tree
rm -rf "$tree"
mkdir -p "$tree/bin" "$tree/dev" "$tree/proc" "$tree/sys" "$tree/tmp" "$tree/modules" "$tree/etc" "$tree/var/tmp"
cp "$guest/busybox" "$tree/bin/busybox"
for applet in $("$guest/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
done
for module in irqbypass kvm kvm-amd; do
    cp "$(find "$guest/cloud/lib/modules" -name "$module.ko")" "$tree/modules/"
done
cp -L "$duet" "$tree/bin/duet"
"$here/libraries.sh" "$duet" "$tree"
for file; do
    cp -RL "$file" "$tree/"; [ "${file##*/}" != qemu-system-x86_64 ] || ln -s /qemu-system-x86_64 "$tree/bin/"
    if [ -f "$file" ] && [ -x "$file" ] && ldd "$file" >/dev/null 2>&1; then "$here/libraries.sh" "$file" "$tree"; fi
done
cp "$run" "$tree/run.sh"
cat >"$tree/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin HOME=/ TERM=vt100
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
ip link set lo up
for module in irqbypass kvm kvm-amd; do
    insmod /modules/$module.ko || echo "outer: cannot load $module"
done
[ -c /dev/kvm ] && echo "outer: /dev/kvm is there"
sh /run.sh
echo "outer: end $?"
poweroff -f
INIT
chmod 755 "$tree/init"
ln -s bin "$tree/sbin"
(cd "$tree" && find . | sort | cpio -o -H newc --owner 0:0 --quiet) | gzip -n -1 >"$out.part"
mv "$out.part" "$out"
rm -rf "$tree"
