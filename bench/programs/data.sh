#!/bin/sh
# data KIND N: N times 100,000 bytes of the generated text, table or binary, which is repeated as often as that takes
file=/bench/data/$1 left=$2
while [ "$left" -gt 40 ]; do
    cat "$file"
    left=$((left - 40))
done
head -c "${left}00000" "$file"
