#!/bin/sh
# Takes the counts of host instructions as they are now into tests/codegen/x86_64.txt, and shows what that changes. After `make unit`.
cd "$(dirname "$0")/../.." || exit 1
DUET_ACCEPT=1 build/rel/tests/codegen && git diff --stat -p tests/codegen/x86_64.txt
