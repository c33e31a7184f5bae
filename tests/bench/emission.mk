# `make bench-emission`: tests/bench/emission_bench.cpp, with libxsmm-dev and libdnnl-dev where they are installed.
# Included by the Makefile after emitter/asmjit.mk.
EMISSION_LIBXSMM := $(if $(wildcard /usr/include/libxsmm.h),yes)
EMISSION_DNNL := $(if $(wildcard /usr/include/dnnl.hpp),yes)
EMISSION_OBJECTS := $(BUILD)/host/tests/bench/emission_bench.o $(BUILD)/host/arch/host/panic.o $(BUILD)/libm.o \
	$(patsubst %.cpp,$(BUILD)/kernel/%.o,emitter/tiny_assembler.cpp emitter/asmjit_assembler.cpp $(wildcard arch/base/*.cpp))
$(BUILD)/host/tests/bench/emission_bench.o: EXTRA_FLAGS := $(if $(EMISSION_LIBXSMM),-DBAREFLOW_HAVE_LIBXSMM) \
	$(if $(EMISSION_DNNL),-DBAREFLOW_HAVE_DNNL)
$(BUILD)/host/emission-bench: $(EMISSION_OBJECTS) $(ASMJIT_LIBRARY)
	$(CXX) $(HOST_LINK) $^ $(if $(EMISSION_LIBXSMM),-lxsmm -lxsmmnoblas -ldl -lpthread -lm) $(if $(EMISSION_DNNL),-ldnnl) -o $@
.PHONY: bench-emission
bench-emission: $(BUILD)/host/emission-bench
	$<
