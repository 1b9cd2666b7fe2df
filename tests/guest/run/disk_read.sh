dd if=/dev/vda bs=1M count=256 iflag=fullblock 2>/dev/null | sha256sum | sed 's/^\([0-9a-f]*\).*/read \1/'
