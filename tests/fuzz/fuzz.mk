# `make fuzz FUZZ_SECONDS=60`: each libFuzzer target for that long, with a fixed seed. Included by the Makefile; needs
# emitter/asmjit.mk and tests/oracle/oracle.mk. Debian: clang-19 libclang-rt-19-dev llvm-19-dev, else the same of 14.
FUZZ_SECONDS := 60
FUZZ_SEED := 1
FUZZ_LLVM := $(if $(shell command -v clang++-19),19,14)
FUZZ_CXX := clang++-$(FUZZ_LLVM)
# (A std::string_view goes through `...` in arch/base/format.h, as trivial as it is; Clang wants an older word of it, POD.)
FUZZ_FLAGS := -std=c++20 -O1 -g -I. -MMD -MP -Wall -Wextra -Wno-unused-command-line-argument -Wno-non-pod-varargs -fno-omit-frame-pointer \
	-ffp-contract=off -fno-pic -fno-pie -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
# The emitter's own code, instrumented.
FUZZ_TARGETS := fuzz_instructions fuzz_labels fuzz_routines
FUZZ_COMMON := $(ORACLE_SOURCES) $(ORACLE_TESTED) tests/fuzz/llvm_decoder.cpp arch/host/panic.cpp
FUZZ_OBJECTS := $(FUZZ_COMMON:%.cpp=$(BUILD)/fuzz/%.o)
FUZZ_LIBRARIES = $(ORACLE_LIBRARIES) -L/usr/lib/llvm-$(FUZZ_LLVM)/lib -lLLVM-$(FUZZ_LLVM) $(BUILD)/libm.o

# What reads disks and snapshots needs no other assemblers and decoders.
FUZZ_DISK_TARGETS := fuzz_fat16 fuzz_snapshot fuzz_grub_environment
FUZZ_DISK_SOURCES := $(wildcard persist/*.cpp arch/base/*.cpp) arch/host/panic.cpp \
	emitter/routine_emitter.cpp emitter/tiny_maker.cpp emitter/tiny_assembler.cpp
# What reads other programs' models, and what makes each one's first inputs: the tests' own writers.
FUZZ_READER_TARGETS := fuzz_safetensors fuzz_json_config fuzz_tokenizer_model
FUZZ_MODEL_TARGETS := $(FUZZ_READER_TARGETS) fuzz_gguf
FUZZ_MODEL_SOURCES := $(wildcard arch/base/*.cpp) arch/host/panic.cpp model/weights.cpp $(addprefix model/,tokenizer.cpp \
	tokenizer_section.cpp bpe_encoder.cpp detokenizer.cpp) $(filter-out %_main.cpp %/perplexity.cpp,$(wildcard model/tools/*.cpp))
MAKE_SEEDS := $(BUILD)/fuzz/make_seeds
$(FUZZ_READER_TARGETS:%=fuzz-%): fuzz-%: $(MAKE_SEEDS)
$(FUZZ_READER_TARGETS:%=fuzz-%): FUZZ_SEEDS = $(MAKE_SEEDS) $* $(BUILD)/fuzz/corpus/$*
fuzz-fuzz_gguf: FUZZ_SEEDS = $(MAKE_GGUF) --corpus $(BUILD)/fuzz/corpus/fuzz_gguf
fuzz-fuzz_gguf: $(MAKE_GGUF)
FUZZ_ALL := $(FUZZ_TARGETS) $(FUZZ_DISK_TARGETS) $(FUZZ_MODEL_TARGETS)
# Bytes of an input. Vocabularies have 256 byte pieces.
FUZZ_BYTES := 512
fuzz-fuzz_gguf: FUZZ_BYTES := 12288
fuzz-fuzz_tokenizer_model: FUZZ_BYTES := 8192
fuzz-fuzz_json_config: FUZZ_BYTES := 4096

.PHONY: fuzz
fuzz: $(FUZZ_ALL:%=fuzz-%)
.PHONY: $(FUZZ_ALL:%=fuzz-%)
$(FUZZ_ALL:%=fuzz-%): fuzz-%: $(BUILD)/fuzz/%
	@mkdir -p $(BUILD)/fuzz/corpus/$*
	$(Q)$(FUZZ_SEEDS)
	$< -max_total_time=$(FUZZ_SECONDS) -seed=$(FUZZ_SEED) -max_len=$(FUZZ_BYTES) -len_control=0 -print_final_stats=1 \
		-verbosity=0 -print_funcs=0 -artifact_prefix=$(BUILD)/fuzz/$*- $(BUILD)/fuzz/corpus/$*

$(BUILD)/fuzz/tests/fuzz/llvm_decoder.o: EXTRA_FLAGS := -isystem /usr/lib/llvm-$(FUZZ_LLVM)/include
$(BUILD)/fuzz/%.o: %.cpp tests/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(FUZZ_CXX) $(FUZZ_FLAGS) $(EXTRA_FLAGS) -c $< -o $@
$(FUZZ_TARGETS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%.o $(FUZZ_OBJECTS) $(ASMJIT_LIBRARY) $(BUILD)/libm.o
	$(FUZZ_CXX) -no-pie -fsanitize=address,undefined,fuzzer $(filter %.o,$(filter-out $(BUILD)/libm.o,$^)) $(FUZZ_LIBRARIES) -o $@
$(FUZZ_DISK_TARGETS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%.o \
		$(FUZZ_DISK_SOURCES:%.cpp=$(BUILD)/fuzz/%.o) $(BUILD)/libm.o
	$(FUZZ_CXX) -no-pie -fsanitize=address,undefined,fuzzer $^ -o $@
$(FUZZ_MODEL_TARGETS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%.o \
		$(FUZZ_MODEL_SOURCES:%.cpp=$(BUILD)/fuzz/%.o) $(BUILD)/libm.o
	$(FUZZ_CXX) -no-pie -fsanitize=address,undefined,fuzzer $^ -o $@
$(MAKE_SEEDS): $(BUILD)/fuzz/tests/fuzz/make_seeds.o $(FUZZ_MODEL_SOURCES:%.cpp=$(BUILD)/fuzz/%.o) $(BUILD)/libm.o
	$(FUZZ_CXX) -no-pie -fsanitize=address,undefined $^ -lgtest -o $@
