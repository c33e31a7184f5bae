# `make fuzz FUZZ_SECONDS=60`: each libFuzzer target for that long, with a fixed seed. Included by the Makefile; needs
# emitter/asmjit.mk and tests/oracle/oracle.mk. Debian: clang-19 libclang-rt-19-dev llvm-19-dev, else the same of 14.
FUZZ_SECONDS := 60
FUZZ_SEED := 1
FUZZ_LLVM := $(if $(shell command -v clang++-19),19,14)
FUZZ_CXX := clang++-$(FUZZ_LLVM)
FUZZ_FLAGS := -std=c++20 -O1 -g -I. -MMD -MP -Wall -Wextra -Wno-unused-command-line-argument -fno-omit-frame-pointer \
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
# The importer's readers of other programs' files.
FUZZ_MODEL_TARGETS := fuzz_safetensors fuzz_json_config fuzz_tokenizer_model
FUZZ_MODEL_SOURCES := $(addprefix model/tools/,json.cpp safetensors.cpp sentencepiece_model.cpp piece_text.cpp hf_config.cpp \
	hf_tokenizer.cpp hf_tokenizer_form.cpp files.cpp) $(addprefix model/,tokenizer.cpp tokenizer_section.cpp bpe_encoder.cpp \
	detokenizer.cpp) $(wildcard arch/base/*.cpp) arch/host/panic.cpp
# Inputs to begin with, written by the tests' own writers.
FUZZ_SEEDS := $(BUILD)/fuzz/make_seeds
# Vocabularies have 256 byte pieces.
FUZZ_LENGTH_fuzz_tokenizer_model := 8192
FUZZ_LENGTH_fuzz_json_config := 2048
FUZZ_ALL := $(FUZZ_TARGETS) $(FUZZ_DISK_TARGETS) $(FUZZ_MODEL_TARGETS)

.PHONY: fuzz
fuzz: $(FUZZ_ALL:%=fuzz-%)
.PHONY: $(FUZZ_ALL:%=fuzz-%)
$(FUZZ_ALL:%=fuzz-%): fuzz-%: $(BUILD)/fuzz/%
	@mkdir -p $(BUILD)/fuzz/corpus/$*
	$(if $(filter $*,$(FUZZ_MODEL_TARGETS)),$(FUZZ_SEEDS) $* $(BUILD)/fuzz/corpus/$*)
	$< -max_total_time=$(FUZZ_SECONDS) -seed=$(FUZZ_SEED) -max_len=$(or $(FUZZ_LENGTH_$*),512) -len_control=0 -print_final_stats=1 \
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
$(FUZZ_MODEL_TARGETS:%=fuzz-%): $(FUZZ_SEEDS)
$(FUZZ_MODEL_TARGETS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%.o \
		$(FUZZ_MODEL_SOURCES:%.cpp=$(BUILD)/fuzz/%.o) $(BUILD)/libm.o
	$(FUZZ_CXX) -no-pie -fsanitize=address,undefined,fuzzer $^ -o $@
$(FUZZ_SEEDS): $(BUILD)/fuzz/tests/fuzz/make_seeds.o $(FUZZ_MODEL_SOURCES:%.cpp=$(BUILD)/fuzz/%.o) $(BUILD)/libm.o
	$(FUZZ_CXX) -no-pie -fsanitize=address,undefined $^ -lgtest -o $@
