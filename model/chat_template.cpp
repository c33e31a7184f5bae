#include "model/chat_template.h"

#include "arch/base/options.h"
#include "arch/base/text.h"

namespace bareflow {
namespace {

constexpr char kBos = 1, kEos = 2, kNamed = 3;

constexpr ChatTemplate kTemplates[] = {
    {"plain", "", "", "", "", "", false, "", ""},
    {"zephyr", "\3<|system|>\3\n", "\2\n", "\3<|user|>\3\n", "\2\n\3<|assistant|>\3\n", "\2\n", false, "",
     "<|user|>"},
    {"llama-2", "<<SYS>>\n", "\n<</SYS>>\n\n", "[INST] ", " [/INST]", " \2\1", true, "", "[INST]"},
    {"chatml", "\3<|im_start|>\3system\n", "\3<|im_end|>\3\n", "\3<|im_start|>\3user\n",
     "\3<|im_end|>\3\n\3<|im_start|>\3assistant\n", "\3<|im_end|>\3\n", false, "<|im_end|>", "<|im_end|>"},
};
static_assert(sizeof(kTemplates) / sizeof(kTemplates[0]) ==
              sizeof(kTemplateNames) / sizeof(kTemplateNames[0]));

/// What Jinja text of a template has in it, and of others that look like it has not.
struct Telltale {
    std::string_view name, has[3], has_not;
};
constexpr Telltale kTelltales[] = {
    {"chatml", {"<|im_start|>", "<|im_end|>"}, "<|im_sep|>"},
    {"llama-2", {"[INST]", "[/INST]", "<<SYS>>"}, "[SYSTEM_PROMPT]"},
    {"zephyr", {"<|user|>", "<|assistant|>", "eos_token"}, "<|end|>"},
};

bool fits(const Telltale& telltale, std::string_view text) {
    for (std::string_view mark : telltale.has) {
        if (text.find(mark) == std::string_view::npos) return false;
    }
    return text.find(telltale.has_not) == std::string_view::npos;
}

}  // namespace

const ChatTemplate* find_chat_template(std::string_view name) {
    for (const ChatTemplate& each : kTemplates) {
        if (name == each.name) return &each;
    }
    return nullptr;
}

const ChatTemplate* recognise_chat_template(std::string_view text) {
    if (const ChatTemplate* named = find_chat_template(trimmed(text))) return named;
    for (const Telltale& telltale : kTelltales) {
        if (fits(telltale, text)) return find_chat_template(telltale.name);
    }
    return nullptr;
}

void TemplateWriter::put(uint32_t token) {
    if (count_ < out_.size()) out_[count_] = token;
    ++count_;
}

Result<void> TemplateWriter::flush() {
    const Buffer<uint32_t> encoded = TRY(
        tokenizer_.encode({text_.data(), text_size_}, {.dummy_prefix = behind_mark_, .marks_as_text = true}));
    for (uint32_t token : encoded) put(token);
    if (text_size_ != 0) behind_mark_ = false;
    text_size_ = 0;
    return {};
}

Result<void> TemplateWriter::literal(std::string_view text) {
    if (text.size() > text_.size() - text_size_)
        return Error::make(ErrorCode::kOutOfRange, "a message is longer than {} bytes", text_.size());
    for (char c : text) text_[text_size_++] = c;
    return {};
}

Result<void> TemplateWriter::marked(std::string_view text) {
    while (!text.empty()) {
        const char first = text.front();
        if (first < kBos || first > kNamed) {
            TRY(literal(text.substr(0, 1)));
            text.remove_prefix(1);
            continue;
        }
        text.remove_prefix(1);
        uint32_t token = first == kBos ? config_.bos_id : config_.eos_id;
        if (first == kNamed) {
            const std::string_view name = text.substr(0, text.find(kNamed));
            text.remove_prefix(name.size() + 1);
            token = tokenizer_.special(name);
            if (token == Tokenizer::kNone) {
                TRY(literal(name));
                continue;
            }
        }
        TRY(flush());
        put(token);
        behind_mark_ = true;
    }
    return {};
}

Result<void> TemplateWriter::tokens(std::span<const uint32_t> tokens) {
    TRY(flush());
    for (uint32_t token : tokens) put(token);
    if (!tokens.empty()) behind_mark_ = false;
    return {};
}

Result<uint32_t> TemplateWriter::finish() {
    TRY(flush());
    return count_;
}

}  // namespace bareflow
