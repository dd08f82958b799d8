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
        self.assertEqual({record["held_by"] for record in records.values()}, {"disk"})
        self.assertEqual({record["held_by"] for record in server.history()}, {"quorum"})
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
        self.assertGreaterEqual(self.assert_figures(server, records)["espy_forward_pending"], 70)
        server.kill()
        self.assertEqual(self.nodes.run("restart", "1"), "")
        server = self.serve_with_cassandra()
        self.wait_until_drained(server)
        self.assert_in_cluster(records)
        self.assert_figures(server, records)

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
        self.assert_figures(server, list(records) + ["the correction"])  # what was appended, erased or not
        del records[erased]
        self.assert_in_cluster(records)

    def test_a_quorum_is_waited_for_when_asked(self):
        server = self.serve_with_cassandra("--ack", "quorum")
        # The first ones make the tables.
        self.wait_for("it answers", lambda: server.upload(pictures.seven(), "/api/predict").status == 200)
        answer = server.upload(pictures.seven(), "/api/predict")
        self.assertEqual(answer.status, 200, answer)
        self.assertIn(answer.json["id"], {str(row.id) for row in self.rows()})
        self.assertEqual((answer.json["durable"], answer.json["held_by"]), (True, "quorum"))
        self.assertEqual(server.get(f"/api/history/{answer.json['id']}").json["held_by"], "quorum")
        self.nodes.run("pause", "1")
        try:
            self.assert_error(server.upload(pictures.seven(), "/api/predict"), 503, "unavailable",
                              "is on disk, but cassandra has not confirmed it")
        finally:
            self.nodes.run("resume", "1")
        # The one that was answered 503 is there as well.
        self.wait_until_drained(server)
        records = {record["id"]: record for record in server.history()}
        self.assertEqual({record["held_by"] for record in records.values()}, {"quorum"})
        self.assert_in_cluster(records)
        self.assert_figures(server, records)

    def lose(self, records):
        """Deletes rows behind espy's back, from both tables."""
        for row in [row for row in self.rows() if str(row.id) in records]:
            self.session.execute(f"DELETE FROM {self.keyspace}.predictions WHERE model=%s AND day=%s AND bucket=%s AND id=%s",
                                 (row.model, row.day, row.bucket, row.id))
            self.session.execute(f"DELETE FROM {self.keyspace}.mytable WHERE time=%s AND file_name=%s AND id=%s",
                                 (row.time, row.file_name, row.id))

    def wait_until_settled(self, server):
        self.wait_for("everything is settled", lambda: Figures(server)["espy_forward_unsettled"] == 0)

    def test_what_the_cluster_loses_is_found_and_comes_back(self):
        server = self.serve_with_cassandra("--cassandra-compare", "0.0005")  # each 1.8 s
        records = self.predict(server, 60)
        corrected = list(records)[7]
        answer = server.request("POST", f"/api/history/{corrected}/correction", '{"label": 1, "author": "somebody"}',
                                {"Content-Type": "application/json"})
        self.assertEqual(answer.status, 200, answer)
        self.wait_until_settled(server)
        self.lose(list(records)[5:20])
        self.session.execute(f"TRUNCATE {self.keyspace}.corrections")
        self.wait_for("they are sent again", lambda: Figures(server)["espy_forward_sent_again_total"] == 16)
        self.assert_in_cluster(records)
        correction, = self.rows("corrections")
        self.assertEqual((str(correction.id), correction.label), (corrected, 1))
        figures = self.assert_figures(server, list(records) + ["the correction"])
        self.assertGreaterEqual(figures["espy_forward_missing_total"], 16)
        self.assertEqual(figures["espy_forward_to_send_again"], 0)
        self.assertIn("of 61 entries that it had confirmed: they are sent again", server.log)
        compared = figures["espy_forward_comparisons_total"]
        self.wait_for("it is compared again", lambda: Figures(server)["espy_forward_comparisons_total"] > compared + 1)
        self.assertEqual(Figures(server)["espy_forward_missing_total"], figures["espy_forward_missing_total"])
        server.stop()
        status = self.run_espy("history", "status", "--store", "sqlite:history.db").stdout
        self.assertIn("0 of 61 entries were missing there", status)

    def test_a_command_finds_what_the_cluster_lost_and_sends_it_again(self):
        server = self.serve_with_cassandra("--cassandra-compare", "0")
        records = self.predict(server, 30)
        self.wait_until_settled(server)
        verify = ["history", "verify", "--store", "sqlite:history.db", "--cassandra",
                  f"{self.nodes.first}/{self.keyspace}", "--cassandra-table", "mytable"]
        # Beside the server.
        self.assertIn("everything that is settled", self.run_espy(*verify).stderr)
        self.lose(list(records)[:4])
        self.assertIn("4 of 30 settled entries are not in", self.run_espy(*verify, status=1).stderr)
        self.assertEqual(server.stop(), 0)
        self.assertIn("is there again", self.run_espy(*verify, "--resend").stderr)
        self.assertIn("everything that is settled", self.run_espy(*verify).stderr)
        self.assert_in_cluster(records)

    def test_a_keyspace_that_cannot_be_made_is_said_and_stops_nobody(self):
        server = self.serve("--cassandra", f"{self.nodes.first}/{self.keyspace}", "--replication", "3")
        self.predict(server, 1)
        self.wait_for("it is said", lambda: "is to have 3 copies of each record, but the cluster has 1 node" in server.log)
        self.assert_figures(server, range(1))

    def test_what_cannot_be_a_cluster_is_said_at_once(self):
        for arguments, piece in ((["--cassandra", "somewhere"], "wanted is HOST[,HOST...]/KEYSPACE"),
                                 (["--cassandra", "somewhere/a", "--replication", "many"], '--replication is "many"'),
                                 (["--ack", "quorum"], "--ack quorum needs a cluster")):
            self.assertIn(piece, self.run_espy("serve", "--port", "0", *arguments, status=1).stderr)


if __name__ == "__main__":
    espy.main()
