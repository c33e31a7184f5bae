// The reference's muladd class: what every x86-64 CPU can do. Contraction is off, so there are two roundings.
#include "model/reference_kernels.h"

namespace bareflow {
namespace {

struct MulAddNumerics {
    static float multiply_add(float a, float b, float c) { return a * b + c; }
};

}  // namespace

constinit const ReferenceKernels kMulAddKernels = make_kernels<MulAddNumerics>();

}  // namespace bareflow
