// The chat at a terminal: the user begins a story, and the model continues it; or speaks, and it replies. Lines with a slash
// are commands.
#pragma once

#include <optional>

#include "arch/base/line_editor.h"
#include "model/chat_commands.h"
#include "model/session.h"

namespace bareflow {

class Chat final : private TextListener {
 public:
    /// The options are a copy that commands change; all else must outlive the chat.
    Chat(Terminal& terminal, LineEditor& editor, Session& session, Conversation& conversation,
         const Options& options, ChatMachine& machine)
        : terminal_(terminal),
          editor_(editor),
          session_(session),
          conversation_(conversation),
          options_(options),
          machine_(machine),
          commands_(terminal, session, conversation, options_, machine, *this) {}

    /// Talks until /quit, Ctrl-D or the end of input. Ctrl-C ends a story and comes back to the prompt; what is typed
    /// while one is written waits for the next prompt.
    void run();

 private:
    void text(std::string_view piece) override { terminal_.write(piece); }
    bool stop_requested() override;

    void greet();
    /// The next line, valid until the one after it; nullopt at the end of input.
    std::optional<std::string_view> read_line();
    int next_byte();
    enum class Telling : uint8_t { kNew, kAgain, kMore };
    void tell(Telling telling, std::string_view text = {});
    /// What the user should know of how it ended.
    void tell_end(const RunStatistics& run);

    Terminal& terminal_;
    LineEditor& editor_;
    Session& session_;
    Conversation& conversation_;
    Options options_;
    ChatMachine& machine_;
    ChatCommands commands_;
    bool telling_ = false;          ///< a story is being written
    FixedString<256> typed_ahead_;  ///< what came while a story was written
    size_t typed_ahead_taken_ = 0;
};

}  // namespace bareflow
