# Runs in the outer guest (mknested.sh): the translator and the kernel's KVM side by side, on every bare-metal kernel that is at /.
dmesg -n 1
order=tcg,kvm
for kernel in /*.lockstep; do
    name=$(basename "$kernel" .lockstep)
    timeout -k 5 90 duet -lockstep $order -cpu max -m 64 -kernel "$kernel" -device isa-debug-exit,iobase=0x501,iosize=1 -nographic -no-reboot \
        </dev/null >/out 2>/err
    status=$?
    count=$(sed -n 's/^lockstep: \([0-9]*\) instructions without a difference$/\1/p' /err | tail -n 1)
    grep -E '^lockstep:' /err | sed "s/^/# $name: /"
    [ $status = 0 ] || { tr -d '\r' </out; cat /err; }
    if [ $status = 0 ] && grep -q '^end' /out && [ "${count:-0}" -gt 500 ]; then
        echo "ok nested/$order/$name"
    else
        echo "FAIL nested/$order/$name: status $status; $(grep -m 1 -E 'lockstep:|duet:' /err)"
    fi
    order=interp,kvm                               # the others with the interpreter
done
echo "nested: end"
