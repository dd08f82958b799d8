"""The fifteen corruptions of MNIST-C, on any pictures of 28x28.

Made after the description and the published parameters of N. Mu and J. Gilmer, "MNIST-C: A Robustness Benchmark for
Computer Vision", 2019. Each function takes N pictures, uint8 [N, 28, 28], light on black, and a numpy.random.Generator,
and returns as many. All of a batch is done at once.
"""
import numpy

SIDE = 28
CENTRE = (SIDE - 1) / 2


def to_bytes(pictures):
    """[0, 1] -> uint8."""
    return (numpy.clip(pictures, 0, 1) * 255 + 0.5).astype(numpy.uint8)


def gaussian_blur(pictures, sigma, edge="edge"):
    """Blurs the last two axes; kernels reach four sigma."""
    reach = int(4 * sigma + 0.5)
    kernel = numpy.exp(-0.5 * (numpy.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (-2, -1):
        width = [(0, 0)] * pictures.ndim
        width[axis] = (reach, reach)
        padded = numpy.pad(pictures, width, mode=edge)
        length = pictures.shape[axis]
        pictures = sum(weight * numpy.take(padded, range(at, at + length), axis=axis)
                       for at, weight in enumerate(kernel))
    return pictures


def sample(pictures, x, y):
    """Bilinear values at places x, y [N, 28, 28], 0 outside."""
    framed = numpy.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    x = numpy.clip(x + 1, 0, SIDE + 0.999)
    y = numpy.clip(y + 1, 0, SIDE + 0.999)
    left, top = x.astype(int), y.astype(int)
    across, down = x - left, y - top
    which = numpy.arange(len(pictures))[:, None, None]
    above = framed[which, top, left] * (1 - across) + framed[which, top, left + 1] * across
    below = framed[which, top + 1, left] * (1 - across) + framed[which, top + 1, left + 1] * across
    return above * (1 - down) + below * down


def warp(pictures, matrices, shifts=0):
    """Warps around the centre: output place p shows input place matrix (p - centre) + centre + shift."""
    matrices = numpy.broadcast_to(matrices, (len(pictures), 2, 2))
    shifts = numpy.broadcast_to(shifts, (len(pictures), 2))
    y, x = numpy.mgrid[:SIDE, :SIDE] - CENTRE
    m = matrices[:, :, :, None, None]
    s = shifts[:, :, None, None]
    return to_bytes(sample(pictures / 255.0, m[:, 0, 0] * x + m[:, 0, 1] * y + s[:, 0] + CENTRE,
                           m[:, 1, 0] * x + m[:, 1, 1] * y + s[:, 1] + CENTRE))


def signs(count, random):
    return random.choice([-1.0, 1.0], count)


def shot_noise(pictures, random):
    return to_bytes(random.poisson(pictures / 255.0 * 3) / 3)


def impulse_noise(pictures, random):
    """17 % of the pixels become black or white."""
    hit = random.random(pictures.shape) < 0.17
    return numpy.where(hit, random.integers(0, 2, pictures.shape) * 255, pictures).astype(numpy.uint8)


def glass_blur(pictures, random):
    """Blur, two rounds of pixels changing place with a neighbour up or left, blur."""
    blurred = gaussian_blur(pictures / 255.0, 0.7)
    which = numpy.arange(len(pictures))
    for _ in range(2):
        for row in range(SIDE - 1, 1, -1):
            for column in range(SIDE - 1, 1, -1):
                swap = random.integers(0, 2, len(pictures))
                to_row = row - swap * random.integers(0, 2, len(pictures))
                to_column = column - swap * random.integers(0, 2, len(pictures))
                here = blurred[:, row, column].copy()
                blurred[:, row, column] = blurred[which, to_row, to_column]
                blurred[which, to_row, to_column] = here
    return to_bytes(gaussian_blur(blurred, 0.7))


def motion_blur(pictures, random):
    """The mean over half a Gaussian of sigma 3, 21 whole pixels along a line within 45 degrees of level."""
    angle = numpy.radians(random.uniform(-45, 45, len(pictures)))
    weights = numpy.exp(-0.5 * (numpy.arange(21) / 3) ** 2)
    weights /= weights.sum()
    which = numpy.arange(len(pictures))[:, None, None]
    rows, columns = numpy.mgrid[:SIDE, :SIDE]
    total = numpy.zeros(pictures.shape)
    for step, weight in enumerate(weights):
        across = numpy.ceil(step * numpy.cos(angle) - 0.5).astype(int)[:, None, None]
        down = numpy.ceil(step * numpy.sin(angle) - 0.5).astype(int)[:, None, None]
        total += weight * pictures[which, numpy.clip(rows + down, 0, SIDE - 1),
                                   numpy.clip(columns + across, 0, SIDE - 1)]
    return to_bytes(total / 255)


def shear(pictures, random):
    amount = 0.4 * signs(len(pictures), random)
    matrices = numpy.zeros((len(pictures), 2, 2))
    matrices[:, 0, 0] = 1
    matrices[:, 0, 1] = -numpy.sin(amount)
    matrices[:, 1, 1] = numpy.cos(amount)
    return warp(pictures, matrices)


def scale(pictures, random):
    return warp(pictures, numpy.eye(2) / 0.7)


def rotation(angles):
    return numpy.stack([numpy.stack([numpy.cos(angles), -numpy.sin(angles)], -1),
                        numpy.stack([numpy.sin(angles), numpy.cos(angles)], -1)], -2)


def rotate(pictures, random):
    """By 0.4, in radians."""
    return warp(pictures, rotation(0.4 * signs(len(pictures), random)))


def brightness(pictures, random):
    return to_bytes(pictures / 255.0 + 0.5)


def translate(pictures, random):
    return warp(pictures, numpy.eye(2), 3 * numpy.stack([signs(len(pictures), random) for _ in range(2)], -1))


def stripe(pictures, random):
    """A quarter at the left and at the right is inverted."""
    striped = pictures.copy()
    striped[:, :, :7] = 255 - striped[:, :, :7]
    striped[:, :, 21:] = 255 - striped[:, :, 21:]
    return striped


def _plasma(count, random, decay=1.4, side=256):
    """Heights of a diamond-square fractal on a torus, in [0, 1] [count, side, side]."""
    heights = numpy.zeros((count, side, side))
    step, roughness = side, 100.0
    while step >= 2:
        def wobble(sums):
            return sums / 4 + roughness * random.uniform(-roughness, roughness, sums.shape)
        half = step // 2
        corners = heights[:, ::step, ::step]
        sums = corners + numpy.roll(corners, -1, 1)
        sums = sums + numpy.roll(sums, -1, 2)
        middles = heights[:, half::step, half::step] = wobble(sums)
        heights[:, ::step, half::step] = wobble(
            middles + numpy.roll(middles, 1, 1) + corners + numpy.roll(corners, -1, 2))
        heights[:, half::step, ::step] = wobble(
            middles + numpy.roll(middles, 1, 2) + corners + numpy.roll(corners, -1, 1))
        step, roughness = half, roughness / decay
    heights -= heights.min((1, 2), keepdims=True)
    return heights / heights.max((1, 2), keepdims=True)


def fog(pictures, random):
    """A plasma three times as strong as the ink is added."""
    fogged = numpy.empty_like(pictures)
    for start in range(0, len(pictures), 250):
        part = pictures[start:start + 250] / 255.0
        strongest = part.max((1, 2), keepdims=True)
        foggy = part + 3 * _plasma(len(part), random)[:, :SIDE, :SIDE]
        fogged[start:start + 250] = to_bytes(foggy * strongest / (strongest + 3))
    return fogged


def spatter(pictures, random):
    """Blotches of dark mud."""
    liquid = gaussian_blur(random.normal(0.65, 0.3, pictures.shape), 1)
    mud = gaussian_blur(numpy.where(liquid > 0.65, 1.0, 0.0), 1.5)
    mud[mud < 0.8] = 0
    return to_bytes(pictures / 255.0 * (1 - mud) + mud * 63 / 255)


def line(from_column, from_row, to_column, to_row):
    """Lines that fade out over 2.3 pixels up and down [N, 28, 28]; ends [N]."""
    from_column, from_row, to_column, to_row = (
        numpy.asarray(end, float)[:, None, None] for end in (from_column, from_row, to_column, to_row))
    rows, columns = numpy.mgrid[:SIDE, :SIDE]
    slope = (to_row - from_row) / (to_column - from_column)
    distance = numpy.abs(rows - from_row - slope * (columns - from_column))
    drawn = numpy.clip(numpy.log1p(-numpy.minimum(distance, 2.2999) / 2.3) + 1, 0, 1)
    return drawn * (columns >= numpy.floor(from_column)) * (columns < numpy.ceil(to_column))


def dotted_line(pictures, random):
    """A line from side to side, two columns in four of it."""
    count = len(pictures)
    drawn = line(numpy.zeros(count), random.integers(0, 27, count), numpy.full(count, 27),
                 random.integers(0, 27, count))
    drawn *= numpy.arange(SIDE) // 2 % 2
    return to_bytes(pictures / 255.0 + drawn)


def zigzag(pictures, random):
    """A line from side to side, bent every four pixels by two pixels up and down."""
    first, last, half = 2, 25, 2.0
    zigzagged = pictures / 255.0
    start_rows = random.integers(0, 27, len(pictures))
    rises = random.integers(-5, 5, len(pictures))
    for rise in range(-5, 5):
        chosen = numpy.flatnonzero(rises == rise)
        if len(chosen) == 0:
            continue
        angle = numpy.arctan(rise / (last - first))
        length = (last - first) / numpy.cos(angle)
        corners = [(0.0, 0.0)]
        for i in range(int((length - half) // (2 * half)) + 1):
            corners.append(((2 * i + 1) * half, half if i % 2 == 0 else -half))
        whole = 2 * half * (length // (2 * half))
        if length != whole:
            corners.append((length, corners[-1][1] / (2 * (length - whole))))
        along, across = numpy.array(corners).T
        columns = along * numpy.cos(angle) - across * numpy.sin(angle) + first
        rows = along * numpy.sin(angle) + across * numpy.cos(angle)
        for i in range(1, len(corners)):
            ends = [numpy.full(len(chosen), end) for end in (columns[i - 1], rows[i - 1], columns[i], rows[i])]
            ends[1] = ends[1] + start_rows[chosen]
            ends[3] = ends[3] + start_rows[chosen]
            zigzagged[chosen] += line(*ends)
    return to_bytes(zigzagged)


def canny_edges(pictures, random):
    """White edges on black (Canny 1986: sigma 1, thresholds 0.1 and 0.2 of Sobel's sums)."""
    smooth = gaussian_blur(pictures / 255.0, 1, edge="constant")
    smooth /= gaussian_blur(numpy.ones((1, SIDE, SIDE)), 1, edge="constant")
    framed = numpy.pad(smooth, ((0, 0), (1, 1), (1, 1)), mode="symmetric")

    def shifted(array, down, across):
        return array[:, 1 + down:1 + down + SIDE, 1 + across:1 + across + SIDE]

    across = sum(weight * (shifted(framed, d, 1) - shifted(framed, d, -1)) for d, weight in ((-1, 1), (0, 2), (1, 1)))
    down = sum(weight * (shifted(framed, 1, a) - shifted(framed, -1, a)) for a, weight in ((-1, 1), (0, 2), (1, 1)))
    size = numpy.hypot(across, down)
    around = numpy.pad(size, ((0, 0), (1, 1), (1, 1)))

    # Keep what is largest along its gradient: between the straight and the slanted neighbour on either side.
    steep = numpy.abs(down) >= numpy.abs(across)
    ratio = (numpy.minimum(numpy.abs(down), numpy.abs(across)) /
             numpy.maximum(numpy.maximum(numpy.abs(down), numpy.abs(across)), 1e-12))
    largest = size >= 0.1
    down_sign, across_sign = numpy.where(down >= 0, 1, -1), numpy.where(across >= 0, 1, -1)
    which = numpy.arange(len(pictures))[:, None, None]
    rows, columns = numpy.mgrid[1:SIDE + 1, 1:SIDE + 1]
    for side in (1, -1):
        straight = around[which, rows + side * numpy.where(steep, down_sign, 0),
                          columns + side * numpy.where(steep, 0, across_sign)]
        slanted = around[which, rows + side * down_sign, columns + side * across_sign]
        largest &= slanted * ratio + straight * (1 - ratio) <= size
    largest[:, [0, -1], :] = False
    largest[:, :, [0, -1]] = False

    # Edges that hang together with a strong one.
    edges = largest & (size >= 0.2)
    while True:
        grown = numpy.pad(edges, ((0, 0), (1, 1), (1, 1)))
        grown = sum(shifted(grown, d, a) for d in (-1, 0, 1) for a in (-1, 0, 1)) > 0
        grown &= largest
        if (grown == edges).all():
            return edges.astype(numpy.uint8) * 255
        edges = grown


def random_affine(pictures, random):
    """Not of MNIST-C: rotated by up to 15 degrees, moved by up to 3 pixels, 0.8 to 1.2 times as large."""
    count = len(pictures)
    matrices = rotation(numpy.radians(random.uniform(-15, 15, count)))
    return warp(pictures, matrices / random.uniform(0.8, 1.2, count)[:, None, None],
                random.uniform(-3, 3, (count, 2)))


MNIST_C = [shot_noise, impulse_noise, glass_blur, motion_blur, shear, scale, rotate, brightness, translate, stripe,
           fog, spatter, dotted_line, zigzag, canny_edges]
