#include "emitter/tools/model_routines.h"

#include <algorithm>
#include <filesystem>

#include "arch/routine_operators.h"
#include "model/tools/open_model.h"
#include "model/tools/std_allocator.h"
#include "model/transformer.h"

namespace bareflow {
namespace {

namespace fs = std::filesystem;

/// Operators that compute nothing: what the transformer computes does not matter here, only what it asks for.
class NoOperators final : public Operators {
 public:
    explicit NoOperators(NumericClass numerics) : numerics_(numerics) {}
    NumericClass numeric_class() const override { return numerics_; }
    void embed(float*, const TensorView&, uint32_t) override {}
    void rms_norm(float*, const float*, const float*, size_t, float) override {}
    void qkv(float*, float*, float*, const float*, const TensorView&, const TensorView&, const TensorView&,
             const RopeRow&, uint32_t) override {}
    void attention(float*, const float*, const KvView&, const AttentionShape&, float*, size_t) override {}
    void project_add(float*, const TensorView&, const float*) override {}
    void gate_up(float*, const TensorView&, const TensorView&, const float*) override {}
    void matvec(float*, const TensorView&, const float*) override {}
    uint32_t matvec_argmax(float*, const TensorView&, const float*) override { return 0; }
    void softmax(float*, size_t) override {}
    void rotate(float*, size_t, uint32_t, const RopeRow&) override {}
    uint32_t argmax(const float*, size_t) override { return 0; }

 private:
    NumericClass numerics_;
};

/// Notes each key that the cache wants made, and makes nothing: the cache quarantines it and asks no more.
class NotingMaker final : public RoutineMaker {
 public:
    explicit NotingMaker(std::vector<RoutineKey>& keys) : keys_(keys) {}
    std::string_view name() const override { return "none"; }
    Result<size_t> make(const RoutineKey& key, const Plan&, std::span<uint8_t>) override {
        keys_.push_back(key);
        return invalid("only noted");
    }

 private:
    std::vector<RoutineKey>& keys_;
};
class NoProbe final : public RoutineProbe {
 public:
    Result<ProbeTimes> check(const RoutineKey&, Routine, const void*) override {
        return invalid("nothing was made");
    }
};
class NoLog final : public LogSink {
 public:
    void write_line(std::string_view) override {}
};
/// Nothing is executed, so rights need not change.
class PlainPages final : public CodePages {
 public:
    Result<void> make_writable(void*, size_t) override { return {}; }
    Result<void> make_executable(void*, size_t) override { return {}; }
    Result<void> make_guard(void*, size_t) override { return {}; }
};

bool may_be_model(const fs::path& path) {
    const std::string name = path.filename().string();
    return name.ends_with(".wllm") ||
           (name.ends_with(".bin") && !name.ends_with("tokenizer.bin") && !name.starts_with("tok"));
}

Result<std::string> model_in(const std::string& path) {
    std::error_code error;
    if (!fs::is_directory(path, error)) return path;
    std::vector<fs::path> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
        if (entry.is_regular_file(error) && may_be_model(entry.path())) found.push_back(entry.path());
    }
    if (error) return invalid("--llama {}: {}", path, error.message());
    if (found.size() == 1) return found[0].string();
    if (found.empty()) {
        return Error::make(ErrorCode::kNotFound,
                           "--llama {}: no .wllm or llama2.c .bin in this folder, and other formats are not "
                           "supported yet; name a file",
                           path);
    }
    std::sort(found.begin(), found.end());
    return invalid("--llama {}: {} models in this folder ({}, {}{}); name one", path, found.size(),
                   found[0].filename().string(), found[1].filename().string(), found.size() > 2 ? ", …" : "");
}

}  // namespace

Result<std::vector<RoutineKey>> keys_of_model(const std::string& path, NumericClass numerics, Isa isa) {
    constexpr size_t kArena = 1 << 20;
    const std::string model = TRY(model_in(path));
    const MappedFile file = TRY(open_model(model, "", false));
    StdAllocator allocator;
    const Weights weights = TRY(load_weights(file.bytes(), allocator));

    std::vector<RoutineKey> keys;
    NotingMaker maker(keys);
    NoProbe probe;
    NoLog log;
    PlainPages pages;
    NoOperators reference(numerics);
    Buffer<uint8_t> buffer = TRY(Buffer<uint8_t>::make(allocator, kArena + CodePages::kPageSize, "arena"));
    const auto start = reinterpret_cast<uintptr_t>(buffer.data());
    const size_t skip = (CodePages::kPageSize - start % CodePages::kPageSize) % CodePages::kPageSize;
    RoutineCache cache(maker, probe, log);
    TRY(cache.initialise(buffer.span().subspan(skip, kArena), pages, allocator));
    RoutineOperators operators(cache, reference, isa, allocator);
    // One token at the first position asks for everything.
    Transformer transformer = TRY(Transformer::model_init(weights, operators, allocator, 1));
    const Logits logits = transformer.model_forward(0, 0);
    operators.argmax(logits.values,
                     weights.config.vocab_size);  // a sampler that changed the logits asks for it
    return keys;
}

}  // namespace bareflow
