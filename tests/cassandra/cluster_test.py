"""Three real nodes under `espy serve --cassandra`, each fault under load: nodes are killed, paused, restarted, all at once,
espy with them. Afterwards Apache's own driver finds every answered record exactly once.

Takes 4 GB of memory and some minutes.
"""
import errno
import pathlib
import re
import shutil
import subprocess
import threading
import time
import unittest

from case import CassandraCase, Figures, Nodes, espy, pictures, require_driver


def setUpModule():
    require_driver()


class Load:
    """Uploads from some clients until it is ended; keeps every answer."""

    def __init__(self, server, clients=4, pause=0.02):
        self.server, self.pause = server, pause
        self.records, self.refused = {}, []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, client):
        number = 0
        while not self.ending.wait(self.pause):
            number += 1
            try:
                answer = self.server.upload(pictures.seven(), "/api/predict", file_name=f"{client}-{number}.png")
            except OSError:
                return  # the server was killed
            if answer.status == 200:
                self.records[answer.json["id"]] = answer.json
            else:
                self.refused.append(answer)

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()
        return self.records


class UnderLoad(CassandraCase):
    NODES = 3

    def node(self, command, *nodes):
        for node in nodes:
            self.assertEqual(self.nodes.run(command, str(node)), "", (command, node))

    def under_load(self, fault, *arguments):
        """Serves under load while `fault` happens; then everything answered is there once. Returns the last figures."""
        server = self.serve_with_cassandra(*arguments)
        self.wait_for("the first record arrives", lambda: self.predict(server, 1) and
                      Figures(server).get("espy_forward_connected") == 1)
        first = {record["id"]: record for record in server.history()}
        load = Load(server)
        time.sleep(3)
        server = fault(server) or server
        time.sleep(3)
        records = first | load.end()
        self.assertEqual(load.refused, [])
        self.wait_until_drained(server)
        self.assert_in_cluster(records)
        figures = self.assert_figures(server, records)
        print(f"{self._testMethodName}: {len(records)} records, {figures['espy_forward_retries_total']:.0f} retries, "
              f"{figures['espy_forward_losses_total']:.0f} losses", flush=True)
        self.assertEqual(figures["espy_forward_dead_letters"], 0)
        return figures


class ClusterTest(UnderLoad):
    def test_one_node_is_killed_and_comes_back(self):
        def fault(_):
            self.node("kill", 3)
            time.sleep(5)
            self.node("restart", 3)

        self.assertGreaterEqual(self.under_load(fault)["espy_forward_losses_total"], 1)

    def test_one_node_is_paused_for_5_and_for_40_seconds(self):
        def fault(_):
            for seconds in (5, 40):
                self.node("pause", 2)
                time.sleep(seconds)
                self.node("resume", 2)
                time.sleep(5)

        self.under_load(fault)

    def test_two_nodes_are_down_and_everything_waits(self):
        def fault(server):
            self.node("kill", 2, 3)
            time.sleep(15)
            figures = Figures(server)
            self.assertGreater(figures["espy_forward_pending"], 0)
            self.assertEqual(figures["espy_forward_connected"], 0)
            # Together: each alone would be waited for by all that run.
            self.assertEqual(self.nodes.run("start", "3"), "")

        self.under_load(fault)

    def test_all_three_are_killed_at_once(self):
        def fault(_):
            self.nodes.kill_all()
            time.sleep(3)
            self.assertEqual(self.nodes.run("start", "3"), "")

        self.assertGreaterEqual(self.under_load(fault)["espy_forward_losses_total"], 1)

    def test_all_three_and_espy_are_killed_at_once(self):
        server = self.serve_with_cassandra()
        self.wait_for("the first record arrives", lambda: self.predict(server, 1) and
                      Figures(server).get("espy_forward_connected") == 1)
        first = {record["id"]: record for record in server.history()}
        load = Load(server)
        time.sleep(5)
        self.nodes.kill_all()
        server.kill()
        records = first | load.end()
        self.assertEqual(self.nodes.run("start", "3"), "")
        server = self.serve_with_cassandra()
        # What was on disk when the server was killed but not answered any more is there as well.
        records = {record["id"]: record for record in server.history()} | records
        self.wait_until_drained(server)
        self.assert_in_cluster(records)
        self.assert_figures(server, records)
        print(f"{self._testMethodName}: {len(records)} records", flush=True)

    def test_a_rolling_restart(self):
        self.under_load(lambda _: self.node("restart", 1, 2, 3))

    def test_the_table_is_altered(self):
        def fault(_):
            self.session.execute(f"ALTER TABLE {self.keyspace}.predictions ADD note text")
            time.sleep(2)
            self.session.execute(f"ALTER TABLE {self.keyspace}.predictions DROP note")

        self.under_load(fault)


class FullDiskTest(UnderLoad):
    """Node 3 has a disk of its own, which becomes full: a tmpfs, for which one has to be root."""

    @classmethod
    def setUpClass(cls):
        cls.nodes = Nodes()
        cls.addClassCleanup(cls.nodes.wipe)
        cls.disk = pathlib.Path(cls.nodes.folder) / "node3" / "data"
        cls.disk.mkdir(parents=True)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", cls.disk], capture_output=True, text=True)
        if mounted.returncode:
            raise unittest.SkipTest(f"no disk can be mounted for a node: {mounted.stderr.strip()}")
        cls.addClassCleanup(subprocess.run, ["umount", "--lazy", cls.disk])  # before the nodes are wiped
        cls.start_nodes()

    def fill(self):
        """Takes what is left of the disk, and its last bytes."""
        with open(self.disk / "ballast", "wb", buffering=0) as ballast:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError as full:
                    self.assertEqual(full.errno, errno.ENOSPC)

    def what_the_node_says(self):
        """Returns how node 3 says that it cannot write any more; nothing while it can."""
        for path in (self.disk.parent / "log").iterdir():
            found = re.search(r"No space left on device|FSWriteError|unsafe memory access|SIGBUS",
                              path.read_text(errors="replace"))
            if found:
                return found[0]
        return None

    def test_the_disk_of_a_node_becomes_full(self):
        def fault(server):
            self.fill()
            self.wait_for("the node cannot write", self.what_the_node_says)
            print(f"node 3: {self.what_the_node_says()}", flush=True)
            time.sleep(20)
            self.assertEqual(shutil.disk_usage(self.disk).free, 0)
            # Two of three have room: nothing waits for long.
            self.wait_until_drained(server)
            (self.disk / "ballast").unlink()
            self.node("restart", 3)

        self.under_load(fault)


if __name__ == "__main__":
    espy.main()
