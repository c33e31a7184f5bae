// Places in code, and the uses of those that have none yet.
#pragma once

#include <cstdint>

#include "emitter/instruction_set.h"

namespace bareflow::x86 {

/// A relative field of an instruction that waits for its label.
struct LabelUse {
    uint32_t field;  ///< where it is, counted from the start of the code
    uint8_t label;
    uint8_t field_size;    ///< 1 or 4 bytes
    uint8_t field_to_end;  ///< from the field to the end of its instruction: what the distance counts from
};

class LabelTable {
 public:
    static constexpr uint32_t kUnbound = UINT32_MAX;

    /// A label that does not exist when kMaxLabels are in use.
    Label make() {
        if (count_ == kMaxLabels) return {};
        places_[count_] = kUnbound;
        return {static_cast<uint8_t>(count_++)};
    }
    bool knows(Label label) const { return label.id < count_; }
    uint32_t place_of(Label label) const { return places_[label.id]; }
    void set_place(Label label, uint32_t place) { places_[label.id] = place; }

    /// false when kMaxPendingUses are waiting already.
    bool add(LabelUse use) {
        if (pending_ == kMaxPendingUses) return false;
        uses_[pending_++] = use;
        return true;
    }
    /// Hands every waiting use of `label` to `resolve` and forgets it.
    template <typename Resolve>
    void take_uses(Label label, Resolve resolve) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < pending_; ++i) {
            if (uses_[i].label == label.id) {
                resolve(uses_[i]);
            } else {
                uses_[kept++] = uses_[i];
            }
        }
        pending_ = kept;
    }
    bool has_pending() const { return pending_ != 0; }

 private:
    uint32_t count_ = 0;
    uint32_t pending_ = 0;
    uint32_t places_[kMaxLabels];
    LabelUse uses_[kMaxPendingUses];
};

}  // namespace bareflow::x86
