"""docs/operations.md: its commands do what it says, and what it names is there."""
import pathlib
import re
import subprocess
import tempfile
import unittest

import espy
import pictures
from readme_test import commands_in, shows

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()


class OperationsTest(espy.TestCase):
    def test_its_commands_back_up_restore_and_bring_back_what_came_later(self):
        places = {name: tempfile.TemporaryDirectory() for name in ("/var/lib/espy", "/backup")}
        for place in places.values():
            self.addCleanup(place.cleanup)
        folder = places["/var/lib/espy"].name
        commands = commands_in(PAGE)
        self.assertEqual(len(commands), 7)
        serve = lambda: espy.Server(folder, "--max-wait", 60)  # noqa: E731
        server = serve()
        self.addCleanup(lambda: server.kill())
        kept = {server.upload(pictures.seven(), "/api/predict").json["id"] for _ in range(3)}
        for number, (command, expected) in enumerate(commands):
            if "mkdir" in command:  # after the backup, before the restore
                later = {server.upload(pictures.seven(), "/api/predict").json["id"] for _ in range(2)}
                self.assertEqual(server.stop(), 0)
            if "export" in command:  # restored: what the backup has is there, what came later is not
                server = serve()
                self.assertEqual({record["id"] for record in server.history()}, kept)
                self.assertEqual(server.stop(), 0)
            for place, temporary in places.items():
                command = command.replace(place + "/", temporary.name + "/")
            done = subprocess.run(["bash", "-c", f'espy() {{ "{espy.BINARY}" "$@"; }}; {command}'], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, f"{command}: {done.stdout} {done.stderr}")
            self.assertTrue(shows(expected, done.stdout), f"{command}: {done.stdout}")
        server = serve()
        self.assertEqual({record["id"] for record in server.history()}, kept | later)

    def test_every_alarm_has_its_line_and_every_line_its_alarm(self):
        rules = re.findall(r"- alert: (\w+)", (ROOT / "deploy/prometheus/alerts.yaml").read_text())
        self.assertEqual(sorted(re.findall(r"^\| `(Espy\w+)` \|", PAGE, re.M)), sorted(rules))

    def test_metrics_and_flags_that_it_names_are_there(self):
        documented = (ROOT / "docs/observability.md").read_text()
        names = set(re.findall(r"\bespy_(?:forward|records|decode|inference|recording|history|commit|http)_\w+", PAGE))
        self.assertGreater(len(names), 5)
        for name in names:  # observability_test.py compares that page with /metrics
            self.assertIn(f"`{name}`", documented)
        flags = set(re.findall(r"`(--[a-z-]+)", PAGE))
        reference = (ROOT / "docs/cli.md").read_text()
        for flag in flags:
            self.assertRegex(reference, rf"(?m){flag}\b")


if __name__ == "__main__":
    unittest.main()
