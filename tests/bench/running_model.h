// A model as the host program runs it (the options' operators, the profiler between), one token or one prompt at a time.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "arch/host/host_platform.h"
#include "arch/routine_engine.h"
#include "model/sampler.h"
#include "model/transformer.h"
#include "tests/bench/huge_image.h"

namespace bareflow::bench {

class RunningModel {
 public:
    /// Puts other operators in front of the engine's; what it returns must live as long as the model.
    using Wrap = std::function<Operators*(Operators&)>;

    /// Exits where the options ask for what there is not. Threads may run on all given cores.
    /// kCold: nothing has run, no routine has been made, and only the first layer will run: it wants all routines that
    /// there are, and the less runs beside their making, the better that is seen.
    enum class Start { kWarm, kCold };
    RunningModel(const HugeImage& image, const Options& options, const Wrap& wrap = {},
                 Start start = Start::kWarm);
    RunningModel(const RunningModel&) = delete;

    /// One token of generation, at positions kFirst to kFirst + kSpan - 1 in turn.
    void next_token(const SamplingOptions& sampling);
    /// A prompt of `tokens`, without the head.
    void prompt(uint32_t tokens);

    /// The `count` most likely tokens after `prompt`, from an empty context.
    std::vector<uint32_t> continuation(std::span<const uint32_t> prompt, uint32_t count);

    const Weights& weights() const { return weights_; }
    uint32_t context() const { return transformer_->context(); }
    /// nullptr where nothing is emitted.
    const RoutineCache* routines() const { return engine_.cache(); }
    /// What a token of generation reads of the weights.
    ByteSpan read_by_a_token() const;
    /// Operations of a token of a prompt, attention's left out.
    double operations_a_token() const;

    static constexpr uint32_t kFirst = 8, kSpan = 64;
    static constexpr uint32_t kLongestPrompt = 512;

 private:
    HostPlatform platform_{0};
    RoutineEngine engine_;
    Weights weights_;
    std::optional<Transformer> transformer_;
    std::optional<Sampler> sampler_;
    uint32_t token_ = 0, position_ = kFirst;
};

}  // namespace bareflow::bench
