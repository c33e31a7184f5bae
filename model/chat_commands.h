// The chat's commands: /help, /stats, /temp 0.5 and so on.
#pragma once

#include "arch/base/options.h"
#include "arch/base/terminal.h"
#include "model/session.h"

namespace bareflow {

/// What the chat asks of the machine that it runs on.
class ChatMachine {
 public:
    using Report = FixedString<800>;

    virtual Report cpu_report() = 0;     ///< lines for /cpu
    virtual Report memory_report() = 0;  ///< lines for /mem
    virtual uint64_t random_seed() = 0;
    /// /dump: the routine that `key` names as hexadecimal lines; with no key, what routines there are. Stops when the
    /// listener asks for it.
    virtual void dump_routines(std::string_view key, TextListener& out) = 0;
    /// /profile: where the time went so far, hottest first.
    virtual void report_profile(TextListener& out) = 0;
    /// /tune: looks for faster plans now, and tells what it found. Stops when the listener asks for it.
    virtual void tune(TextListener& out) = 0;
    /// Asked while nobody types: does a piece of work of a millisecond or so that can wait; false if there is none.
    virtual bool idle() { return false; }
    /// Told between two tokens of a story.
    virtual void between_tokens() {}

 protected:
    ~ChatMachine() = default;
};

class ChatCommands {
 public:
    enum class Outcome : uint8_t { kGoOn, kQuit };

    /// Settings change `options` in place. `long_output` is where what may be long goes, and who can stop it.
    ChatCommands(Terminal& terminal, Session& session, Options& options, ChatMachine& machine,
                 TextListener& long_output)
        : terminal_(terminal),
          session_(session),
          options_(options),
          machine_(machine),
          long_output_(long_output) {}

    /// Runs the command in `line`, which begins with a slash. Errors are written to the terminal.
    Outcome run(std::string_view line);

 private:
    void help();
    void stats();
    void model();
    void set(std::string_view command, std::string_view option, std::string_view value);
    void print_value(std::string_view command);

    template <typename... Arguments>
    void print(std::string_view pattern, const Arguments&... arguments) {
        terminal_.write(FixedString<400>::formatted(pattern, arguments...));
    }

    Terminal& terminal_;
    Session& session_;
    Options& options_;
    ChatMachine& machine_;
    TextListener& long_output_;
};

}  // namespace bareflow
