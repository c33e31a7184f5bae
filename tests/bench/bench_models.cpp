// Whole models: to come with the next commit.
#include "tests/bench/report.h"

namespace bareflow::bench {
void bench_models(Report&, const Settings&) {}
}  // namespace bareflow::bench
