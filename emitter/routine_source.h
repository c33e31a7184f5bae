// Where the operators get their routines from: a cache that makes them, or a table that an image brought along.
#pragma once

#include "arch/base/routine.h"

namespace bareflow {

class RoutineSource {
 public:
    struct Made {
        Routine routine = nullptr;  ///< nullptr: there is none, now or ever
        bool rejected = false;      ///< one was made just now, and is wrong on this machine
    };

    /// The routine of the key; nullptr if there is none. A few nanoseconds.
    virtual Routine find(const RoutineKey& key) = 0;
    /// find() had none for the call with `arguments`: the one that is made for it, if that can be and is worth it.
    virtual Made make_if_hot(const RoutineKey& key, const void* arguments) = 0;

 protected:
    ~RoutineSource() = default;
};

}  // namespace bareflow
