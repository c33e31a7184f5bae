# bareflow-emit and `make dump`. A program that `make run` does not need, with packages of its own (xbyak, Zydis), so a
# target of its own too. Included by the Makefile after emitter/asmjit.mk.
EMIT_SOURCES := $(wildcard emitter/tools/*.cpp)
EMIT_OBJECTS := $(EMIT_SOURCES:%.cpp=$(BUILD)/host/%.o)
# xbyak is not ours to optimise.
$(BUILD)/host/emitter/tools/emit_xbyak.o: EXTRA_FLAGS := -O1 -g0

EMIT_PARTS := $(TOOL_OBJECTS) $(PORTABLE_OBJECTS) $(HOST_OBJECTS)
EMIT_TEST_OBJECTS := $(patsubst %.cpp,$(BUILD)/host/%.o,$(wildcard tests/unit/emit/*.cpp) $(filter-out %_main.cpp,$(EMIT_SOURCES)))

$(EMIT): $(EMIT_OBJECTS) $(EMIT_PARTS)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lZydis -lpthread -o $@
$(BUILD)/host/emit-tests: $(EMIT_TEST_OBJECTS) $(EMIT_PARTS)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lZydis -lgtest_main -lgmock -lgtest -lpthread -o $@

.PHONY: emit emit-tests dump deps-emit
deps-emit:
	$(call install,$(RUN_PACKAGES) $(EMIT_PACKAGES))
emit: deps-emit
	$(Q)$(MAKE) -s -j$(JOBS) $(EMIT)

emit-tests: $(BUILD)/host/emit-tests
	$(Q)mkdir -p $(RESULTS)
	$(Q)$< --gtest_brief=1 --gtest_output=json:$(RESULTS)/emit.json

# `make dump SHAPE=1x2048x2048 ISA=avx2 OP=project TYPE=f32 CLASS=fma PLAN=unroll=8`, or `make dump KEY=…`.
OP := project
SHAPE := 1x2048x2048
ISA := avx2
TYPE := f32
CLASS = $(if $(filter sse2 ssse3,$(ISA)),muladd,fma)
PLAN :=
KEY = $(OP)_$(SHAPE)$(if $(filter project qkv gate_up,$(OP)),_$(TYPE))_$(CLASS)_$(ISA)
dump: emit
	$(Q)mkdir -p $(BUILD)/dump
	$(Q)$(EMIT) $(KEY) $(if $(PLAN),--plan $(PLAN)) -o $(BUILD)/dump/$(KEY).o
	$(Q)objdump -d -M intel --no-show-raw-insn $(BUILD)/dump/$(KEY).o
