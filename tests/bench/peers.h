// What others offer for y = W x and C = X W^T in f32, from Debian's packages, on one core.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/bench/matrices.h"

namespace bareflow::bench {

/// A peer prepared for a product: run(weights) multiplies with weights laid out as it wants them.
struct Peer {
    std::string name;
    std::function<void(const float* weights)> run;
    const float* weights;  ///< the product's, in the peer's layout
    size_t floats;         ///< of its layout, padding included
};
/// Peers for (m, n, k) of `product`, which must outlive them.
std::vector<Peer> peers_for(const Product& product);
/// Names and versions, a line each.
std::string peer_versions();

/// New kernels for shapes not asked for before, as others' JITs make them; false if it made none.
bool libxsmm_dispatches(int shape);
bool onednn_creates(int shape);

}  // namespace bareflow::bench
