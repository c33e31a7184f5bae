// What computes in an image, and what else it does about it: the one thing that the stages do differently (arch/stages/).
#pragma once

#include "arch/base/options.h"
#include "arch/platform.h"
#include "model/session.h"

namespace bareflow {

class RoutineService {
 public:
    /// Chooses numeric class and instructions, and logs both; an error where the options ask for what cannot be had. The
    /// operators live as long as the service. Once.
    virtual Result<Operators*> start(Platform& platform, const Options& options) = 0;
    /// The session, which computes with start()'s operators, has its model: what can be done before anybody waits. Once.
    virtual void prepare(Session& session) = 0;
    /// The boot ends, well or not; after prepare(). What is worth it is kept for the next one.
    virtual void finish(bool went_well) = 0;
    /// What it has to say among the statistics at the end.
    virtual void log_statistics() = 0;

    // ---- for the chat, and while a story is written; as ChatMachine has them
    virtual void dump_routines(std::string_view key, TextListener& out) = 0;
    virtual void report_profile(TextListener& out) = 0;
    virtual void tune(TextListener& out) = 0;
    virtual bool idle() { return false; }
    virtual void between_tokens() {}
    /// A single run has written its story.
    virtual void after_story() {}

 protected:
    ~RoutineService() = default;
};

}  // namespace bareflow
