# The emitter's tests against other assemblers and decoders: a program of their own, because those come from packages
# (libxbyak-dev, libzydis-dev) and their five hundred forms compile slowly. Included by the Makefile after
# emitter/asmjit.mk; `make oracle-tests` and `make oracle-tests-san`.
ORACLE_TESTS ?= $(filter-out %/routines_test.cpp %/emitter_version_test.cpp,$(wildcard tests/unit/emitter/*.cpp))
ORACLE_SOURCES := $(wildcard tests/oracle/*.cpp) tests/fuzz/differential.cpp tests/fuzz/routine_differential.cpp
ORACLE_TESTED := emitter/tiny_assembler.cpp emitter/asmjit_assembler.cpp emitter/any_assembler.cpp emitter/routine_emitter.cpp \
	emitter/tiny_maker.cpp emitter/asmjit_maker.cpp model/reference.cpp model/reference_fma.cpp model/reference_muladd.cpp $(wildcard arch/base/*.cpp)
ORACLE_LIBRARIES := $(ASMJIT_LIBRARY) -lZydis

# What is tested is what boots: the kernel's own objects.
ORACLE_OBJECTS := $(patsubst %.cpp,$(BUILD)/host/%.o,$(ORACLE_TESTS) $(ORACLE_SOURCES) arch/host/panic.cpp) \
	$(ORACLE_TESTED:%.cpp=$(BUILD)/kernel/%.o) $(BUILD)/libm.o
ORACLE_SAN_OBJECTS := $(patsubst %.cpp,$(BUILD)/san/%.o,$(ORACLE_TESTS) $(ORACLE_SOURCES) arch/host/panic.cpp $(ORACLE_TESTED)) \
	$(BUILD)/libm.o

# xbyak and asmjit are not ours to sanitize, and a planted bug is one on purpose.
oracle_objects = $(foreach kind,host san fuzz,$(1:%=$(BUILD)/$(kind)/tests/oracle/%.o))
$(call oracle_objects,assemble_xbyak emit_xbyak): EXTRA_FLAGS := -O0 -g0 -fno-sanitize=all
$(call oracle_objects,assemble_asmjit assemble_planted emit_asmjit planted_routines): EXTRA_FLAGS := -g0 -fno-sanitize=all

.PHONY: oracle-tests oracle-tests-san tokenizer-oracle
oracle-tests: $(BUILD)/host/oracle-tests tokenizer-oracle
	$(Q)mkdir -p $(RESULTS)
	$(Q)$< --gtest_brief=1 --gtest_output=json:$(RESULTS)/oracle-tests.json
# The tokenizer beside SentencePiece (libsentencepiece-dev).
tokenizer-oracle: $(BUILD)/host/tokenizer-oracle
	$(Q)mkdir -p $(RESULTS)
	$(Q)$< --gtest_brief=1 --gtest_output=json:$(RESULTS)/tokenizer-oracle.json
$(BUILD)/host/tokenizer-oracle: $(patsubst %.cpp,$(BUILD)/host/%.o,$(wildcard tests/oracle/tokenizer/*.cpp)) $(TOOL_OBJECTS) \
		$(PORTABLE_OBJECTS) $(HOST_OBJECTS) $(call stage_object,full)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lsentencepiece -lgtest_main -lgtest -lpthread -o $@
oracle-tests-san: $(BUILD)/san/oracle-tests
	$(Q)$< --gtest_brief=1
$(BUILD)/host/oracle-tests: $(ORACLE_OBJECTS) $(ASMJIT_LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $(ORACLE_OBJECTS) $(ORACLE_LIBRARIES) -lgtest_main -lgtest -lpthread -o $@
$(BUILD)/san/oracle-tests: $(ORACLE_SAN_OBJECTS) $(ASMJIT_LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CXX) -no-pie -fsanitize=address,undefined $(ORACLE_SAN_OBJECTS) $(ORACLE_LIBRARIES) -lgtest_main -lgtest -lpthread -o $@
