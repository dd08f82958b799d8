"""The life of a history: subjects, corrections, backup beside the server, erasing, verification, what is counted."""
import json
import re
import sqlite3
import urllib.parse

import espy
import pictures


class HistoryTest(espy.TestCase):
    STORE = ("--store", "sqlite:history.db")

    def command(self, *arguments, status=0):
        return self.run_espy("history", arguments[0], *self.STORE, *arguments[1:], status=status)

    def upload(self, server, subject=None, file_name="seven.png"):
        headers = {"Espy-Subject": subject} if subject else {}
        target = f"/api/predict?file_name={urllib.parse.quote(file_name)}"
        answer = server.request("POST", target, pictures.seven(), headers)
        self.assertEqual(answer.status, 200, answer)
        return answer.json["id"]

    def metric(self, server, name):
        return float(re.search(rf"^{name} (\S+)$", server.get("/metrics").text, re.MULTILINE)[1])

    def test_a_subject_is_found_and_erased_without_a_trace(self):
        server = self.serve()
        subject = "somebody-who-will-ask"
        anns = [self.upload(server, subject, "a-name-of-somebodys.png") for _ in range(3)]
        others = [self.upload(server) for _ in range(5)]
        self.assertEqual([r["id"] for r in server.history(f"&subject={subject}")], anns[::-1])
        correction = json.dumps({"label": 1, "author": "ann", "note": f"about {subject}"})
        answer = server.request("POST", f"/api/history/{anns[0]}/correction", correction,
                                {"Content-Type": "application/json"})
        self.assertEqual(answer.json["correction"]["label"], 1)
        self.run_espy("history", "backup", *self.STORE, "copy.db")
        self.assertEqual(server.stop(), 0)
        noted = self.head()
        self.command("erase", "--subject", subject, "--reason", "request 17")
        for name in ("history.db", "history.db-wal", "history.db-shm"):
            file = self.folder / name
            if file.exists():
                for trace in (subject, "a-name-of-somebodys", anns[0].replace("-", "")):
                    self.assertNotIn(trace.encode(), file.read_bytes(), f"{name} has {trace}")
                self.assertNotIn(bytes.fromhex(anns[0].replace("-", "")), file.read_bytes())
        self.command("erase", "--subject", subject, status=1)
        self.command("verify", "--head", noted)
        status = json.loads(self.command("status", "--json").stdout)
        self.assertEqual((status["records"], status["erased_records"], status["corrections"]), (5, 3, 0))
        erasure = status["newest_erasures"][0]
        self.assertEqual((erasure["chosen_by"], erasure["records"], erasure["reason"]), ("subject", 3, "request 17"))
        self.assertEqual([r["id"] for r in self.serve().history()], others[::-1])

        # The backup was made before; it is a store like any other.
        restored = self.run_espy("history", "list", "--store", "sqlite:copy.db", "--json")
        self.assertEqual(len(json.loads(restored.stdout)["records"]), 8)

    def test_erasing_and_correcting_beside_a_running_server(self):
        server = self.serve()
        anns = [self.upload(server, "ann") for _ in range(3)]
        other = self.upload(server)
        said = self.command("erase", "--subject", "ann", "--reason", "request 18").stderr
        self.assertIn("erased 3 records", said)
        self.assertNotIn("write-ahead log", said)
        self.assertEqual(server.get(f"/api/history/{anns[0]}").status, 404)
        self.command("erase", "--subject", "ann", status=1)
        self.command("correct", other, "--label", 1, "--author", "bob")
        self.assertEqual(server.get(f"/api/history/{other}").json["correction"]["author"], "bob")
        self.assertEqual(self.metric(server, "espy_history_erased_total"), 3)
        for name in ("history.db", "history.db-wal"):
            for record in anns:
                self.assertNotIn(bytes.fromhex(record.replace("-", "")), (self.folder / name).read_bytes())
        self.command("verify")
        # Nothing of this goes over the network.
        self.assertEqual(server.request("DELETE", f"/api/history/{other}").status, 405)
        server.kill()  # and a name that was left behind is in nobody's way
        self.command("erase", "--id", other)
        server = self.serve()
        (self.folder / "history.db-socket").unlink()
        refused = self.command("erase", "--subject", "ann", status=1)
        self.assertIn(f"another espy (process {server.process.pid})", refused.stderr)
        self.assertIn("takes no requests", refused.stderr)

    def head(self):
        return json.loads(self.command("verify", "--json").stdout)["head"]

    def test_corrections_of_the_command_line_are_shown_by_every_read(self):
        server = self.serve()
        record = self.upload(server)
        server.stop()
        self.command("correct", record, "--label", 1, "--class", "one", "--author", "bob")
        self.assertIn("one, by bob", self.command("show", record).stdout)
        server = self.serve()
        self.assertEqual(server.get(f"/api/history/{record}").json["correction"]["class"], "one")
        self.assertIn("corrected: <strong>one</strong>", server.get("/history", Accept="text/html").text)
        self.assertIn(",1,one\r\n", self.run_espy("history", "export", *self.STORE).stdout.replace("\n", "\r\n"))
        self.command("correct", record, "--label", 2)  # the server does it
        self.assertEqual(server.get(f"/api/history/{record}").json["correction"]["label"], 2)

    def test_verify_finds_what_was_changed(self):
        server = self.serve()
        for _ in range(4):
            self.upload(server)
        self.run_espy("history", "verify", *self.STORE)  # beside the server
        server.stop()
        noted = self.head()
        self.command("verify", "--head", noted)
        self.command("verify", "--head", "4:" + "0" * 64, status=1)
        self.command("verify", "--head", "nonsense", status=1)
        with sqlite3.connect(self.folder / "history.db") as store:
            store.execute("UPDATE record SET label = label + 1 WHERE seq = 2")
        store.close()
        found = self.command("verify", status=1)
        self.assertIn("place 2: record", found.stdout)
        self.assertIn("1 findings", found.stderr)

    def test_an_export_in_full_is_imported_as_it_was(self):
        server = self.serve()
        for number in range(6):
            self.upload(server, "ann" if number % 2 else None, f"{number}, \"x\".png")
        server.stop()
        record = json.loads(self.command("list", "--json").stdout)["records"][2]["id"]
        for label in (3, 1, 2):
            self.command("correct", record, "--label", label, "--note", "two\nlines, \"quoted\"")
        for form in ("csv", "ndjson"):
            store = ("--store", f"sqlite:{form}.db")
            self.command("export", "--complete", "--format", form, "--out", f"first.{form}")
            for _ in range(2):  # the second time nothing is new
                self.run_espy("history", "import", *store, f"first.{form}")
            found = json.loads(self.run_espy("history", "verify", *store, "--json").stdout)
            self.assertEqual((found["records"], found["corrections"]), (6, 3))
            self.run_espy("history", "export", *store, "--complete", "--format", form, "--out", f"second.{form}")
            self.assertEqual((self.folder / f"first.{form}").read_bytes(), (self.folder / f"second.{form}").read_bytes())
            shown = [self.run_espy("history", "list", *s, "--json").stdout for s in (self.STORE, store)]
            self.assertEqual(*shown)
        whole = (self.folder / "first.ndjson").read_text()
        (self.folder / "broken.ndjson").write_text(whole + "{}\n")
        broken = ("--store", "sqlite:broken.db")
        refused = self.run_espy("history", "import", *broken, "broken.ndjson", status=1)
        self.assertIn("; 6 records and 3 corrections before it are imported", refused.stderr)
        found = json.loads(self.run_espy("history", "verify", *broken, "--json").stdout)
        self.assertEqual((found["records"], found["corrections"]), (6, 3))
        (self.folder / "precious").write_text("as it was")
        (self.folder / ".linked.csv.part").symlink_to("precious")
        self.command("export", "--out", "linked.csv", status=1)
        self.assertEqual((self.folder / "precious").read_text(), "as it was")
        (self.folder / "wrong.csv").write_text("a,b\r\n")
        refused = self.run_espy("history", "import", "--store", "sqlite:wrong.db", "wrong.csv", status=1)
        self.assertIn("line 1: there are 2 fields", refused.stderr)

    def test_the_counts_add_up(self):
        server = self.serve()
        for _ in range(7):
            self.upload(server)
        self.assertEqual(self.metric(server, "espy_records_accepted_total"), 7)
        self.assertEqual(self.metric(server, "espy_records_durable_total"), 7)
        self.assertEqual(self.metric(server, "espy_records_waiting"), 0)
        self.assertEqual(self.metric(server, "espy_history_records"), 7)
        self.assertEqual(self.metric(server, "espy_commit_seconds_count"), 7)


if __name__ == "__main__":
    espy.main()
