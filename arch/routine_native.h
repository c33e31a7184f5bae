// The service of native images: the routines of the image's own segment, and the reference for what they do not answer.
#pragma once

#include <optional>

#include "arch/routine_operators.h"
#include "arch/routine_service.h"
#include "persist/native_segment.h"

namespace bareflow {

/// A segment's routines by key. Nothing is made.
class NativeRoutines final : public RoutineSource, public CodeDirectory {
 public:
    /// kNone: they are there from now on; else there are none. Whether they are for this machine and model the caller says.
    SnapshotRefusal open(ByteSpan segment);
    /// There are none from now on.
    void close() { count_ = 0; }

    const NativeHeader& header() const { return segment_.header(); }
    uint32_t count() const { return count_; }
    Routine find(const RoutineKey& key) override;
    Made make_if_hot(const RoutineKey&, const void*) override { return {}; }
    bool find_code(uint64_t address, FixedString<96>& name, uint64_t& offset) const override;

 private:
    static constexpr uint32_t kPlaces = 2 * kMaxNativeRoutines;  ///< a power of two
    uint32_t place_of(const RoutineKey& key) const;

    NativeSegment segment_;
    uint32_t count_ = 0;
    uint16_t index_[kPlaces] = {};  ///< by hash: number of the entry, and one; 0: none
};

class NativeService final : public RoutineService {
 public:
    NativeService() = default;
    NativeService(const NativeService&) = delete;
    ~NativeService();

    Result<Operators*> start(Platform& platform, const Options& options) override;
    void prepare(Session& session) override;
    void finish(bool went_well) override {
        if (went_well) platform_->report_native(routines_.count() != 0);
    }
    void log_statistics() override;
    void dump_routines(std::string_view key, TextListener& out) override;
    void report_profile(TextListener& out) override;
    void tune(TextListener& out) override;

 private:
    /// Why the segment's routines cannot be used with this machine and these options; "" if they can.
    std::string_view refusal(const Options& options) const;
    void log_refusal(std::string_view reason);
    /// On so many cores as there are routines for, the most first: parts of other sizes would run on the reference.
    void choose_cores(Session& session, unsigned cores);

    Platform* platform_ = nullptr;
    Workers* workers_ = nullptr;
    NativeRoutines routines_;
    std::optional<RoutineOperators> operators_;
};

}  // namespace bareflow
