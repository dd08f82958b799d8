"""Model files are ONNX that others understand: the onnx checker accepts them, ONNX Runtime answers as espy does.

Usage: onnx_runtime_test.py, with ESPY_BINARY naming the program; Python needs tests/requirements.txt.
Compared are the probabilities that `espy predict --json` prints and those of ONNX Runtime's logits, for pictures that
already have the form of the network's input, so that nothing but the network and its calibration is compared.
"""

import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

import numpy
import onnx
import onnxruntime
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGES = ROOT / "tests" / "data" / "images"
PICTURES = {
    "digit": ["one", "four", "five", "seven", "eight", "nine"],
    "garment": ["ankle_boot", "bag", "dress", "pullover"],
}
TOLERANCE = 1e-5
RECIPES = ["softmax", "deep", "mlp", "5s", "1m", "10m", "60m", "compact"]


def espy(*arguments, **environment):
    done = subprocess.run([os.environ["ESPY_BINARY"], *map(str, arguments)], capture_output=True, text=True,
                          env={**os.environ, **environment}, timeout=300)
    if done.returncode != 0:
        raise AssertionError(f"espy {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def metadata(model):
    return {entry.key: entry.value for entry in model.metadata_props}


def probabilities(logits, calibration):
    """softmax, or what a calibration makes of the logits' distances to the greatest (src/model/calibration.h)."""
    fields = dict(line.split("=", 1) for line in calibration.splitlines())
    distances = (logits.max(axis=1, keepdims=True) - logits) / float(fields.get("temperature", 1))
    powers = numpy.exp(-(distances ** float(fields.get("exponent", 1))))
    return powers / powers.sum(axis=1, keepdims=True)


def write_idx(path, values):
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.astype(numpy.uint8).tobytes())


def write_data_set(folder):
    """200 pictures with one bright block each, which is enough to take steps on."""
    random = numpy.random.default_rng(1)
    images = numpy.zeros((200, 28, 28))
    for image in images:
        top, left = random.integers(2, 12, 2)
        height, width = random.integers(4, 14, 2)
        image[top : top + height, left : left + width] = random.integers(128, 256)
    folder.mkdir()
    for split in "train", "t10k":
        write_idx(folder / f"{split}-images-idx3-ubyte", images)
        write_idx(folder / f"{split}-labels-idx1-ubyte", numpy.arange(200) % 10)


class OnnxRuntimeTest(unittest.TestCase):
    def check(self, path):
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        told = metadata(model)
        pictures = [IMAGES / f"{name}.png" for name in PICTURES[told["espy.preparation"]]]
        answers = [json.loads(line) for line in espy("predict", path, *pictures, "--json").splitlines()]
        self.assertEqual(len(answers), len(pictures))

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        inputs = numpy.stack([numpy.asarray(Image.open(picture), numpy.float32) for picture in pictures])
        (logits,) = session.run(["logits"], {"input": inputs[:, numpy.newaxis] / numpy.float32(255)})

        labels = told["espy.labels"].split("\n")
        self.assertEqual(logits.shape, (len(pictures), len(labels)))
        ours = numpy.array([answer["probabilities"] for answer in answers])
        expected = probabilities(logits.astype(numpy.float64), told.get("espy.calibration", ""))
        difference = numpy.abs(expected - ours).max()
        print(f"{pathlib.Path(path).name}: greatest difference of a probability {difference:.1e}")
        self.assertLess(difference, TOLERANCE)
        self.assertEqual([answer["class"] for answer in answers], [labels[k] for k in logits.argmax(axis=1)])

    def test_shipped_models_agree(self):
        models = sorted((ROOT / "models").glob("*.onnx"))
        self.assertEqual([model.name for model in models], ["digits.onnx", "garments.onnx"])
        for model in models:
            with self.subTest(model=model.name):
                self.check(str(model))

    def test_every_recipe_agrees(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            write_data_set(folder / "blocks")
            for recipe in RECIPES:
                with self.subTest(recipe=recipe):
                    path = str(folder / f"{recipe}.onnx")
                    espy("train", "--data", folder / "blocks", "--recipe", recipe, "--max-steps", 5, "--out", path)
                    self.check(path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
