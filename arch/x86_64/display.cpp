#include "arch/x86_64/display.h"

#include "arch/x86_64/memory.h"

extern "C" {
extern const uint8_t bareflow_console_font[], bareflow_console_font_end[];  // console_font.S
}

namespace bareflow {
namespace {

constexpr uint32_t kMostTextPlaces =
    132 * 60;  // the largest of VGA's text modes; 32 KiB of memory hold two of them

constinit TextScreen text_screen;
constinit PsfFont font;
constinit FramebufferSurface framebuffer;
constinit VgaTextSurface vga_text;

Result<ScreenSurface*> start_surface(const BootFramebuffer& left) {
    if (left.kind == BootFramebuffer::kText) {
        if (left.width * left.height > kMostTextPlaces)
            return invalid("a text mode of {}x{} characters", left.width, left.height);
        TRY(map_video(VgaTextSurface::kAddress, uint64_t{2} * left.width * left.height));
        auto* const memory = reinterpret_cast<uint16_t*>(VgaTextSurface::kAddress);
        return static_cast<ScreenSurface*>(vga_text.start(memory, left.width, left.height) ? &vga_text
                                                                                           : nullptr);
    }
    TRY(font.load(
        {bareflow_console_font, static_cast<size_t>(bareflow_console_font_end - bareflow_console_font)}));
    TRY(FramebufferSurface::check(left));
    TRY(map_video(left.address, left.bytes()));
    framebuffer.start(left, reinterpret_cast<uint8_t*>(left.address), font);
    return static_cast<ScreenSurface*>(&framebuffer);
}

Result<void> start_screen(const BootFramebuffer& left, Allocator& allocator) {
    ScreenSurface* const surface = TRY(start_surface(left));
    if (surface == nullptr) return {};  // the loader tells of a text mode even where there is no VGA
    return text_screen.start(*surface, allocator);
}

}  // namespace

TextScreen& screen() { return text_screen; }

void initialise_screen(const BootFramebuffer& left, Allocator& allocator, Clock& clock, LogSink& log) {
    if (left.kind == BootFramebuffer::kNone) return;
    const uint64_t began = clock.now_ns();
    const Result<void> started = start_screen(left, allocator);
    if (!started) {
        LogRecord(log, "screen_refused").field("reason", started.error().message());
        return;
    }
    if (!text_screen.started()) return;
    LogRecord(log, "screen")
        .field("kind", left.kind == BootFramebuffer::kText ? "text" : "framebuffer")
        .field("width", left.width)
        .field("height", left.height)
        .field("bits", static_cast<uint32_t>(left.bits_per_pixel))
        .field("columns", text_screen.columns())
        .field("rows", text_screen.rows())
        .field("ms", static_cast<double>(clock.now_ns() - began) / 1e6);
}

}  // namespace bareflow
