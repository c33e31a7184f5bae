// A loaded model: views into a .wllm image that stays where it is. Nothing is copied but the small tables of views.
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/base/allocator.h"
#include "arch/base/bytes.h"
#include "arch/base/quantised.h"
#include "arch/base/result.h"
#include "arch/base/tensor.h"

namespace bareflow {

/// The shape of a Llama-architecture model.
struct ModelConfig {
    uint32_t num_layers = 0, hidden_size = 0, intermediate_size = 0, vocab_size = 0;
    uint32_t num_heads = 0, num_kv_heads = 0, head_size = 0, context_length = 0;
    float rope_theta = 0, norm_eps = 0;
    float rope_scaling = 0;  ///< linear: positions are divided by it; 0: they are not
    bool tied_embedding = false;
    uint32_t bos_id = 0, eos_id = 0, unk_id = 0;

    uint32_t query_size() const { return num_heads * head_size; }
    uint32_t kv_size() const { return num_kv_heads * head_size; }
    bool operator==(const ModelConfig&) const = default;
};

struct LayerWeights {
    TensorView query, key, value, output;   ///< attention projections
    TensorView gate, up, down;              ///< feed-forward
    const float* attention_norm = nullptr;  // (hidden)
    const float* ffn_norm = nullptr;        // (hidden)
};

/// Where a tensor lies in its file.
struct TensorPlace {
    uint64_t offset = 0, size = 0;  ///< bytes; the offset is a multiple of 64
    uint32_t crc32c = 0;
};

/// A tensor in memory whose bytes nobody has looked at yet.
struct UncheckedTensor {
    TensorPlace place;
    ElementType type = ElementType::kF32;
};
/// A session looks at the tensors of an image this large while nobody waits (WeightCheck).
constexpr uint64_t kCheckedLaterFrom = 64 << 20;

struct Weights {
    ModelConfig config;
    Buffer<LayerWeights> layers;
    TensorView embedding;               ///< (vocab, hidden)
    TensorView lm_head;                 ///< (vocab, hidden); the embedding itself when tied
    const float* final_norm = nullptr;  // (hidden)
    ByteSpan tokenizer;                 ///< the checked tokenizer section, for Tokenizer::make
    std::string_view chat_template;     ///< "plain" if the file says nothing
    std::string_view provenance;        ///< key=value lines
    /// Key=value lines of options that the model's makers recommend ("temp=0.6"), named as on the command line; may be
    /// empty. Not checked beyond being UTF-8.
    std::string_view defaults;
    uint64_t weight_bytes = 0;  ///< sum of the tensors' sizes
    uint64_t file_size = 0;
    uint32_t hash = 0;  ///< the header's CRC-32C, which stands for every byte of the file
    ByteSpan image;     ///< all of the file, where it is in memory
    Buffer<UncheckedTensor> unchecked;
    size_t unchecked_count = 0;

    // ---- of a model that stays on its disk (load_weight_table): views without data, norms that somebody fills
    Buffer<TensorPlace>
        places;           ///< by place_index() (llama_shapes.h); empty where the whole image is in memory
    Buffer<float> norms;  ///< what the pointers to norms point into
};

/// Checks `image` (64-byte aligned, alive as long as the Weights) from header to last tensor and returns views into
/// it. Every size is checked with overflow-safe arithmetic before it is used; an error names the field and the offset.
/// Of an image of `checked_later_from` bytes or more, the tensors' own bytes are left for a WeightCheck.
Result<Weights> load_weights(ByteSpan image, Allocator& allocator, uint64_t checked_later_from = UINT64_MAX);
/// The same from the first bytes of a file of `file_size` bytes, as many as weight_table_bytes() says: header and sections are
/// checked, tensors have places and shapes but no data. `head` is 64-byte aligned and stays as long as the Weights.
Result<Weights> load_weight_table(ByteSpan head, uint64_t file_size, Allocator& allocator);
/// How many bytes of a file hold its header and sections, from the first kWeightHeadBytes of it, or all if it is shorter.
Result<uint64_t> weight_table_bytes(ByteSpan start, uint64_t file_size, Allocator& allocator);
constexpr size_t kWeightHeadBytes = 4096;
/// What is wrong with a tensor whose bytes have that CRC-32C, and a value of -128 or not.
Result<void> judge_tensor(std::string_view what, const TensorPlace& place, uint32_t crc32c,
                          bool holds_lowest);
/// What is wrong with a tensor's bytes; ok if they are what the file's directory vouches for.
Result<void> check_tensor(std::string_view what, const TensorPlace& place, ElementType type, ByteSpan bytes);
/// Looks at the tensors that load_weights() left, some bytes at a time.
class WeightCheck {
 public:
    /// The weights stay where they are.
    explicit WeightCheck(const Weights& weights) : weights_(weights) {}
    bool done() const { return next_ == weights_.unchecked_count; }
    uint64_t bytes() const { return bytes_; }  ///< looked at so far
    /// Looks at the next kPiece bytes, if there are any: some tens of microseconds. An error says what is wrong with a tensor, and
    /// ends the check.
    Result<void> step();
    static constexpr uint64_t kPiece = 512 * sizeof(Q8Panel);

 private:
    const Weights& weights_;
    size_t next_ = 0;
    uint64_t bytes_ = 0, at_ = 0;  ///< `at_` in the next tensor
    uint32_t crc32c_ = 0;
    bool holds_lowest_ = false;
};
/// Whether a value of Q8_0 panels is -128, which routines that give signs to weights cannot multiply (quantised.h).
bool holds_lowest(ByteSpan panels);
/// Gives back the tables of views; the image is the caller's.
void free_weights(Weights& weights);

}  // namespace bareflow
