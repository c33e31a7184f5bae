# BareFlow. `make help` lists what there is; README.md says how to use it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
# `make V=1` shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))
BUILD := build
JOBS := $(shell nproc)

# ---------------------------------------------------------------- packages: named here and nowhere else
# What building and running needs, and what tests and checks need beside it (Debian 12).
RUN_PACKAGES := g++ binutils xz-utils musl-dev libcli11-dev nlohmann-json3-dev qemu-system-x86 ovmf grub-common grub-pc-bin \
	grub-efi-amd64-bin xorriso mtools dosfstools console-setup-linux
TEST_PACKAGES := libgtest-dev libgmock-dev python3-pytest python3-pytest-xdist
CONVERGE_PACKAGES := python3-matplotlib
CHECK_PACKAGES := clang-format-14 shellcheck
# Oracles of the assemblers and the tokenizer, and what the fuzzers are built with.
ORACLE_PACKAGES := libxbyak-dev libzydis-dev
EMIT_PACKAGES := $(ORACLE_PACKAGES)
TOKENIZER_PACKAGES := libsentencepiece-dev
FUZZ_PACKAGES := clang-19 libclang-rt-19-dev llvm-19-dev

# ---------------------------------------------------------------- compilers and flags
CXX := g++
COMMON_FLAGS := -std=c++20 -O2 -g -I. -MMD -MP -Wall -Wextra -Werror \
	-Wshadow -fno-omit-frame-pointer -mno-omit-leaf-frame-pointer -ffp-contract=off -fno-pic -fno-pie
# GCC measures what it inlines for size too early: with these it finds a seventh less to be small.
SMALL := -Oz -fno-inline-small-functions --param max-inline-insns-size=14
QUICK := -O2 -finline-small-functions
# The portable rooms and the kernel: one set of flags, so what is tested on Linux is what boots. Small, but for what computes.
KERNEL_FLAGS := $(COMMON_FLAGS) -ffreestanding -fno-exceptions -fno-rtti -fno-threadsafe-statics \
	-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-unwind-tables \
	-ffunction-sections -fdata-sections -fno-math-errno -march=x86-64 -fno-tree-vectorize $(SMALL) \
	-Wno-maybe-uninitialized
HOST_FLAGS := $(COMMON_FLAGS)
# Tests and the sanitizers' second build are there to be compiled often: little optimisation, line numbers only.
TEST_FLAGS := $(HOST_FLAGS) -O1 -g1
# (-O1 takes half as long again under sanitizers, and is for what computes.)
SAN_FLAGS = $(COMMON_FLAGS) -fsanitize=address,undefined -fno-sanitize-recover=all -g1 $(SAN_OPTIMISE)
SAN_OPTIMISE := -Og
# Programs' options, by CLI11: they run for a moment, and optimising them takes as long as a room of the kernel.
PARSERS := arch/host/command_line model/tools/import_main persist/tools/native persist/tools/snap emitter/tools/emit_main
HOST_LINK := -no-pie -Wl,--gc-sections
# The embedded copy of the default model: a quarter of f32 is what GRUB has to load, and its text is as good
# (model/README.md "Quantised weights").
EMBEDDED_TYPE := q8_0

SHARED_MAIN := $(wildcard arch/*.cpp)
# What an image is made of: the same objects, and one of these (arch/stages/stage.h).
stage_object = $(BUILD)/kernel/arch/stages/$(1).o
ROOMS := arch/base mm emitter model profiler persist
PORTABLE := $(foreach room,$(ROOMS),$(wildcard $(room)/*.cpp)) $(SHARED_MAIN)
KERNEL := $(filter-out $(addprefix arch/x86_64/,selftest.cpp native_segment.cpp console_font.S),$(wildcard arch/x86_64/*.cpp arch/x86_64/*.S))
HOST := $(filter-out arch/host/main.cpp,$(wildcard arch/host/*.cpp))
# Which rooms' unit tests: all, or `make unit UNIT=mm`.
ALL_ROOMS := base mm model arch profiler persist emitter
UNIT := $(ALL_ROOMS)
# A program of some rooms only has a name of its own, so that it is never mistaken for the whole.
SOME := $(if $(filter-out $(UNIT),$(ALL_ROOMS)),-$(subst $(eval) ,-,$(strip $(UNIT))))
# Tests that need other assemblers and decoders are a program of their own.
ORACLE_TESTS := $(filter-out %/routines_test.cpp %/emitter_version_test.cpp,$(wildcard tests/unit/emitter/*.cpp))
UNIT_TESTS := $(filter-out $(ORACLE_TESTS),$(foreach room,$(UNIT),$(wildcard tests/unit/$(room)/*.cpp))) \
	$(if $(filter emitter,$(UNIT)),$(addprefix tests/oracle/routine_,case.cpp memory.cpp call.cpp)) \
	$(if $(filter model,$(UNIT)),$(addprefix tests/gguf/gguf_,writer.cpp encode.cpp))

# emitter/tools is a program of its own, with packages of its own: emitter/tools/emit.mk.
TOOLS := $(filter-out %_main.cpp emitter/tools/%,$(wildcard $(foreach room,$(ROOMS),$(room)/tools/*.cpp)))

# Taken from by the linker where something refers to it.
ASMJIT_LIBRARY := $(BUILD)/asmjit/libasmjit.a
PORTABLE_OBJECTS := $(PORTABLE:%.cpp=$(BUILD)/kernel/%.o) $(BUILD)/libm.o $(ASMJIT_LIBRARY)
KERNEL_OBJECTS := $(patsubst %,$(BUILD)/kernel/%.o,$(basename $(KERNEL)))
HOST_OBJECTS := $(HOST:%.cpp=$(BUILD)/host/%.o)
TOOL_OBJECTS := $(TOOLS:%.cpp=$(BUILD)/host/%.o)
EMIT := $(BUILD)/host/bareflow-emit
MAKE_GGUF := $(BUILD)/host/make-gguf
EMBEDDED_MODEL := $(BUILD)/model/embedded-$(EMBEDDED_TYPE).wllm
EMBEDDED_OBJECT := $(BUILD)/model/embedded_model.o
# What of the kernel's own code can run in a unit test.
KERNEL_TESTED := $(if $(filter arch,$(UNIT)),$(addprefix arch/x86_64/,multiboot2.cpp madt.cpp pci.cpp virtqueue.cpp \
	virtio_blk.cpp ahci.cpp disk_request.cpp rtc.cpp psf_font.cpp text_screen.cpp framebuffer.cpp scancodes.cpp keyboard.cpp \
	$(addprefix packed/,lzma.cpp x86_filter.cpp unpack.cpp)))
TEST_OBJECTS := $(UNIT_TESTS:%.cpp=$(BUILD)/host/%.o) $(KERNEL_TESTED:%.cpp=$(BUILD)/kernel/%.o)
SAN_OBJECTS := $(patsubst %.cpp,$(BUILD)/san/%.o,$(PORTABLE) arch/stages/full.cpp $(KERNEL_TESTED) $(TOOLS) $(HOST) $(UNIT_TESTS)) $(BUILD)/libm.o $(ASMJIT_LIBRARY)

# What tells two builds apart in snapshots: a hash of the objects that all programs share, as the 20 bytes of
# bareflow_build_id. So every stage's image of a build, and the host program, take each other's snapshots.
define make_build_id
	@mkdir -p $(@D)
	$(Q){ echo '.section .rodata.bareflow_build_id,"a"'; echo '.globl bareflow_build_id'; echo 'bareflow_build_id:'; \
	    cat $(1) | sha1sum | sed 's/ .*//; s/../0x&,/g; s/,$$//; s/^/.byte /'; \
	    echo '.section .note.GNU-stack,"",@progbits'; } > $(@:.o=.S)
	$(Q)$(CXX) -c $(@:.o=.S) -o $@
endef

.PHONY: all
all: deps-emit
	$(Q)$(MAKE) -j$(JOBS) host kernel $(EMIT)

# ---------------------------------------------------------------- objects
# Code that runs inside interrupts must leave the vector registers of the interrupted code alone.
$(addprefix $(BUILD)/kernel/arch/x86_64/,interrupts.o local_apic.o core_table.o): EXTRA_FLAGS := -mgeneral-regs-only
FAST := model/reference model/reference_fma model/reference_muladd model/highest_logits model/sampler model/kv_cache \
	arch/base/crc32c arch/base/workers profiler/matmul_profile arch/x86_64/runtime arch/x86_64/framebuffer
$(FAST:%=$(BUILD)/kernel/%.o): OPTIMISE := $(QUICK)
# Of the generators and assemblers, whose methods are calls with constants, those settings make more.
$(filter-out %/routine_cache.o,$(patsubst %.cpp,$(BUILD)/kernel/%.o,$(wildcard emitter/*.cpp))): OPTIMISE := -Oz --param max-inline-insns-size=0
# A guess at who is asked would link the emitter's answer into images without one.
$(BUILD)/kernel/arch/routine_operators.o: EXTRA_FLAGS := -fno-devirtualize-speculatively
# The reference of the fma class: __builtin_fmaf must become the instruction.
$(BUILD)/%/model/reference_fma.o: EXTRA_FLAGS := -mfma

# Changes when flags do, so that everything is compiled again then, and not whenever the Makefile changes.
FLAGS_STAMP := $(BUILD)/flags
FLAGS_TEXT := $(CXX) $(KERNEL_FLAGS) $(FAST) / $(HOST_FLAGS) / $(TEST_FLAGS) / $(SAN_FLAGS) / $(PARSERS)
.PHONY: FORCE
$(FLAGS_STAMP): FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS_TEXT)' | cmp -s - $@ || echo '$(FLAGS_TEXT)' > $@

$(BUILD)/kernel/%.o: %.cpp $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) $(KERNEL_FLAGS) $(OPTIMISE) $(EXTRA_FLAGS) -c $< -o $@
$(BUILD)/kernel/%.o: %.S $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,AS,$@)
	$(Q)$(CXX) -I. -MMD -MP -g -c $< -o $@
# For native images, where the reference is what runs when routines cannot: a third as large, and the same bits.
SMALL_FOR_NATIVE := model/reference_fma model/reference_muladd
$(BUILD)/small/%.o: %.cpp $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) $(KERNEL_FLAGS) $(EXTRA_FLAGS) -c $< -o $@
$(BUILD)/host/%.o: %.cpp $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) $(HOST_FLAGS) $(EXTRA_FLAGS) -c $< -o $@
$(BUILD)/host/tests/%.o: tests/%.cpp $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) $(TEST_FLAGS) $(PRECOMPILED_FLAGS) $(EXTRA_FLAGS) -c $< -o $@
$(BUILD)/san/%.o: %.cpp $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) $(SAN_FLAGS) $(PRECOMPILED_FLAGS) $(EXTRA_FLAGS) -c $< -o $@
$(FAST:%=$(BUILD)/san/%.o): SAN_OPTIMISE := -O1
$(foreach kind,host san,$(PARSERS:%=$(BUILD)/$(kind)/%.o)): EXTRA_FLAGS := -O0 -g1

# GoogleTest and what else most unit tests include, for both kinds of them. ccache keeps what is compiled with it only if
# it may trust the names of precompiled headers. GCC 12 no longer takes std::string from there for the library's, and warns of
# what its copies never do.
export CCACHE_SLOPPINESS ?= pch_defines,time_macros
PRECOMPILED := tests/unit/precompiled.h
precompiled_flags = -fpch-preprocess -include $(BUILD)/$(1)/$(PRECOMPILED) $(addprefix -Wno-,array-bounds restrict stringop-overflow stringop-overread)
$(BUILD)/host/$(PRECOMPILED).gch: EXTRA_FLAGS := $(TEST_FLAGS)
$(BUILD)/san/$(PRECOMPILED).gch: EXTRA_FLAGS := $(SAN_FLAGS)
$(BUILD)/%/$(PRECOMPILED).gch: $(PRECOMPILED) $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) $(EXTRA_FLAGS) -x c++-header $< -o $@
unit_objects = $(patsubst %.cpp,$(BUILD)/$(1)/%.o,$(wildcard tests/unit/*/*.cpp))
$(call unit_objects,host): PRECOMPILED_FLAGS = $(call precompiled_flags,host)
$(call unit_objects,san): PRECOMPILED_FLAGS = $(call precompiled_flags,san)
$(call unit_objects,host): $(BUILD)/host/$(PRECOMPILED).gch
$(call unit_objects,san): $(BUILD)/san/$(PRECOMPILED).gch

# musl's libm members, renamed so that the host's own libm cannot take their place. A failed stack check in them comes
# to arch/base/libm.cpp instead of musl's own trap. Angles of 2^28 quarter turns and more, which no position of a model
# has, count as zero: what reduces those exactly takes 5 KB.
MUSL_LIBC := /usr/lib/x86_64-linux-musl/libc.a
LIBM_FUNCTIONS := expf logf powf sinf cosf
$(BUILD)/libm.o: $(MUSL_LIBC) Makefile
	@mkdir -p $(@D)
	$(call say,LIBM,$@)
	$(Q)printf '%s\n' .globl\ __rem_pio2_large __rem_pio2_large: 'movq $$0,(%rsi)' 'xorl %eax,%eax' ret '.section .note.GNU-stack,"",@progbits' | as -o $@.large
	$(Q)ld -r $(addprefix -u ,$(LIBM_FUNCTIONS)) -o $@.all $@.large $(MUSL_LIBC)
	$(Q)objcopy -R .eh_frame --prefix-symbols=bareflow_ $@.all
	$(Q)objcopy --redefine-sym bareflow__GLOBAL_OFFSET_TABLE_=_GLOBAL_OFFSET_TABLE_ \
		--weaken-symbol bareflow___stack_chk_fail $@.all $@
	@rm -f $@.all $@.large

# ---------------------------------------------------------------- the default model
$(EMBEDDED_MODEL): model/bareflow-stories.bin model/bareflow-stories.tokenizer.bin $(BUILD)/host/bareflow-import
	@mkdir -p $(@D)
	$(Q)$(BUILD)/host/bareflow-import $< -o $@ --quant $(EMBEDDED_TYPE)
$(EMBEDDED_OBJECT): model/embedded_model.S $(EMBEDDED_MODEL) Makefile
	$(Q)$(CXX) -DEMBEDDED_MODEL='"$(EMBEDDED_MODEL)"' -c $< -o $@

# ---------------------------------------------------------------- the screen's font
# Terminus 8x16 from console-setup-linux, of its 512 glyphs those that tools/font_subset.cpp keeps.
CONSOLE_FONT_SOURCE := /usr/share/consolefonts/Uni2-Terminus16.psf.gz
CONSOLE_FONT := $(BUILD)/console_font.psf
CONSOLE_FONT_OBJECT := $(BUILD)/console_font.o
$(BUILD)/host/font-subset: $(addprefix $(BUILD)/kernel/,$(addprefix arch/base/,result.o format.o text.o char_width.o) arch/x86_64/psf_font.o) \
		$(BUILD)/host/arch/x86_64/tools/font_subset.o
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -o $@
$(CONSOLE_FONT_SOURCE):
	$(error there is no $@; `make deps-run` installs console-setup-linux, which has it)
$(CONSOLE_FONT): $(BUILD)/host/font-subset $(CONSOLE_FONT_SOURCE)
	$(Q)gunzip -c $(CONSOLE_FONT_SOURCE) | $< > $@
$(CONSOLE_FONT_OBJECT): arch/x86_64/console_font.S $(CONSOLE_FONT) Makefile
	$(Q)$(CXX) -DCONSOLE_FONT='"$(CONSOLE_FONT)"' -c $< -o $@

# ---------------------------------------------------------------- host programs
.PHONY: host
host: $(addprefix $(BUILD)/host/,bareflow bareflow-import bareflow-snap bareflow-native)
HOST_PARTS := $(BUILD)/host/arch/host/main.o $(HOST_OBJECTS) $(TOOL_OBJECTS) $(PORTABLE_OBJECTS) $(EMBEDDED_OBJECT) \
	$(call stage_object,full)
BUILD_ID := $(BUILD)/kernel/build_id.o
$(BUILD_ID): $(PORTABLE_OBJECTS)
	$(call make_build_id,$^)
$(BUILD)/host/bareflow: $(HOST_PARTS) $(BUILD_ID)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lpthread -o $@
$(BUILD)/host/bareflow-import: $(BUILD)/host/model/tools/import_main.o $(TOOL_OBJECTS) \
		$(filter-out $(SHARED_MAIN:%.cpp=$(BUILD)/kernel/%.o),$(PORTABLE_OBJECTS)) $(HOST_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lpthread -o $@
$(BUILD)/host/bareflow-snap: $(BUILD)/host/persist/tools/snap_main.o $(TOOL_OBJECTS) \
		$(filter-out $(SHARED_MAIN:%.cpp=$(BUILD)/kernel/%.o),$(PORTABLE_OBJECTS)) $(HOST_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lpthread -o $@
$(BUILD)/host/bareflow-native: $(BUILD)/host/persist/tools/native_main.o $(TOOL_OBJECTS) $(BUILD_ID) \
		$(filter-out $(SHARED_MAIN:%.cpp=$(BUILD)/kernel/%.o),$(PORTABLE_OBJECTS)) $(HOST_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lpthread -o $@
$(BUILD)/host/kvm-probe: iso/kvm_probe.cpp Makefile
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) -std=c++20 -O2 -Wall -Wextra -Werror $< -o $@

# ---------------------------------------------------------------- the kernel
include arch/x86_64/packed/packed.mk
# Linked twice: the first link's symbols become a table in the second one, behind everything else.
.PHONY: kernel
kernel: $(BUILD)/bareflow.elf stages
KERNEL_LINK := ld -m elf_x86_64 -nostdlib -static -z max-page-size=4096 -z noexecstack --gc-sections \
	--no-warn-rwx-segments -T arch/x86_64/kernel.ld
KERNEL_PARTS := $(KERNEL_OBJECTS) $(PORTABLE_OBJECTS) $(BUILD_ID) $(CONSOLE_FONT_OBJECT)
# Without a model: it comes as a module, or from a disk.
NO_MODEL := $(BUILD)/kernel/model/no_embedded_model.o
NO_SELFTEST := $(BUILD)/kernel/arch/x86_64/selftest.o
# Of a kernel that is packed afterwards, the packed one's.
debug_elf = $(subst -unpacked,,$(@:.elf=.debug.elf))
LIBGCC = $(shell $(CXX) -print-libgcc-file-name)
define link_kernel
	$(call say,LINK,$@)
	$(Q)$(KERNEL_LINK) $(1) $(LIBGCC) -o $@.first
	$(Q)nm -nC --defined-only $@.first | LC_ALL=C awk -f arch/x86_64/symbols.awk > $@.symbols.S
	$(Q)$(CXX) -c $@.symbols.S -o $@.symbols.o
	$(Q)$(KERNEL_LINK) $(1) $@.symbols.o $(LIBGCC) -o $(debug_elf)
	$(Q)objcopy --strip-debug $(debug_elf) $@.stripped
	$(Q)grub-file --is-x86-multiboot2 $@.stripped
	$(Q)rm -f $@.first; mv $@.stripped $@
endef
$(BUILD)/bareflow.elf: $(KERNEL_PARTS) $(EMBEDDED_OBJECT) $(call stage_object,full) $(NO_SELFTEST) arch/x86_64/kernel.ld arch/x86_64/symbols.awk
	$(call link_kernel,$(filter %.o %.a,$^))
# The stages, for disks and images that bring the model: bareflow-full.elf is bareflow.elf without it.
STAGES := full small native
.PHONY: stages
stages: $(STAGES:%=$(BUILD)/bareflow-%.elf)
$(BUILD)/bareflow-native-unpacked.elf: $(BUILD)/kernel/arch/x86_64/native_segment.o $(SMALL_FOR_NATIVE:%=$(BUILD)/small/%.o)
$(BUILD)/bareflow-native-unpacked.elf: REPLACED := $(SMALL_FOR_NATIVE:%=$(BUILD)/kernel/%.o)
$(BUILD)/bareflow-full.elf $(BUILD)/bareflow-small.elf $(BUILD)/bareflow-native-unpacked.elf: $(KERNEL_PARTS) $(NO_MODEL) \
		$(NO_SELFTEST) arch/x86_64/kernel.ld arch/x86_64/symbols.awk
	$(call link_kernel,$(filter-out $(REPLACED),$(filter %.o %.a,$^)))
$(BUILD)/bareflow-full.elf: $(call stage_object,full)
$(BUILD)/bareflow-small.elf: $(call stage_object,small)
$(BUILD)/bareflow-native-unpacked.elf: $(call stage_object,native)
# What goes onto disks unpacks itself (arch/x86_64/packed).
$(BUILD)/bareflow-native.elf: $(BUILD)/bareflow-native-unpacked.elf $(PACK_PARTS)
	$(call say,PACK,$@)
	$(Q)CXX=$(CXX) $(PACK)/pack.sh $(debug_elf) -o $@ $(STUB_OBJECTS)
$(BUILD)/bareflow-test.elf: $(KERNEL_PARTS) $(EMBEDDED_OBJECT) $(call stage_object,full) $(addprefix $(BUILD)/kernel/tests/boot/,selftest.o selftest_disks.o) \
		arch/x86_64/kernel.ld arch/x86_64/symbols.awk
	$(call link_kernel,$(filter %.o %.a,$^))

# ---------------------------------------------------------------- images and the machine
.PHONY: iso disk run
iso: $(BUILD)/bareflow.iso
$(BUILD)/bareflow.iso: $(BUILD)/bareflow.elf iso/make-iso.sh iso/grub.cfg iso/grub_parts.sh
	$(call say,ISO,$@)
	$(Q)iso/make-iso.sh $< $@

# The disk: `make disk MODEL=FILE.wllm` puts another model on it, DISK_SMALL and DISK_NATIVE are the kernels that it may
# turn to, DISK_OPTIONS more of make-disk.sh's options. It is made anew when one of them changes, and what BareFlow has learned
# on the old one is gone then.
MODEL := $(EMBEDDED_MODEL)
DISK_SMALL := $(BUILD)/bareflow-small.elf
DISK_NATIVE := $(BUILD)/bareflow-native.elf
DISK_OPTIONS :=
DISK_IMAGE := $(BUILD)/bareflow.img
DISK_STAMP := $(DISK_IMAGE).inputs
DISK_TEXT := $(MODEL) $(DISK_SMALL) $(DISK_NATIVE) $(DISK_OPTIONS)
$(DISK_STAMP): FORCE
	@mkdir -p $(@D)
	@echo '$(DISK_TEXT)' | cmp -s - $@ || echo '$(DISK_TEXT)' > $@
disk: $(DISK_IMAGE)
$(DISK_IMAGE): $(BUILD)/bareflow.elf $(MODEL) $(DISK_SMALL) $(DISK_NATIVE) $(DISK_STAMP) \
		iso/make-disk.sh iso/disk.cfg iso/grub_parts.sh
	$(call say,DISK,$@)
	$(Q)iso/make-disk.sh $< -o $@ --model $(MODEL) $(addprefix --small ,$(DISK_SMALL)) $(addprefix --native ,$(DISK_NATIVE)) \
		$(DISK_OPTIONS)

run: deps-run
	$(Q)$(MAKE) -j$(JOBS) iso host $(BUILD)/host/kvm-probe
	$(Q)iso/boot.sh --temp 0.8 --top-p 0.9

# Boots again and again from one disk (persist/README.md "Convergence"): BOOTS in all, ACCEL icount (repeatable), tcg or kvm.
BOOTS := 1000
ACCEL := icount
CONVERGE_OUT := $(BUILD)/converge
.PHONY: converge
converge: deps-converge
	$(Q)$(MAKE) -j$(JOBS) disk $(BUILD)/host/kvm-probe
	$(Q)/usr/bin/python3 persist/tools/converge.py --boots $(BOOTS) --accel $(ACCEL) --out $(CONVERGE_OUT)

# ---------------------------------------------------------------- tests
.PHONY: test unit unit-san emit-tests boot-tests check
RESULTS := $(BUILD)/test-results
TEST_PROGRAMS := $(BUILD)/host/unit-tests$(SOME) $(BUILD)/san/unit-tests$(SOME) $(BUILD)/bareflow-test.elf $(BUILD)/host/kvm-probe \
	$(EMIT) $(BUILD)/host/emit-tests $(BUILD)/host/make-snapshot $(MAKE_GGUF) $(STAGES:%=$(BUILD)/bareflow-%.elf)

# Builds everything first, on all cores; then the stages that keep one core busy beside each other, and the boots as many
# at a time as there are cores. All of them even if one fails.
test: deps-test
	$(Q)rm -rf $(RESULTS); mkdir -p $(RESULTS)
	$(Q)$(MAKE) -j$(JOBS) iso host $(TEST_PROGRAMS) $(BUILD)/host/oracle-tests $(BUILD)/host/tokenizer-oracle
	$(Q)failed=; $(MAKE) -k -j$(JOBS) --output-sync=target unit-san unit oracle-tests emit-tests || failed=" unit-or-oracle-tests"; \
	$(MAKE) boot-tests || failed="$$failed boot-tests"; \
	tests/summary.sh $(RESULTS) || failed="$$failed summary"; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi
unit: $(BUILD)/host/unit-tests$(SOME)
	$(Q)mkdir -p $(RESULTS)
	$(Q)$< --gtest_brief=1 --gtest_output=json:$(RESULTS)/unit.json
# In two halves, side by side under -j.
SAN_HALVES := unit-san-0 unit-san-1
.PHONY: $(SAN_HALVES)
unit-san: $(SAN_HALVES)
$(SAN_HALVES): unit-san-%: $(BUILD)/san/unit-tests$(SOME)
	$(Q)mkdir -p $(RESULTS)
	$(Q)GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=$* $< --gtest_brief=1 --gtest_output=json:$(RESULTS)/unit-san-$*.json
boot-tests: iso host $(TEST_PROGRAMS)
	$(Q)mkdir -p $(RESULTS)
	$(Q)pytest-3 -q -n $(JOBS) tests/boot
$(BUILD)/host/unit-tests$(SOME): $(TEST_OBJECTS) $(TOOL_OBJECTS) $(PORTABLE_OBJECTS) $(HOST_OBJECTS) $(call stage_object,full)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lgtest_main -lgmock -lgtest -lpthread -o $@
$(BUILD)/san/unit-tests$(SOME): $(SAN_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CXX) -no-pie -fsanitize=address,undefined $^ -lgtest_main -lgmock -lgtest -lpthread -o $@

# For tests of native images: what a boot leaves on its disk, without a disk.
$(BUILD)/host/make-snapshot: $(BUILD)/host/tests/boot/make_snapshot.o $(TOOL_OBJECTS) $(PORTABLE_OBJECTS) $(HOST_OBJECTS) $(BUILD_ID) \
		$(call stage_object,full)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lpthread -o $@

FORMATTED := $(foreach room,arch mm emitter model profiler persist tests iso,$(shell find $(room) -name '*.h' -o -name '*.cpp'))
SCRIPTS := $(shell find iso tests emitter arch .ci -name '*.sh') .ci/run
check: deps-check
	$(Q)clang-format-14 --dry-run -Werror $(FORMATTED)
	$(Q)python3 tests/check_layering.py
	$(Q)shellcheck $(SCRIPTS)
	@echo "check: format, layering and scripts are fine"

# ---------------------------------------------------------------- figures
.PHONY: bench-boot size-report
bench-boot: iso $(BUILD)/host/kvm-probe
	$(Q)tests/bench/boot_time.py
size-report: stages $(BUILD)/host/bareflow-import
	$(Q)tests/bench/size_report.py $(BUILD)
	$(Q)tests/bench/image_sizes.py $(BUILD)

# ---------------------------------------------------------------- set-up and help
.PHONY: deps deps-run deps-test deps-check deps-fuzz help clean
deps: deps-run deps-test deps-converge deps-check deps-fuzz deps-bench deps-peers deps-emit
deps-run:
	$(call install,$(RUN_PACKAGES))
deps-test:
	$(call install,$(RUN_PACKAGES) $(TEST_PACKAGES) $(ORACLE_PACKAGES) $(TOKENIZER_PACKAGES))
deps-check:
	$(call install,$(CHECK_PACKAGES))
deps-converge: deps-run
	$(call install,$(CONVERGE_PACKAGES))
deps-fuzz: deps-test
	$(call install,$(FUZZ_PACKAGES))
# Installs what is missing, and says so first; as root, or with sudo.
define install
	$(Q)missing=; for package in $(1); do \
	    dpkg-query -W -f='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	    echo "BareFlow needs these Debian packages and installs them now with apt:$$missing"; \
	    as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		    $$as_root apt-get update -qq && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

help:
	@echo 'make run          set up, build, boot in QEMU, and write stories with you'
	@echo 'make test         set up, build, and run every test (unit, sanitizers, oracles, QEMU boots)'
	@echo 'make all          the kernel and the host programs, under $(BUILD)/'
	@echo 'make iso          $(BUILD)/bareflow.iso: boots by BIOS and UEFI'
	@echo 'make disk         $(BUILD)/bareflow.img: a disk or USB stick that boots by itself; MODEL=FILE.wllm'
	@echo 'make emit         $(BUILD)/host/bareflow-emit: any routine as object file, bytes or listing'
	@echo 'make dump         what objdump sees of a routine; SHAPE=1x2048x2048 ISA=avx2 OP=project TYPE=f32 CLASS=fma'
	@echo 'make unit         host unit tests only; UNIT=mm for one room'
	@echo 'make unit-san     the same under AddressSanitizer and UBSan'
	@echo 'make boot-tests   the QEMU tests only'
	@echo 'make oracle-tests instructions and routines against asmjit, xbyak, Zydis and an interpreter; the tokenizer against SentencePiece'
	@echo 'make fuzz         libFuzzer on assemblers, routines, disks, snapshots and files of models; FUZZ_SECONDS=60 (make deps-fuzz first)'
	@echo 'make converge     boots again and again from one disk, and plots how it converges; BOOTS=1000'
	@echo 'make check        format, layering, shell scripts'
	@echo 'make bench        boot time, and bareflow-bench: routines beside limits, hand-written code, other libraries'
	@echo 'make bench-peers  bareflow-bench in turns with llama.cpp from npm, on made-up TinyLlama weights'
	@echo 'make gguf-oracle  every type of GGUF weights, read beside llama.cpp from npm'
	@echo 'make bench-boot   time from the start of QEMU to the first token'
	@echo 'make size-report  what takes how many bytes in the kernel, stage by stage, and in whole images'
	@echo 'make deps         install every Debian package that any of these needs'
	@echo 'make clean        remove $(BUILD)/'
	@echo 'V=1 shows commands; JOBS=N sets how many run at once (default: all cores)'
clean:
	rm -rf $(BUILD)

# bareflow-emit; the emitter's assemblers and routines against oracles; fuzzers; bareflow-bench.
include emitter/asmjit.mk emitter/tools/emit.mk tests/oracle/oracle.mk tests/gguf/gguf.mk tests/fuzz/fuzz.mk tests/bench/bench.mk

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
