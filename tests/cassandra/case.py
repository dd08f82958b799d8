"""What the tests of `espy serve --cassandra` share, with one real node or three.

ESPY_BINARY names the program, ESPY_HAS_CASSANDRA says whether its build has the driver.
"""
import datetime
import os
import pathlib
import random
import re
import sqlite3
import sys
import time
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

import espy
import pictures
from nodes import Nodes, require_cassandra

# A busy machine makes everything slow, nodes above all.
PATIENCE = 600


def require_driver():
    """Skips the module, with the reason, when the program or the machine has no Cassandra."""
    if os.environ["ESPY_HAS_CASSANDRA"] != "TRUE":
        raise unittest.SkipTest("this build has no Cassandra driver (ESPY_CASSANDRA)")
    require_cassandra()


def unpacked(packed):
    """Returns the pixels of an input as src/store/packed_input.h says that it lies on disk."""
    if len(packed) == 784:
        return packed
    ink = iter(packed[98:])
    return bytes(next(ink) if packed[i // 8] >> i % 8 & 1 else 0 for i in range(784))


class Figures(dict):
    """What /metrics says, by name without its labels."""

    def __init__(self, server):
        super().__init__()
        for line in server.get("/metrics").text.splitlines():
            found = re.fullmatch(r"(\w+)(?:\{[^}]*\})? (\S+)", line)
            if found:
                self[found[1]] = float(found[2])


class CassandraCase(espy.TestCase):
    """A test with `NODES` nodes, which all tests of its class share, and a keyspace of its own."""

    NODES = 1

    @classmethod
    def setUpClass(cls):
        cls.nodes = Nodes()
        cls.addClassCleanup(cls.nodes.wipe)
        cls.start_nodes()

    @classmethod
    def start_nodes(cls, **session):
        """Starts them, and connects Apache's own driver; `session` as Nodes.session() has it."""
        said = cls.nodes.run("start", str(cls.NODES))
        if said:
            raise AssertionError(f"Cassandra does not start: {said}")
        cls.cluster, cls.session = cls.nodes.session(**session)
        cls.addClassCleanup(cls.cluster.shutdown)

    def setUp(self):
        super().setUp()
        self.keyspace = f"history_{random.randrange(10**9)}"

    def serve_with_cassandra(self, *arguments):
        hosts = ",".join(self.nodes.addresses[:self.NODES])
        return self.serve("--cassandra", f"{hosts}/{self.keyspace}", "--replication", self.NODES,
                          "--cassandra-table", "mytable", *arguments)

    def rows(self, table="predictions"):
        """Returns them once the driver has found the node again, which an earlier test may have stopped."""
        from cassandra.cluster import NoHostAvailable

        deadline = time.monotonic() + 60
        while True:
            try:
                return list(self.session.execute(f"SELECT * FROM {self.keyspace}.{table}"))
            except NoHostAvailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def predict(self, server, count, name="seven"):
        """Uploads so many pictures and returns their records by id."""
        records = {}
        for number in range(count):
            answer = server.upload(pictures.seven(), "/api/predict", file_name=f"{name}-{number}.png")
            self.assertEqual(answer.status, 200, answer)
            records[answer.json["id"]] = answer.json
        return records

    def wait_for(self, what, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, f"does not happen: {what}")
            time.sleep(0.1)

    def wait_until_drained(self, server):
        self.wait_for("everything is confirmed", lambda: Figures(server)["espy_forward_pending"] == 0)

    def assert_figures(self, server, records):
        """Nothing that was appended is unaccounted for: accepted = durable (+ failed + waiting), and what is durable is
        confirmed, pending or rejected. `records`: all that were ever appended to this history, corrections among them.
        """
        figures = Figures(server)
        self.assertEqual(figures["espy_records_accepted_total"],
                         figures["espy_records_durable_total"] + figures["espy_records_failed_total"]
                         + figures["espy_records_waiting"])
        self.assertEqual(figures["espy_forward_confirmed"] + figures["espy_forward_pending"]
                         + figures["espy_forward_dead_letters"], len(records))
        return figures

    def on_disk(self):
        """Returns what the server's own history has, by id, with the names of Cassandra's columns."""
        columns = {"model": "model", "model_version": "model_version", "file_name": "file_name", "subject": "subject",
                   "label": "label", "class_name": "class_name", "confidence": "confidence", "verdict": "verdict",
                   "reason": "reason", "alternative": "alternative", "input": "input", "upload_digest": "upload_digest",
                   "upload_bytes": "upload_bytes", "latency": "latency_us", "time": "time"}
        store = sqlite3.connect(f"file:{self.folder / 'history.db'}?mode=ro", uri=True)
        try:
            rows = store.execute(f"SELECT id, {', '.join(columns)} FROM record").fetchall()
        finally:
            store.close()
        records = {str(uuid.UUID(bytes=row[0])): dict(zip(columns.values(), row[1:])) for row in rows}
        for record in records.values():
            record["input"] = unpacked(record["input"])
        return records

    def assert_in_cluster(self, records):
        """Every record that was answered is there once, with the same bytes as on disk, and no other."""
        rows = self.rows()
        self.assertEqual(sorted(str(row.id) for row in rows), sorted(records))
        kept = self.on_disk()
        for row in rows:
            record = kept[str(row.id)]
            time_us = record.pop("time")
            self.assertEqual(row.time.replace(tzinfo=datetime.timezone.utc).timestamp(), time_us // 1000 / 1000)
            self.assertEqual(row.microsecond, time_us % 1000)
            self.assertEqual({name: getattr(row, name) for name in record}, record)
            answered = records[str(row.id)]
            self.assertEqual((row.file_name, row.label, row.class_name, row.model),
                             (answered["file_name"], answered["label"], answered["class"], answered["model"]))
        plain = self.rows("mytable")
        self.assertEqual(plain[0]._fields, ("time", "file_name", "id", "number"))
        self.assertEqual(sorted((str(row.id), row.file_name, row.number) for row in plain),
                         sorted((id, record["file_name"], record["label"]) for id, record in records.items()))
