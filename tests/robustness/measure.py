"""How often uploads of every kind are misread, and how often what is read right is recognized: MNIST-C, warps, pictures
as people make them, plainly drawn digits, other people's digits.

    ESPY_BINARY=build/release/src/cli/espy build/venv/bin/python tests/robustness/measure.py \
        --mnist FOLDER --fashion-mnist FOLDER [--others FOLDER] [--digits MODEL] [--garments MODEL] [--count 10000]

Every picture goes as the bytes of a file through POST /api/predict of `espy serve`, without a hint of where it is from.
--others has what is not in this repository, where it is there: zip.test (USPS), optdigits.tes, semeion.data.
"""
import argparse
import concurrent.futures
import gzip
import http.client
import io
import json
import pathlib
import sys
import tempfile

import numpy
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import corruptions
import espy
import paper
import plain

CLIENTS = 4
SEED = 1


def read_idx(folder, name):
    path = pathlib.Path(folder) / name
    data = path.read_bytes() if path.exists() else gzip.open(f"{path}.gz").read()
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * data[3]).reshape(
        [int.from_bytes(data[4 + 4 * i : 8 + 4 * i]) for i in range(data[3])])


def test_pictures(folder, count):
    """Returns `count` test pictures, evenly from a data set, and their labels."""
    pictures, labels = (read_idx(folder, f"t10k-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
    chosen = numpy.linspace(0, len(pictures) - 1, min(count, len(pictures))).astype(int)
    return pictures[chosen], labels[chosen]


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def answers(server, files, model):
    """Uploads files, a sequence of bytes, and returns what the server says of each."""
    def ask(part):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        said = []
        for file in part:
            connection.request("POST", f"/api/predict?model={model}", file, {"Content-Type": "image/png"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise AssertionError(f"{answer.status}: {body[:300]!r}")
            said.append(json.loads(body))
        connection.close()
        return said

    files = list(files)
    found = [None] * len(files)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        for i, said in enumerate(clients.map(ask, (files[i::CLIENTS] for i in range(CLIENTS)))):
            found[i::CLIENTS] = said
    return found


def rates(server, files, labels, model):
    """Uploads files, an iterable of bytes, and returns the share whose label is wrong, and of the others the share that
    is recognized."""
    right = [answer["verdict"] == "recognized" for answer, label in
             zip(answers(server, files, model), labels, strict=True) if answer["label"] == int(label)]
    return 1 - len(right) / len(labels), sum(right) / max(len(right), 1)


def error_rate(server, files, labels, model):
    return rates(server, files, labels, model)[0]


def corrupted(pictures, corruption):
    return [png(p) for p in corruption(pictures, numpy.random.default_rng(SEED))]


def handmade(pictures, make, **options):
    random = numpy.random.default_rng(SEED)
    for start in range(0, len(pictures), 500):
        part = pictures[start : start + 500]
        for picture, hand in zip(part, paper.hands(part)):
            yield make(picture, hand, random, **options)


def worn(pictures, background):
    random = numpy.random.default_rng(SEED)
    return (paper.worn(picture, random, background) for picture in pictures)


def others(folder):
    """Yields (name, pictures, labels) of the sets that are there, light on black as they come."""
    folder = pathlib.Path(folder)
    if (folder / "zip.test").exists():
        table = numpy.loadtxt(folder / "zip.test")
        yield "usps", ((table[:, 1:] + 1) * 127.5 + 0.5).astype(numpy.uint8).reshape(-1, 16, 16), table[:, 0]
    if (folder / "optdigits.tes").exists():
        table = numpy.loadtxt(folder / "optdigits.tes", delimiter=",")
        yield "optdigits", (table[:, :64] * 255 / 16 + 0.5).astype(numpy.uint8).reshape(-1, 8, 8), table[:, 64]
    if (folder / "semeion.data").exists():
        lines = [line.split() for line in (folder / "semeion.data").read_text().splitlines()]
        table = numpy.unique(numpy.array([line[:266] for line in lines if len(line) >= 266], float), axis=0)
        yield ("semeion", (table[:, :256] * 255).astype(numpy.uint8).reshape(-1, 16, 16),
               table[:, 256:].argmax(1))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--mnist", required=True)
    arguments.add_argument("--fashion-mnist", required=True)
    arguments.add_argument("--others")
    arguments.add_argument("--digits", help="a model file; without it the one that espy ships")
    arguments.add_argument("--garments", help="likewise")
    arguments.add_argument("--count", type=int, default=10000, help="28x28 pictures of each kind")
    arguments.add_argument("--large-count", type=int, default=1000, help="pictures up to 2,000 pixels of each kind")
    chosen = arguments.parse_args()
    if (chosen.digits is None) != (chosen.garments is None):
        arguments.error("--digits and --garments go together")
    models = []
    if chosen.digits:
        for name, path in (("digits", chosen.digits), ("garments", chosen.garments)):
            models += ["--model", f"{name}={pathlib.Path(path).resolve()}"]

    with tempfile.TemporaryDirectory() as folder:
        server = espy.Server(folder, "--max-kept-upload", "0", *models)
        try:
            def show(name, files, labels, model="digits"):
                rate, recognized = rates(server, files, labels, model)
                print(f"{name:16} {len(labels):6} pictures  error {100 * rate:6.2f} %  "
                      f"of the right ones recognized {100 * recognized:6.2f} %", flush=True)
                return rate

            pictures, labels = test_pictures(chosen.mnist, chosen.count)
            show("mnist", [png(p) for p in pictures], labels)
            errors = [show(c.__name__, corrupted(pictures, c), labels) for c in corruptions.MNIST_C]
            print(f"{'MNIST-C':16} {'mean':>15}  error {100 * sum(errors) / len(errors):6.2f} %")
            show("random_affine", corrupted(pictures, corruptions.random_affine), labels)
            pictures, labels = test_pictures(chosen.mnist, chosen.large_count)
            show("written", handmade(pictures, paper.written), labels)
            show("written, ruled", handmade(pictures, paper.written, ruled=True), labels)
            show("drawn", handmade(pictures, paper.drawn), labels)
            for name, pictures, labels in others(chosen.others) if chosen.others else ():
                show(name, [png(p) for p in pictures], labels)
                large = (255 - p.repeat(9, 0).repeat(9, 1) for p in pictures)
                show(f"{name}, x9 dark", [png(p) for p in large], labels)
            for kind in plain.KINDS:
                files, labels = plain.pictures(kind, chosen.large_count, numpy.random.default_rng(SEED))
                show(kind.__name__, files, labels)
            garments, labels = test_pictures(chosen.fashion_mnist, chosen.large_count)
            show("fashion-mnist", [png(p) for p in garments], labels, "garments")
            show("worn, light", worn(garments, "light"), labels, "garments")
            show("worn, dark", worn(garments, "dark"), labels, "garments")
        finally:
            server.kill()


if __name__ == "__main__":
    main()
