"""What script/release makes: the bytes that were promised, in a fresh Debian with systemd, and where nothing is installed."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from containers import HERE, ROOT, ContainerCase, docker, predict, prepare, wait_for

DIST = ROOT / "build/dist"
OLDER = "0.0.9"
VERSION = re.search(r"project\(espy VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
PICTURES = ROOT / "tests/data/images"


def setUpModule():
    prepare()
    for arguments in (["--as", OLDER], []):
        subprocess.run([ROOT / "script/release", *arguments], check=True, stdout=subprocess.DEVNULL)


class DistTest(unittest.TestCase):
    def test_sums_and_the_bill_of_materials_are_of_these_files(self):
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=DIST, check=True, capture_output=True)
        bill, = DIST.glob("*.spdx.json")
        document = parse_file(str(bill))
        self.assertEqual([str(message) for message in validate_full_spdx_document(document)], [])
        sums = {name: digest for digest, name in (line.split() for line in (DIST / "SHA256SUMS").read_text().splitlines())}
        packages = json.loads(bill.read_text())["packages"]
        for path in (*DIST.glob("*.deb"), *DIST.glob("*.tar.gz")):
            described, = [package for package in packages if package["name"] == path.name]
            self.assertEqual(described["checksums"][0]["checksumValue"], sums[path.name])
        names = {package["name"] for package in packages}
        self.assertLessEqual({"libdnnl2", "libsqlite3-0", "libssl3", "libstdc++6", "libboost1.81-dev", "scylla"}, names)

    def test_lintian_has_nothing_to_say(self):
        package, = DIST.glob("*.deb")
        said = subprocess.run(["lintian", "--allow-root", package], capture_output=True, text=True)
        self.assertEqual(said.stdout, "")

    def test_the_unit_is_hardened(self):
        said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20",
                               ROOT / "packaging/systemd/espy.service"], capture_output=True, text=True)
        self.assertEqual(said.returncode, 0, said.stdout[-200:])


class DebianTest(ContainerCase):
    def test_it_is_installed_upgraded_removed_and_purged_in_a_fresh_debian(self):
        docker("build", "--quiet", "--tag", "espy-test-systemd", HERE / "systemd")
        # Podman itself prepares what systemd wants of a container.
        subprocess.run(["podman", "run", "--detach", "--name", f"{self.name}-debian", "--systemd", "always", "--privileged",
                        "--volume", f"{DIST}:/new:ro", "--volume", f"{DIST}-{OLDER}:/old:ro", "--volume", f"{HERE}:/tests:ro",
                        "--volume", f"{PICTURES}:/pictures:ro", "espy-test-systemd"], check=True, capture_output=True)
        name = f"{self.name}-debian"
        wait_for("systemd is up", lambda: docker("exec", name, "systemctl", "is-system-running") == "running")
        docker("exec", name, "bash", "-c", "mkdir /deb && cp /new/*.deb /old/*.deb /deb")
        done = subprocess.run(["podman", "exec", name, "bash", "/tests/debian-package.sh", VERSION, OLDER],
                              capture_output=True, text=True)
        journal = docker("exec", name, "journalctl", "--no-pager", "--unit", "espy")
        self.assertEqual(done.returncode, 0, f"{done.stdout[-2000:]} {done.stderr[-3000:]} {journal[-2000:]}")
        print(f"\n{done.stdout[-1500:]}", file=sys.stderr)


class TarballTest(ContainerCase):
    def test_it_runs_wherever_it_is_unpacked(self):
        archive, = DIST.glob("*.tar.gz")
        with tempfile.TemporaryDirectory(prefix="espy tarball ") as folder:
            subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
            tree, = pathlib.Path(folder).iterdir()
            port = 20000 + time.monotonic_ns() // 1000 % 10000
            # In Debian's smallest image nothing is installed that espy could find there by chance.
            name = f"{self.name}-tarball"
            docker("run", "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:5000",
                   "--volume", f"{tree}:/srv/some where/else:ro", "--volume", f"{PICTURES}:/pictures:ro", "--workdir", "/tmp",
                   "debian:bookworm-slim", "/srv/some where/else/bin/espy", "serve", "--host", "0.0.0.0")
            wait_for("it answers", lambda: predict(port)[0] == 200)
            program = "/srv/some where/else/bin/espy"
            self.assertIn(VERSION, docker("exec", name, program, "--version"))
            self.assertRegex(docker("exec", name, program, "predict", "digits", "/pictures/seven.png"), "seven.png: 7 ")
            self.assertEqual(docker("exec", name, program, "health"), "ok")


if __name__ == "__main__":
    unittest.main(verbosity=2)
