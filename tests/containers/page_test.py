"""Every command of docs/containers.md, as written, from the repository's root. See e2e/readme_test.py for the notation.

Only `docker build`, which compiles for minutes, gives way to image-of unless ESPY_TEST_SLOW=1; the output says so.
"""
import os
import re
import shlex
import subprocess
import sys
import time
import unittest

from containers import ROOT, SLOW, image_of, need_cassandra, prepare

os.environ.setdefault("ESPY_BINARY", "")  # the one under test is in the image
sys.path.insert(0, str(ROOT / "tests/e2e"))
from readme_test import commands_in, shows  # noqa: E402


def setUpModule():
    prepare()
    need_cassandra()


class PageTest(unittest.TestCase):
    def run_away(self):
        for command in (["docker", "rm", "-f", "espy", "cassandra"], ["docker", "network", "rm", "mnist"],
                        ["docker", "volume", "rm", "espy"]):
            subprocess.run(command, capture_output=True)

    def test_every_command_prints_what_the_page_shows(self):
        commands = commands_in((ROOT / "docs/containers.md").read_text())
        self.assertGreater(len(commands), 10)
        self.assertIn(("docker build -t espy .", ""), commands)
        self.run_away()
        self.addCleanup(self.run_away)
        for command, expected in commands:
            if command == "docker build -t espy ." and not SLOW:
                print(f"\nnot run, because it compiles for minutes: {command}", file=sys.stderr)
                command = shlex.join(image_of())
            started = time.monotonic()
            # -it wants a terminal: `script` is one.
            done = subprocess.run(["script", "--quiet", "--return", "--command", f"bash -c {shlex.quote(command)}",
                                   "/dev/null"], cwd=ROOT, capture_output=True, text=True, timeout=3000,
                                  stdin=subprocess.DEVNULL)
            printed = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout).replace("\r", "").replace("\0", "")
            print(f"\n$ {command}   ({time.monotonic() - started:.1f} s)\n{printed[-1500:]}", file=sys.stderr, flush=True)
            with self.subTest(command):
                self.assertEqual(done.returncode, 0, printed)
                # A page shows a table on one line; lines and blanks are not what it is about.
                squeezed = [" ".join(text.split()) for text in (expected, printed)]
                if expected:
                    self.assertTrue(shows(squeezed[0], squeezed[1]), f"expected {expected}\nprinted {printed}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
