#!/bin/sh
# Bad input: one clear line on stderr, status 1, nothing created and nothing changed.
. "$(dirname "$0")/lib.sh"
need_guest

mkdir "$work/in" "$work/cwd"
kernel=$guest/vmlinuz-cloud
head -c 3000000 "$kernel" >"$work/in/cut"
head -c 300 "$kernel" >"$work/in/cut_header"
: >"$work/in/empty"
head -c 70000 /dev/urandom >"$work/in/noise"
truncate -s 200M "$work/in/big"
truncate -s 1M "$work/in/disk"
mkdir "$work/in/folder"
printf '\177ELF' >"$work/in/elf"
cd "$work/cwd" || exit 1
# A signature of everything a run could touch; access times left out.
signature() { (find "$work/in" "$work/cwd" -printf '%p %s %T@ %m\n' | sort; cat "$work"/in/[cden]* 2>/dev/null | cksum); }
before=$(signature)

as=
# refuses NAME PATTERN OPTION...: the pattern must occur in the one line
refuses() {
    name=$1 pattern=$2
    shift 2
    timeout -k 2 "$(limit 20)" $as "$duet" -accel "$accel" -nographic "$@" </dev/null >"$work/out" 2>"$work/err"
    status=$?
    if [ $status != 1 ]; then
        fail "$name" "status $status instead of 1"
    elif [ "$(wc -l <"$work/err")" != 1 ]; then
        fail "$name" "$(wc -l <"$work/err") lines on stderr"
    elif [ -s "$work/out" ]; then
        fail "$name" "it printed on stdout"
    elif ! grep -qiE -- "$pattern" "$work/err"; then
        fail "$name" "the line says nothing like '$pattern': $(cat "$work/err")"
    elif [ "$(signature)" != "$before" ]; then
        fail "$name" "a file was created or changed"
        before=$(signature)
    else
        ok "$name"
    fi
}

refuses no_kernel_file 'missing.*no such file' -kernel "$work/in/missing"
refuses kernel_is_a_folder 'folder' -kernel "$work/in/folder"
refuses kernel_empty 'empty' -kernel "$work/in/empty"
refuses kernel_cut 'cut|truncated' -kernel "$work/in/cut"
refuses kernel_cut_in_header 'cut_header' -kernel "$work/in/cut_header"
refuses kernel_noise 'noise' -kernel "$work/in/noise"
refuses kernel_elf_cut 'elf' -kernel "$work/in/elf"
refuses kernel_larger_than_ram 'cloud|memory|RAM' -m 4 -kernel "$kernel"
refuses no_initrd_file 'missing.*no such file' -kernel "$kernel" -initrd "$work/in/missing"
refuses initrd_larger_than_ram 'initrd|big' -m 128 -kernel "$kernel" -initrd "$work/in/big"
refuses no_disk 'missing.*no such file' -kernel "$kernel" -drive "file=$work/in/missing,if=virtio,format=raw"
refuses disk_is_a_folder 'folder' -kernel "$kernel" -drive "file=$work/in/folder,if=virtio,format=raw"
# Root may read everything: this one runs as nobody, where nobody may reach the files at all.
chmod 000 "$work/in/disk"
before=$(signature)
[ "$(id -u)" != 0 ] || as="setpriv --reuid=65534 --regid=65534 --clear-groups"
if $as test -r "$kernel" && $as test -x "$duet"; then
    refuses disk_unreadable 'permission denied' -kernel "$kernel" -drive "file=$work/in/disk,if=virtio,format=raw"
else
    skip disk_unreadable "user nobody cannot reach this folder"
fi
as=
chmod 644 "$work/in/disk"
before=$(signature)
refuses unknown_option '-kernell.*-kernel' -kernell "$kernel"
refuses option_without_value '-m' -kernel "$kernel" -m
refuses unknown_machine 'pc' -M pdp11 -kernel "$kernel"
refuses unknown_engine 'tcg' -accel warp -kernel "$kernel"
refuses unknown_cpu 'Nehalem' -cpu Nahalem -kernel "$kernel"
refuses unknown_device 'virtio-net-pci' -kernel "$kernel" -device virtio-nett-pci
refuses unknown_property 'mac' -kernel "$kernel" -nic none -netdev user,id=n -device virtio-net-pci,netdev=n,mack=1
refuses bad_property_value 'mac' -kernel "$kernel" -netdev user,id=n -device virtio-net-pci,netdev=n,mac=hello
refuses unknown_drive_word 'snapshot' -kernel "$kernel" -drive "file=$work/in/disk,snapshott=on"
refuses unknown_netdev 'n2' -kernel "$kernel" -netdev user,id=n -device virtio-net-pci,netdev=n2
refuses bad_hostfwd 'hostfwd' -kernel "$kernel" -nic user,hostfwd=tcp::99999-:1
refuses memory_nonsense '-m' -kernel "$kernel" -m lots
refuses memory_zero '-m' -kernel "$kernel" -m 0
refuses memory_negative '-m' -kernel "$kernel" -m -5
refuses memory_impossible '-m' -kernel "$kernel" -m 100000G
refuses memory_nan '-m' -kernel "$kernel" -m nan
refuses log_category 'in_asm' -kernel "$kernel" -d everything
refuses log_file 'no such' -kernel "$kernel" -d int -D "$work/nowhere/log"
refuses bios_missing 'missing' -bios "$work/in/missing"
