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

.PHONY: bareflow-bench bench bench-peers deps-bench deps-peers
deps-bench:
	$(call install,$(RUN_PACKAGES) $(BENCH_PACKAGES))
bareflow-bench: deps-bench
	$(Q)$(MAKE) -j$(JOBS) $(BUILD)/host/bareflow-bench
bench: bareflow-bench
	$(Q)$(MAKE) bench-boot
	$(Q)$(BUILD)/host/bareflow-bench
$(BUILD)/host/bareflow-bench: $(BENCH_OBJECTS) $(GGUF_WRITER_OBJECTS) $(TOOL_OBJECTS) $(HOST_OBJECTS) $(PORTABLE_OBJECTS) $(call stage_object,full)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lxsmm -lxsmmnoblas -ldnnl -ldl -lgomp -lpthread -lm -o $@

# llama.cpp as npm's prebuilt node-llama-cpp, in turns with ours; the weights are made up, nothing is downloaded but the
# package. PEERS='--rounds 3 q4_0' for less.
PEER_PACKAGES := nodejs npm
PEERS_FOLDER := $(BUILD)/peers
NODE_LLAMA := node-llama-cpp@3 @node-llama-cpp/linux-x64@3
PEERS :=
deps-peers:
	$(Q)command -v node npm >/dev/null || $(MAKE) deps-peer-packages
.PHONY: deps-peer-packages
deps-peer-packages:
	$(call install,$(PEER_PACKAGES))
$(PEERS_FOLDER)/node_modules/.package-lock.json: | deps-peers
	@mkdir -p $(PEERS_FOLDER)
	$(call say,NPM,$@)
	$(Q)npm install --prefix $(PEERS_FOLDER) --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error $(NODE_LLAMA)
bench-peers: bareflow-bench $(PEERS_FOLDER)/node_modules/.package-lock.json
	$(Q)node tests/bench/peers.mjs $(PEERS_FOLDER)/node_modules $(BUILD)/host/bareflow-bench $(PEERS_FOLDER) $(PEERS)
