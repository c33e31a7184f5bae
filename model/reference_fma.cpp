// The reference's fma class. Compiled with -mfma, so that __builtin_fmaf is the instruction; nothing but the
// table leaves this file.
#include "model/reference_kernels.h"

namespace bareflow {
namespace {

struct FmaNumerics {
    static float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
};

}  // namespace

constinit const ReferenceKernels kFmaKernels = make_kernels<FmaNumerics>();

}  // namespace bareflow
