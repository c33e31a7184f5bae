// A .wllm in anonymous huge pages: page cache comes and goes, and its pages are small.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "arch/base/bytes.h"
#include "arch/base/tensor.h"
#include "model/weights.h"
#include "tests/bench/matrices.h"

namespace bareflow::bench {

/// Which model: a file that BareFlow opens, or the weights of a known shape, made up, in one type.
struct ModelChoice {
    std::string name;  ///< "tinyllama-1.1b q4_0", or the file's
    std::string file;  ///< empty: made up
    std::string shape;
    ElementType type = ElementType::kF32;
};
/// "stories15m:q8_0", "stories15m" (every type), or a file.
std::vector<ModelChoice> choices_of(const std::string& text);

class HugeImage {
 public:
    /// Nothing, after saying why, where it does not fit in memory. Exits where it cannot be read.
    static std::optional<HugeImage> make(const ModelChoice& choice);
    ByteSpan bytes() const { return {reinterpret_cast<const uint8_t*>(floats_.get()), size_}; }

 private:
    HugeImage(int fd, uint64_t size, bool gives_way);
    Floats floats_;
    uint64_t size_;
};

}  // namespace bareflow::bench
