// A RoutineMaker for any assembler, for the files that instantiate the generators with one.
#pragma once

#include "emitter/routine_cache.h"
#include "emitter/routine_emitter_impl.h"

namespace bareflow {

template <typename A>
class MakerOf final : public RoutineMaker {
 public:
    explicit constexpr MakerOf(std::string_view name) : name_(name) {}
    std::string_view name() const override { return name_; }
    Result<size_t> make(const RoutineKey& key, const Plan& plan, std::span<uint8_t> room) override {
        A assembler(room);
        emit_routine(assembler, key, plan);
        if (const x86::AssemblerError error = assembler.finish(); error != x86::AssemblerError::kNone)
            return invalid("assembler {}: {}", name_, name_of(error));
        return assembler.size();
    }

 private:
    std::string_view name_;
};

}  // namespace bareflow
