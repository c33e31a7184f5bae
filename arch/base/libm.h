// Mathematics from musl's libm, renamed (build/libm.o): the same bits in the kernel and on the host, whatever libm the
// host has.
#pragma once

extern "C" {
float bareflow_expf(float);
float bareflow_logf(float);
float bareflow_powf(float, float);
float bareflow_sinf(float);
float bareflow_cosf(float);
}
