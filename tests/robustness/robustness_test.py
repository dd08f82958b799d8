"""Digits and garments are read when the world has been at them. By default on samples, with `script/test --all` on all
test pictures; bounds leave two standard errors to a sample."""
import functools
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import corruptions
import espy
import measure
import paper
import pictures

COUNT = 10000 if espy.SLOW else 500
LARGE_COUNT = 1000 if espy.SLOW else 100

# The shipped network was trained on warps of this kind.
AFFINE_ERROR = 0.008
GARMENT_LOSS = 0.02  # how much worse the same garments may be read from a photograph


def bound(error, count):
    """What a sample may show whose true error is `error`: two standard errors more, unless it is everything."""
    return error if count >= 10000 else error + 2 * (error * (1 - error) / count) ** 0.5


@unittest.skipUnless(pictures.mnist(), "MNIST is not here: ESPY_TEST_MNIST is not set")
class DigitsTest(espy.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.serve("--max-kept-upload", "0")

    def error(self, files, labels):
        rate = measure.error_rate(self.server, files, labels, "digits")
        print(f"{self.id().split('.')[-1]}: error {100 * rate:.2f} % of {len(labels)}", flush=True)
        return rate

    def test_the_corruptions_of_mnist_c(self):
        digits, labels = measure.test_pictures(pictures.mnist(), COUNT)
        rates = [self.error(measure.corrupted(digits, c), labels) for c in corruptions.MNIST_C]
        # The same digits fifteen times: errors may come together, so the sample counts once.
        self.assertLessEqual(sum(rates) / len(rates), bound(0.06, COUNT))

    def test_random_affine_warps(self):
        digits, labels = measure.test_pictures(pictures.mnist(), COUNT)
        files = measure.corrupted(digits, corruptions.random_affine)
        self.assertLessEqual(self.error(files, labels), bound(AFFINE_ERROR, COUNT))

    def large(self, make, error):
        digits, labels = measure.test_pictures(pictures.mnist(), LARGE_COUNT)
        self.assertLessEqual(self.error(measure.handmade(digits, make), labels), bound(error, LARGE_COUNT))

    def test_digits_written_on_paper(self):
        self.large(paper.written, 0.03)

    def test_digits_on_ruled_paper(self):
        self.large(functools.partial(paper.written, ruled=True), 0.08)

    def test_digits_drawn_with_a_mouse(self):
        self.large(paper.drawn, 0.03)


@unittest.skipUnless(pictures.FASHION_MNIST.exists(), "Fashion-MNIST is not here: Debian's dataset-fashion-mnist")
class GarmentsTest(espy.TestCase):
    def test_plain_backgrounds(self):
        server = self.serve("--max-kept-upload", "0")
        garments, labels = measure.test_pictures(pictures.FASHION_MNIST, LARGE_COUNT)
        plain = measure.error_rate(server, [measure.png(p) for p in garments], labels, "garments")
        for background in ("light", "dark"):
            with self.subTest(background):
                rate = measure.error_rate(server, measure.worn(garments, background), labels, "garments")
                print(f"garments, {background}: error {100 * rate:.2f} %, as they are {100 * plain:.2f} %", flush=True)
                self.assertLessEqual(rate, plain + bound(GARMENT_LOSS, LARGE_COUNT))


if __name__ == "__main__":
    espy.main()
