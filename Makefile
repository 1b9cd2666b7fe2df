# duet: a full-system emulator for x86 PCs. `make demo` and `make check` are the two commands (README.md).
MODE ?= rel
CC = gcc
B := build/$(MODE)
CFLAGS = -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -Wstrict-prototypes -Wmissing-prototypes -g -I. -MMD -MP -pthread -fno-strict-aliasing $(CFLAGS_$(MODE))
CFLAGS_rel = -O2
CFLAGS_dbg = -O1 -DDUET_DEBUG=1 -fsanitize=address,undefined -fno-omit-frame-pointer
# ThreadSanitizer. No calls at function entries: unwinding (tcg_unwind) leaves functions that would then never be seen to end.
CFLAGS_tsan = -O1 -fsanitize=thread -Wno-tsan --param tsan-instrument-func-entry-exit=0
LDFLAGS = -pthread $(LDFLAGS_$(MODE))
LDFLAGS_dbg = -fsanitize=address,undefined
LDFLAGS_tsan = -fsanitize=thread
# capstone is loaded when it is asked for (backend-x86_64/disas.c); tests that compare with it are linked with it.
LDLIBS = -lslirp -lffi -lz -lm
TESTLIBS = -lcapstone

ROOMS = core x86 softmmu tcg frontend-x86 backend-x86_64 kvm hw host vmm
SRC := $(sort $(shell find $(ROOMS) -name '*.c' 2>/dev/null))
OBJ := $(SRC:%.c=$(B)/%.o)
LIBOBJ := $(filter-out $(B)/vmm/main.o,$(OBJ))
# Code that runs while the guest owns the host FPU (tcg/env.h): no vector registers, no sanitizers.
REGSONLY := tcg/fast.o tcg/learn.o tcg/lanes.o tcg/exec.o tcg/retire.o softmmu/refill.o softmmu/settle.o frontend-x86/fast.o backend-x86_64/patch.o backend-x86_64/fpu.o
$(addprefix $(B)/,$(REGSONLY)): CFLAGS += -mgeneral-regs-only -fno-sanitize=all
# Others are so by a pragma. ThreadSanitizer's own code uses vector registers.
ifeq ($(MODE),tsan)
BY_PRAGMA := $(patsubst %.c,%.o,$(shell grep -l 'target("general-regs-only")' */*.c))
$(addprefix $(B)/,$(BY_PRAGMA)): CFLAGS += -fno-sanitize=all
endif

UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/*.c))

# build/duet is the program of the last make, whatever its mode.
all: $(B)/duet docs/instructions.md docs/cpu.md docs/counters.md
	@ln -sf $(MODE)/duet build/duet
$(B)/duet: $(OBJ)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<
# A unit test links every room but main.c (as an archive: only what it uses).
$(B)/libduet.a: $(LIBOBJ)
	@rm -f $@; ar rcs $@ $^
$(B)/tests/%: tests/unit/%.c $(B)/libduet.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(B)/libduet.a $(LDLIBS) $(TESTLIBS)
unit: $(UNIT)
docs/instructions.md: docs/instructions.awk frontend-x86/insns.def
	@awk -f docs/instructions.awk frontend-x86/insns.def >$@.part && mv $@.part $@
docs/cpu.md: docs/cpu.awk frontend-x86/insns.def x86/models.c x86/feat.def x86/models.def
	@awk -f docs/cpu.awk frontend-x86/insns.def x86/models.c x86/feat.def x86/models.def >$@.part && mv $@.part $@
docs/counters.md: docs/counters.awk core/counters.def tcg/where.def
	@awk -f docs/counters.awk core/counters.def tcg/where.def >$@.part && mv $@.part $@

# Everything that building and testing take, in one place; nothing is done when it is all there.
PACKAGES = gcc make pkg-config libc6-dev libslirp-dev libffi-dev zlib1g-dev libcapstone-dev binutils \
	qemu-system-x86 acpica-tools e2fsprogs cpio gzip busybox-static debootstrap expect lz4 chromium
FUZZ_PACKAGES = clang libclang-rt-14-dev
soak fuzz: PACKAGES += $(FUZZ_PACKAGES)
deps:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing:" $$missing; export DEBIAN_FRONTEND=noninteractive; \
	    sudo=$$([ $$(id -u) = 0 ] || echo sudo); \
	    $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends $$missing; fi

# A fresh checkout needs deps before the compiler: hence the second make.
demo: deps
	@$(MAKE) --no-print-directory all
	@tests/demo.sh
# Unit tests, unit tests under the sanitizers, then the tests that run the program; logs are in build/log/.
check: deps
	@$(MAKE) --no-print-directory all unit
	@$(MAKE) --no-print-directory MODE=dbg unit
	@$(MAKE) --no-print-directory MODE=tsan build/tsan/duet
	@tests/run
# What check leaves out for its length.
soak: deps
	@$(MAKE) --no-print-directory all unit
	@$(MAKE) --no-print-directory MODE=tsan build/tsan/duet unit
	@SOAK=1 SLOW=2 tests/run guests lockstep generated fuzz stress third smp litmus rewrite tsan
# libFuzzer on the decoder and on the whole processor (interpreter, translator, kvm); FUZZ_SECONDS for each. Installs clang.
fuzz: deps
	@$(MAKE) --no-print-directory all unit
	@tests/run fuzz
# The KVM engine alone: on this host, and nested in a translated guest.
check-kvm: deps
	@$(MAKE) --no-print-directory all unit
	@build/rel/tests/kvm_host
	@tests/run kvm
bench: deps
	@$(MAKE) --no-print-directory all
	@bench/run
bench-quick: deps
	@$(MAKE) --no-print-directory all
	@bench/run quick
# The README's table, from the last run.
bench-readme:
	@bench/readme
# Beside it: Duet's engines with each other.
bench-engines: deps
	@$(MAKE) --no-print-directory all
	@bench/engines

clean:
	rm -rf build
-include $(OBJ:.o=.d) $(UNIT:=.d)
.PHONY: all unit deps demo check check-kvm soak fuzz bench bench-quick bench-readme bench-engines clean
