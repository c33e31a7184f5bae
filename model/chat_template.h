// How a conversation is written for a model: what stands around the system prompt, around what the user says, and behind a
// reply. The forms are those that Hugging Face's templates of the models give (README.md "Chat").
#pragma once

#include <string_view>

#include "arch/base/allocator.h"
#include "arch/base/result.h"
#include "model/tokenizer.h"
#include "model/weights.h"

namespace bareflow {

/// Texts with marks in them: \1 is the model's BOS, \2 its EOS, and \3NAME\3 the control or user-defined piece of that name;
/// in a vocabulary that has none, its name as text.
struct ChatTemplate {
    std::string_view name;
    std::string_view before_system, after_system;
    std::string_view before_user, after_user;  ///< a reply begins behind the second
    std::string_view after_reply;              ///< before the next turn
    bool system_in_turn;                       ///< behind before_user of the first turn, not before it
    std::string_view end;                      ///< a mark that ends a reply, as EOS does; empty: none
    /// Where the model writes this, it speaks for the user: the reply ends before it. Empty: nothing does.
    std::string_view stop;

    /// Without turns: each text is a story of its own, and the model goes on with it.
    bool is_plain() const { return after_user.empty(); }
};

/// The template of that name (arch/base/options.h kTemplateNames); nullptr: there is none.
const ChatTemplate* find_chat_template(std::string_view name);
/// The template that `text`, a model's own, is: by its name, or by what Jinja text of that kind has in it. nullptr: none of
/// those that there are.
const ChatTemplate* recognise_chat_template(std::string_view text);

/// Puts a conversation into tokens, part by part. What stands between two marks is encoded as one text, with the dummy prefix
/// behind a mark, as SentencePiece's users have it since Llama; in it no user-defined mark is found.
class TemplateWriter {
 public:
    /// Writes into `out`, and only counts what is beyond its end. `text`: room for the longest text between two marks.
    TemplateWriter(const Tokenizer& tokenizer, const ModelConfig& config, std::span<uint32_t> out,
                   std::span<char> text)
        : tokenizer_(tokenizer), config_(config), out_(out), text_(text) {}

    Result<void> marked(std::string_view text);   ///< a template's text
    Result<void> literal(std::string_view text);  ///< as it is
    /// What the model wrote. What follows does not join its last word.
    Result<void> tokens(std::span<const uint32_t> tokens);
    /// Encodes what is left; how many tokens there are.
    Result<uint32_t> finish();

 private:
    Result<void> flush();
    void put(uint32_t token);

    const Tokenizer& tokenizer_;
    const ModelConfig& config_;
    std::span<uint32_t> out_;
    std::span<char> text_;
    size_t text_size_ = 0;
    uint32_t count_ = 0;
    bool behind_mark_ = true;
};

}  // namespace bareflow
