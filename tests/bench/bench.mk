# bareflow-bench: routines beside the machine's limits, hand-written code and Debian's BLAS and neural network libraries.
# `make bench` installs those, builds, measures the time of a boot and runs it. Included by the Makefile.
BENCH_PACKAGES := libopenblas-pthread-dev libblis-pthread-dev libeigen3-dev libdnnl-dev libxsmm-dev nlohmann-json3-dev \
	gnuplot-nox
BENCH_SOURCES := $(wildcard tests/bench/*.cpp)
BENCH_OBJECTS := $(BENCH_SOURCES:%.cpp=$(BUILD)/host/%.o)
bench_objects = $(1:%=$(BUILD)/host/tests/bench/%.o)

$(BENCH_OBJECTS): EXTRA_FLAGS := -O2
$(call bench_objects,yardsticks_scalar): EXTRA_FLAGS := -O2 -fno-tree-vectorize
$(call bench_objects,yardsticks_avx2): EXTRA_FLAGS := -O3 -mavx2 -mfma
$(call bench_objects,peers): EXTRA_FLAGS := -O3 -march=native -fopenmp -isystem /usr/include/eigen3

.PHONY: bareflow-bench bench deps-bench
deps-bench:
	$(call install,$(RUN_PACKAGES) $(BENCH_PACKAGES))
bareflow-bench: deps-bench
	$(Q)$(MAKE) -j$(JOBS) $(BUILD)/host/bareflow-bench
bench: bareflow-bench
	$(Q)$(MAKE) bench-boot
	$(Q)$(BUILD)/host/bareflow-bench
$(BUILD)/host/bareflow-bench: $(BENCH_OBJECTS) $(TOOL_OBJECTS) $(HOST_OBJECTS) $(PORTABLE_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lxsmm -lxsmmnoblas -ldnnl -ldl -lgomp -lpthread -lm -o $@
