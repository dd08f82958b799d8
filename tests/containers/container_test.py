"""espy in containers: what it may do, how it ends, and that no answered record is lost whatever is killed or full.

Each test prints what was sent, answered and recorded.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from containers import (SLOW, ContainerCase, Load, docker, get, history, main, need_cassandra, need_espy, need_nginx, predict,
                        prepare, wait_for)

# As packaging/container/nginx.conf; it also says who answered, after all whom it asked before.
NGINX = """
error_log /dev/stderr;
events {}
http {
  access_log off;
  upstream espy { %s }
  server {
    listen 80;
    location / {
      proxy_pass http://espy;
      proxy_connect_timeout 5s;
      proxy_read_timeout 60s;
      proxy_next_upstream error timeout http_503 non_idempotent;
      add_header X-Upstream $upstream_addr always;
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
        size = {name: int(docker("image", "inspect", "--format", "{{.Size}}", name))
                for name in ("espy", "espy:minimal", "debian:bookworm-slim")}
        print("\nsizes in MB:", {name: round(bytes / 1e6, 1) for name, bytes in size.items()}, file=sys.stderr)
        if SLOW:  # else it is a program that loads more libraries than what the Dockerfile compiles
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
                said = pathlib.Path(f"/proc/{process}/status").read_text()
                status = dict(line.split(":\t", 1) for line in said.splitlines())
                self.assertEqual(status["Uid"].split(), ["10001"] * 4)
                self.assertEqual({int(status[field], 16) for field in ("CapEff", "CapBnd", "CapPrm")}, {0})
                self.assertEqual(status["NoNewPrivs"], "1")
                self.assertEqual(subprocess.run(["podman", "healthcheck", "run", name], capture_output=True).returncode, 0)
                seconds = []
                for attempt in range(3):  # a busy machine delays podman as well, so the best one counts
                    started = time.monotonic()
                    docker("stop", "-t", "10", name)
                    seconds.append(time.monotonic() - started)
                    self.assertEqual(json.loads(docker("inspect", name))[0]["State"]["ExitCode"], 0)
                    docker("start", name)
                    wait_for("it answers", lambda: get(port, "/readyz"))
                print(f"{image}: stopped in", [round(one, 2) for one in seconds], "s", file=sys.stderr)
                self.assertLess(min(seconds), 2)

    def test_it_starts_as_quickly_as_outside(self):
        """From being told to start to the first answer: the same files, in a container and below chroot. The best of
        five, because a busy machine delays either."""
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
            wait_for("it answers", lambda: predict(port)[0] == 200)
            seconds["inside"].append(time.monotonic() - started)
            docker("rm", "--force", name)
            started = time.monotonic()
            outside = subprocess.Popen(["chroot", root, "/usr/bin/espy", "serve", "--port", str(port), "--store",
                                        f"sqlite:/data/{attempt}.db"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                wait_for("it answers", lambda: predict(port)[0] == 200)
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
        wait_for("uploads are refused", lambda: len(load.failed) >= 20)
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
        # Whoever takes over an address takes over what belongs to it: nginx's container goes on sending to the MAC address
        # that it knows, for seconds. Docker's engine derives the one from the other; podman is told here, by its own command,
        # because its engine does not let docker's say so.
        replicas = {"one": ["--mac-address", "02:42:00:00:00:01"], "two": ["--mac-address", "02:42:00:00:00:02"]}
        addresses = {}
        for which, arguments in replicas.items():
            self.espy(which, network=network, arguments=arguments, by="podman")
            inside = json.loads(docker("inspect", f"{self.name}-{which}"))[0]["NetworkSettings"]["Networks"][network]
            self.assertEqual(inside["MacAddress"], arguments[1])
            addresses[which] = inside["IPAddress"]
        port = 20000 + time.monotonic_ns() // 1000 % 10000
        nginx = f"{self.name}-nginx"
        docker("create", "--name", nginx, "--network", network, "--publish", f"127.0.0.1:{port}:80", "nginx:stable")
        with tempfile.NamedTemporaryFile("w", prefix="espy-nginx-") as file:
            file.write(NGINX % " ".join(f"server {address}:5000 max_fails=0;" for address in addresses.values()))
            file.flush()
            docker("cp", file.name, f"{nginx}:/etc/nginx/nginx.conf")
        docker("start", nginx)

        def answers_alone(address):
            """Says whether nginx had no need to ask anybody else in twenty requests, of which this one had its share."""
            asked = []
            for _ in range(20):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=90) as answer:
                    asked.append(answer.headers["X-Upstream"])
            return set(asked) <= {f"{one}:5000" for one in addresses.values()} and asked.count(f"{address}:5000") >= 5

        for which, address in addresses.items():
            wait_for(f"nginx reaches {which}", lambda: answers_alone(address))
        load = Load(port, port, port, pause=0.01)
        self.addCleanup(load.end)
        load.wait(50)
        for which, address in addresses.items():
            docker("stop", "-t", "10", f"{self.name}-{which}")
            docker("rm", f"{self.name}-{which}")
            self.espy(which, network=network, arguments=["--ip", address, *replicas[which]], by="podman")
            wait_for(f"nginx reaches the new {which}", lambda: answers_alone(address))
            load.wait(50)
        load.end()
        recorded = []
        for which in replicas:
            listed = docker("exec", f"{self.name}-{which}", "espy", "history", "export", "--format", "ndjson")
            recorded += [json.loads(line)["id"] for line in listed.splitlines()]
        self.assertEqual(load.failed, [], subprocess.run(["podman", "logs", "--tail", "50", nginx], capture_output=True,
                                                         text=True).stderr)
        self.report("rolling update", load, recorded)


if __name__ == "__main__":
    main()
