"""The completions that packages install, asked in the shells that they are for."""
import pathlib
import subprocess
import sys
import unittest

import espy

TOOL = pathlib.Path(__file__).parents[2] / "tools/make_shell_files.py"
# What completes a word is called as the shell would, and says what it was given.
BASH = """source "$1/espy.bash"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _espy; printf '%s\\n' "${COMPREPLY[@]}" """
ZSH = """_describe() { print -l -- ${(P)2} }; _arguments() { print -l -- "$@" }
file=$1/_espy; shift; words=("$@"); CURRENT=$#; before=$PATH; source $file; [[ $PATH == $before ]] || print "PATH is lost" """
FISH = 'source $argv[1]/espy.fish; complete --do-complete "$argv[2..]"'


class CompletionTest(espy.TestCase):
    def setUp(self):
        super().setUp()
        subprocess.run([sys.executable, TOOL, espy.BINARY, self.folder / "shell"], check=True)

    def offers(self, shell, script, *words):
        done = subprocess.run([*shell, script, *(["--"] if shell[0] == "fish" else ["shell"]), self.folder / "shell", *words],
                              capture_output=True, text=True, check=True, cwd=self.folder)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def assert_completes(self, shell, script):
        self.assertIn("serve", self.offers(shell, script, "espy", "se"))
        self.assertIn("verify", self.offers(shell, script, "espy", "history", "ver"))
        for words, flag in ((("serve", "--po"), "--port"), (("history", "list", "--st"), "--store")):
            said = self.offers(shell, script, "espy", *words)
            self.assertIn(flag, said)
            self.assertNotIn("--epochs", said)
            self.assertNotIn("PATH is lost", said)

    def test_bash(self):
        self.assert_completes(["bash", "-c"], BASH)

    def test_zsh(self):
        self.assert_completes(["zsh", "-f", "-c"], ZSH)

    def test_fish(self):
        self.assert_completes(["fish", "--no-config", "-c"], FISH)


if __name__ == "__main__":
    espy.main()
