"""What a calibrated model reads right, it mostly recognizes: digits that are plainly drawn, written on paper or drawn
with a mouse, garments before a plain background."""
import pathlib
import sys
import unittest

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import espy
import measure
import paper
import pictures
import plain

COUNT = 2000 if espy.SLOW else 300
LARGE_COUNT = 1000 if espy.SLOW else 100


class Recognized(espy.TestCase):
    def check(self, name, server, files, labels, model, least):
        with self.subTest(name):
            error, recognized = measure.rates(server, files, labels, model)
            print(f"{name}: of {100 * (1 - error):.1f} % that are read right {100 * recognized:.1f} % are recognized",
                  flush=True)
            # Two standard errors for the sample.
            self.assertGreaterEqual(recognized, least - 2 * (least * (1 - least) / len(labels)) ** 0.5)


@unittest.skipUnless(pictures.mnist(), "MNIST is not here: ESPY_TEST_MNIST is not set")
class DigitsTest(Recognized):
    def test_digits(self):
        server = self.serve("--max-kept-upload", "0")
        for kind, least in ((plain.typeset, 0.97), (plain.lines, 0.73), (plain.display, 0.5)):
            files, labels = plain.pictures(kind, COUNT, numpy.random.default_rng(measure.SEED))
            self.check(kind.__name__, server, files, labels, "digits", least)
        digits, labels = measure.test_pictures(pictures.mnist(), LARGE_COUNT)
        for make, least in ((paper.written, 0.92), (paper.drawn, 0.94)):
            self.check(make.__name__, server, measure.handmade(digits, make), labels, "digits", least)
        for name, seven in (("28", pictures.seven(28)), ("280", pictures.seven(280)),
                            ("photographed", pictures.photographed_seven())):
            self.check(f"the seven, {name}", server, [seven], [7], "digits", 1)


@unittest.skipUnless(pictures.FASHION_MNIST.exists(), "Fashion-MNIST is not here: Debian's dataset-fashion-mnist")
class GarmentsTest(Recognized):
    def test_garments(self):
        server = self.serve("--max-kept-upload", "0")
        garments, labels = measure.test_pictures(pictures.FASHION_MNIST, LARGE_COUNT)
        for background in ("light", "dark"):
            self.check(background, server, measure.worn(garments, background), labels, "garments", 0.93)


if __name__ == "__main__":
    espy.main()
