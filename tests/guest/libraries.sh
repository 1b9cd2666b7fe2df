#!/bin/sh
# Copies the shared libraries that a program needs into a tree, at the same places.
# usage: tests/guest/libraries.sh PROGRAM TREE
set -eu
ldd "$1" | sed -n 's/.*\(=> \|^\t\)\(\/[^ ]*\) (.*/\2/p' | while read -r lib; do
    mkdir -p "$2$(dirname "$lib")"
    cp -n -L "$lib" "$2$lib"
done
