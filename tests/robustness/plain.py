"""Digits drawn plainly: typeset in fonts, of straight lines, of the seven bars of a display.

Every function takes a numpy.random.Generator, and the same one gives the same pictures, as the bytes of PNG files.
"""
import io

import numpy
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FINE = 4  # lines are drawn on a canvas so many times as large

# Corners of each line, in a box of 1 x 1 from the upper left; some digits are drawn in two ways.
LINES = {
    0: [[[(0.3, 0), (0.7, 0), (1, 0.3), (1, 0.7), (0.7, 1), (0.3, 1), (0, 0.7), (0, 0.3), (0.3, 0)]],
        [[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]]],
    1: [[[(0.5, 0), (0.5, 1)]], [[(0.2, 0.25), (0.6, 0), (0.6, 1)]]],
    2: [[[(0, 0.2), (0.3, 0), (0.7, 0), (1, 0.25), (0, 1), (1, 1)]],
        [[(0, 0), (1, 0), (1, 0.5), (0, 0.5), (0, 1), (1, 1)]]],
    3: [[[(0, 0), (1, 0), (0.4, 0.4), (1, 0.7), (0.7, 1), (0, 1)]],
        [[(0, 0), (1, 0), (1, 1), (0, 1)], [(0.3, 0.5), (1, 0.5)]]],
    4: [[[(0.65, 0), (0, 0.65), (1, 0.65)], [(0.65, 0), (0.65, 1)]],
        [[(0, 0), (0, 0.5), (1, 0.5)], [(1, 0), (1, 1)]]],
    5: [[[(1, 0), (0.1, 0), (0, 0.45), (0.6, 0.4), (1, 0.65), (0.7, 1), (0, 1)]],
        [[(1, 0), (0, 0), (0, 0.5), (1, 0.5), (1, 1), (0, 1)]]],
    6: [[[(0.8, 0), (0.2, 0.4), (0, 0.75), (0.3, 1), (0.8, 1), (1, 0.75), (0.7, 0.5), (0.15, 0.55)]],
        [[(1, 0), (0, 0), (0, 1), (1, 1), (1, 0.5), (0, 0.5)]]],
    7: [[[(0, 0), (1, 0), (0.4, 1)]], [[(0, 0), (1, 0), (0.5, 1)], [(0.35, 0.5), (0.95, 0.5)]]],
    8: [[[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], [(0, 0.5), (1, 0.5)]],
        [[(0.5, 0), (0.9, 0.22), (0.1, 0.75), (0.5, 1), (0.9, 0.75), (0.1, 0.22), (0.5, 0)]]],
    9: [[[(0.9, 0.45), (0.3, 0.5), (0, 0.25), (0.3, 0), (0.75, 0), (0.95, 0.25), (0.75, 1)]],
        [[(1, 0.5), (0, 0.5), (0, 0), (1, 0), (1, 1), (0, 1)]]],
}

# The ends of a display's bars, and which of them are lit.
BARS = [((0, 0), (1, 0)), ((1, 0), (1, 1)), ((1, 1), (1, 2)), ((0, 2), (1, 2)), ((0, 1), (0, 2)), ((0, 0), (0, 1)),
        ((0, 1), (1, 1))]
LIT = ["abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg"]


def fonts():
    """The fonts of Debian's fonts-dejavu-core: the same on every machine."""
    return [f"/usr/share/fonts/truetype/dejavu/DejaVu{family}{weight}.ttf"
            for family in ("Sans", "SansMono", "Serif") for weight in ("", "-Bold")]


def finished(ink, random):
    """Lays ink, float [H, W] in [0, 1], on a plain ground of another shade, which may be coloured."""
    light, dark = random.uniform(200, 256, 3), random.uniform(0, 90, 3)
    if random.random() < 0.5:
        light[:], dark[:] = 255, 0
    ground, pen = (light, dark) if random.random() < 0.7 else (dark, light)
    pixels = ground + (pen - ground) * ink[:, :, None]
    out = io.BytesIO()
    Image.fromarray((pixels + 0.5).clip(0, 255).astype(numpy.uint8)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def canvas_side(random):
    return int(numpy.exp(random.uniform(numpy.log(40), numpy.log(600))))


def reduced(canvas, side, random):
    """A canvas drawn FINE times as large, at its size, sometimes softened."""
    small = canvas.resize((side, side), Image.Resampling.BOX)
    if random.random() < 0.3:
        small = small.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.02) * side))
    return numpy.asarray(small) / 255.0


def lines(digit, random):
    """A digit of straight lines of one width, slanted and placed by chance."""
    side = canvas_side(random)
    height = random.uniform(0.45, 0.8) * side
    width = height * random.uniform(0.45, 0.75)
    pen = height * numpy.exp(random.uniform(numpy.log(0.05), numpy.log(0.16)))
    slant = random.uniform(-0.1, 0.3)
    angle = numpy.radians(random.uniform(-8, 8))
    turn = numpy.array([[numpy.cos(angle), numpy.sin(angle)], [-numpy.sin(angle), numpy.cos(angle)]])
    centre = side / 2 + random.uniform(-0.06, 0.06, 2) * side
    forms = LINES[digit]
    canvas = Image.new("L", (side * FINE, side * FINE))
    draw = ImageDraw.Draw(canvas)
    joint = "curve" if random.random() < 0.7 else None
    radius = pen * FINE / 2
    for line in forms[random.integers(len(forms))]:
        points = numpy.array(line, float) - 0.5 + random.normal(0, 0.02, (len(line), 2))
        points = points * (width, height)
        points[:, 0] -= slant * points[:, 1]
        points = (points @ turn.T + centre) * FINE
        draw.line([tuple(point) for point in points], fill=255, width=max(1, round(2 * radius)), joint=joint)
        if joint:
            for x, y in points[[0, -1]]:
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    return finished(reduced(canvas, side, random), random)


def display(digit, random):
    """A digit of the seven bars of a display, which meet or leave gaps."""
    side = canvas_side(random)
    half = random.uniform(0.22, 0.36) * side  # of its height
    width = half * random.uniform(0.8, 1.2)
    pen = half * random.uniform(0.12, 0.34)
    gap = random.choice([0.0, 0.0, 0.15, 0.3]) * pen
    slant = random.choice([0.0, 0.1])
    canvas = Image.new("L", (side * FINE, side * FINE))
    draw = ImageDraw.Draw(canvas)
    corner = numpy.array([(side - width) / 2, side / 2 - half])
    for bar in LIT[digit]:
        start, end = (numpy.array(place) * (width, half) + corner for place in BARS["abcdefg".index(bar)])
        along = (end - start) / numpy.linalg.norm(end - start)
        across = along[::-1] * pen / 2
        start, end = start + along * gap, end - along * gap
        grown = along * pen / 2 * (gap == 0)
        points = [start - grown + across, end + grown + across, end + grown - across, start - grown - across]
        draw.polygon([((x + slant * (side / 2 - y)) * FINE, y * FINE) for x, y in points], fill=255)
    return finished(reduced(canvas, side, random), random)


def typeset(digit, random, paths=None):
    """A digit of a font, turned by up to 8 degrees."""
    paths = paths or fonts()
    side = canvas_side(random)
    font = ImageFont.truetype(paths[random.integers(len(paths))], int(side * random.uniform(0.5, 0.9)) * FINE)
    canvas = Image.new("L", (side * FINE, side * FINE))
    ImageDraw.Draw(canvas).text((side * FINE / 2, side * FINE / 2), str(digit), font=font, fill=255, anchor="mm")
    canvas = canvas.rotate(random.uniform(-8, 8), resample=Image.Resampling.BILINEAR)
    return finished(reduced(canvas, side, random), random)


KINDS = [lines, display, typeset]


def pictures(kind, count, random):
    """Returns `count` pictures of one kind, of each digit as many, and their labels."""
    labels = numpy.arange(count) % 10
    return [kind(int(digit), random) for digit in labels], labels
