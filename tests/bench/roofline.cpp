#include "tests/bench/roofline.h"

#include <algorithm>
#include <cstdio>

#include "tests/bench/emitted.h"

namespace bareflow::bench {
namespace {

/// As gnuplot reads a string: nothing of it is an escape.
std::string quoted(const std::string& text) {
    std::string made = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') made += '\\';
        made += c;
    }
    return made + '"';
}

}  // namespace

void Roofline::draw(const std::string& file) const {
    if (points_.empty() || memories_.empty())
        give_up("--svg draws models and operators below the peaks: run those sections too");
    FILE* plot = popen("gnuplot", "w");
    if (plot == nullptr) give_up("--svg: gnuplot cannot be started; `make deps-bench` installs it");
    // A line of the key each, and the roof at the highest peak.
    const size_t entries = points_.size() + memories_.size() + peaks_.size();
    double highest = 1;
    for (const Line& peak : peaks_) highest = std::max(highest, peak.value);
    std::fprintf(plot,
                 "set terminal svg size 1400,%zu font 'sans-serif,11' background 'white' noenhanced\n"
                 "set output %s\n"
                 "set logscale xy\nset xrange [0.2:500]\nset yrange [0.5:%g]\nset grid\nset samples 400\n"
                 "set xlabel 'operations for each byte of weights read'\n"
                 "set ylabel 'operations a nanosecond (GFLOP/s, Gop/s)'\nset key outside right Left reverse\n"
                 "roof(y) = y < %g ? y : 1/0\n",
                 std::max<size_t>(700, 60 + 19 * entries), quoted(file).c_str(), 2 * highest, highest);
    for (size_t i = 0; i < points_.size(); ++i)
        std::fprintf(plot, "$p%zu << END\n%g %g\nEND\n", i, points_[i].intensity,
                     points_[i].operations_per_ns);
    const char* separator = "plot ";
    for (const Line& memory : memories_) {
        std::fprintf(plot, "%sroof(%g*x) with lines title %s", separator, memory.value,
                     quoted(memory.name).c_str());
        separator = ", \\\n  ";
    }
    for (const Line& peak : peaks_)
        std::fprintf(plot, "%s%g with lines dashtype 2 title %s", separator, peak.value,
                     quoted(peak.name).c_str());
    for (size_t i = 0; i < points_.size(); ++i)
        std::fprintf(plot, "%s$p%zu with points pointsize 1 title %s", separator, i,
                     quoted(points_[i].name).c_str());
    std::fputs("\n", plot);
    if (pclose(plot) != 0)
        give_up("--svg: gnuplot failed; is it installed (`make deps-bench`), and " + file + " writable?");
}

}  // namespace bareflow::bench
