# Writes files for ever, each said only after a sync, with unsynced writing going on beside it.
mount /dev/vda /mnt || exit 1
(while :; do dd if=/dev/urandom of=/mnt/noise bs=64k count=64 2>/dev/null; done) &
n=0
while [ $n -lt 4000 ]; do
    n=$((n + 1))
    head -c $((n * 3331 % 200000 + 1)) /dev/urandom >"/mnt/file.$((n % 200))"
    sum=$(sha256sum "/mnt/file.$((n % 200))" | cut -c1-64)
    sync
    echo "synced $((n % 200)) $sum"
done
