#include "model/tools/hf_tokenizer_form.h"

#include <vector>

#include "model/tools/piece_text.h"

namespace bareflow {
namespace {

constexpr std::string_view kSpace = " ";

/// A part of a Sequence, or the one part that stands alone; none for null.
Result<std::vector<JsonValue>> parts_of(const JsonValue& root, std::string_view key, std::string_view list) {
    std::vector<JsonValue> parts;
    const std::optional<JsonValue> value = root.find(key);
    if (!value) return parts;
    const JsonValue type = TRY(value->at("type"));
    if (TRY(type.text()) != "Sequence") {
        parts.push_back(*value);
        return parts;
    }
    const JsonValue sequence = TRY(value->at(list));
    const auto visit = [&](std::string_view, const JsonValue& part) -> Result<void> {
        parts.push_back(part);
        return {};
    };
    TRY(sequence.for_each(visit));
    return parts;
}

bool text_is(const JsonValue& object, std::string_view key, std::string_view wanted) {
    const std::optional<JsonValue> value = object.find(key);
    if (!value) return false;
    const Result<std::string_view> text = value->text();
    return text.ok() && text.value() == wanted;
}
bool flag_is(const JsonValue& object, std::string_view key, bool wanted) {
    const std::optional<JsonValue> value = object.find(key);
    if (!value) return false;
    const Result<bool> flag = value->boolean();
    return flag.ok() && flag.value() == wanted;
}
bool count_is(const JsonValue& object, std::string_view key, uint64_t wanted) {
    const std::optional<JsonValue> value = object.find(key);
    return value && value->count(wanted, wanted).ok();
}

/// {"type": "Replace", "pattern": {"String": from}, "content": to}
bool replaces(const JsonValue& part, std::string_view from, std::string_view to) {
    const std::optional<JsonValue> pattern = part.find("pattern");
    return text_is(part, "type", "Replace") && pattern && text_is(*pattern, "String", from) &&
           text_is(part, "content", to);
}

/// What the normaliser says: spaces are written as U+2581, with one before the text or none. `escapes`: it does so.
Result<bool> read_normaliser(const JsonValue& root, bool& escapes) {
    const std::vector<JsonValue> parts = TRY(parts_of(root, "normalizer", "normalizers"));
    bool prefix = false;
    for (const JsonValue& part : parts) {
        if (!escapes && text_is(part, "type", "Prepend") && text_is(part, "prepend", kVisibleSpace)) {
            prefix = true;
        } else if (!escapes && replaces(part, kSpace, kVisibleSpace)) {
            escapes = true;
        } else {
            return part.unsupported("is no normaliser of Llama's; give its tokenizer.model");
        }
    }
    if (prefix && !escapes) return root.unsupported("normalizer: must replace spaces by U+2581, as Llama's");
    return prefix;
}

/// {"type": "Metaspace", "replacement": "▁", "prepend_scheme": …, "split": false}: another way to say the same.
Result<bool> read_metaspace(const JsonValue& part) {
    const bool known = text_is(part, "type", "Metaspace") && text_is(part, "replacement", kVisibleSpace);
    if (!known) return part.unsupported("is no pre-tokeniser of Llama's; give its tokenizer.model");
    if (!flag_is(part, "split", false)) return part.unsupported("split must be false, as Llama's");
    if (const auto scheme = part.find("prepend_scheme")) return TRY(scheme->text()) != "never";
    return !flag_is(part, "add_prefix_space", false);
}

/// U+2581 to spaces, bytes to text, and the dummy prefix off again.
Result<void> check_decoder(const JsonValue& root, bool prefix) {
    bool spaces = false, bytes = false, strip = false;
    const std::vector<JsonValue> parts = TRY(parts_of(root, "decoder", "decoders"));
    for (const JsonValue& part : parts) {
        if (replaces(part, kVisibleSpace, kSpace)) {
            spaces = true;
        } else if (text_is(part, "type", "ByteFallback")) {
            bytes = true;
        } else if (text_is(part, "type", "Strip") && text_is(part, "content", kSpace) &&
                   count_is(part, "start", 1) && count_is(part, "stop", 0)) {
            strip = true;
        } else if (!text_is(part, "type", "Fuse")) {
            return part.unsupported("is no decoder of Llama's; give its tokenizer.model");
        }
    }
    if (!spaces || !bytes || strip != prefix) {
        return root.unsupported(
            "decoder: must be Llama's: Replace, ByteFallback, Fuse, and Strip if a space was prepended");
    }
    return {};
}

}  // namespace

Result<bool> adds_dummy_prefix(const JsonValue& root) {
    bool escapes = false;
    bool prefix = TRY(read_normaliser(root, escapes));
    const std::vector<JsonValue> parts = TRY(parts_of(root, "pre_tokenizer", "pretokenizers"));
    for (const JsonValue& part : parts) {
        if (escapes) return part.unsupported("must not follow a normaliser that replaces spaces");
        prefix = TRY(read_metaspace(part));
        escapes = true;
    }
    if (!escapes) return root.unsupported("normalizer: must replace spaces by U+2581, as Llama's");
    TRY(check_decoder(root, prefix));
    return prefix;
}

}  // namespace bareflow
