#include "arch/routine_operators.h"

#include <type_traits>

#include "model/reference.h"

namespace bareflow {
namespace {

/// Row `row` of an input of routines for w.
const void* row_of(const TensorView& w, const void* input, size_t row) {
    const size_t bytes =
        is_quantised(w.type) ? w.columns / kGroup * sizeof(Q8Group) : w.columns * sizeof(float);
    return static_cast<const uint8_t*>(input) + row * bytes;
}

}  // namespace

RoutineKey RoutineOperators::key_for(Operation operation) const {
    RoutineKey key;
    key.operation = operation;
    key.numerics = numeric_class();
    key.isa = isas_.floats;
    return key;
}
RoutineKey RoutineOperators::key_for(Operation operation, const TensorView& w) const {
    RoutineKey key = key_for(operation);
    if (is_quantised(w.type)) key.isa = isas_.quantised;
    key.type = w.type;
    key.layout = w.layout;
    key.n = w.rows;
    key.k = w.columns;
    return key;
}

Routine RoutineOperators::routine_for(const RoutineKey& key, const void* arguments) {
    if (source_ == nullptr) return nullptr;
    if (const Routine routine = source_->find(key)) return routine;
    const RoutineSource::Made made = source_->make_if_hot(key, arguments);
    if (made.rejected) was_rejected(key);
    return made.routine;
}

bool RoutineOperators::shows(const RoutineKey& a, const RoutineKey& b) const {
    return visitor_->has_routine(a) && visitor_->has_routine(b);
}
bool RoutineOperators::show(const RoutineKey& key, const void* arguments) {
    if (!visitor_->has_routine(key)) return false;
    visitor_->visit(key, arguments);
    return true;
}

bool RoutineOperators::run(const RoutineKey& key, const void* arguments) {
    if (visitor_ != nullptr) return show(key, arguments);
    const Routine routine = routine_for(key, arguments);
    if (routine == nullptr) return false;
    routine(arguments);
    return true;
}

bool RoutineOperators::run_parts(const Parts& shared) {
    const uint32_t parts = shared.split.parts();
    if (parts <= 1) return false;
    Call first, last;
    shared.make(shared.part, 0, first);
    shared.make(shared.part, parts - 1, last);
    const bool has_reference = shared.reference != nullptr;
    if (visitor_ != nullptr) {
        if (!has_reference && !shows(first.key, last.key)) return false;
        for (uint32_t i = 0; i < parts; ++i) {
            shared.make(shared.part, i, first);
            show(first.key, &first.arguments);
        }
        return true;
    }
    struct Job {
        const Parts& parts;
        uint32_t last_part;
        Routine routine, last_routine;
    } job{shared, parts - 1, nullptr, nullptr};
    // Routines are found and made here, on the one core that may: the others only run them. The making of the second may
    // cost the first its place.
    const bool possible = shared.input != nullptr;  // what routines read
    job.routine = possible ? routine_for(first.key, &first.arguments) : nullptr;
    job.last_routine = job.routine;
    if (possible && !(first.key == last.key)) {
        job.last_routine = routine_for(last.key, &last.arguments);
        job.routine = routine_for(first.key, &first.arguments);
        if (source_ != nullptr && source_->find(last.key) == nullptr) job.last_routine = nullptr;
    }
    if (!has_reference && (job.routine == nullptr || job.last_routine == nullptr)) return false;
    return workers_->run(
        parts,
        [](void* context, unsigned worker, unsigned) {
            const Job& own = *static_cast<Job*>(context);
            const Routine routine = worker == own.last_part ? own.last_routine : own.routine;
            if (routine == nullptr) return own.parts.reference(own.parts.reference_part, worker);
            Call call;
            own.parts.make(own.parts.part, worker, call);
            routine(&call.arguments);
        },
        &job);
}

template <typename MakePart, typename ReferencePart>
bool RoutineOperators::run_split(const Split& split, const void* input, const MakePart& part,
                                 const ReferencePart& reference_part) {
    Parts parts{split,
                input,
                &part,
                [](const void* made, uint32_t number, Call& call) {
                    call = (*static_cast<const MakePart*>(made))(number);
                },
                &reference_part,
                nullptr};
    if constexpr (!std::is_null_pointer_v<ReferencePart>) {
        parts.reference = [](const void* made, uint32_t number) {
            (*static_cast<const ReferencePart*>(made))(number);
        };
    }
    return run_parts(parts);
}

const void* RoutineOperators::input_for(const TensorView& w, const float* x, size_t rows) {
    if (!is_quantised(w.type)) return x;
    RoutineKey product = key_for(Operation::kProject, w);
    product.m = static_cast<uint32_t>(rows);
    const size_t count = rows * w.columns, groups = count / kGroup;
    RoutineKey key = key_for(takes_words(product) ? Operation::kQuantiseWords : Operation::kQuantise);
    key.n = static_cast<uint32_t>(count);
    QuantiseArguments arguments{nullptr, x};
    if (visitor_ != nullptr) {
        show(key, &arguments);
        return x;
    }
    if (source_ == nullptr) return nullptr;
    if (quantised_.size() < groups) {
        Result<Buffer<Q8Group>> larger = Buffer<Q8Group>::make(*allocator_, groups, "quantised input");
        if (!larger.ok()) return nullptr;
        quantised_ = larger.take();
    }
    arguments.groups = quantised_.data();
    if (!run(key, &arguments)) quantise_input_for(product, quantised_.data(), x, count);
    return quantised_.data();
}

void RoutineOperators::rms_norm(float* y, const float* x, const float* weight, size_t n, float eps) {
    RoutineKey key = key_for(Operation::kRmsNorm);
    key.n = static_cast<uint32_t>(n);
    key.eps = eps;
    const RmsNormArguments arguments{y, x, weight};
    if (!run(key, &arguments)) reference_.rms_norm(y, x, weight, n, eps);
}

void RoutineOperators::qkv(float* q, float* k, float* v, const float* x, const TensorView& query,
                           const TensorView& key_weights, const TensorView& value, const RopeRow& rope,
                           uint32_t head_size) {
    RoutineKey key = key_for(Operation::kQkv, query);
    key.kv_n = key_weights.rows;
    key.head_size = head_size;
    const bool alike = key_weights.type == query.type && value.type == query.type &&
                       key_weights.layout == query.layout && value.layout == query.layout;
    const void* input = alike ? input_for(query, x) : nullptr;
    const HeadGroups heads = HeadGroups::make(query.rows, key_weights.rows, head_size);
    const Split split = split_of(heads.units(), query.bytes() + key_weights.bytes() + value.bytes());
    auto kv_range = [&](uint32_t part) {
        const OutputRange own = OutputRange::of(split, part, heads.unit, heads.kv_heads);
        return OutputRange{own.first * head_size, own.count * head_size};
    };
    auto query_range = [&](const OutputRange& kv) {
        return OutputRange{kv.first * heads.queries, kv.count * heads.queries};
    };
    auto part = [&](uint32_t number) {
        const OutputRange kv = kv_range(number), own = query_range(kv);
        Call made{key, QkvArguments{q + own.first, k + kv.first, v + kv.first, rows_of(query, own).data,
                                    rows_of(key_weights, kv).data, rows_of(value, kv).data, input, rope.cos,
                                    rope.sin}};
        made.key.n = own.count;
        made.key.kv_n = kv.count;
        return made;
    };
    auto reference_part = [&](uint32_t number) {
        const OutputRange kv = kv_range(number), own = query_range(kv);
        reference_.qkv(q + own.first, k + kv.first, v + kv.first, x, rows_of(query, own),
                       rows_of(key_weights, kv), rows_of(value, kv), rope, head_size);
    };
    if (alike && run_split(split, input, part, reference_part)) return;
    const QkvArguments arguments{q,          k,     v,        query.data, key_weights.data,
                                 value.data, input, rope.cos, rope.sin};
    if (input == nullptr || !run(key, &arguments))
        reference_.qkv(q, k, v, x, query, key_weights, value, rope, head_size);
}

void RoutineOperators::attention(float* out, const float* q, const KvView& kv, const AttentionShape& shape,
                                 float* scores, size_t score_stride) {
    RoutineKey key = key_for(Operation::kAttention);
    key.head_size = shape.head_size;
    key.num_heads = shape.num_heads;
    key.num_kv_heads = shape.num_kv_heads;
    key.type = kv.type;
    const size_t element = size_of(kv.type),
                 row_bytes = size_t{shape.num_kv_heads} * shape.head_size * element;
    const auto *keys = static_cast<const uint8_t*>(kv.keys), *values = static_cast<const uint8_t*>(kv.values);
    const uint32_t queries = shape.num_heads / shape.num_kv_heads;  // that share a key/value head
    const bool even = shape.num_heads % shape.num_kv_heads == 0;
    const Split split = split_of(even ? shape.num_kv_heads : 1, 2 * kv.positions * row_bytes);
    auto part = [&](uint32_t number) {
        const OutputRange own = OutputRange::of(split, number, 1, shape.num_kv_heads);
        const size_t kv_first = size_t{own.first} * shape.head_size, first = kv_first * queries;
        Call made{key, AttentionArguments{out + first, q + first, keys + kv_first * element,
                                          values + kv_first * element, kv.positions,
                                          scores + size_t{own.first} * queries * score_stride, score_stride,
                                          row_bytes}};
        made.key.num_heads = own.count * queries;
        made.key.num_kv_heads = own.count;
        return made;
    };
    if (run_split(split, q, part, nullptr)) return;  // the reference's heads are all of a row of the cache
    const AttentionArguments arguments{out,          q,      kv.keys,      kv.values,
                                       kv.positions, scores, score_stride, row_bytes};
    if (!run(key, &arguments)) reference_.attention(out, q, kv, shape, scores, score_stride);
}

uint32_t RoutineOperators::project(float* y, const TensorView& w, const float* x, Epilogue epilogue) {
    RoutineKey key = key_for(Operation::kProject, w);
    key.epilogue = epilogue;
    uint64_t index[Workers::kMaxWorkers] = {};  // of each part's largest, within the part
    auto reference_rows = [&](float* outputs, const TensorView& rows, uint64_t& largest) {
        if (epilogue == Epilogue::kAdd) return reference_.project_add(outputs, rows, x);
        if (epilogue == Epilogue::kStore) return reference_.matvec(outputs, rows, x);
        largest = reference_.matvec_argmax(outputs, rows, x);
    };

    const void* input = input_for(w, x);
    const Split split = split_of(panels_of(w), w.bytes());
    auto range = [&](uint32_t number) { return OutputRange::of(split, number, kPanelRows, w.rows); };
    auto part = [&](uint32_t number) {
        const OutputRange own = range(number);
        Call made{key, ProjectArguments{y + own.first, rows_of(w, own).data, input, &index[number]}};
        made.key.n = own.count;
        return made;
    };
    auto reference_part = [&](uint32_t number) {
        const OutputRange own = range(number);
        reference_rows(y + own.first, rows_of(w, own), index[number]);
    };
    if (run_split(split, input, part, reference_part)) {
        ArgmaxJoin join(y);
        const uint32_t parts = epilogue == Epilogue::kArgmax ? split.parts() : 0;
        for (uint32_t number = 0; number < parts; ++number) join.include(range(number).first + index[number]);
        return join.best();
    }
    const ProjectArguments arguments{y, w.data, input, index};
    if (input == nullptr || !run(key, &arguments)) reference_rows(y, w, index[0]);
    return static_cast<uint32_t>(index[0]);
}
void RoutineOperators::project_add(float* y, const TensorView& w, const float* x) {
    project(y, w, x, Epilogue::kAdd);
}
void RoutineOperators::matvec(float* y, const TensorView& w, const float* x) {
    project(y, w, x, Epilogue::kStore);
}
// ---- blocks of rows; what there is no routine for with so many rows goes row by row
template <typename MakePart>
bool RoutineOperators::run_rows(const void* input, size_t rows, size_t bytes, MakePart part) {
    if (input == nullptr) return false;
    constexpr uint32_t kRowsTogether = 8;  ///< fewer would use each weight that was loaded too seldom
    const auto total = static_cast<uint32_t>(rows);
    const Split split = split_of(total / kRowsTogether, bytes * rows);
    auto numbered = [&](uint32_t number) {
        return part(OutputRange::of(split, number, kRowsTogether, total));
    };
    if (total % kRowsTogether == 0 && run_split(split, input, numbered, nullptr)) return true;
    const auto whole = part(OutputRange{0, total});
    return run(whole.key, &whole.arguments);
}
bool RoutineOperators::project_rows(float* y, const TensorView& w, const void* input, Epilogue epilogue,
                                    size_t rows) {
    RoutineKey key = key_for(Operation::kProject, w);
    key.epilogue = epilogue;
    return run_rows(input, rows, w.bytes(), [&](const OutputRange& own) {
        Call made{key, ProjectArguments{y + size_t{own.first} * w.rows, w.data, row_of(w, input, own.first),
                                        nullptr}};
        made.key.m = own.count;
        return made;
    });
}
void RoutineOperators::qkv_rows(float* q, float* k, float* v, const float* x, const TensorView& query,
                                const TensorView& key, const TensorView& value, const RopeRow& rope,
                                uint32_t head_size, size_t rows) {
    const auto same_input = [&](ElementType type) {  // as query's
        return type == query.type || (!is_quantised(type) && !is_quantised(query.type));
    };
    const bool alike = same_input(key.type) && same_input(value.type);
    const void* input = rows > 1 && alike ? input_for(query, x, rows) : nullptr;
    // All three are asked, so that all get hot together.
    const bool of_query = project_rows(q, query, input, Epilogue::kStore, rows),
               of_key = project_rows(k, key, input, Epilogue::kStore, rows),
               of_value = project_rows(v, value, input, Epilogue::kStore, rows);
    const bool projected = of_query && of_key && of_value;
    if (!projected) return Operators::qkv_rows(q, k, v, x, query, key, value, rope, head_size, rows);
    for (size_t i = 0; i < rows; ++i) {
        const RopeRow row{rope.cos + i * (head_size / 2), rope.sin + i * (head_size / 2)};
        rotate(q + i * query.rows, query.rows, head_size, row);
        rotate(k + i * key.rows, key.rows, head_size, row);
    }
}
void RoutineOperators::project_add_rows(float* y, const TensorView& w, const float* x, size_t rows) {
    const void* input = rows > 1 ? input_for(w, x, rows) : nullptr;
    if (!project_rows(y, w, input, Epilogue::kAdd, rows)) Operators::project_add_rows(y, w, x, rows);
}
void RoutineOperators::gate_up_rows(float* h, const TensorView& gate, const TensorView& up, const float* x,
                                    size_t rows) {
    const RoutineKey key = key_for(Operation::kGateUp, gate);
    const bool alike = gate.type == up.type && gate.layout == up.layout;
    const void* input = rows > 1 && alike ? input_for(gate, x, rows) : nullptr;
    const auto part = [&](const OutputRange& own) {
        Call made{key, GateUpArguments{h + size_t{own.first} * gate.rows, gate.data, up.data,
                                       row_of(gate, input, own.first)}};
        made.key.m = own.count;
        return made;
    };
    if (!run_rows(input, rows, gate.bytes() + up.bytes(), part))
        Operators::gate_up_rows(h, gate, up, x, rows);
}

uint32_t RoutineOperators::matvec_argmax(float* y, const TensorView& w, const float* x) {
    return project(y, w, x, Epilogue::kArgmax);
}
uint32_t RoutineOperators::argmax(const float* values, size_t n) {
    RoutineKey key = key_for(Operation::kArgmax);
    key.n = static_cast<uint32_t>(n);
    uint64_t index = 0;
    const ArgmaxArguments arguments{&index, values};
    return run(key, &arguments) ? static_cast<uint32_t>(index) : reference_.argmax(values, n);
}
void RoutineOperators::softmax(float* values, size_t n) {
    RoutineKey key = key_for(Operation::kSoftmax);
    key.n = static_cast<uint32_t>(n);
    const SoftmaxArguments arguments{values};
    if (!run(key, &arguments)) reference_.softmax(values, n);
}

void RoutineOperators::gate_up(float* h, const TensorView& gate, const TensorView& up, const float* x) {
    const RoutineKey key = key_for(Operation::kGateUp, gate);
    const bool alike = gate.type == up.type && gate.layout == up.layout;
    const void* input = alike ? input_for(gate, x) : nullptr;
    const Split split = split_of(panels_of(gate), gate.bytes() + up.bytes());
    auto range = [&](uint32_t number) { return OutputRange::of(split, number, kPanelRows, gate.rows); };
    auto part = [&](uint32_t number) {
        const OutputRange own = range(number);
        Call made{key, GateUpArguments{h + own.first, rows_of(gate, own).data, rows_of(up, own).data, input}};
        made.key.n = own.count;
        return made;
    };
    auto reference_part = [&](uint32_t number) {
        const OutputRange own = range(number);
        reference_.gate_up(h + own.first, rows_of(gate, own), rows_of(up, own), x);
    };
    if (alike && run_split(split, input, part, reference_part)) return;
    const GateUpArguments arguments{h, gate.data, up.data, input};
    if (input == nullptr || !run(key, &arguments)) reference_.gate_up(h, gate, up, x);
}

}  // namespace bareflow
