#include "arch/base/routine.h"

namespace bareflow {

FixedString<96> name_of(const RoutineKey& key) {
    FixedString<96> name(name_of(key.operation));
    switch (key.operation) {
        case Operation::kQkv:
            name.append_format("_{}x{}x{}_kv{}_h{}", key.m, key.n, key.k, key.kv_n, key.head_size);
            break;
        case Operation::kAttention:
            name.append_format("_{}q{}kv_h{}", key.num_heads, key.num_kv_heads, key.head_size);
            break;
        case Operation::kRmsNorm:
        case Operation::kArgmax:
        case Operation::kSoftmax:
            name.append_format("_{}", key.n);
            break;
        default:
            name.append_format("_{}x{}x{}", key.m, key.n, key.k);
            break;
    }
    if (key.epilogue == Epilogue::kAdd) name.append("_add");
    if (key.epilogue == Epilogue::kArgmax) name.append("_argmax");
    const bool has_weights = key.operation == Operation::kProject || key.operation == Operation::kQkv ||
                             key.operation == Operation::kGateUp;
    if (has_weights) name.append_format("_{}", name_of(key.type));
    name.append_format("_{}_{}", name_of(key.numerics), name_of(key.isa));
    return name;
}

}  // namespace bareflow
