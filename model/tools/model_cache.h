// Imported models that are kept for the next time, as files of a folder.
#pragma once

#include <string>

#include "arch/base/result.h"
#include "model/tools/files.h"
#include "model/tools/import.h"

namespace bareflow {

struct ModelCache {
    /// Empty: nothing is kept.
    std::string folder;
    /// A smaller model is imported anew each time: that takes no longer than one notices.
    uint64_t least_bytes = uint64_t{32} << 20;

    /// $XDG_CACHE_HOME/bareflow, else ~/.cache/bareflow (XDG Base Directory Specification).
    static ModelCache of_user();

    /// Whether the model at `path` is one to keep.
    bool keeps(const std::string& path) const;
    /// The name of what `request` becomes. It follows from where its files lie, how large they are, when they were changed
    /// last, and from the program that imports them, so what is out of date is not found.
    std::string path_of(const ImportRequest& request) const;
    /// What was kept under that name; an error if there is none, or a damaged one.
    static Result<MappedFile> find(const std::string& kept);
    /// Imports into a file of that name, and takes the oldest away where there are many, and what interrupted imports left.
    Result<MappedFile> add(const ImportRequest& request, const std::string& kept) const;
};

}  // namespace bareflow
