// What a reader of emitted code wants to know beside its bytes, and the assembler that hears it from the generators.
#pragma once

#include <vector>

#include "emitter/roles.h"
#include "emitter/tiny_assembler.h"

namespace bareflow {

/// From `offset` on a register is this.
struct RegisterRole {
    size_t offset;
    bool is_vector;
    unsigned id;  ///< the number of the register: rax is 0, zmm31 is 31
    RoleText text;
};
struct LabelPlace {
    size_t offset;
    RoleText text;  ///< empty: nobody named it
};
/// Bytes behind or between the code that are no code.
struct DataRange {
    size_t offset, size;
};
struct Annotations {
    std::vector<RegisterRole> roles;  ///< by offset
    std::vector<LabelPlace> labels;   ///< in the order in which they were bound
    std::vector<DataRange> data;
};

/// The tiny assembler with an ear for roles.
class AnnotatedAssembler final : public x86::TinyAssembler {
 public:
    AnnotatedAssembler(std::span<uint8_t> buffer, Annotations& annotations)
        : x86::TinyAssembler(buffer), annotations_(annotations) {}

    void gp_role(x86::Gp reg, const RoleText& text) {
        annotations_.roles.push_back({size(), false, reg.id(), text});
    }
    void vector_role(x86::Vec reg, const RoleText& text) {
        annotations_.roles.push_back({size(), true, reg.id(), text});
    }
    void label_role(x86::Label label, const RoleText& text) { names_[label.id] = text; }

    void bind(x86::Label label) {
        x86::TinyAssembler::bind(label);
        annotations_.labels.push_back({size(), names_[label.id]});
    }
    void embed(ByteSpan bytes) {
        std::vector<DataRange>& data = annotations_.data;
        if (data.empty() || data.back().offset + data.back().size != size()) data.push_back({size(), 0});
        data.back().size += bytes.size();
        x86::TinyAssembler::embed(bytes);
    }
    void embed_u32(uint32_t value) { embed({reinterpret_cast<const uint8_t*>(&value), sizeof value}); }

 private:
    Annotations& annotations_;
    RoleText names_[x86::kMaxLabels];
};
static_assert(HearsRoles<AnnotatedAssembler> && !HearsRoles<x86::TinyAssembler>);

}  // namespace bareflow
