# Runs in the guest's file system while the image is made: compiles the programs, makes the data. usage: build.sh 64|32
set -eu
cd /bench/src
rm -rf ../bin ../data
mkdir -p ../bin ../data
for name in stopwatch generate integer system; do gcc -O2 -Wall -Wextra -Werror -o ../bin/$name $name.c; done
gcc -O2 -Wall -Wextra -Werror -mfpmath=387 -o ../bin/floating387 floating.c -lm
if [ "$1" = 64 ]; then
    gcc -O2 -Wall -Wextra -Werror -o ../bin/floating floating.c -lm
    # Each function on a page of its own: whether a loop lies across a page end would else depend on the other loops.
    gcc -O2 -static -falign-functions=4096 -o ../bin/loops loops.c
fi
../bin/generate text 4000000 >../data/text
../bin/generate binary 4000000 >../data/binary
../bin/generate table 4000000 >../data/table
printf '#define STB_TRUETYPE_IMPLEMENTATION\n#define STB_RECT_PACK_IMPLEMENTATION\n#include <stb/stb_rect_pack.h>\n#include <stb/stb_truetype.h>\n' |
    gcc -E -P -x c - >../data/compile.c
