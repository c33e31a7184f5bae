// Writes GGUF files: whole models as llama.cpp reads them, and, piece by piece, whatever a test wants to be in one.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "model/tools/gguf_blocks.h"
#include "model/tools/model_source.h"

namespace bareflow::gguf {

/// Bytes of a file of some version: counts have 32 bits in version 1, else 64.
class Encoder {
 public:
    explicit Encoder(uint32_t version = 3) : version_(version) {}
    template <typename T>
    Encoder& put(T value) {
        const auto* begin = reinterpret_cast<const uint8_t*>(&value);
        bytes_.insert(bytes_.end(), begin, begin + sizeof value);
        return *this;
    }
    Encoder& count(uint64_t value) { return version_ == 1 ? put(static_cast<uint32_t>(value)) : put(value); }
    Encoder& string(const std::string& text) {
        count(text.size());
        bytes_.insert(bytes_.end(), text.begin(), text.end());
        return *this;
    }
    void align(uint32_t alignment) { bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment); }
    std::vector<uint8_t>& bytes() { return bytes_; }

 private:
    uint32_t version_;
    std::vector<uint8_t> bytes_;
};

/// The metadata: keys and their values, in order.
class Metadata {
 public:
    explicit Metadata(uint32_t version = 3) : version_(version) {}
    /// A value of some type: its bytes by `write`, called with an Encoder. Takes the place of one that is there.
    template <typename Write>
    void set(const std::string& key, uint32_t type, Write write) {
        Encoder encoder(version_);
        encoder.put(type);
        write(encoder);
        remove(key);
        entries_.push_back({key, encoder.bytes()});
    }
    void number(const std::string& key, uint32_t value);
    void signed_number(const std::string& key, int32_t value);
    void number(const std::string& key, float value);
    void flag(const std::string& key, bool value);
    void text(const std::string& key, const std::string& value);
    void texts(const std::string& key, const std::vector<std::string>& values);
    template <typename T>
    void numbers(const std::string& key, uint32_t type, const std::vector<T>& values) {
        set(key, 9, [&](Encoder& encoder) {
            encoder.put(type).count(values.size());
            for (const T value : values) encoder.put(value);
        });
    }
    void remove(const std::string& key);
    /// Once more, behind the others.
    void repeat(const std::string& key);

    struct Entry {
        std::string key;
        std::vector<uint8_t> value;  ///< its type, then itself
    };
    const std::vector<Entry>& entries() const { return entries_; }
    uint32_t version() const { return version_; }

 private:
    uint32_t version_;
    std::vector<Entry> entries_;
};

struct TensorInfo {
    std::string name;
    std::vector<uint64_t> sizes;  ///< the innermost first
    uint32_t type;
    uint64_t offset;  ///< from where the tensors begin
};

/// What stands before the tensors, filled up to the alignment.
std::vector<uint8_t> head(const Metadata& metadata, const std::vector<TensorInfo>& tensors,
                          uint32_t alignment = 32);

struct WriteOptions {
    /// Of matrices; norms are F32.
    std::function<TensorType(TensorName)> type_of;
    uint32_t version = 3;
    uint32_t alignment = 32;
};

/// A tensor's name in a file.
std::string tensor_name(TensorName tensor);
Metadata metadata_of(const ModelConfig& config, const Vocabulary& vocabulary, uint32_t version = 3);
std::vector<TensorInfo> tensors_of(const ModelConfig& config, const WriteOptions& options);
/// Writes the tensors, each aligned, as tensors_of() has placed them.
void write_tensors(const ModelSource& model, const WriteOptions& options, std::ostream& out);
/// The whole file; aborts where the model cannot be read. Whether `out` could be written is the caller's to ask.
void write_model(const ModelSource& model, const Vocabulary& vocabulary, const WriteOptions& options,
                 std::ostream& out);

/// As llama-quantize's Q4_K_M mixes: half of the layers' value and down projections, and the head, in Q6_K.
TensorType q4_k_m(TensorName tensor, uint32_t num_layers);
/// "q4_k", in small letters.
const BlockShape* type_named(std::string_view name);

}  // namespace bareflow::gguf
