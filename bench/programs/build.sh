# Runs in the guest's file system while the image is made: compiles the programs, makes the data. usage: build.sh 64|32
set -eu
cd /bench/src
rm -rf ../bin ../data
mkdir -p ../bin ../data
cp data.sh ../bin/data
chmod 755 ../bin/data
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
cp mix.* ../data/
# Two files for the compiler: headers of Debian's that contain a program.
printf '#define STB_PERLIN_IMPLEMENTATION\n#include <stb/stb_perlin.h>\n' | gcc -E -P -x c - >../data/small.c
printf '#define STB_SPRINTF_IMPLEMENTATION\n#include <stb/stb_sprintf.h>\n' | gcc -E -P -x c - >../data/large.c
