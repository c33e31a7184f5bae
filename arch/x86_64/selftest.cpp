#include "arch/x86_64/selftest.h"

namespace bareflow {

Result<void> run_selftest(std::string_view name, Platform&) {
    return Error::make(ErrorCode::kUnsupported,
                       "option test={} needs the test kernel (build/bareflow-test.elf)", name);
}

}  // namespace bareflow
