# Runs in the outer guest (mknested.sh): two vCPUs on the outer machine's one; the local APICs are the kernel's, the I/O APIC is ours.
dmesg -n 1
timeout -k 5 400 duet -accel kvm,kernel-irqchip=split -smp 2 -m 64 -kernel /smp64 -nographic -no-reboot -device isa-debug-exit,iobase=0x501,iosize=1 \
    </dev/null 2>/err
echo "status $?: $(tail -n 1 /err)"
