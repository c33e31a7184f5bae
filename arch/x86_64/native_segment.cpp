// The room for routines that a native image is linked with; other images have none. kernel.ld gives it its pages.
#include "persist/native_segment.h"

extern "C" {
[[gnu::section(".native"), gnu::used]] extern constexpr bareflow::NativeSpace native_space{};
}
