# Runs the program that uses AVX-512, when the processor has it.
if grep -qw avx512f /proc/cpuinfo; then
    /bin/avx512
else
    grep -q avx512 /proc/cpuinfo || echo "flags without avx512"
fi
