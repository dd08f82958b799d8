"""A calibrated model says what it does not know: foreign and blank pictures, and sets of classes that are right as
often as asked. The model is trained here, in a few seconds, on garments."""
import json
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import unittest

from PIL import Image, ImageDraw

import espy
import pictures

SAMPLES = 400
CLASSES = 10


def noise():
    return pictures.encoded(Image.frombytes("L", (64, 64), random.Random(1).randbytes(64 * 64)))


def scribble():
    picture = Image.new("RGB", (300, 300), "white")
    draw = random.Random(2)
    points = [(draw.uniform(20, 280), draw.uniform(20, 280)) for _ in range(12)]
    ImageDraw.Draw(picture).line(points, fill="navy", width=7, joint="curve")
    return pictures.encoded(picture)


@unittest.skipUnless(pictures.FASHION_MNIST.exists(), "Fashion-MNIST is not here: Debian's dataset-fashion-mnist")
class VerdictTest(espy.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.models = pathlib.Path(tempfile.mkdtemp(prefix="espy-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.models, ignore_errors=True)
        for recipe, steps, name in (("5s", 250, "calibrated.onnx"), ("softmax", 20, "plain.onnx")):
            subprocess.run([espy.BINARY, "train", "--data", "fashion-mnist", "--recipe", recipe, "--max-steps",
                            str(steps), "--out", name], cwd=cls.models, check=True, capture_output=True, timeout=600,
                           env={**os.environ, "ESPY_DATA": str(pictures.FASHION_MNIST.parent)})
        cls.calibrated, cls.plain = cls.models / "calibrated.onnx", cls.models / "plain.onnx"
        cls.samples = pictures.test_samples(pictures.FASHION_MNIST, SAMPLES)

    def setUp(self):
        super().setUp()
        self.server = self.serve("--model", f"garments={self.calibrated}", "--model", f"plain={self.plain}")

    def predict(self, picture, query=""):
        answer = self.server.request("POST", f"/api/predict{query}", picture, {"Content-Type": "image/png"})
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def test_models_say_whether_they_are_calibrated(self):
        models = {model["name"]: model["calibrated"] for model in self.server.get("/api/models").json["models"]}
        self.assertEqual(models, {"garments": True, "plain": False})

    def test_own_pictures_are_recognized(self):
        recognized = sum(self.predict(picture)["verdict"] == "recognized" for picture, _ in self.samples)
        self.assertGreaterEqual(recognized / SAMPLES, 0.93)

    def test_foreign_pictures_are_not(self):
        for name, picture in (("seven", pictures.seven(200)), ("noise", noise()), ("scribble", scribble())):
            with self.subTest(name):
                answer = self.predict(picture)
                self.assertEqual((answer["verdict"], answer["reason"]), ("not_recognized", "foreign"))
                kept = self.server.get(f"/api/history/{answer['id']}").json
                self.assertEqual((kept["verdict"], kept["reason"]), ("not_recognized", "foreign"))
        self.assertEqual(self.server.upload(noise()).text,
                         "The result is: not recognized: it looks like nothing the model was trained on\n")
        (self.folder / "noise.png").write_bytes(noise())
        said = self.run_espy("predict", self.calibrated, "noise.png").stdout
        self.assertIn("not recognized", said)
        said = json.loads(self.run_espy("predict", self.calibrated, "--json", "noise.png").stdout)
        self.assertEqual((said["verdict"], said["reason"]), ("not_recognized", "foreign"))

    def test_a_blank_picture_is_blank(self):
        answer = self.predict(pictures.encoded(Image.new("L", (50, 50), 255)))
        self.assertEqual((answer["verdict"], answer["reason"]), ("not_recognized", "blank"))

    def test_sets_hold_the_right_class_as_often_as_asked(self):
        names = [figures["class"] for figures in json.loads(self.run_espy(
            "eval", self.calibrated, "--data", "fashion-mnist", "--json",
            env={**os.environ, "ESPY_DATA": str(pictures.FASHION_MNIST.parent)}).stdout)["classes"]]
        for coverage in (0.8, 0.95):
            held = 0
            for picture, label in self.samples:
                answer = self.predict(picture, f"?coverage={coverage}")
                self.assertEqual(answer["set"][0], answer["class"])
                self.assertEqual(len(set(answer["set"])), len(answer["set"]))
                held += names[label] in answer["set"]
            deviation = (coverage * (1 - coverage) / SAMPLES) ** 0.5
            self.assertGreaterEqual(held / SAMPLES, coverage - 3 * deviation)

    def test_sets_grow_with_the_coverage(self):
        for picture, _ in self.samples[:20]:
            sets = [self.predict(picture, f"?coverage={coverage}")["set"] for coverage in (0, 0.5, 0.9, 0.99, 1)]
            self.assertEqual(len(sets[0]), 1)
            self.assertEqual(len(sets[-1]), CLASSES)
            for smaller, larger in zip(sets, sets[1:]):
                self.assertEqual(larger[:len(smaller)], smaller)
        self.assertNotIn("set", self.predict(self.samples[0][0]))

    def test_the_command_gives_the_same_sets(self):
        picture = self.samples[0][0]
        (self.folder / "boot.png").write_bytes(picture)
        arguments = ("predict", self.calibrated, "--coverage", "0.99", "boot.png")
        wanted = self.predict(picture, "?coverage=0.99")["set"]
        self.assertEqual(json.loads(self.run_espy(*arguments, "--json").stdout)["set"], wanted)
        self.assertIn("{" + ", ".join(wanted) + "}", self.run_espy(*arguments).stdout)

    def test_coverages_that_cannot_be(self):
        for value in ("1.5", "-0.1", "nan", "much", ""):
            with self.subTest(value):
                self.assert_error(self.server.request("POST", f"/api/predict?coverage={value}", pictures.boot(),
                                                      {"Content-Type": "image/png"}), 400, "invalid_input", "coverage")
        self.assert_error(self.server.request("POST", "/api/predict?coverage=0.9&model=plain", pictures.boot(),
                                              {"Content-Type": "image/png"}), 400, "invalid_input", "calibration")
        (self.folder / "boot.png").write_bytes(pictures.boot())
        self.run_espy("predict", self.calibrated, "--coverage", "1.5", "boot.png", status=2)
        said = self.run_espy("predict", self.plain, "--coverage", "0.9", "boot.png", status=1).stderr
        self.assertIn("has no calibration", said)


if __name__ == "__main__":
    espy.main()
