"""What README.md shows is what happens.

A block fenced as ```sh whose first line begins with "$ " is run. Lines after "$ " are commands; the lines below a
command are what it prints, where "..." stands for anything. A command that prints nothing here may print anything.
Every command must succeed. All blocks share one folder, which holds seven.png and boot.png, and one shell, in which
`espy` is the program under test. A command that ends in "&" goes on until the end; the next one waits until what it
prints has come.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import unittest

import espy
import pictures

README = pathlib.Path(__file__).parents[2] / "README.md"


def commands_in(text):
    """Returns every command that is to be run as (command, expected output)."""
    commands = []
    for block in re.findall(r"^```sh\n(\$ .*?)^```$", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            end = 1
            while lines[end - 1].endswith("\\"):
                end += 1
            commands.append(("\n".join(lines[:end]), "\n".join(lines[end:]).strip()))
    return commands


def shows(expected, printed):
    """Says whether `printed` is what `expected` describes."""
    pattern = ".*".join(re.escape(piece) for piece in expected.split("..."))
    return re.fullmatch(rf"\s*{pattern}\s*", printed, re.DOTALL) is not None


class Shell:
    """A bash that keeps its variables, its folder and its background jobs from one command to the next."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        path = f"{os.path.dirname(os.path.abspath(espy.BINARY))}:{os.environ['PATH']}"
        self.process = subprocess.Popen(["bash"], cwd=folder, env={**os.environ, "PATH": path}, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.count = 0

    def run(self, command):
        """Returns (exit status, the file that takes its output)."""
        self.count += 1
        output = self.folder / f".output-{self.count}"
        self.process.stdin.write(f"{{ {command}\n}} >{output} 2>&1 </dev/null\necho $?\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline()), output

    def close(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.communicate()


class Reading(unittest.TestCase):
    def test_commands_and_what_they_print_are_told_apart(self):
        text = "```sh\n$ one \\\n  more\nprinted\n$ two\n```\ntext\n```sh\nnot run\n```\n```json\n$ neither\n```\n"
        self.assertEqual(commands_in(text), [("one \\\n  more", "printed"), ("two", "")])

    def test_three_dots_stand_for_anything_and_the_rest_for_itself(self):
        self.assertTrue(shows("a ... (c)", "a b\nb (c)\n"))
        self.assertFalse(shows("a ... (c)", "a b (d)"))
        self.assertFalse(shows("a", "a b"))


@unittest.skipUnless(README.exists(), "there is no README.md yet")
class ReadmeTest(espy.TestCase):
    def test_every_command_prints_what_the_readme_shows(self):
        commands = commands_in(README.read_text())
        self.assertGreater(len(commands), 0)
        shutil.copy(pictures.EXAMPLES / "seven.png", self.folder / "seven.png")
        shutil.copy(pictures.EXAMPLES / "ankle_boot.png", self.folder / "boot.png")
        shell = Shell(self.folder)
        self.addCleanup(shell.close)
        for command, expected in commands:
            with self.subTest(command):
                status, output = shell.run(command)
                deadline = time.monotonic() + (10 if command.endswith("&") else 0)
                while not shows(expected, output.read_text()) and time.monotonic() < deadline:
                    time.sleep(0.02)
                printed = output.read_text()
                self.assertEqual(status, 0, printed)
                if expected and not shows(expected, printed):
                    self.assertEqual(printed, expected)


if __name__ == "__main__":
    espy.main()
