// A conversation: what was said by turns, and its tokens in the session. Only tokens that are new are evaluated; when the
// context is full the oldest turns are forgotten.
#pragma once

#include "model/chat_template.h"
#include "model/session.h"

namespace bareflow {

/// What was said, without the tokens around it.
struct Turn {
    uint32_t text_size;   ///< bytes of what the user said
    uint32_t reply_size;  ///< tokens of the reply
};
struct Said {
    std::string_view system;
    std::span<const Turn> turns;
    std::string_view texts;             ///< what the user said, turn after turn
    std::span<const uint32_t> replies;  ///< likewise
};

class Conversation final : private RoomMaker {
 public:
    explicit Conversation(Session& session) : session_(session) {}
    Conversation(const Conversation&) = delete;
    Conversation& operator=(const Conversation&) = delete;
    /// Once, when the session has its model. Both outlive this.
    Result<void> open(Allocator& allocator, const ChatTemplate& chat_template);

    struct Settings {
        uint32_t max_tokens;
        const SamplingOptions& sampling;
        std::span<const std::string_view> stops;
    };
    /// A turn: writes the reply to `text`, or with a plain template goes on with it. An error, and all is as before, where
    /// not even this turn fits in the context; so too with the two below.
    Result<RunStatistics> say(std::string_view text, const Settings& settings, TextListener& listener);
    /// The last reply anew, or further. kNotFound: there is none.
    Result<RunStatistics> say_again(const Settings& settings, TextListener& listener);
    Result<RunStatistics> say_more(const Settings& settings, TextListener& listener);
    /// How many turns the last call has forgotten, because the context was full.
    uint32_t forgotten() const { return forgotten_; }

    /// What all turns follow, those that were there too: it is evaluated with the next one. kUnsupported: the template has
    /// no place for it; kOutOfRange: it is longer than kMaxText.
    Result<void> set_system(std::string_view text);
    std::string_view system() const { return {system_.data(), system_size_}; }
    /// Nothing was said; the system prompt stays.
    void clear();

    const ChatTemplate& chat_template() const { return *template_; }
    uint32_t turns() const { return turn_count_; }
    Said said() const;
    /// Becomes what was saved. kOutOfRange: it does not fit here. The session's tokens are the caller's to restore.
    Result<void> restore(const ChatTemplate& chat_template, const Said& said);

    static constexpr size_t kMaxText = 4096;  ///< bytes of a system prompt, and of what is said at a time

 private:
    void set_template(const ChatTemplate& chat_template);
    /// Goes on behind the first `begun` tokens of the last reply, which until then stays as it is.
    Result<RunStatistics> reply(uint32_t begun, const Settings& settings, TextListener& listener);
    Result<RunStatistics> write_story(std::string_view text, const Settings& settings,
                                      TextListener& listener);
    void add_turn(std::string_view text);
    void drop_last();
    void forget_oldest(uint32_t count);
    /// Tokens before the reply, into prompt_, if the turns from `first` on are all that was said. There may be more than it
    /// takes.
    Result<uint32_t> write_turns(uint32_t first);
    /// Lays out turns with room for `room` tokens behind the first `reply` of the last one's reply, `first` or more forgotten;
    /// false, and nothing has changed, where not even the last one fits.
    Result<bool> fit(uint32_t first, uint32_t room, uint32_t reply);
    bool make_room() override;
    /// Takes over the reply that the session has.
    void take_reply();
    std::span<const uint32_t> last_reply() const;
    std::string_view last_text() const;
    uint32_t context() const { return static_cast<uint32_t>(prompt_.size()); }

    Session& session_;
    const ChatTemplate* template_ = nullptr;
    uint32_t end_token_ = Tokenizer::kNone;
    uint32_t forgotten_ = 0;
    Buffer<char> system_;  ///< (kMaxText)
    Buffer<Turn> turns_;
    Buffer<char> texts_;
    Buffer<uint32_t> replies_;  ///< (context)
    Buffer<uint32_t> prompt_;   ///< (context)
    Buffer<char> between_;      ///< for the template's writer
    size_t system_size_ = 0, texts_size_ = 0, most_text_ = 0;
    uint32_t turn_count_ = 0, replies_size_ = 0;
};

}  // namespace bareflow
