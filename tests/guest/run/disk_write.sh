# Fills /dev/vda with 256 MiB of noise and prints its sum, taken before it goes to the disk.
dd if=/dev/urandom bs=1M count=256 iflag=fullblock 2>/dev/null | tee /dev/vda | sha256sum | sed 's/^\([0-9a-f]*\).*/wrote \1/'
sync
