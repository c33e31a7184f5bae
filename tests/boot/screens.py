"""Screens in tests: the kernel's font, pictures of QEMU's screendump decoded back to text, and PNG files."""

import struct
import zlib
from dataclasses import dataclass

from harness import BUILD

FONT = BUILD / "console_font.psf"
BRIGHT = 0x50  # the least that a component of lit text has; black has 0
BOX = "\N{REPLACEMENT CHARACTER}"


@dataclass
class Font:
    width: int
    height: int
    glyphs: dict  # bitmap, one int a row, as a tuple -> the characters that it draws


def read_font(path=FONT):
    """A PSF2 file."""
    data = path.read_bytes()
    magic, _, header, flags, count, size, height, width = struct.unpack_from("<8I", data)
    assert magic == 0x864AB572 and flags == 1 and width == 8
    names = data[header + count * size:].split(b"\xff")[:count]
    glyphs = {}
    for index, name in enumerate(names):
        bitmap = tuple(data[header + index * size:header + (index + 1) * size])
        glyphs.setdefault(bitmap, "")
        glyphs[bitmap] += name.decode()
    box = [0] * height
    box[2] = box[height - 3] = 0x7E
    box[3:height - 3] = [0x42] * (height - 6)
    glyphs[tuple(box)] = BOX
    return Font(width, height, glyphs)


@dataclass
class Picture:
    width: int
    height: int
    pixels: bytes  # RGB

    def lit(self, x, y):
        return self.pixels[(y * self.width + x) * 3 + 1] >= BRIGHT


def read_ppm(path):
    magic, size, depth, pixels = path.read_bytes().split(b"\n", 3)
    width, height = map(int, size.split())
    assert (magic, depth, len(pixels)) == (b"P6", b"255", width * height * 3)
    return Picture(width, height, pixels)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path, picture):
    """With a palette of up to 16 colours, four bits a pixel."""
    pixels = [picture.pixels[i:i + 3] for i in range(0, len(picture.pixels), 3)]
    palette = sorted(set(pixels))
    assert len(palette) <= 16 and picture.width % 2 == 0
    index = {colour: number for number, colour in enumerate(palette)}
    rows = bytearray()
    for y in range(picture.height):
        rows.append(0)
        row = pixels[y * picture.width:(y + 1) * picture.width]
        rows += bytes(index[a] << 4 | index[b] for a, b in zip(row[::2], row[1::2]))
    header = struct.pack(">2I5B", picture.width, picture.height, 4, 3, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"PLTE", b"".join(palette)) +
                     chunk(b"IDAT", zlib.compress(bytes(rows), 9)) + chunk(b"IEND", b""))


def read_png(path):
    """What write_png writes."""
    data, at, parts = path.read_bytes(), 8, {}
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        parts[kind] = data[at + 8:at + 8 + length]
        at += 12 + length
    width, height, depth, colour = struct.unpack_from(">2I2B", parts[b"IHDR"])
    assert (depth, colour) == (4, 3), "a picture that write_png has not written"
    palette = [parts[b"PLTE"][i:i + 3] for i in range(0, len(parts[b"PLTE"]), 3)]
    rows, stride, pixels = zlib.decompress(parts[b"IDAT"]), width // 2 + 1, []
    for y in range(height):
        for byte in rows[y * stride + 1:(y + 1) * stride]:
            pixels += [palette[byte >> 4], palette[byte & 15]]
    return Picture(width, height, b"".join(pixels))


@dataclass
class Screen:
    rows: list  # text, blanks at the end cut off
    cursor: tuple  # (row, column) of the one cell in exchanged colours

    @property
    def text(self):
        return "\n".join(self.rows).rstrip("\n")


def decode(picture, font, scale=1):
    """Every cell must be a glyph of the font, pixel by pixel; a character of several that look alike is the first."""
    rows, cursors = [], []
    for row in range(picture.height // (font.height * scale)):
        line = ""
        for column in range(picture.width // (font.width * scale)):
            x, y = column * font.width * scale, row * font.height * scale
            bitmap = tuple(sum(picture.lit(x + i * scale, y + j * scale) << (7 - i) for i in range(font.width))
                           for j in range(font.height))
            if bitmap not in font.glyphs:
                cursors.append((row, column))
                bitmap = tuple(bits ^ 0xFF for bits in bitmap)
            elif font.glyphs[bitmap][0] == "\N{FULL BLOCK}":
                cursors.append((row, column))
                bitmap = (0,) * font.height
            assert bitmap in font.glyphs, f"row {row}, column {column} is no glyph of the font"
            line += font.glyphs[bitmap][0]
        rows.append(line.rstrip())
    assert len(cursors) == 1, f"the cursor is at {cursors}"
    return Screen(rows, cursors[0])
