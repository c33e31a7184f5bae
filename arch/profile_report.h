// What the profiler found, for people (/profile) and for the log.
#pragma once

#include "arch/base/log.h"
#include "model/session.h"
#include "profiler/matmul_profile.h"

namespace bareflow {

/// A table of each phase's hottest shapes. Stops when the listener asks for it.
void report_profile(const Profiler& profiler, TextListener& out);
/// The same as records: `profile phase=generation op=project m=1 n=1024 k=128 type=f16 calls=… cycles=… share=…`.
void log_profile(const Profiler& profiler, LogSink& log);

}  // namespace bareflow
