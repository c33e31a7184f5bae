#include "mm/region_map.h"

namespace bareflow {
namespace {

/// A region's place between root and leaves: the finaliser of MurmurHash3, a bijection, so no two are equal.
uint64_t priority(const Region& region) {
    uint64_t hash = region.start;
    hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCD;
    hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53;
    return hash ^ (hash >> 33);
}

}  // namespace

void RegionMap::insert(Region& region) {
    Region** link = &root_;
    while (*link != nullptr && priority(**link) > priority(region)) {
        link = region.start < (*link)->start ? &(*link)->left : &(*link)->right;
    }
    // Takes the place of the subtree there, which is split into what lies below and above.
    Region* rest = *link;
    *link = &region;
    Region** below = &region.left;
    Region** above = &region.right;
    while (rest != nullptr) {
        if (rest->start < region.start) {
            *below = rest;
            below = &rest->right;
            rest = rest->right;
        } else {
            *above = rest;
            above = &rest->left;
            rest = rest->left;
        }
    }
    *below = nullptr;
    *above = nullptr;
}

void RegionMap::remove(Region& region) {
    Region** link = &root_;
    while (*link != &region) link = region.start < (*link)->start ? &(*link)->left : &(*link)->right;
    // Its two subtrees become one, the higher priority on top.
    Region* left = region.left;
    Region* right = region.right;
    while (left != nullptr && right != nullptr) {
        if (priority(*left) > priority(*right)) {
            *link = left;
            link = &left->right;
            left = left->right;
        } else {
            *link = right;
            link = &right->left;
            right = right->left;
        }
    }
    *link = left != nullptr ? left : right;
}

Region* RegionMap::find(const void* address) const {
    const auto target = reinterpret_cast<uintptr_t>(address);
    Region* region = root_;
    while (region != nullptr) {
        if (target < region->start) {
            region = region->left;
        } else if (target - region->start >= region->size) {
            region = region->right;
        } else {
            break;
        }
    }
    return region;
}

Region* RegionMap::first_from(uintptr_t start) const {
    Region* best = nullptr;
    for (Region* region = root_; region != nullptr;) {
        if (region->start >= start) {
            best = region;
            region = region->left;
        } else {
            region = region->right;
        }
    }
    return best;
}

}  // namespace bareflow
