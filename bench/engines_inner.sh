# Runs in the outer guest of `bench/engines nested` (mknested.sh): what engines_run.sh says, between two marks.
dmesg -n 1
set -- $(cat /engines.want)
ticks=$1 rounds=$2
shift 2
why=$(duet -accel auto -display none -serial none -m 16 -kernel /engines64 -append 'empty 1000' -no-reboot \
    -device isa-debug-exit,iobase=0x501,iosize=1 2>&1 </dev/null | sed -n 's/^duet: .*-accel auto: using [a-z]*: //p' | head -n 1)
echo "engines: why $why"
echo "engines: begin"
LIMIT=120 sh /engines_run.sh duet /engines64 /engines_native /engines.img "$ticks" "$rounds" "native kvm tcg" "$*"
echo "engines: end"
