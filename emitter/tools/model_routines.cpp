#include "emitter/tools/model_routines.h"

#include <algorithm>
#include <filesystem>

#include "arch/routine_operators.h"
#include "emitter/routine_emitter.h"
#include "model/tools/open_model.h"
#include "model/tools/std_allocator.h"
#include "model/transformer.h"

namespace bareflow {
namespace {

namespace fs = std::filesystem;

/// Notes each key once.
class NotingVisitor final : public RoutineVisitor {
 public:
    bool has_routine(const RoutineKey& key) const override { return can_emit(key); }
    void visit(const RoutineKey& key, const void*) override {
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
    std::vector<RoutineKey> keys;
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
    const std::string model = TRY(model_in(path));
    const MappedFile file = TRY(open_model(model, "", false));
    StdAllocator allocator;
    const Weights weights = TRY(load_weights(file.bytes(), allocator));

    NotingVisitor visitor;
    NoOperators nothing(numerics);
    RoutineOperators operators(visitor, nothing, isa);
    // One token at the first position asks for everything.
    Transformer transformer = TRY(Transformer::model_init(weights, operators, allocator, 1));
    const Logits logits = transformer.model_forward(0, 0);
    operators.argmax(logits.values,
                     weights.config.vocab_size);  // a sampler that changed the logits asks for it
    return visitor.keys;
}

}  // namespace bareflow
