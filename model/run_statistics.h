// What is measured while text is written, and the rates that are shown of it.
#pragma once

#include <cstdint>
#include <string_view>

namespace bareflow {

/// Why a generation ended.
enum class StopReason : uint8_t {
    kEndOfText,  ///< the model said so: EOS, or the BOS of a next text
    kLength,     ///< as many tokens as were asked for
    kContext,    ///< every position of the context is taken
    kInterrupt,  ///< the user wanted no more
    kStop,       ///< the text came to a stop string
};

/// As the log writes it.
constexpr std::string_view name_of(StopReason reason) {
    constexpr std::string_view kNames[] = {"eos", "length", "context", "interrupt", "stop"};
    return kNames[static_cast<uint8_t>(reason)];
}

/// Tokens that were run through the model, and how long that took, sampling and output included.
struct TokenTiming {
    uint64_t tokens = 0;
    uint64_t ns = 0;

    constexpr double milliseconds() const { return static_cast<double>(ns) * 1e-6; }
    /// 0 where nothing was measured.
    constexpr double ms_per_token() const {
        return tokens == 0 ? 0 : milliseconds() / static_cast<double>(tokens);
    }
    constexpr double tokens_per_second() const {
        return ns == 0 ? 0 : static_cast<double>(tokens) * 1e9 / static_cast<double>(ns);
    }
    constexpr void add(const TokenTiming& other) {
        tokens += other.tokens;
        ns += other.ns;
    }
};

/// One generation. As in llama.cpp, the first token comes out of the prompt's evaluation and each later one out of an
/// evaluation of its own.
struct RunStatistics {
    uint32_t generated = 0;  ///< tokens written after the prompt
    uint32_t kept = 0;       ///< tokens at the prompt's beginning whose keys and values were there already
    TokenTiming prompt;      ///< evaluation of the prompt's others, BOS included
    TokenTiming evaluation;  ///< of tokens after the prompt
    uint64_t first_token_ns = 0;  ///< from the request to the first new token; 0 if there was none
    StopReason stop = StopReason::kLength;
};

/// All generations of a session.
struct SessionStatistics {
    uint64_t load_ns = 0;                  ///< to check the model and make its buffers
    uint64_t start_to_first_token_ns = 0;  ///< from the start of the program to its first token; 0: none yet
    uint64_t last_first_token_ns = 0;      ///< RunStatistics::first_token_ns of the last generation
    uint32_t runs = 0;
    uint64_t generated = 0;
    TokenTiming prompt{}, evaluation{};

    constexpr void add(const RunStatistics& run) {
        ++runs;
        last_first_token_ns = run.first_token_ns;
        generated += run.generated;
        prompt.add(run.prompt);
        evaluation.add(run.evaluation);
    }
};

}  // namespace bareflow
