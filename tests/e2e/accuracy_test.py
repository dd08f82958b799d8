"""The three classic recipes at full length reach what they are known for. Takes an hour or so; not part of CI."""
import json
import os
import pathlib
import statistics
import unittest

import espy
import pictures

SEEDS = (1, 2, 3)


@unittest.skipUnless(pictures.mnist(), "MNIST is not here: ESPY_TEST_MNIST is not set")
class AccuracyTest(espy.TestCase):
    def mean_accuracy(self, recipe, data):
        folder = pictures.FASHION_MNIST if data == "fashion-mnist" else pathlib.Path(pictures.mnist())
        accuracies = []
        for seed in SEEDS:
            done = self.run_espy("train", "--data", data, "--recipe", recipe, "--seed", seed, "--json", "--out",
                                 "model.onnx", env={**os.environ, "ESPY_DATA": str(folder.parent)}, timeout=7200)
            accuracies.append(json.loads(done.stdout.splitlines()[-1])["test_accuracy"])
        print(f"{recipe} on {data}: {accuracies}")
        return statistics.mean(accuracies)

    def test_softmax(self):
        self.assertTrue(0.915 <= self.mean_accuracy("softmax", "mnist") <= 0.927)

    def test_mlp(self):
        self.assertTrue(0.880 <= self.mean_accuracy("mlp", "fashion-mnist") <= 0.895)

    def test_deep(self):
        self.assertGreaterEqual(self.mean_accuracy("deep", "mnist"), 0.991)


if __name__ == "__main__":
    espy.main()
