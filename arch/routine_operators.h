// The transformer's operators by emitted routines; what has none runs on the reference. The bits are the same.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/quantised.h"
#include "arch/base/workers.h"
#include "arch/routine_split.h"
#include "arch/routine_visit.h"
#include "emitter/routine_source.h"
#include "model/operators.h"

namespace bareflow {

/// What routines are made for.
struct RoutineIsas {
    Isa floats;
    Isa quantised;  ///< as wide as floats; with VNNI, say

    RoutineIsas(Isa both) : floats(both), quantised(both) {}
    RoutineIsas(Isa of_floats, Isa of_quantised) : floats(of_floats), quantised(of_quantised) {}
};

class RoutineOperators final : public Operators {
 public:
    /// `reference` is of the same numeric class and answers the rest.
    /// `allocator` gives room for quantised inputs. Operators whose parts have at least `min_part_bytes` to read are shared
    /// out among `workers`, if there are some.
    RoutineOperators(RoutineSource& source, Operators& reference, RoutineIsas isas, Allocator& allocator,
                     Workers* workers = nullptr, size_t min_part_bytes = kMinPartBytes)
        : source_(&source),
          reference_(reference),
          isas_(isas),
          allocator_(&allocator),
          workers_(workers),
          cores_(workers == nullptr ? 1 : workers->count()),
          min_part_bytes_(min_part_bytes) {}
    /// Without routines: the reference, shared out likewise.
    RoutineOperators(Operators& reference, Workers* workers, size_t min_part_bytes = kMinPartBytes)
        : source_(nullptr),
          reference_(reference),
          isas_(Isa::kScalar),
          workers_(workers),
          cores_(workers == nullptr ? 1 : workers->count()),
          min_part_bytes_(min_part_bytes) {}
    /// Computes nothing: `visitor` is told which routine each call would run, part by part. With the same isas, workers
    /// and min_part_bytes as operators that compute it sees what these would run. `nothing` is NoOperators.
    RoutineOperators(RoutineVisitor& visitor, NoOperators& nothing, RoutineIsas isas,
                     Workers* workers = nullptr, size_t min_part_bytes = kMinPartBytes)
        : RoutineOperators(nothing, workers, min_part_bytes) {
        isas_ = isas;
        visitor_ = &visitor;
    }

    RoutineIsas isas() const { return isas_; }
    /// From now on quantised weights are for `isa`, as wide as before.
    void use_for_quantised(Isa isa) { isas_.quantised = isa; }
    /// A routine of the key was rejected: instructions that a hypervisor announces and gets wrong, say, are for quantised
    /// weights only and not used from now on.
    void was_rejected(const RoutineKey& key) {
        if (is_for_quantised_only(key.isa)) isas_.quantised = isas_.floats;
    }

    /// Work is shared out among so many of the workers, as if there were no more.
    void share_among(unsigned cores) { cores_ = cores; }
    unsigned cores() const { return cores_; }

    NumericClass numeric_class() const override { return reference_.numeric_class(); }
    void embed(float* row, const TensorView& table, uint32_t token) override {
        reference_.embed(row, table, token);
    }
    void rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) override;
    void qkv(float* q, float* k, float* v, const float* x, const TensorView& query, const TensorView& key,
             const TensorView& value, const RopeRow& rope, uint32_t head_size) override;
    void attention(float* out, const float* q, const KvView& kv, const AttentionShape& shape, float* scores,
                   size_t score_stride) override;
    void project_add(float* y, const TensorView& w, const float* x) override;
    void gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) override;
    void matvec(float* y, const TensorView& w, const float* x) override;
    uint32_t matvec_argmax(float* y, const TensorView& w, const float* x) override;
    void softmax(float* values, size_t n) override;
    uint32_t argmax(const float* values, size_t n) override;
    void rotate(float* heads, size_t n, uint32_t head_size, const RopeRow& rope) override {
        reference_.rotate(heads, n, head_size, rope);
    }
    void qkv_rows(float* q, float* k, float* v, const float* x, const TensorView& query,
                  const TensorView& key, const TensorView& value, const RopeRow& rope, uint32_t head_size,
                  size_t rows) override;
    void project_add_rows(float* y, const TensorView& w, const float* x, size_t rows) override;
    void gate_up_rows(float* h, const TensorView& gate, const TensorView& up, const float* x,
                      size_t rows) override;

 private:
    RoutineKey key_for(Operation operation) const;
    RoutineKey key_for(Operation operation, const TensorView& w) const;
    /// The key's routine, made when the key is hot; nullptr if there is none.
    Routine routine_for(const RoutineKey& key, const void* arguments);
    /// For the visitor, instead of running; false if it says that the key has no routine.
    bool show(const RoutineKey& key, const void* arguments);
    /// Whether a visitor that is shown these two keys sees routines.
    bool shows(const RoutineKey& a, const RoutineKey& b) const;
    /// Runs the key's routine; false if there is none.
    bool run(const RoutineKey& key, const void* arguments);
    /// A routine's call, as part of an operator.
    struct Call {
        union Arguments {
            ProjectArguments project;
            QkvArguments qkv;
            GateUpArguments gate_up;
            AttentionArguments attention;
        };
        RoutineKey key;
        Arguments arguments;

        Call() : arguments{.qkv = {}} {}
        Call(const RoutineKey& its_key, const ProjectArguments& its)
            : key(its_key), arguments{.project = its} {}
        Call(const RoutineKey& its_key, const QkvArguments& its) : key(its_key), arguments{.qkv = its} {}
        Call(const RoutineKey& its_key, const GateUpArguments& its)
            : key(its_key), arguments{.gate_up = its} {}
        Call(const RoutineKey& its_key, const AttentionArguments& its)
            : key(its_key), arguments{.attention = its} {}
    };
    /// run_split()'s arguments without their types: one function runs them all.
    struct Parts {
        Split split;
        const void* input;
        const void* part;
        void (*make)(const void* part, uint32_t number, Call& call);
        const void* reference_part;
        void (*reference)(const void* reference_part, uint32_t number);  ///< nullptr: there is none
    };
    /// Runs an operator in parts, a core each: the routine for the Call part(number), or where there is none
    /// reference_part(number). False, and nothing has been computed, if it is one part only, or if the reference would have
    /// to compute some part and cannot (reference_part is nullptr). Without an `input` no routine can run.
    template <typename MakePart, typename ReferencePart>
    bool run_split(const Split& split, const void* input, const MakePart& part,
                   const ReferencePart& reference_part);
    bool run_parts(const Parts& shared);
    /// The same for an operator on `rows` rows of x: a part has some of the rows, and all weights. False, and nothing has been
    /// computed, if there is no routine for so many rows. `part(own)` is of the rows in `own`.
    template <typename MakePart>
    bool run_rows(const void* input, size_t rows, size_t bytes, MakePart part);
    /// `input` is input_for() the rows of x.
    bool project_rows(float* y, const TensorView& w, const void* input, Epilogue epilogue, size_t rows);
    Split split_of(uint32_t units, size_t bytes) const {
        return Split::make(units, bytes, cores_, min_part_bytes_);
    }
    /// Returns the index of the largest output with Epilogue::kArgmax.
    uint32_t project(float* y, const TensorView& w, const float* x, Epilogue epilogue);

    /// `rows` rows of x as routines for `w` want them: themselves, or quantised, valid until the next call; nullptr if there
    /// is no room, or no routine that could want them.
    const void* input_for(const TensorView& w, const float* x, size_t rows = 1);

    RoutineSource* source_;  ///< nullptr: there are no routines
    RoutineVisitor* visitor_ = nullptr;
    Operators& reference_;
    RoutineIsas isas_;
    Allocator* allocator_ = nullptr;  ///< with source_
    Buffer<Q8Group> quantised_;       ///< the input at hand; as large as the largest so far
    Workers* workers_;
    unsigned cores_;  ///< among which work is shared out
    size_t min_part_bytes_;
};

}  // namespace bareflow
