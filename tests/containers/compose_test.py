"""compose.yaml and compose.cluster.yaml, brought up by podman-compose, which reads the files as docker compose does."""
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import unittest

from containers import (HERE, ROOT, docker, figure, get, history, main, need_cassandra, need_espy, need_nginx, predict, prepare,
                        record_of, rows, wait_for)


def setUpModule():
    global COMPOSE
    prepare()
    need_espy()
    need_cassandra()
    need_nginx()
    COMPOSE = subprocess.run([HERE / "podman-setup", "compose"], check=True, capture_output=True, text=True).stdout.strip()


class ComposeTest(unittest.TestCase):
    def up(self, file, *services):
        # The file as it is, but for what a machine that stands still for a second would have refused.
        self.patience = tempfile.NamedTemporaryFile("w", prefix="espy-compose-", suffix=".yaml")
        self.addCleanup(self.patience.close)
        json.dump({"services": {name: {"environment": {"ESPY_MAX_WAIT": "60"}} for name in services}}, self.patience)
        self.patience.flush()
        self.port = random.randrange(20000, 30000)
        self.project = f"espytest{self.port}"
        self.file = file
        os.environ["ESPY_PUBLISHED_PORT"] = str(self.port)
        self.addCleanup(self.compose, "down", "--volumes", "--timeout", "0")
        started = time.monotonic()
        self.compose("up", "--detach", "--no-build")
        wait_for("it answers", lambda: predict(self.port)[0] == 200)
        print(f"\n{file}: {time.monotonic() - started:.1f} s to the first answer", file=sys.stderr)

    def compose(self, *arguments):
        done = subprocess.run([COMPOSE, "--project-name", self.project, "--file", self.file, "--file", self.patience.name,
                               *arguments], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])

    def rows(self, service):
        return rows(f"{self.project}_{service}_1", "history.mytable")

    def test_one_of_each(self):
        self.up("compose.yaml", "espy")
        ids = {record_of(self.port)["id"] for _ in range(20)}
        wait_for("everything is in Cassandra", lambda: figure(self.port, "espy_forward_pending") == 0)
        self.assertLessEqual(ids, set(self.rows("cassandra")))
        self.compose("restart", "espy")
        wait_for("it answers again", lambda: get(self.port, "/readyz"))
        self.assertLessEqual(ids, set(history(self.port)))

    def test_a_cluster(self):
        self.up("compose.cluster.yaml", "espy-1", "espy-2")
        ids = {record_of(self.port)["id"] for _ in range(20)}
        wait_for("everything is in Cassandra", lambda: ids <= set(self.rows("cassandra-3")), 600)
        docker("stop", "-t", "2", f"{self.project}_espy-1_1")
        ids |= {record_of(self.port)["id"] for _ in range(20)}
        wait_for("the other one shows all", lambda: ids <= set(history(self.port)))


if __name__ == "__main__":
    main()
