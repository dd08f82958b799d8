"""Every command explains itself."""
import re

import espy


class HelpTest(espy.TestCase):
    def test_every_command_has_help_that_names_it_on_standard_output(self):
        listed = re.search(r"^Commands:\n(.*?)\n\n", self.run_espy("--help").stdout, re.DOTALL | re.MULTILINE)[1]
        commands = {line.split("  ")[1] for line in listed.splitlines()}
        self.assertLessEqual({"train", "eval", "predict", "serve", "model info", "history list", "history show",
                              "history export", "bench train"}, commands)
        for command in commands | {"history", "model", "bench"}:
            with self.subTest(command):
                done = self.run_espy(*command.split(), "--help")
                self.assertIn(f"espy {command}", done.stdout)
                self.assertEqual(done.stderr, "")

    def test_a_mistake_points_to_the_help(self):
        self.assertIn("espy serve --help", self.run_espy("serve", "--nonsense", status=2).stderr)

    def test_help_and_version_of_the_program(self):
        self.assertIn("espy", self.run_espy("--help").stdout)
        self.assertRegex(self.run_espy("--version").stdout, r"\d+\.\d+\.\d+")


if __name__ == "__main__":
    espy.main()
