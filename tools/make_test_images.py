"""Makes the pictures in tests/data/images, which the tests of the image module read.

Usage: make_test_images.py MNIST_DIR FASHION_MNIST_DIR OUT_DIR

The folders hold the idx files as they are published (t10k-images-idx3-ubyte.gz, ...). Needs Python 3 and Pillow
(Debian: python3-pil). Most files are one picture, the first of MNIST's test pictures, a seven, in as many shapes
as a decoder should know; a name says what is special about a file or what is wrong with it. What Pillow does not
write (interlaced PNG, odd BMP, broken files) is put together here byte by byte.
"""

import gzip
import io
import pathlib
import random
import struct
import sys
import zlib

from PIL import Image

WHITE = 255
ORIENTATION = 0x0112
# What a camera held that way would have stored: the operation that turns an upright picture into it.
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def read_idx(folder, name):
    content = gzip.open(pathlib.Path(folder) / f"t10k-{name}-ubyte.gz").read()
    return content[16:] if "images" in name else content[8:]


def first_of_each_label(folder):
    images, labels = read_idx(folder, "images-idx3"), read_idx(folder, "labels-idx1")
    return [Image.frombytes("L", (28, 28), images[784 * i : 784 * (i + 1)]) for i in map(labels.index, range(10))]


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def negative(image):
    return image.point(lambda shade: WHITE - shade)


def exif(orientation):
    block = Image.Exif()
    block[ORIENTATION] = orientation
    return block.tobytes()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, depth, color, rows, before=(), interlaced=False):
    """A PNG of raw rows: one list, or seven where it is interlaced."""
    stream = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return png_of_stream(width, height, depth, color, stream, before, interlaced)


def adam7(image):
    """The rows of the seven pictures that an interlaced PNG consists of."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    width, height, size = image.width, image.height, len(image.getbands())
    pixels = image.tobytes()
    for x0, y0, dx, dy in passes:
        for y in range(y0, height, dy):
            row = b"".join(pixels[(y * width + x) * size :][:size] for x in range(x0, width, dx))
            if row:
                yield row


def rows_of(image):
    stride = image.width * len(image.getbands())
    return [image.tobytes()[y * stride : (y + 1) * stride] for y in range(image.height)]


def packed(values, depth):
    """Whole bytes of values of `depth` bits, the first in the highest bits."""
    bits = "".join(format(value, f"0{depth}b") for value in values)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def bmp(width, height, depth, rows, palette=b"", compression=0, colors=0, masks=b"", header_bytes=40):
    """A BMP of stored rows (bytes, in the order of the file; padded here unless they are runs)."""
    if compression not in (1, 2):
        rows = [row + b"\0" * (-len(row) % 4) for row in rows]
    pixels = b"".join(rows)
    if header_bytes == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, depth)
    else:
        header = struct.pack("<IiiHHIIiiII", header_bytes, width, height, 1, depth, compression, len(pixels), 0, 0, colors, 0)
        header = (header + masks).ljust(header_bytes, b"\0")
    at = 14 + len(header) + len(palette)
    return struct.pack("<2sIII", b"BM", at + len(pixels), 0, at) + header + palette + pixels


def runs(indexes, depth):
    """One row as RLE8 or RLE4: runs, some literal pixels, an end of row."""
    out, i = b"", 0
    while i < len(indexes):
        length = 1
        while i + length < len(indexes) and indexes[i + length] == indexes[i] and length < 255:
            length += 1
        if length == 1 and i + 4 <= len(indexes):
            literal = indexes[i : i + 4]
            out += bytes([0, 4]) + packed(literal, depth)
            i += 4
        else:
            value = indexes[i] if depth == 8 else indexes[i] * 17
            out += bytes([length, value])
            i += length
    return out + b"\0\0"


def gray_palette(count, entry_bytes=4):
    shades = [round(i * 255 / (count - 1)) for i in range(count)]
    return b"".join(bytes([shade] * 3 + [0] * (entry_bytes - 3)) for shade in shades)


def webp_header(width, height):
    """A lossless WebP that ends after its header."""
    vp8l = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\0" * 5
    body = b"WEBP" + b"VP8L" + struct.pack("<I", len(vp8l)) + vp8l
    return b"RIFF" + struct.pack("<I", len(body)) + body


def photograph(digit):
    """Dark ink on light paper, light from one side, a dark edge of a table, noise."""
    noise = random.Random(1)
    large = digit.resize((140, 140), Image.Resampling.BICUBIC)
    photo = Image.new("L", (200, 160))
    for y in range(photo.height):
        for x in range(photo.width):
            ink = large.getpixel((x - 40, y - 10)) if 40 <= x < 180 and 10 <= y < 150 else 0
            light = 110 + 0.5 * x + 0.15 * y
            paper = 0.15 if x < 8 else 1.0
            shade = light * paper * (1 - 0.75 * ink / 255) + noise.gauss(0, 2)
            photo.putpixel((x, y), max(0, min(255, round(shade))))
    return photo


def filtered(image):
    """The rows of a grey picture with PNG's five filters in turn, each behind its number."""
    rows = [bytes(image.width), *rows_of(image)]
    for y in range(1, len(rows)):
        kind, row, above = y % 5, rows[y], rows[y - 1]
        line = bytearray([kind])
        for x, value in enumerate(row):
            left, up, corner = (row[x - 1], above[x], above[x - 1]) if x else (0, above[x], 0)
            nearest = min((left, up, corner), key=lambda near: abs(left + up - corner - near))
            line.append((value - (0, left, up, (left + up) // 2, nearest)[kind]) % 256)
        yield bytes(line)


def png_of_stream(width, height, depth, color, stream, before=(), interlaced=False, piece=None):
    """A PNG of compressed rows, whatever they are, in pieces of so many bytes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced)))
    step = piece or len(stream)
    pieces = [chunk(b"IDAT", stream[i : i + step]) for i in range(0, len(stream), step)]
    return b"\x89PNG\r\n\x1a\n" + b"".join([header, *before, *pieces, chunk(b"IEND", b"")])


def good_png(seven):
    palette = seven.copy()
    palette.putpalette(bytes(768))
    rgba = Image.merge("RGBA", [Image.new("L", seven.size, 0)] * 3 + [seven])
    rgb = Image.merge("RGB", [seven] * 3)
    gray16 = [b"".join(struct.pack(">H", min(shade * 257 + 100, 65535)) for shade in row) for row in rows_of(seven)]
    nibbles = [packed([shade >> 4 for shade in row], 4) for row in rows_of(seven)]
    stored = seven.transpose(STORED_AS[6])
    yield "seven.png", saved(seven, "PNG", optimize=True)
    yield "seven_dark_on_light.png", saved(negative(seven), "PNG", optimize=True)
    yield "seven_1bit_gray.png", saved(seven.point(lambda s: 255 if s > 127 else 0).convert("1"), "PNG")
    yield "seven_2bit_gray.png", png(28, 28, 2, 0, [packed([s >> 6 for s in row], 2) for row in rows_of(seven)])
    yield "seven_4bit_gray.png", png(28, 28, 4, 0, nibbles)
    yield "seven_16bit_gray.png", png(28, 28, 16, 0, gray16)
    yield "seven_16bit_rgb_transparent.png", png(28, 28, 16, 2, [
        b"".join(struct.pack(">HHH", *[shade * 257] * 3) for shade in row) for row in rows_of(seven)
    ], [chunk(b"tRNS", bytes(6))])
    yield "seven_16bit_rgba.png", png(28, 28, 16, 6, [
        b"".join(struct.pack(">HHHH", 0, 0, 0, shade * 257) for shade in row) for row in rows_of(seven)
    ])
    yield "seven_all_filters.png", png_of_stream(28, 28, 8, 0, zlib.compress(b"".join(filtered(seven)), 9), piece=50)
    yield "seven_gray_alpha.png", saved(Image.merge("LA", [Image.new("L", seven.size, 0), seven]), "PNG")
    yield "seven_gray_transparent.png", saved(seven, "PNG", transparency=0)
    yield "seven_palette.png", saved(seven.convert("P"), "PNG")
    yield "seven_palette_4bit.png", png(28, 28, 4, 3, nibbles, [chunk(b"PLTE", gray_palette(16, 3))])
    yield "seven_palette_alpha.png", saved(palette, "PNG", transparency=bytes(range(256)))
    yield "seven_rgb.png", saved(rgb, "PNG")
    yield "seven_rgba.png", saved(rgba, "PNG")
    yield "seven_interlaced.png", png(28, 28, 8, 0, adam7(seven), interlaced=True)
    yield "seven_rgba_interlaced.png", png(28, 28, 8, 6, adam7(rgba), interlaced=True)
    yield "seven_orientation_6.png", saved(stored, "PNG", exif=exif(6))
    yield "seven_text_bomb.png", png(28, 28, 8, 0, rows_of(seven),
                                     [chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 2_000_000, 9))])
    yield "colors.png", png(5, 1, 8, 2, [bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 10, 20, 30])])
    yield "one_pixel.png", saved(Image.new("L", (1, 1), 7), "PNG")
    yield "1x10000.png", saved(Image.new("L", (1, 10000), 200), "PNG")
    yield "10000x1.png", saved(Image.new("L", (10000, 1), 200), "PNG")


def good_jpeg(seven):
    cmyk = Image.merge("CMYK", [seven] * 3 + [Image.new("L", seven.size, 0)])
    yield "seven.jpg", saved(seven, "JPEG", quality=90)
    yield "seven_color.jpg", saved(Image.merge("RGB", [seven] * 3), "JPEG", quality=90)
    yield "seven_progressive.jpg", saved(seven, "JPEG", quality=90, progressive=True)
    yield "seven_cmyk.jpg", saved(cmyk, "JPEG", quality=90)
    yield "seven_photograph.jpg", saved(photograph(seven), "JPEG", quality=70)
    for orientation, operation in STORED_AS.items():
        wide = seven.crop((0, 0, 24, 28)).transpose(operation)
        yield f"seven_orientation_{orientation}.jpg", saved(wide, "JPEG", quality=90, exif=exif(orientation))


def good_gif(seven):
    small = seven.crop((4, 4, 24, 28))
    other = Image.new("L", seven.size, 99)
    frame = bytearray(saved(small.convert("P"), "GIF", interlace=0))
    frame[6:10] = struct.pack("<HH", 28, 28)
    at = frame.rindex(b"\x2c\0\0\0\0" + struct.pack("<HH", 20, 24))
    frame[at + 1 : at + 5] = struct.pack("<HH", 4, 4)
    outside = bytearray(frame)
    outside[at + 1 : at + 5] = struct.pack("<HH", 10, 4)
    yield "seven.gif", saved(seven, "GIF", interlace=0)
    yield "seven_interlaced.gif", saved(seven, "GIF", interlace=1)
    yield "seven_transparent.gif", saved(seven, "GIF", transparency=0)
    yield "seven_animated.gif", saved(seven, "GIF", save_all=True, append_images=[other], duration=9)
    yield "seven_frame_within_canvas.gif", bytes(frame)
    yield "frame_outside_canvas.gif", bytes(outside)


def good_bmp(seven):
    rows = rows_of(seven)
    up = rows[::-1]
    bits = [packed([s >> 7 for s in row], 1) for row in up]
    nibbles = [[s >> 4 for s in row] for row in up]
    rgb565 = [b"".join(struct.pack("<H", (s >> 3) << 11 | (s >> 2) << 5 | s >> 3) for s in row) for row in up]
    rgb555 = [b"".join(struct.pack("<H", (s >> 3) * 0x421) for s in row) for row in up]
    bgrx = [b"".join(bytes([s, s, s, 77]) for s in row) for row in up]
    bgra = [b"".join(bytes([0, 0, 0, s]) for s in row) for row in up]
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    yield "seven_1bit.bmp", bmp(28, 28, 1, bits, gray_palette(2))
    yield "seven_4bit.bmp", bmp(28, 28, 4, [packed(row, 4) for row in nibbles], gray_palette(16))
    yield "seven.bmp", bmp(28, 28, 8, up, gray_palette(256))
    yield "seven_os2.bmp", bmp(28, 28, 8, up, gray_palette(256, 3), header_bytes=12)
    yield "seven_top_down.bmp", bmp(28, -28, 8, rows, gray_palette(256))
    yield "seven_16bit.bmp", bmp(28, 28, 16, rgb555)
    yield "seven_16bit_fields.bmp", bmp(28, 28, 16, rgb565, struct.pack("<III", 0xF800, 0x7E0, 0x1F), 3)
    yield "seven_24bit.bmp", bmp(28, 28, 24, [bytes(s for s in row for _ in range(3)) for row in up])
    yield "seven_32bit.bmp", bmp(28, 28, 32, bgrx)
    yield "seven_32bit_alpha.bmp", bmp(28, 28, 32, bgra, b"", 3, 0, masks, 108)
    yield "seven_rle8.bmp", bmp(28, 28, 8, [runs(row, 8) for row in up] + [b"\0\1"], gray_palette(256), 1)
    yield "seven_rle4.bmp", bmp(28, 28, 4, [runs(row, 4) for row in nibbles] + [b"\0\1"], gray_palette(16), 2)
    # Two pixels, a move two to the right and one up, one pixel, the end.
    moved = b"\2\0\0\2\2\1\1\0\0\1"
    yield "rle8_move.bmp", bmp(8, 4, 8, [moved], gray_palette(2), 1, 2)


def good_webp(seven):
    rgba = Image.merge("RGBA", [Image.new("L", seven.size, 0)] * 3 + [seven])
    other = Image.new("RGB", seven.size, (99, 99, 99))
    stored = seven.transpose(STORED_AS[6]).convert("RGB")
    yield "seven.webp", saved(seven.convert("RGB"), "WEBP", lossless=True)
    yield "seven_lossy.webp", saved(seven.convert("RGB"), "WEBP", quality=90)
    yield "seven_alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True)
    yield "seven_orientation_6.webp", saved(stored, "WEBP", lossless=True, exif=exif(6))
    yield "seven_animated.webp", saved(seven.convert("RGB"), "WEBP", lossless=True, save_all=True, append_images=[other])


def bad(good):
    seven = good["seven.png"]
    jpeg, gif = good["seven.jpg"], good["seven.gif"]
    yield "empty.png", b""
    yield "text_renamed.png", b"This is a text, whatever its name says.\n"
    yield "text_that_begins_with_bm.bmp", b"BMW is short for Bayerische Motoren Werke.\n"
    for name in ("seven.png", "seven.jpg", "seven.gif", "seven.bmp", "seven.webp"):
        yield name.replace("seven", "cut_off"), good[name][: len(good[name]) * 2 // 3]
    yield "wrong_checksum.png", seven[:-20] + bytes([seven[-20] ^ 1]) + seven[-19:]
    yield "too_few_rows.png", png(28, 28, 8, 0, [bytes(28)] * 14)
    rows = b"".join(b"\0" + row for row in [bytes(28)] * 28)
    yield "too_many_rows.png", png(28, 28, 8, 0, [bytes(28)] * 29)
    yield "unknown_filter.png", png_of_stream(28, 28, 8, 0, zlib.compress(b"\5" + rows[1:]))
    yield "unknown_depth.png", png(28, 28, 3, 0, [bytes(11)] * 28)
    yield "no_palette.png", png_of_stream(28, 28, 8, 3, zlib.compress(rows))
    yield "critical_chunk.png", png_of_stream(28, 28, 8, 0, zlib.compress(rows), [chunk(b"NEED", b"?")])
    yield "not_zlib.png", png_of_stream(28, 28, 8, 0, rows)
    yield "end_marker_too_early.jpg", jpeg[: len(jpeg) * 2 // 3] + b"\xff\xd9"
    frame = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    yield "palette_too_small.gif", gif[:10] + bytes([gif[10] & 0xF8]) + gif[11:19] + gif[frame:]
    yield "no_frame.gif", gif[:frame] + b";"
    yield "palette_too_small.bmp", bmp(2, 1, 8, [b"\0\5"], gray_palette(2), colors=2)
    yield "negative_width.bmp", bmp(-28, 28, 8, [], gray_palette(256))
    yield "lowest_height.bmp", bmp(28, -(2**31), 8, [], gray_palette(256))
    yield "no_pixels.bmp", bmp(0, 28, 8, [], gray_palette(256))
    yield "run_longer_than_row.bmp", bmp(4, 1, 8, [b"\5\0\0\1"], gray_palette(2), 1, 2)
    yield "move_out_of_picture.bmp", bmp(4, 2, 8, [b"\0\2\1\7\1\0\0\1"], gray_palette(2), 1, 2)
    yield "jpeg_inside.bmp", bmp(28, 28, 24, [], compression=4)
    yield "bomb_50000x50000.png", png(50000, 50000, 8, 0, [bytes(50001)] * 4)
    size = jpeg.index(b"\xff\xc0") + 5
    yield "bomb_50000x50000.jpg", jpeg[:size] + struct.pack(">HH", 50000, 50000) + jpeg[size + 4 :]
    yield "bomb_50000x50000.gif", gif[:6] + struct.pack("<HH", 50000, 50000) + gif[10:]
    yield "bomb_50000x50000.bmp", bmp(50000, 50000, 8, [b"\0\1"], gray_palette(2), 1, 2)
    yield "bomb_16383x16383.webp", webp_header(16383, 16383)


def main():
    mnist, fashion, out = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    digits, garments = first_of_each_label(mnist), first_of_each_label(fashion)
    files = {}
    for make in (good_png, good_jpeg, good_gif, good_bmp, good_webp):
        files |= dict(make(digits[7]))
    files |= dict(bad(files))
    names = ["zero", "one", "two", "three", "four", "five", "six", None, "eight", "nine"]
    for name, digit in zip(names, digits):
        if name:
            files[f"{name}.png"] = saved(digit, "PNG", optimize=True)
    for name, label in (("trouser", 1), ("pullover", 2), ("dress", 3), ("bag", 8), ("ankle_boot", 9)):
        files[f"{name}.png"] = saved(garments[label], "PNG", optimize=True)
    enlarged = negative(garments[9]).resize((140, 140), Image.Resampling.NEAREST)
    files["ankle_boot_large_dark_on_light.png"] = saved(enlarged, "PNG", optimize=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes, largest {max(map(len, files.values()))}")


if __name__ == "__main__":
    main()
