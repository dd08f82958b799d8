"""What the tests of containers share: podman behind the command `docker`, and load that knows what was answered.

The images are those of the names that the documents use. Where no registry is reached, podman-setup has made
debian:bookworm-slim, and cassandra/build-image what stands in for cassandra:5.0. espy's are of the program under test,
ESPY_BINARY; with ESPY_TEST_SLOW=1 (script/test --containers) the Dockerfile compiles it, as it says there.
"""
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
PICTURE = (ROOT / "tests/data/images/seven.png").read_bytes()
PATIENCE = 300  # a busy machine makes everything slow, Cassandra above all
SLOW = os.environ.get("ESPY_TEST_SLOW") == "1"


def prepare():
    """Makes podman answer as `docker`, once for each test program; skips it, with the reason, where that fails."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("containers are tested as root")
    # Images, containers and settings of their own: the tests remove what has the names of the documents.
    store = pathlib.Path(os.environ.setdefault("PODMAN_STORE", str(ROOT / "build/podman")))
    said = subprocess.run([HERE / "podman-setup", "service"], capture_output=True, text=True)
    if said.returncode:
        raise unittest.SkipTest("podman cannot be set up: " + said.stderr[-500:])
    for setting in (store / "env").read_text().splitlines():
        if setting.startswith("export "):
            name, value = setting.removeprefix("export ").split("=", 1)
            os.environ[name] = value.strip("'")
    os.environ["DOCKER_HOST"] = said.stdout.split("=", 1)[1].strip()
    os.environ["BUILDAH_FORMAT"] = "docker"  # the other format has no HEALTHCHECK
    if not shutil.which("docker"):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="espy-docker-"))
        (folder / "docker").write_text('#!/bin/sh\nexec podman "$@"\n')
        (folder / "docker").chmod(0o755)
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


def need_cassandra():
    if subprocess.run(["podman", "image", "exists", "cassandra:5.0"]).returncode:
        subprocess.run([HERE / "cassandra/build-image"], check=True, stdout=subprocess.DEVNULL)


def need_nginx():
    if subprocess.run(["podman", "image", "exists", "nginx:stable"]).returncode:
        subprocess.run(["podman", "build", "--quiet", "--format", "docker", "--tag", "nginx:stable", HERE / "nginx"],
                       check=True, stdout=subprocess.DEVNULL)


def image_of():
    """Returns the command that stands in for `docker build`, in seconds, where it is not to compile."""
    return [str(HERE / "image-of"), os.environ["ESPY_BINARY"]]


def need_espy():
    """Makes the images espy and espy:minimal; the Dockerfile compiles nothing again that has not changed."""
    if not SLOW:
        subprocess.run(image_of(), check=True, stdout=subprocess.DEVNULL)
        return
    for target in (["--tag", "espy"], ["--target", "minimal", "--tag", "espy:minimal"]):
        subprocess.run(["docker", "build", "--quiet", *target, ROOT], check=True, stdout=subprocess.DEVNULL)


def docker(*arguments, command="docker"):
    """Runs docker and returns what it printed."""
    done = subprocess.run([command, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{command} {arguments}: {done.stdout} {done.stderr}")
    return done.stdout.strip()


def wait_for(what, condition, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while True:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException, AssertionError):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"does not happen: {what}")
        time.sleep(0.1)


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


def predict(port, name="seven.png"):
    """Uploads a picture and returns (status, record)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    try:
        connection.request("POST", f"/api/predict?file_name={name}", PICTURE)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status == 200 else body
    finally:
        connection.close()


def record_of(port, name="seven.png"):
    """Uploads a picture, which has to be answered, and returns its record."""
    status, record = predict(port, name)
    assert status == 200, f"{status} {record}"
    return record


def figure(port, name):
    for line in get(port, "/metrics").splitlines():
        if line.startswith(name) and line[len(name)] in "{ ":
            return float(line.split()[-1])
    raise AssertionError(f"there is no {name}")


def history(port):
    """Returns the ids of all records that a server shows."""
    ids, cursor = [], ""
    while True:
        page = json.loads(get(port, f"/api/history?limit=1000{cursor}"))
        ids += [record["id"] for record in page["records"]]
        if not page.get("next"):
            return ids
        cursor = f"&before={page['next']}"


def rows(cassandra, table):
    """Returns the ids in a plain table, as a node shows them. On a busy machine cqlsh at times waits too briefly."""
    listed = []

    def ask():
        listed[:] = docker("exec", cassandra, "cqlsh", "-e", f"PAGING OFF; SELECT id FROM {table}").splitlines()
        return True
    wait_for(f"{cassandra} lists {table}", ask)
    return [line.strip() for line in listed if len(line.strip()) == 36 and line.count("-") == 4
            and not line.strip().startswith("---")]


class Load:
    """Threads that upload one after another until they are told to end. Whatever was answered 200 counts as promised."""

    def __init__(self, *ports, pause=0.01):
        self.sent, self.promised, self.failed = 0, [], []
        self._lock, self._end = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port, pause)) for port in ports]
        for thread in self._threads:
            thread.start()

    def _run(self, port, pause):
        while not self._end.is_set():
            try:
                with self._lock:
                    self.sent += 1
                status, record = predict(port)
                with self._lock:
                    self.promised.append(record["id"]) if status == 200 else self.failed.append(status)
            except (OSError, http.client.HTTPException, ValueError) as lost:
                with self._lock:
                    self.failed.append(type(lost).__name__)
            time.sleep(pause)

    def wait(self, count):
        """Returns when so many more were answered."""
        goal = len(self.promised) + count
        wait_for(f"{count} more answers", lambda: len(self.promised) >= goal)

    def end(self):
        self._end.set()
        for thread in self._threads:
            thread.join()


class ContainerCase(unittest.TestCase):
    """A test whose containers, volumes and networks begin with a name of their own and go with it."""

    def setUp(self):
        self.name = f"espy-test-{os.getpid()}-{time.monotonic_ns() % 10**6}"
        self.addCleanup(self.clean_up)

    def clean_up(self):
        for kind, remove in (("ps --all", "rm --force --time 0 --volumes"), ("network ls", "network rm --force"),
                             ("volume ls", "volume rm --force")):
            shown = "{{.Names}}" if kind.startswith("ps") else "{{.Name}}"
            names = subprocess.run(["podman", *kind.split(), "--format", shown], capture_output=True, text=True).stdout
            for name in names.split():
                if name.startswith(self.name):
                    subprocess.run(["podman", *remove.split(), name], capture_output=True)

    def network(self):
        docker("network", "create", f"{self.name}-net")
        return f"{self.name}-net"

    def espy(self, which="espy", port=None, network=None, image="espy", volume=True, arguments=(), by="docker"):
        """Starts a container as docs/containers.md recommends; returns the port of this machine that leads to it. A
        busy machine stands still for seconds, in which nothing is to be refused: overload is another test's matter."""
        name = f"{self.name}-{which}"
        port = port or 20000 + time.monotonic_ns() // 1000 % 10000
        docker("run", "--detach", "--name", name, *(["--network", network] if network else []),
               "--publish", f"127.0.0.1:{port}:5000", *(["--volume", f"{name}:/data"] if volume else []),
               "--env", "ESPY_MAX_WAIT=60", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges",
               *arguments, image, command=by)
        wait_for(f"{which} is ready", lambda: get(port, "/readyz"))
        return port

    def cassandra(self, network, which="cassandra"):
        docker("run", "--detach", "--name", f"{self.name}-{which}", "--network", network, "cassandra:5.0")
        return f"{self.name}-{which}"

    def with_cassandra(self, cassandra):
        return ["--env", f"ESPY_CASSANDRA={cassandra}/mykeyspace", "--env", "ESPY_REPLICATION=1",
                "--env", "ESPY_CASSANDRA_TABLE=mytable"]

    def wait_until_drained(self, port):
        wait_for("everything is confirmed", lambda: figure(port, "espy_forward_pending") == 0)

    def rows(self, cassandra):
        return rows(cassandra, "mykeyspace.mytable")

    def report(self, what, load, recorded):
        """Prints a line for the note, and checks that nothing that was answered is missing."""
        print(f"\n{what}: {load.sent} sent, {len(load.promised)} answered 200, {len(load.failed)} not answered or "
              f"refused, {len(recorded)} recorded", file=sys.stderr, flush=True)
        self.assertEqual(set(load.promised) - set(recorded), set())
        self.assertEqual(len(recorded), len(set(recorded)))


def main():
    unittest.main(verbosity=2)
