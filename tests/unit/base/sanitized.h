// Whether this is the sanitizers' build, where everything takes several times as long: a test of much of the same takes less
// of it there, and all of it in the ordinary build.
#pragma once

namespace bareflow {

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

}  // namespace bareflow
