// What the tests of session, chat and boot_main share: the default model, operators that follow a script, a terminal
// and a clock that a test drives.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "model/session.h"
#include "model/tools/files.h"
#include "model/tools/import.h"
#include "tests/unit/base/test_allocator.h"

namespace bareflow::testing {

/// model/bareflow-stories.bin as .wllm, imported once. Tests run from the repository's root.
inline ByteSpan default_model() {
    static const MappedFile file = [] {
        const Descriptor memory(memfd_create("test-model", MFD_CLOEXEC));
        ImportRequest request;
        request.model = "model/bareflow-stories.bin";
        import_model(request, memory.get()).take();
        return MappedFile::map(memory.get(), "test-model").take();
    }();
    return file.bytes();
}
inline ModelImage default_image() { return {"embedded", "stories", default_model()}; }

class FakeClock final : public Clock {
 public:
    uint64_t now_ns() override { return now; }
    uint64_t now = 1'000'000'000;
};

/// Log records, and what else happens between them, in order.
struct RecordingLog final : LogSink {
    void write_line(std::string_view line) override { lines.emplace_back(line); }
    /// The last record of `event`; empty if there is none.
    std::string last(std::string_view event) const {
        for (size_t i = lines.size(); i-- > 0;) {
            if (lines[i].starts_with(std::string(event) + " ")) return lines[i];
        }
        return "";
    }
    std::vector<std::string> lines;
};

/// Operators that compute nothing: the logits favour the tokens of a script, one after another, and EOS when it is at
/// its end. Each evaluation of a token takes kTokenNs.
class ScriptedOperators final : public Operators {
 public:
    static constexpr uint64_t kTokenNs = 10'000'000;
    explicit ScriptedOperators(FakeClock& clock) : clock_(clock) {}

    NumericClass numeric_class() const override { return NumericClass::kMulAdd; }
    void embed(float*, const TensorView&, uint32_t token) override {
        fed.push_back(token);
        clock_.now += kTokenNs;
    }
    void rms_norm(float*, const float*, const float*, size_t, float) override {}
    void qkv(float*, float*, float*, const float*, const TensorView&, const TensorView&, const TensorView&,
             const RopeRow&, uint32_t) override {}
    void attention(float*, const float*, const KvView& kv, const AttentionShape&, float*, size_t) override {
        positions = kv.positions;
    }
    void project_add(float*, const TensorView&, const float*) override {}
    void gate_up(float*, const TensorView&, const TensorView&, const float*) override {}
    void matvec(float* y, const TensorView& w, const float*) override {
        constexpr uint32_t kEos = 2;
        for (uint32_t i = 0; i < w.rows; ++i) y[i] = 0;
        if (logits) return logits(y);
        y[script.empty() ? kEos : script.front()] = 1;
        if (!script.empty()) script.pop_front();
    }
    uint32_t matvec_argmax(float* y, const TensorView& w, const float* x) override {
        matvec(y, w, x);
        return argmax(y, w.rows);
    }
    void softmax(float*, size_t) override {}
    void rotate(float*, size_t, uint32_t, const RopeRow&) override {}
    uint32_t argmax(const float* values, size_t n) override {
        uint32_t best = 0;
        for (uint32_t i = 1; i < n; ++i) best = values[i] > values[best] ? i : best;
        return best;
    }

    std::deque<uint32_t> script;
    std::function<void(float*)> logits;  ///< instead of the script
    std::vector<uint32_t> fed;           ///< tokens that were evaluated
    size_t positions = 0;                ///< length of the KV cache at the last attention

 private:
    FakeClock& clock_;
};

/// A terminal whose input is given beforehand; poll() yields what `while_writing` holds, once `text_before` is written.
class FakeTerminal final : public Terminal {
 public:
    void write(std::string_view text) override { output += text; }
    int read() override { return take(input); }
    int poll() override {
        if (output.find(text_before) == std::string::npos) return kNone;
        return take(while_writing);
    }
    bool interactive() const override { return person; }

    std::string input, while_writing, text_before;
    std::string output;
    bool person = true;

 private:
    static int take(std::string& bytes) {
        if (bytes.empty()) return kNone;
        const int byte = static_cast<unsigned char>(bytes[0]);
        bytes.erase(0, 1);
        return byte;
    }
};

/// A session on the default model with scripted operators.
struct SessionDesk {
    SessionDesk() : session(allocator, log, clock, clock.now) { log.lines.reserve(100); }
    Result<void> open(uint32_t context = 0) { return session.open(default_image(), operators, context); }

    std::vector<uint32_t> tokens_of(std::string_view text) {
        Buffer<uint32_t> encoded = session.tokenizer().encode(text).take();
        return {encoded.begin(), encoded.end()};
    }
    uint32_t byte_token(unsigned char byte) const {
        return byte + 3u;
    }  // after <unk>, <s> and </s> (MODEL_CARD.md)
    /// Makes the model continue with the tokens that `text` has in the middle of a text.
    void will_write(std::string_view text) {
        const std::vector<uint32_t> tokens = tokens_of("x" + std::string(text));
        for (size_t i = tokens_of("x").size(); i < tokens.size(); ++i) operators.script.push_back(tokens[i]);
    }

    TestAllocator allocator;
    RecordingLog log;
    FakeClock clock;
    ScriptedOperators operators{clock};
    Session session;
};

inline SamplingOptions greedy() {
    SamplingOptions sampling;
    sampling.temperature = 0;
    return sampling;
}

}  // namespace bareflow::testing
