"""Pictures for the end-to-end tests: drawn here, or taken from the public data sets."""
import functools
import gzip
import io
import os
import pathlib

from PIL import Image, ImageDraw, ImageFilter

EXAMPLES = pathlib.Path(__file__).parents[1] / "data/images"  # of every kind and defect
FASHION_MNIST = pathlib.Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist


def encoded(image, media="PNG", **options):
    """Returns the bytes of a picture file."""
    out = io.BytesIO()
    image.save(out, media, **options)
    return out.getvalue()


@functools.cache
def seven(size=28):
    """Returns a PNG of a seven, soft white on black as MNIST has them; of 28x28 pixels it has 290 bytes."""
    big = Image.new("L", (280, 280))
    ImageDraw.Draw(big).line([(80, 80), (200, 80), (130, 215)], fill=255, width=24, joint="curve")
    return encoded(big.filter(ImageFilter.GaussianBlur(6)).resize((size, size), Image.Resampling.BOX))


@functools.cache
def photographed_seven():
    """Returns a JPEG of a large dark seven on light paper, off centre."""
    paper = Image.new("RGB", (640, 480), (228, 224, 214))
    ImageDraw.Draw(paper).line([(330, 90), (520, 95), (410, 330)], fill=(35, 40, 90), width=30, joint="curve")
    return encoded(paper, "JPEG", quality=85)


def _idx(path, header, count, item):
    with gzip.open(path) as file:
        file.seek(header)
        data = file.read(count * item)
    return [data[i : i + item] for i in range(0, count * item, item)]


def test_samples(folder, count):
    """Returns the first test pictures of an idx data set: a list of (PNG, label)."""
    folder = pathlib.Path(folder)
    images = _idx(folder / "t10k-images-idx3-ubyte.gz", 16, count, 784)
    labels = _idx(folder / "t10k-labels-idx1-ubyte.gz", 8, count, 1)
    return [(encoded(Image.frombytes("L", (28, 28), image)), label[0]) for image, label in zip(images, labels)]


@functools.cache
def boot():
    """Returns a PNG of an ankle boot: the first test picture of Fashion-MNIST."""
    return test_samples(FASHION_MNIST, 1)[0][0]


def mnist():
    """Returns the folder with MNIST, or None: ESPY_TEST_MNIST, which script/test sets."""
    return os.environ.get("ESPY_TEST_MNIST")
