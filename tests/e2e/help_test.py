"""Every command explains itself."""
import re

import espy


class HelpTest(espy.TestCase):
    def commands_below(self, *command):
        """Yields every command that the help of `command` lists, and those below them."""
        printed = self.run_espy(*command, "--help").stdout
        listed = re.search(r"^commands:\n((?: +\S.*\n?)+)", printed, re.IGNORECASE | re.MULTILINE)
        for line in listed[1].splitlines() if listed else []:
            name = line.split("  ")[1].split() if line.startswith("  ") else line.split()[:1]
            found = (*command, *name[len(command) if name[: len(command)] == list(command) else 0 :])
            yield found
            yield from self.commands_below(*found)

    def test_every_command_has_help_that_names_it_on_standard_output(self):
        commands = set(self.commands_below())
        expected = {("train",), ("eval",), ("predict",), ("serve",), ("model", "info"), ("history", "list"),
                    ("history", "show"), ("history", "export")}
        self.assertLessEqual(expected, commands)
        for command in commands:
            with self.subTest(command):
                done = self.run_espy(*command, "--help")
                self.assertIn(f"espy {' '.join(command)}", done.stdout)
                self.assertEqual(done.stderr, "")

    def test_help_and_version_of_the_program(self):
        self.assertIn("espy", self.run_espy("--help").stdout)
        self.assertRegex(self.run_espy("--version").stdout, r"\d+\.\d+\.\d+")


if __name__ == "__main__":
    espy.main()
