// Parts of the section of whole models.
#pragma once

#include <string>

#include "tests/bench/huge_image.h"
#include "tests/bench/report.h"

namespace bareflow::bench {

/// SEED.md's ladder from end to end: stories15M's shape on one core, scalar to Q4_0.
void bench_model_ladder(Report& report, const Settings& settings);
/// How long it takes to make all routines of a model, by each assembler.
void bench_cold_start(Report& report, const Settings& settings, const std::string& name,
                      const HugeImage& image);

}  // namespace bareflow::bench
