// The chat's commands: /help, /stats, /temp 0.5 and so on.
#pragma once

#include "arch/base/file_store.h"
#include "arch/base/options.h"
#include "arch/base/terminal.h"
#include "model/conversation.h"

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
    /// Where conversations are kept; nullptr: nowhere.
    virtual FileStore* files() { return nullptr; }
    virtual Allocator& allocator() = 0;

 protected:
    ~ChatMachine() = default;
};

class ChatCommands {
 public:
    enum class Outcome : uint8_t {
        kGoOn,
        kQuit,
        kAgain,  ///< the last reply is to be written anew
        kMore,   ///< or further
    };

    /// Settings change `options` in place. `long_output` is where what may be long goes, and who can stop it.
    ChatCommands(Terminal& terminal, Session& session, Conversation& conversation, Options& options,
                 ChatMachine& machine, TextListener& long_output)
        : terminal_(terminal),
          session_(session),
          conversation_(conversation),
          options_(options),
          machine_(machine),
          long_output_(long_output) {}

    /// Runs the command in `line`, which begins with a slash. Errors are written to the terminal.
    Outcome run(std::string_view line);

 private:
    void help();
    void stats();
    void model();
    void system(std::string_view text);
    void save(std::string_view name);
    void load(std::string_view name);
    /// The file that a conversation of that name is kept in; empty, and the user was told why, if there can be none.
    FixedString<12> file_name(std::string_view command, std::string_view name);
    void fail(std::string_view what, const Error& error);
    void set(std::string_view command, std::string_view option, std::string_view value);
    void print_value(std::string_view command);

    Terminal& terminal_;
    Session& session_;
    Conversation& conversation_;
    Options& options_;
    ChatMachine& machine_;
    TextListener& long_output_;
};

}  // namespace bareflow
