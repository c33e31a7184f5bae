# GGUF files for tests, and llama.cpp (npm's node-llama-cpp) as the oracle of how they are read. Included by the Makefile
# before tests/bench/bench.mk, whose packages the oracle needs.
GGUF_WRITER := tests/gguf/gguf_writer.cpp tests/gguf/gguf_encode.cpp
GGUF_WRITER_OBJECTS := $(GGUF_WRITER:%.cpp=$(BUILD)/host/%.o)

$(MAKE_GGUF): $(BUILD)/host/tests/gguf/make_gguf.o $(GGUF_WRITER_OBJECTS) $(TOOL_OBJECTS) \
		$(filter-out $(SHARED_MAIN:%.cpp=$(BUILD)/kernel/%.o),$(PORTABLE_OBJECTS)) $(HOST_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(HOST_LINK) $^ -lpthread -o $@

.PHONY: gguf-oracle
gguf-oracle: deps-peers
	$(Q)$(MAKE) -j$(JOBS) host $(MAKE_GGUF) $(PEERS_FOLDER)/node_modules/.package-lock.json
	$(Q)node tests/gguf/oracle.mjs $(PEERS_FOLDER)/node_modules $(BUILD)/host $(BUILD)/gguf
