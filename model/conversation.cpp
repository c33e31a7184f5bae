#include "model/conversation.h"

namespace bareflow {
namespace {

/// Of all that a template puts between two marks.
constexpr size_t kTemplateText = 256;
/// In English; where more is said with fewer tokens, the oldest turns go a little earlier.
constexpr size_t kTextBytesPerToken = 8;

/// Nothing may come from nowhere.
void move(void* to, const void* from, size_t bytes) {
    if (bytes != 0) __builtin_memmove(to, from, bytes);
}
void copy(std::string_view from, char* to) { move(to, from.data(), from.size()); }

/// Then nothing was said, and a reply that was to be written anew stays.
bool came_to_nothing(const Result<RunStatistics>& run) {
    return !run.ok() || (run.value().stop == StopReason::kInterrupt && run.value().generated == 0);
}

}  // namespace

Result<void> Conversation::open(Allocator& allocator, const ChatTemplate& chat_template) {
    const uint32_t context = session_.transformer().context();
    set_template(chat_template);
    system_ = TRY(Buffer<char>::make(allocator, kMaxText, "system prompt"));
    most_text_ = kMaxText + context * kTextBytesPerToken;
    // With room for a turn more, before which nothing has to go.
    turns_ = TRY(Buffer<Turn>::make(allocator, context / 2 + 3, "turns"));
    texts_ = TRY(Buffer<char>::make(allocator, most_text_ + kMaxText, "what was said"));
    replies_ = TRY(Buffer<uint32_t>::make(allocator, context, "replies"));
    prompt_ = TRY(Buffer<uint32_t>::make(allocator, context, "tokens before a reply"));
    between_ = TRY(Buffer<char>::make(allocator, 2 * kMaxText + kTemplateText, "a template's text"));
    return {};
}

void Conversation::set_template(const ChatTemplate& chat_template) {
    template_ = &chat_template;
    end_token_ =
        chat_template.end.empty() ? Tokenizer::kNone : session_.tokenizer().special(chat_template.end);
}

Said Conversation::said() const {
    return {system(),
            turns_.span().first(turn_count_),
            {texts_.data(), texts_size_},
            replies_.span().first(replies_size_)};
}

Result<void> Conversation::restore(const ChatTemplate& chat_template, const Said& said) {
    if (said.system.size() > kMaxText || said.turns.size() >= turns_.size() ||
        said.texts.size() > most_text_ || said.replies.size() > replies_.size()) {
        return Error::make(
            ErrorCode::kOutOfRange,
            "its {} turns, {} bytes and {} tokens of replies do not fit in a context of {} tokens; raise -c",
            said.turns.size(), said.texts.size(), said.replies.size(), context());
    }
    set_template(chat_template);
    copy(said.system, system_.data());
    copy(said.texts, texts_.data());
    move(turns_.data(), said.turns.data(), said.turns.size_bytes());
    move(replies_.data(), said.replies.data(), said.replies.size_bytes());
    system_size_ = said.system.size(), texts_size_ = said.texts.size();
    turn_count_ = static_cast<uint32_t>(said.turns.size());
    replies_size_ = static_cast<uint32_t>(said.replies.size());
    return {};
}

void Conversation::clear() {
    session_.forget();
    turn_count_ = replies_size_ = 0;
    texts_size_ = 0;
}

Result<void> Conversation::set_system(std::string_view text) {
    if (template_->is_plain()) {
        return Error::make(
            ErrorCode::kUnsupported,
            "a story has no system prompt; start with --chat-template NAME for a model that talks");
    }
    if (text.size() > kMaxText) {
        return Error::make(ErrorCode::kOutOfRange, "the system prompt has {} bytes; at most {} are possible",
                           text.size(), kMaxText);
    }
    copy(text, system_.data());
    system_size_ = text.size();
    return {};
}

std::string_view Conversation::last_text() const {
    const uint32_t size = turns_[turn_count_ - 1].text_size;
    return {texts_.data() + (texts_size_ - size), size};
}

std::span<const uint32_t> Conversation::last_reply() const {
    return replies_.span().first(replies_size_).last(turns_[turn_count_ - 1].reply_size);
}

void Conversation::add_turn(std::string_view text) {
    copy(text, texts_.data() + texts_size_);
    texts_size_ += text.size();
    turns_[turn_count_++] = {static_cast<uint32_t>(text.size()), 0};
}

void Conversation::drop_last() {
    replies_size_ -= turns_[turn_count_ - 1].reply_size;
    texts_size_ -= turns_[--turn_count_].text_size;
}

void Conversation::forget_oldest(uint32_t count) {
    uint32_t text = 0, reply = 0;
    for (uint32_t i = 0; i < count; ++i) text += turns_[i].text_size, reply += turns_[i].reply_size;
    texts_size_ -= text, replies_size_ -= reply, turn_count_ -= count, forgotten_ += count;
    move(texts_.data(), texts_.data() + text, texts_size_);
    move(replies_.data(), replies_.data() + reply, replies_size_ * sizeof(uint32_t));
    move(turns_.data(), turns_.data() + count, turn_count_ * sizeof(Turn));
}

void Conversation::take_reply() {
    const std::span<const uint32_t> reply = session_.reply();
    uint32_t& size = turns_[turn_count_ - 1].reply_size;
    replies_size_ -= size;
    size = static_cast<uint32_t>(reply.size());
    move(replies_.data() + replies_size_, reply.data(), reply.size_bytes());
    replies_size_ += size;
}

Result<uint32_t> Conversation::write_turns(uint32_t first) {
    const Weights& weights = session_.weights();
    const Tokenizer& tokenizer = session_.tokenizer();
    TemplateWriter writer(tokenizer, weights.config, prompt_.span(), between_.span());
    const std::string_view texts(texts_.data(), texts_size_);
    size_t text = 0, reply = 0;
    // BOS, where the vocabulary wants one, or where the template itself puts it before each turn.
    if (tokenizer.add_bos() || template_->after_reply.ends_with('\1')) TRY(writer.marked("\1"));
    for (uint32_t i = 0; i < turn_count_; ++i) {
        const Turn& turn = turns_[i];
        if (i >= first) {
            const bool has_system = i == first && system_size_ != 0;
            if (template_->system_in_turn) TRY(writer.marked(template_->before_user));
            if (has_system) {
                TRY(writer.marked(template_->before_system));
                TRY(writer.literal(system()));
                TRY(writer.marked(template_->after_system));
            }
            if (!template_->system_in_turn) TRY(writer.marked(template_->before_user));
            TRY(writer.literal(texts.substr(text, turn.text_size)));
            TRY(writer.marked(template_->after_user));
        }
        if (i >= first && i + 1 < turn_count_) {
            const std::span<const uint32_t> tokens = replies_.span().subspan(reply, turn.reply_size);
            TRY(writer.tokens(tokens));
            // A model may have written the blank before the mark itself.
            const bool blank = !tokens.empty() && tokenizer.piece(tokens.back()).ends_with(' ');
            const std::string_view after = template_->after_reply;
            TRY(writer.marked(after.substr(blank && after.starts_with(' '))));
        }
        text += turn.text_size, reply += turn.reply_size;
    }
    return writer.finish();
}

Result<bool> Conversation::fit(uint32_t first, uint32_t room, uint32_t reply) {
    // A turn more than there may be, or more text, costs the oldest, too.
    for (size_t text = texts_size_; turn_count_ - first == turns_.size() || text > most_text_; ++first)
        text -= turns_[first].text_size;
    // Of those left a quarter at a time: one by one would encode each turn once for each that goes.
    for (;; first += (turn_count_ - first + 3) / 4) {
        const uint32_t tokens = TRY(write_turns(first));
        const uint64_t needed = uint64_t{tokens} + reply;
        const bool is_last = first + 1 == turn_count_;
        // One that forgets makes much room at a time: what is kept is evaluated again.
        const uint32_t wanted = is_last ? 1 : first == 0 ? room : context() / 2;
        if (needed + wanted <= context()) {
            if (first > 0) {
                forget_oldest(first);
                LogRecord(session_.log(), "context_shift")
                    .field("forgotten", first)
                    .field("kept", turn_count_)
                    .field("tokens", needed);
            }
            session_.lay_out(prompt_.span().first(tokens), last_reply().first(reply));
            return true;
        }
        if (is_last) return false;
    }
}

bool Conversation::make_room() {
    take_reply();
    if (turn_count_ == 1) return false;
    const Result<bool> fits = fit(1, 0, turns_[turn_count_ - 1].reply_size);
    return fits.ok() && fits.value();
}

Result<RunStatistics> Conversation::write_story(std::string_view text, const Settings& settings,
                                                TextListener& listener) {
    const WriteRequest request{settings.max_tokens, settings.sampling, settings.stops};
    const RunStatistics run = TRY(session_.generate(text, request, listener));
    turn_count_ = replies_size_ = 0, texts_size_ = 0;  // the story before
    add_turn(text);
    take_reply();
    return run;
}

Result<RunStatistics> Conversation::reply(uint32_t begun, const Settings& settings, TextListener& listener) {
    const uint32_t quarter = context() / 4;
    if (!TRY(fit(0, settings.max_tokens < quarter ? settings.max_tokens : quarter, begun))) {
        return Error::make(
            ErrorCode::kOutOfRange,
            "this does not fit in the context of {} tokens{}; shorten it, or raise -c (this model has {} at "
            "most)",
            context(), system_size_ != 0 ? ", with the system prompt" : "",
            session_.weights().config.context_length);
    }
    std::string_view stops[kMostStops + 1];
    size_t count = 0;
    for (std::string_view stop : settings.stops) stops[count++] = stop;
    stops[count++] = template_->stop;
    Result<RunStatistics> run = session_.write_on(
        {settings.max_tokens, settings.sampling, {stops, count}, end_token_, this}, listener);
    if (!came_to_nothing(run)) take_reply();
    return run;
}

Result<RunStatistics> Conversation::say(std::string_view text, const Settings& settings,
                                        TextListener& listener) {
    forgotten_ = 0;
    if (text.size() > kMaxText) {
        return Error::make(ErrorCode::kOutOfRange, "that has {} bytes; at most {} can be said at a time",
                           text.size(), kMaxText);
    }
    if (template_->is_plain()) return write_story(text, settings, listener);
    add_turn(text);
    Result<RunStatistics> run = reply(0, settings, listener);
    if (came_to_nothing(run)) drop_last();
    return run;
}

Result<RunStatistics> Conversation::say_again(const Settings& settings, TextListener& listener) {
    forgotten_ = 0;
    if (turn_count_ == 0) return Error::make(ErrorCode::kNotFound, "nothing was written yet");
    if (template_->is_plain()) return write_story(last_text(), settings, listener);
    return reply(0, settings, listener);
}

Result<RunStatistics> Conversation::say_more(const Settings& settings, TextListener& listener) {
    forgotten_ = 0;
    if (turn_count_ == 0) return Error::make(ErrorCode::kNotFound, "nothing was written yet");
    if (!template_->is_plain()) return reply(turns_[turn_count_ - 1].reply_size, settings, listener);
    if (session_.tokens().size() == context())
        return Error::make(ErrorCode::kOutOfRange, "the context of {} tokens is full; raise -c", context());
    Result<RunStatistics> run =
        session_.write_on({settings.max_tokens, settings.sampling, settings.stops}, listener);
    take_reply();
    return run;
}

}  // namespace bareflow
