"""A training that was killed or stopped goes on to the same model, byte for byte; bad checkpoints are refused."""
import gzip
import hashlib
import random
import resource
import signal
import struct
import subprocess
import time

import espy
import pictures

KILLS = 100 if espy.SLOW else 6  # at least, of each recipe
SEED = 20240229


def make_small_data(folder):
    """Writes the first samples of Fashion-MNIST as a data set of their own, which loads in no time."""
    folder.mkdir()
    for split, count in (("train", 1280), ("t10k", 100)):
        for kind, sizes in (("images-idx3", (28, 28)), ("labels-idx1", ())):
            with gzip.open(pictures.FASHION_MNIST / f"{split}-{kind}-ubyte.gz") as file:
                header = file.read(8 + 4 * len(sizes))
                values = file.read(count * (784 if sizes else 1))
            (folder / f"{split}-{kind}-ubyte").write_bytes(header[:4] + struct.pack(">I", count) + header[8:] + values)


class CheckpointTest(espy.TestCase):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        make_small_data(self.folder / "data")

    def arguments(self, *more, recipe="5s", steps=100, out="model.onnx"):
        return ["train", "--data", "data", "--recipe", recipe, "--max-steps", str(steps), "--threads", "2",
                "--out", out, *more]

    def start(self, *more, **options):
        # Without restore_signals a file that may not grow is an error for the program instead of its end.
        process = subprocess.Popen([espy.BINARY, *self.arguments(*more, **options)], cwd=self.folder,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   restore_signals=False)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def hash(self, name="model.onnx"):
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()

    def wait_for(self, name):
        deadline = time.monotonic() + 60
        while not (self.folder / name).exists():
            self.assertLess(time.monotonic(), deadline, f"{name} never came")
            time.sleep(0.002)

    def hash_after_kills(self, recipe, steps):
        """Kills a training again and again, resumes it each time, and returns the hash of what comes out."""
        (self.folder / "c").unlink(missing_ok=True)
        kills = 0
        finished = False
        while not finished:
            resume = ("--resume", "c") if (self.folder / "c").exists() else ()
            process = self.start("--checkpoint", "c", "--checkpoint-every", "0", *resume, recipe=recipe, steps=steps)
            if kills < KILLS:
                time.sleep(self.random.uniform(0.01, 0.3))
                process.kill()
                kills += 1
            _, talk = process.communicate()
            finished = process.returncode == 0
            self.assertIn(process.returncode, (0, -signal.SIGKILL), talk)
            if finished and kills < KILLS:  # it was quicker; from the beginning once more
                (self.folder / "c").unlink()
                finished = False
        return self.hash()

    def test_a_training_that_was_killed_goes_on_to_the_same_model(self):
        for recipe, steps in (("5s", 100), ("mlp", 400), ("softmax", 400)):
            with self.subTest(recipe):
                self.run_espy(*self.arguments(recipe=recipe, steps=steps, out="whole.onnx"))
                killed = self.hash_after_kills(recipe, steps)
                print(f"{recipe}, {steps} steps: whole {self.hash('whole.onnx')}, {KILLS} times kill -9 {killed}")
                self.assertEqual(killed, self.hash("whole.onnx"))

    def test_a_stopped_training_says_where_and_exits_130(self):
        self.run_espy(*self.arguments(recipe="mlp", steps=600, out="whole.onnx"))
        resume = ()
        for stop in (signal.SIGINT, signal.SIGTERM):
            process = self.start("--checkpoint", "c", *resume, recipe="mlp", steps=600)
            self.wait_for("c")
            if resume:
                self.assertRegex(process.stderr.readline(), r"c is of step \d+")
            process.send_signal(stop)
            _, talk = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, talk)
            self.assertRegex(talk, r"interrupted after step (\d+) of 600; c holds step \1; no model was written")
            self.assertFalse((self.folder / "model.onnx").exists())
            resume = ("--resume", "c")
        self.run_espy(*self.arguments("--resume", "c", recipe="mlp", steps=600))
        self.assertEqual(self.hash(), self.hash("whole.onnx"))

    def test_without_a_checkpoint_a_stopped_training_leaves_nothing(self):
        process = self.start("--json", recipe="mlp", steps=100_000)
        process.stdout.readline()  # the first epoch is over
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, talk)
        self.assertIn("no model was written", talk)
        self.assertEqual([file.name for file in self.folder.iterdir()], ["data"])

    def test_a_disk_that_gets_full_leaves_the_last_checkpoint_and_the_training(self):
        self.run_espy(*self.arguments(recipe="mlp", steps=600, out="whole.onnx"))
        process = self.start("--checkpoint", "c", "--checkpoint-every", "0", recipe="mlp", steps=600)
        self.wait_for("c")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        said = process.stderr.readline()
        self.assertRegex(said, r"cannot write c: File too large; c holds step \d+")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        _, talk = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, talk)
        self.assertEqual(self.hash(), self.hash("whole.onnx"))

    def test_a_disk_that_is_full_from_the_beginning_ends_the_training_at_once(self):
        (self.folder / "c").write_bytes(b"an older one")
        (self.folder / "model.onnx").write_bytes(b"an older one")
        done = subprocess.run([espy.BINARY, *self.arguments("--checkpoint", "c")], cwd=self.folder, capture_output=True,
                              text=True, timeout=60, restore_signals=False, check=False,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("cannot write c: File too large", done.stderr)
        self.assertEqual((self.folder / "c").read_bytes(), b"an older one")

        done = subprocess.run([espy.BINARY, *self.arguments()], cwd=self.folder, capture_output=True, text=True,
                              timeout=60, restore_signals=False, check=False,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("cannot write model.onnx: File too large", done.stderr)
        self.assertEqual((self.folder / "model.onnx").read_bytes(), b"an older one")
        self.assertEqual(sorted(file.name for file in self.folder.iterdir()), ["c", "data", "model.onnx"])

    def refused(self, arguments, piece):
        done = self.run_espy(*arguments, status=1)
        self.assertIn(piece, done.stderr)
        self.assertFalse((self.folder / "model.onnx").exists())

    def test_a_checkpoint_of_another_training(self):
        self.run_espy(*self.arguments("--checkpoint", "c", recipe="mlp", steps=20, out="whole.onnx"))
        for arguments, piece in (
                (self.arguments("--resume", "c", steps=20), "its recipe is mlp, not 5s"),
                (self.arguments("--resume", "c", recipe="mlp", steps=21), "number of steps is 20, not 21"),
                (self.arguments("--resume", "c", "--seed", "2", recipe="mlp", steps=20), "seed is 1, not 2"),
                (self.arguments("--resume", "none", recipe="mlp", steps=20), "none: No such file"),
                (self.arguments("--resume", "whole.onnx", recipe="mlp", steps=20), "whole.onnx: not a checkpoint")):
            with self.subTest(piece):
                self.refused(arguments, piece)
        labels = self.folder / "data/train-labels-idx1-ubyte"
        content = bytearray(labels.read_bytes())
        content[-1] = (content[-1] + 1) % 10
        labels.write_bytes(content)
        self.refused(self.arguments("--resume", "c", recipe="mlp", steps=20),
                     "its data set is 1280 samples with digest")

    def test_a_checkpoint_that_was_cut_off_or_changed(self):
        self.run_espy(*self.arguments("--checkpoint", "c", recipe="mlp", steps=20, out="whole.onnx"))
        good = (self.folder / "c").read_bytes()
        changed = bytearray(good)
        changed[len(good) // 2] ^= 1
        for content in (b"", good[:len(good) // 2], bytes(changed), b"a letter"):
            (self.folder / "c").write_bytes(content)
            self.refused(self.arguments("--resume", "c", recipe="mlp", steps=20), "c: ")

    def test_files_that_would_be_lost(self):
        self.refused(self.arguments("--checkpoint", "model.onnx"), "are the same file model.onnx")
        self.refused(self.arguments(out="/dev/zero"), "/dev/zero is not a regular file")
        self.refused(self.arguments("--checkpoint", "nowhere/c"), "nowhere/c")

    def test_more_threads_than_a_batch_has_samples(self):
        arguments = self.arguments(recipe="mlp")
        arguments[arguments.index("--threads") + 1] = "33"
        self.refused(arguments, "number of threads is 33, must be 1 to 32")


if __name__ == "__main__":
    espy.main()
