// Who turns keys and plans into bytes: one maker an assembler, chosen at run time.
#pragma once

#include <span>
#include <string_view>

#include "arch/base/result.h"
#include "arch/base/routine.h"

namespace bareflow {

/// Turns a key and a complete plan into code by one of the assemblers. Not for several cores at once.
class RoutineMaker {
 public:
    virtual std::string_view name() const = 0;
    /// Writes the routine into `room` and returns its size in bytes; an error says what the assembler refused.
    virtual Result<size_t> make(const RoutineKey& key, const Plan& plan, std::span<uint8_t> room) = 0;

 protected:
    ~RoutineMaker() = default;
};

/// The makers of this image, the default one first: which there are is what its stage's file (arch/stages/) says.
std::span<RoutineMaker* const> image_makers();

/// The makers; static. What an image does not refer to is not linked into it.
RoutineMaker& tiny_maker();
RoutineMaker& asmjit_maker();
/// For images with asmjit: the assembler of tiny_maker(), slower, without generators of its own (any_assembler.h).
RoutineMaker& tiny_beside_asmjit();

}  // namespace bareflow
