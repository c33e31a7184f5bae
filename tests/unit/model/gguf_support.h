// GGUF files for tests: whole small ones, and what import makes of them.
#pragma once

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "model/tools/import.h"
#include "tests/gguf/gguf_writer.h"
#include "tests/unit/model/test_models.h"

namespace bareflow::gguf {

/// A model whose columns are multiples of 32: all but K-quants go with it.
inline ModelConfig gguf_config(bool tied = true) {
    ModelConfig config = small_config(tied);
    config.hidden_size = 32;
    config.intermediate_size = 64;
    config.head_size = 8;
    return config;
}

/// A file in parts, so that a test can change one of them.
struct Parts {
    explicit Parts(const ModelConfig& model_config = gguf_config(), TensorType type = TensorType::kF32,
                   uint32_t version = 3)
        : config(model_config), metadata(metadata_of(config, small_vocabulary(), version)) {
        options.type_of = [type](TensorName) { return type; };
        options.version = version;
        tensors = tensors_of(config, options);
        std::ostringstream out;
        write_tensors(MadeUpModel(config), options, out);
        const std::string text = out.str();
        data.assign(text.begin(), text.end());
    }
    Bytes bytes() const {
        Bytes file = head(metadata, tensors, options.alignment);
        file.insert(file.end(), data.begin(), data.end());
        return file;
    }
    /// Where in the file the value of `key` stands, behind its type.
    uint64_t offset_of(const std::string& key) const {
        uint64_t offset = 4 + 4 + 8 + 8;
        for (const Metadata::Entry& entry : metadata.entries()) {
            offset += 8 + entry.key.size();
            if (entry.key == key) return offset + 4;
            offset += entry.value.size();
        }
        return 0;
    }

    ModelConfig config;
    Metadata metadata;
    WriteOptions options;
    std::vector<TensorInfo> tensors;
    Bytes data;
};

class GgufTest : public ::testing::Test {
 protected:
    /// Imports m.gguf; "" or the message.
    std::string import(const Bytes& file, TensorTypes types = {}, Layout layout = Layout::kPanels16) {
        folder.write("m.gguf", file);
        ImportRequest request;
        request.model = folder / "m.gguf";
        request.types = std::move(types);
        request.layout = layout;
        const auto imported = import_model(request, made.get());
        if (imported.ok()) summary = imported.value();
        return imported.ok() ? "" : std::string(imported.error().message());
    }
    std::string import(const Parts& parts) { return import(parts.bytes()); }
    Image output() { return Image(MappedFile::map(made.get(), "m.wllm").value().bytes()); }

    TemporaryFolder folder;
    Descriptor made{memfd_create("m.wllm", MFD_CLOEXEC)};
    ImportSummary summary;
    StdAllocator allocator;
};

}  // namespace bareflow::gguf
