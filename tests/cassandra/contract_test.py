"""The Cassandra module against a real node: starts one, runs the program `cassandra_contract` (contract.cc), and counts
what arrived with a driver that is not ours.

ESPY_CONTRACT names the program; empty when this build has no driver.
"""
import datetime
import json
import os
import pathlib
import subprocess
import unittest

from nodes import TOOL, Nodes, require_cassandra

CONTRACT = os.environ["ESPY_CONTRACT"]


def setUpModule():
    if not CONTRACT:
        raise unittest.SkipTest("this build has no Cassandra driver (ESPY_CASSANDRA)")
    require_cassandra()


class ContractTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from cassandra.auth import PlainTextAuthProvider

        cls.nodes = Nodes(CASSANDRA_AUTH="password")
        cls.addClassCleanup(cls.nodes.wipe)
        said = cls.nodes.run("start", "1")
        if said:
            raise AssertionError(f"Cassandra does not start: {said}")
        cls.cluster, cls.session = cls.nodes.session(PlainTextAuthProvider("cassandra", "cassandra"))
        cls.addClassCleanup(cls.cluster.shutdown)

    def test_the_contract_holds_and_another_driver_counts_the_same(self):
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        self.session.execute(f"CREATE KEYSPACE somebody_else WITH replication = {replication}")
        self.session.execute("CREATE TABLE somebody_else.taken (time timestamp PRIMARY KEY, number text)")

        expected_path = pathlib.Path(self.nodes.folder) / "expected.ndjson"
        environment = self.nodes.environment | {
            "ESPY_CASSANDRA_HOST": f"{self.nodes.first}:9042",
            "ESPY_CASSANDRA_CLUSTER": str(TOOL),
            "ESPY_CASSANDRA_EXPECTED": str(expected_path),
        }
        status = subprocess.run([CONTRACT], env=environment).returncode
        self.assertEqual(status, 0, "the contract does not hold, see above")

        expected = {row["id"]: row for row in map(json.loads, expected_path.read_text().splitlines())}
        self.assertGreater(len(expected), 10_000)
        rows = list(self.session.execute("SELECT * FROM contract.predictions"))
        print(f"{len(rows)} rows in predictions, expected {len(expected)}")
        self.assertEqual(len(rows), len(expected))
        for row in rows:
            self.assertEqual(
                {"id": str(row.id), "model": row.model, "file_name": row.file_name, "label": row.label,
                 "confidence": round(row.confidence, 6),
                 "time_ms": round(row.time.replace(tzinfo=datetime.timezone.utc).timestamp() * 1000),
                 "input": row.input.hex()},
                expected.pop(str(row.id)))
            self.assertEqual(row.bucket, int(row.id.hex[-4:], 16) % 16)
            self.assertEqual(row.node, "contract")
        self.assertEqual(expected, {})

        plain = list(self.session.execute("SELECT * FROM contract.mytable"))
        self.assertEqual(plain[0]._fields, ("time", "file_name", "id", "number"))
        self.assertEqual({(row.id, row.file_name, row.number) for row in plain},
                         {(row.id, row.file_name, row.label) for row in rows})


if __name__ == "__main__":
    unittest.main(verbosity=2)
