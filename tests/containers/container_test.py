"""espy in containers: what it may do, how it ends, and that no answered record is lost whatever is killed or full.

Each test prints what was sent, answered and recorded.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from containers import (HERE, ContainerCase, Load, docker, get, history, main, need_cassandra, need_espy,
                        need_nginx, predict, prepare, wait_for)

NGINX = """
events {}
http {
  access_log off;
  upstream espy { %s }
  server {
    listen 80;
    location / {
      proxy_pass http://espy;
      proxy_connect_timeout 5s;
      proxy_next_upstream error timeout http_503 non_idempotent;
    }
  }
}
"""


def setUpModule():
    prepare()
    need_espy()
    need_cassandra()


class ImageTest(ContainerCase):
    def test_it_is_small_and_runs_without_any_right(self):
        docker("build", "--quiet", "--target", "minimal", "--tag", "espy:minimal", HERE.parents[1])
        size = {name: int(docker("image", "inspect", "--format", "{{.Size}}", name))
                for name in ("espy", "espy:minimal", "debian:bookworm-slim")}
        print("\nsizes in MB:", {name: round(bytes / 1e6, 1) for name, bytes in size.items()}, file=sys.stderr)
        self.assertLess(size["espy"] - size["debian:bookworm-slim"], 60_000_000)
        self.assertLess(size["espy:minimal"], 60_000_000)
        for image in ("espy", "espy:minimal"):
            with self.subTest(image):
                which = image.replace(":", "-")
                started = time.monotonic()
                port = self.espy(which, image=image)
                self.assertEqual(predict(port)[0], 200)
                print(f"{image}: {time.monotonic() - started:.2f} s from docker run to the first answer", file=sys.stderr)
                name = f"{self.name}-{which}"
                self.assertEqual(docker("exec", name, "/usr/bin/espy", "health"), "ok")
                process = json.loads(docker("inspect", name))[0]["State"]["Pid"]
                status = dict(line.split(":\t", 1) for line in open(f"/proc/{process}/status").read().splitlines())
                self.assertEqual(status["Uid"].split(), ["10001"] * 4)
                self.assertEqual({int(status[field], 16) for field in ("CapEff", "CapBnd", "CapPrm")}, {0})
                self.assertEqual(status["NoNewPrivs"], "1")
                self.assertEqual(subprocess.run(["podman", "healthcheck", "run", name], capture_output=True).returncode, 0)
                started = time.monotonic()
                docker("stop", "-t", "10", name)
                took = time.monotonic() - started
                print(f"{image}: stopped in {took:.2f} s", file=sys.stderr)
                self.assertLess(took, 2)
                self.assertEqual(json.loads(docker("inspect", name))[0]["State"]["ExitCode"], 0)

    def test_it_starts_as_quickly_as_outside(self):
        """From being told to start to the first answer: the same files, in a container and below chroot. The best of
        five, because a busy machine delays either."""
        docker("build", "--quiet", "--target", "minimal", "--tag", "espy:minimal", HERE.parents[1])
        root = tempfile.mkdtemp(prefix="espy-outside-")
        self.addCleanup(shutil.rmtree, root)
        docker("create", "--name", f"{self.name}-files", "espy:minimal")
        subprocess.run(f"podman export {self.name}-files | tar --extract --directory {root}", shell=True, check=True)
        seconds = {"inside": [], "outside": []}
        for attempt in range(5):
            port = 20000 + time.monotonic_ns() // 1000 % 10000
            name = f"{self.name}-start-{attempt}"
            docker("create", "--name", name, "--publish", f"127.0.0.1:{port}:5000", "--read-only", "--cap-drop", "all",
                   "--volume", f"{name}:/data", "espy:minimal")
            started = time.monotonic()
            docker("start", name)
            wait_for("it answers", lambda: predict(port)[0] == 200, 60)
            seconds["inside"].append(time.monotonic() - started)
            docker("rm", "--force", name)
            started = time.monotonic()
            outside = subprocess.Popen(["chroot", root, "/usr/bin/espy", "serve", "--port", str(port), "--store",
                                        f"sqlite:/data/{attempt}.db"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                wait_for("it answers", lambda: predict(port)[0] == 200, 60)
                seconds["outside"].append(time.monotonic() - started)
            finally:
                outside.terminate()
                outside.wait(20)
        print("\nstart to first answer, s:", {where: [round(one, 2) for one in all] for where, all in seconds.items()},
              file=sys.stderr)
        self.assertLess(min(seconds["inside"]) - min(seconds["outside"]), 0.5)

    def test_a_volume_that_is_full_costs_no_answered_record(self):
        folder = tempfile.mkdtemp(prefix="espy-small-")
        self.addCleanup(os.rmdir, folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,uid=10001,mode=700", "espy", folder], check=True)
        self.addCleanup(subprocess.run, ["umount", "--lazy", folder])
        port = self.espy(volume=False, arguments=["--volume", f"{folder}:/data"])
        load = Load(port, port, pause=0)
        self.addCleanup(load.end)
        wait_for("uploads are refused", lambda: len(load.failed) >= 20, 60)
        load.end()
        self.assertGreater(len(load.promised), 10)
        self.assertEqual(set(load.failed), {503})
        self.report("volume full", load, history(port))


class CassandraTest(ContainerCase):
    def test_no_answered_record_is_lost_when_either_is_killed(self):
        network = self.network()
        cassandra = self.cassandra(network)
        port = self.espy(network=network, arguments=self.with_cassandra(cassandra))
        self.wait_until_drained(port)
        load = Load(port, port, pause=0.02)
        self.addCleanup(load.end)
        load.wait(100)
        docker("kill", "--signal", "KILL", f"{self.name}-espy")
        time.sleep(1)
        docker("start", f"{self.name}-espy")
        load.wait(100)
        docker("kill", "--signal", "KILL", cassandra)
        load.wait(100)
        docker("start", cassandra)
        load.wait(100)
        load.end()
        self.report("kill -9 of espy, then of Cassandra; on espy's disk", load, history(port))
        self.wait_until_drained(port)
        self.report("kill -9 of espy, then of Cassandra; in Cassandra", load, self.rows(cassandra))

    def test_cassandra_may_stop_for_a_minute_and_its_replicas_show_one_history(self):
        network = self.network()
        cassandra = self.cassandra(network)
        ports = [self.espy(which, network=network, arguments=self.with_cassandra(cassandra)) for which in ("one", "two")]
        for port in ports:
            self.wait_until_drained(port)
        load = Load(*ports, pause=0.05)
        self.addCleanup(load.end)
        load.wait(50)
        docker("stop", cassandra)
        time.sleep(60)
        docker("start", cassandra)
        load.wait(50)
        load.end()
        self.assertEqual(load.failed, [])
        for port in ports:
            self.wait_until_drained(port)
        self.report("Cassandra stopped for a minute; in Cassandra", load, self.rows(cassandra))
        for which, port in zip(("one", "two"), ports):
            self.report(f"two replicas, as seen by {which}", load, history(port))


class RollingUpdateTest(ContainerCase):
    def test_no_request_fails_while_replicas_are_replaced_one_by_one(self):
        need_nginx()
        network = self.network()
        names = [f"{self.name}-{which}" for which in ("one", "two")]
        for which in ("one", "two"):
            self.espy(which, network=network)
        address = {name: json.loads(docker("inspect", name))[0]["NetworkSettings"]["Networks"][network]["IPAddress"]
                   for name in names}
        port = 20000 + time.monotonic_ns() // 1000 % 10000
        docker("create", "--name", f"{self.name}-nginx", "--network", network, "--publish", f"127.0.0.1:{port}:80",
               "nginx:stable")
        configuration = NGINX % " ".join(f"server {address[name]}:5000 max_fails=0;" for name in names)
        with open(f"/tmp/{self.name}.conf", "w") as file:
            file.write(configuration)
        docker("cp", f"/tmp/{self.name}.conf", f"{self.name}-nginx:/etc/nginx/nginx.conf")
        docker("start", f"{self.name}-nginx")
        wait_for("nginx answers", lambda: get(port, "/readyz"))
        load = Load(port, port, port, pause=0.01)
        self.addCleanup(load.end)
        load.wait(50)
        for name in names:
            docker("stop", "-t", "10", name)
            docker("rm", name)
            docker("run", "--detach", "--name", name, "--network", network, "--ip", address[name],
                   "--volume", f"{name}:/data", "espy")
            wait_for(f"{name} is healthy", lambda: docker("exec", name, "espy", "health") == "ok", 60)
            load.wait(50)
        load.end()
        recorded = []
        for name in names:
            listed = docker("exec", name, "espy", "history", "export", "--format", "ndjson")
            recorded += [json.loads(line)["id"] for line in listed.splitlines()]
        self.assertEqual(load.failed, [])
        self.report("rolling update", load, recorded)


if __name__ == "__main__":
    main()
