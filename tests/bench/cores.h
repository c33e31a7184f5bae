// All the cores that this program may use, and where they are: two cores of one chip and two of different chips are
// different machines, and a virtual one may be either from one day to the next.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "arch/host/threads.h"

namespace bareflow::bench {

/// The cores that the process was given when it started.
const std::vector<int>& given_cores();
/// The calling thread, and threads that it starts, may run on any of these again.
void use_given_cores();

/// How long a cache line takes from one core to another and back, and what that says of where they are.
struct Placement {
    double ns = 0;
    std::string name;
};
Placement placement_of(int core, int other);
/// "cores 0 and 1: 66 ns there and back, same CCD" for each core beside the first; empty where there is one core.
std::string placement_text();

/// One thread a core, each kept on its own; the caller is the first.
class CoreTeam {
 public:
    /// `count` of the given cores, `first` before all others.
    CoreTeam(unsigned count, int first);
    unsigned count() const { return workers_ == nullptr ? 1 : workers_->count(); }
    /// "1 core", "2 cores"
    std::string name() const;
    /// Calls part(w, count) for each w below count, on its core; returns when all have.
    void run(const std::function<void(unsigned worker, unsigned count)>& part) const;

 private:
    std::unique_ptr<Threads> threads_;
    Workers* workers_ = nullptr;  ///< nullptr: the caller alone
};

}  // namespace bareflow::bench
