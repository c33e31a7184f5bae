// The roofline plot (Williams, Waterman, Patterson 2009): what was computed a second over what was computed for each byte
// read, below the lines that memory and arithmetic draw.
#pragma once

#include <string>
#include <vector>

namespace bareflow::bench {

class Roofline {
 public:
    /// A memory's pure load, and arithmetic's peak, in operations a nanosecond.
    void memory(const std::string& name, double bytes_per_ns) { memories_.push_back({name, bytes_per_ns}); }
    void peak(const std::string& name, double operations_per_ns) {
        peaks_.push_back({name, operations_per_ns});
    }
    /// Something that was measured.
    void point(const std::string& name, double operations, double bytes, double ns) {
        points_.push_back({name, operations / bytes, operations / ns});
    }
    /// Draws it with gnuplot (Debian's gnuplot-nox) into an SVG; exits where that cannot be done.
    void draw(const std::string& file) const;

 private:
    struct Line {
        std::string name;
        double value;
    };
    struct Point {
        std::string name;
        double intensity, operations_per_ns;
    };
    std::vector<Line> memories_, peaks_;
    std::vector<Point> points_;
};

}  // namespace bareflow::bench
