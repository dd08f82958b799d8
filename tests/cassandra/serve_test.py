"""`espy serve --cassandra` against a real node: rows in both tables, a node that stops and comes back, a server that is
killed, erasing and correcting. What is in the cluster is counted by Apache's own driver.
"""
from case import CassandraCase, Figures, espy, pictures, require_driver


def setUpModule():
    require_driver()


class ServeTest(CassandraCase):
    def test_answers_are_rows_of_both_tables(self):
        server = self.serve_with_cassandra()
        records = self.predict(server, 20)
        self.wait_until_drained(server)
        self.assert_in_cluster(records)
        figures = self.assert_figures(server, records)
        self.assertEqual(figures["espy_forward_connected"], 1)
        self.assertEqual(server.stop(), 0)
        status = self.run_espy("history", "status", "--store", "sqlite:history.db").stdout
        self.assertIn(f"cassandra:{self.keyspace}", status)

    def test_a_node_that_stops_stops_no_answer_and_gets_everything_later(self):
        server = self.serve_with_cassandra()
        records = self.predict(server, 20, "before")
        self.wait_until_drained(server)
        self.nodes.run("kill", "1")
        records |= self.predict(server, 200, "meanwhile")
        self.wait_for("the loss is noticed", lambda: Figures(server)["espy_forward_connected"] == 0)
        figures = self.assert_figures(server, records)
        self.assertGreaterEqual(figures["espy_forward_pending"], 200)
        self.assertGreater(figures["espy_forward_oldest_pending_seconds"], 0)
        self.assertIn("records are not forwarded to cassandra", server.log)
        self.assertEqual(self.nodes.run("restart", "1"), "")
        self.wait_until_drained(server)
        records |= self.predict(server, 20, "after")
        self.wait_until_drained(server)
        self.assert_in_cluster(records)
        figures = self.assert_figures(server, records)
        self.assertEqual(figures["espy_forward_losses_total"], 1)
        self.assertEqual(figures["espy_forward_dead_letters"], 0)
        self.assertIn("records are forwarded to cassandra again", server.log)

    def test_a_server_that_is_killed_while_the_node_is_away_loses_nothing(self):
        server = self.serve_with_cassandra()
        records = self.predict(server, 20, "before")
        self.wait_until_drained(server)
        self.nodes.run("kill", "1")
        records |= self.predict(server, 50, "meanwhile")
        server.kill()
        server = self.serve_with_cassandra()  # starts without the node
        records |= self.predict(server, 20, "after")
        self.assertGreaterEqual(Figures(server)["espy_forward_pending"], 70)
        server.kill()
        self.assertEqual(self.nodes.run("restart", "1"), "")
        server = self.serve_with_cassandra()
        self.wait_until_drained(server)
        self.assert_in_cluster(records)

    def test_corrections_follow_and_what_is_erased_goes(self):
        server = self.serve_with_cassandra()
        records = self.predict(server, 10)
        erased, corrected = list(records)[3:5]
        answer = server.request("POST", f"/api/history/{corrected}/correction", '{"label": 1, "author": "somebody"}',
                                {"Content-Type": "application/json"})
        self.assertEqual(answer.status, 200, answer)
        self.wait_until_drained(server)
        correction, = self.rows("corrections")
        self.assertEqual((str(correction.id), correction.label, correction.author), (corrected, 1, "somebody"))
        server.stop()
        said = self.run_espy("history", "erase", "--store", "sqlite:history.db", "--id", erased).stderr
        self.assertIn("1 are to be erased from Cassandra", said)
        server = self.serve_with_cassandra()
        self.wait_for("it is erased there", lambda: Figures(server)["espy_forward_withdrawals"] == 0)
        del records[erased]
        self.assert_in_cluster(records)

    def test_a_quorum_is_waited_for_when_asked(self):
        server = self.serve_with_cassandra("--ack", "quorum")
        # The first ones make the tables.
        self.wait_for("it answers", lambda: server.upload(pictures.seven(), "/api/predict").status == 200)
        answer = server.upload(pictures.seven(), "/api/predict")
        self.assertEqual(answer.status, 200, answer)
        self.assertIn(answer.json["id"], {str(row.id) for row in self.rows()})
        self.nodes.run("pause", "1")
        try:
            self.assert_error(server.upload(pictures.seven(), "/api/predict"), 503, "unavailable",
                              "is on disk, but cassandra has not confirmed it")
        finally:
            self.nodes.run("resume", "1")

    def test_a_keyspace_that_cannot_be_made_is_said_and_stops_nobody(self):
        server = self.serve("--cassandra", f"{self.nodes.first}/{self.keyspace}", "--replication", "3")
        self.predict(server, 1)
        self.wait_for("it is said", lambda: "is to have 3 copies of each record, but the cluster has 1 node" in server.log)

    def test_what_cannot_be_a_cluster_is_said_at_once(self):
        for arguments, piece in ((["--cassandra", "somewhere"], "wanted is HOST[,HOST...]/KEYSPACE"),
                                 (["--cassandra", "somewhere/a", "--replication", "many"], '--replication is "many"'),
                                 (["--ack", "quorum"], "--ack quorum needs a cluster")):
            self.assertIn(piece, self.run_espy("serve", "--port", "0", *arguments, status=1).stderr)


if __name__ == "__main__":
    espy.main()
