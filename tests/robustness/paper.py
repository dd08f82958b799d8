"""Pictures as people make them: digits written on paper and photographed, garments before a plain background.

What a hand wrote comes from a data set's pictures of 28x28; pen, paper, light and camera are drawn by chance here.
Every function takes a numpy.random.Generator, and the same one gives the same pictures.
"""
import io

import numpy
from PIL import Image, ImageDraw, ImageFilter

SIDE = 28
FINE = 4  # skeletons are traced on pictures so many times as large
BOX = 20  # MNIST's digits are so long; pen widths are in pixels of that


def thinned(masks):
    """Skeletons of masks, bool [N, H, W] (Zhang and Suen 1984, "A fast parallel algorithm for thinning digital
    patterns")."""
    masks = numpy.pad(masks, ((0, 0), (1, 1), (1, 1)))
    changed = True
    while changed:
        changed = False
        for pass_ in range(2):
            around = [numpy.roll(masks, (-dy, -dx), (1, 2)) for dy, dx in
                      ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))]
            neighbours = sum(a.astype(numpy.int8) for a in around)
            rises = sum((~a & b).astype(numpy.int8) for a, b in zip(around, around[1:] + around[:1]))
            up, right, down, left = around[::2]
            if pass_ == 0:
                free = ~(up & right & down) & ~(right & down & left)
            else:
                free = ~(up & right & left) & ~(up & down & left)
            removed = masks & (neighbours >= 2) & (neighbours <= 6) & (rises == 1) & free
            if removed.any():
                masks = masks & ~removed
                changed = True
    return masks[:, 1:-1, 1:-1]


def enlarged(picture, side):
    return Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)


class Hand:
    """The lines that a hand drew, as neighbouring points in pixels of the picture of 28x28."""

    def __init__(self, skeleton):
        rows, columns = numpy.nonzero(skeleton)
        places = {place: i for i, place in enumerate(zip(rows.tolist(), columns.tolist()))}
        points = numpy.stack([columns, rows], -1).astype(float)
        # Each point is where it and those nearby are on average, so that no stairs show in a large picture.
        distances = numpy.abs(points[:, None] - points[None]).max(-1)
        near = (distances <= 3).astype(float)
        self.points = (near @ points / near.sum(1, keepdims=True) + 0.5) / FINE
        self.joins = [(i, places[row + dy, column + dx]) for (row, column), i in places.items()
                      for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)) if (row + dy, column + dx) in places]

    def draw(self, size, scale, offset, width):
        """How much of each pixel a pen of this width covers, in 0..1, [H, W]; scale: pixels a pixel of 28."""
        times = 4 if max(size) <= 120 else 2 if max(size) <= 600 else 1
        canvas = Image.new("L", (size[0] * times, size[1] * times))
        pen = ImageDraw.Draw(canvas)
        points = (self.points * scale + offset) * times
        radius = width * times / 2
        for start, end in self.joins:
            pen.line([*points[start], *points[end]], fill=255, width=max(1, round(2 * radius)))
        for x, y in points:
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
        return numpy.asarray(canvas.resize(size, Image.Resampling.BOX)) / numpy.float32(255)


def hands(pictures):
    """What hands drew in pictures of 28x28, light on black."""
    fine = numpy.stack([numpy.asarray(enlarged(p, SIDE * FINE).filter(ImageFilter.GaussianBlur(1.5)))
                        for p in pictures])
    strongest = fine.max((1, 2), keepdims=True)
    return [Hand(skeleton) for skeleton in thinned(fine > 0.4 * strongest)]


def brush(picture, size, scale, offset):
    """The digit's own outline, enlarged."""
    # Sharper with size, as an edge of ink is.
    side = max(2, round(SIDE * scale))
    large = numpy.asarray(enlarged(picture, side).filter(ImageFilter.GaussianBlur(0.3 * scale))) / 255
    steepness = max(1.25, 0.5 * scale)  # at 1.25, no ink stays none
    covered = numpy.clip((large - 0.4) * steepness + 0.5, 0, 1)
    canvas = Image.new("L", size)
    canvas.paste(Image.fromarray((covered * 255).astype(numpy.uint8)), tuple(int(round(o)) for o in offset))
    return numpy.asarray(canvas) / numpy.float32(255)


def light(size, random, strongest):
    """How much light falls on each pixel: darker towards one side, and perhaps in the soft shadow of a hand."""
    longest = max(size)
    few = [max(2, round(s * min(1, 128 / longest))) for s in size]  # it changes slowly
    y, x = numpy.mgrid[:few[1], :few[0]] / max(few)
    angle = random.uniform(0, 2 * numpy.pi)
    slope = x * numpy.cos(angle) + y * numpy.sin(angle)
    slope = (slope - slope.min()) / max(slope.max() - slope.min(), 1e-9)
    lit = 1 - random.uniform(0, strongest) * slope
    if random.random() < 0.3:
        centre = random.uniform(-0.2, 1.2, 2)
        reach = random.uniform(0.3, 0.7)
        softness = random.uniform(0.08, 0.3)
        distance = numpy.hypot(x - centre[0], y - centre[1])
        lit = lit * (1 - random.uniform(0.1, strongest) / (1 + numpy.exp((distance - reach) / softness)))
    return numpy.asarray(Image.fromarray(lit.astype(numpy.float32)).resize(size, Image.Resampling.BILINEAR))


def noise(size, random, deviation):
    """Noise of a sensor and, coarser, of paper."""
    width, height = size
    fine = random.standard_normal((height, width), numpy.float32)
    coarse = random.standard_normal((max(1, height // 3), max(1, width // 3)), numpy.float32)
    coarse = numpy.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR))
    return numpy.float32(deviation) * (fine + numpy.float32(0.5) * coarse)


INKS = {"black": (25, 25, 30), "blue": (30, 45, 140), "red": (170, 30, 40), "green": (20, 100, 50),
        "pencil": (95, 95, 100)}


def longest_side(random, least=28, most=2000):
    return int(round(numpy.exp(random.uniform(numpy.log(least), numpy.log(most)))))


def file_bytes(pixels, random, quality=(30, 95)):
    """A JPEG of any quality within limits, or one time in three a PNG."""
    image = Image.fromarray(numpy.clip(pixels + 0.5, 0, 255).astype(numpy.uint8))
    out = io.BytesIO()
    if random.random() < 1 / 3:
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, "JPEG", quality=int(random.integers(*quality)))
    return out.getvalue()


def written(picture, hand, random, ruled=False):
    """A digit, dark on light paper, as the bytes of a file."""
    longest = longest_side(random)
    size = [longest, max(28, round(longest * random.uniform(0.6, 1)))]
    if random.random() < 0.5:
        size.reverse()
    size = tuple(size)
    shortest = min(size)
    # The digit is at least 14 pixels long, and has some paper around it.
    length = random.uniform(max(0.25, 14 / shortest), 0.85) * shortest
    scale = length / BOX
    margin = 4 * scale  # what is around the 20x20 box in 28x28
    offset = numpy.array([random.uniform(0.03 * s, 0.97 * s - length) if s > length * 1.07 else (s - length) / 2
                          for s in size]) - margin
    if random.random() < 0.6:
        width = numpy.exp(random.uniform(numpy.log(0.6), numpy.log(3.5)))
        ink = hand.draw(size, scale, offset, max(width * scale, 1.0))
    else:
        ink = brush(picture, size, scale, offset)

    paper = random.uniform(195, 252) - numpy.abs(random.normal(0, [3, 3, 9]))
    shade = numpy.array(INKS[random.choice(list(INKS))]) * random.uniform(0.7, 1.15)
    pixels = numpy.ones((size[1], size[0], 3), numpy.float32) * numpy.float32(paper)
    if ruled:
        distance = max(random.uniform(0.25, 0.6) * length, 5)
        rule = paper * random.uniform(0.72, 0.9, 3)
        thick = max(1, round(distance / 25))
        squared = random.random() < 0.5
        for axis in (0, 1) if squared else (0,):
            for at in numpy.arange(random.uniform(0, distance), pixels.shape[axis], distance).astype(int):
                pixels[(slice(None),) * axis + (slice(at, at + thick),)] = rule
    strength = ink[:, :, None] * numpy.float32(random.uniform(0.85, 1))
    pixels = pixels * (1 - strength) + numpy.minimum(numpy.float32(shade), pixels) * strength
    pixels *= light(size, random, 0.5)[:, :, None]
    out_of_focus = random.uniform(0, 0.06) * scale
    if out_of_focus > 0.2:
        image = Image.fromarray(numpy.clip(pixels, 0, 255).astype(numpy.uint8))
        pixels = numpy.asarray(image.filter(ImageFilter.GaussianBlur(out_of_focus))).astype(numpy.float32)
    pixels = pixels + noise(size, random, random.uniform(0.5, 7))[:, :, None]
    return file_bytes(pixels, random)


def drawn(picture, hand, random):
    """A digit drawn with a mouse: lines of one shade on a canvas of another, as the bytes of a PNG."""
    side = longest_side(random, 28, 600)
    length = random.uniform(max(0.4, 14 / side), 0.9) * side
    scale = length / BOX
    offset = random.uniform(0.02 * side, 0.98 * side - length, 2) - 4 * scale
    ink = hand.draw((side, side), scale, offset, max(random.uniform(0.8, 3) * scale, 1.0))
    canvas, pen = [(255, 0), (0, 255), (255, 60), (30, 230)][random.integers(4)]
    out = io.BytesIO()
    Image.fromarray((canvas + (pen - canvas) * ink + 0.5).astype(numpy.uint8)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def worn(picture, random, background):
    """A garment before a plain background, "light" or "dark", as the bytes of a file."""
    longest = longest_side(random, 56, 1500)
    size = (longest, max(56, round(longest * random.uniform(0.75, 1))))
    side = int(random.uniform(0.6, 0.95) * min(size))
    large = numpy.asarray(enlarged(picture, side)) / numpy.float32(255)
    left, top = (int(random.uniform(0.02 * s, 0.98 * s - side)) if s * 0.96 > side else (s - side) // 2 for s in size)
    garment = numpy.zeros((size[1], size[0]), numpy.float32)
    garment[top:top + side, left:left + side] = large
    if background == "light":
        pixels = numpy.float32(random.uniform(225, 255)) * (1 - garment)
    else:
        plain = numpy.float32(random.uniform(0, 40))
        pixels = plain + (255 - plain) * garment
    pixels = pixels[:, :, None] + random.normal(0, 2, 3).astype(numpy.float32)
    pixels = pixels * light(size, random, 0.1)[:, :, None] + noise(size, random, random.uniform(0.3, 3))[:, :, None]
    return file_bytes(pixels, random, (50, 95))
