"""What a server tells of itself: that Prometheus takes it, and that the documents and boards speak of what is there."""
import json
import pathlib
import re
import signal
import socket
import subprocess
import time

import espy
import pictures

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/observability.md"
BOARD = ROOT / "deploy/grafana/espy.json"
RULES = ROOT / "deploy/prometheus/alerts.yaml"
RULES_TEST = pathlib.Path(__file__).with_name("alerts_test.yaml")


def names_of(metrics):
    """Returns {name: type} of every family."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", metrics, re.M))


def documented_labels():
    """Returns {metric: its labels} as docs/observability.md has them."""
    rows = re.findall(r"^\| `([a-z_]+)` \| ([a-z]+) \| (.*?) \|", PAGE.read_text(), re.M)
    return {name: set(re.findall(r"`([a-z]+)`", labels)) | ({"le"} if kind == "histogram" else set())
            for name, kind, labels in rows}


def family_of(name, families):
    """Returns what a sample's name belongs to."""
    stem = re.sub(r"_(bucket|sum|count)$", "", name)
    return name if name in families else stem


class Observability(espy.TestCase):

    def busy_server(self, *arguments):
        """A server that has answered each kind of request, so that every family has samples."""
        server = self.serve(*arguments)
        self.assertEqual(server.upload(pictures.seven(), "/api/predict").status, 200)
        self.assertEqual(server.request("POST", "/api/predict", b"no picture").status, 400)
        self.assertEqual(server.get("/nowhere").status, 404)
        return server

    def test_promtool_finds_nothing_to_say_against_the_metrics(self):
        metrics = self.busy_server().get("/metrics").body
        check = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True)
        self.assertEqual((check.returncode, check.stdout, check.stderr), (0, b"", b""))

    def test_a_histogram_is_whole(self):
        metrics = self.busy_server().get("/metrics").text
        for name, kind in names_of(metrics).items():
            if kind != "histogram":
                continue
            rows = {}
            for labels, bound, value in re.findall(rf'^{name}_bucket{{(.*?),?le="(.*?)"}} (\d+)$', metrics, re.M):
                rows.setdefault(labels, []).append((float(bound), int(value)))
            self.assertTrue(rows, name)
            for labels, row in rows.items():
                self.assertEqual(row, sorted(row), name)
                self.assertEqual([value for _, value in row], sorted(value for _, value in row), name)
                count = re.search(rf"^{name}_count{re.escape('{' + labels + '}') if labels else ''} (\d+)$", metrics,
                                  re.M)
                self.assertEqual(row[-1], (float("inf"), int(count[1])), name)

    def test_requests_are_counted_by_route_and_status(self):
        metrics = self.busy_server().get("/metrics").text
        for labels in ('method="POST",route="/api/predict",status="2xx"',
                       'method="POST",route="/api/predict",status="4xx"', 'method="none",route="none",status="4xx"'):
            self.assertIn(f"espy_http_request_seconds_count{{{labels}}} 1\n", metrics)
        self.assertRegex(metrics, r'espy_predictions_total\{model="digits",version="[0-9a-f]+",verdict="recognized"\} 1\n')
        self.assertIn("espy_http_requests_in_progress 1\n", metrics, "this very request")

    def test_requests_are_told_with_their_ids(self):
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        server = self.serve("--access-log", "access.log")
        answer = server.request("POST", "/api/predict?file_name=secret.png", pictures.seven(),
                                {"X-Request-Id": "job-7", "traceparent": trace})
        self.assertEqual(answer.headers["x-request-id"], "job-7")
        for insane in ("a b", "x" * 129, "<script>"):
            other = server.request("GET", "/nowhere", headers={"X-Request-Id": insane, "traceparent": trace[:-1]})
            self.assertRegex(other.headers["x-request-id"], "^[0-9a-f]+-[0-9a-f]+$")
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            while connection.recv(1000):
                pass
        self.assertEqual(server.stop(), 0)
        text = (self.folder / "access.log").read_text()
        self.assertNotIn("secret", text, "queries may say whom a picture is about")
        first, *others, broken = map(json.loads, text.splitlines())
        self.assertEqual({name: first[name] for name in ("id", "traceparent", "client", "method", "path", "route", "status",
                                                         "model", "records")},
                         {"id": "job-7", "traceparent": trace, "client": "127.0.0.1", "method": "POST",
                          "path": "/api/predict", "route": "/api/predict", "status": 200, "model": "digits",
                          "records": [answer.json["id"]]})
        self.assertEqual(first["bytes"], len(answer.body))
        self.assertGreater(first["duration_us"], 0)
        self.assertEqual([(line["route"], line["status"]) for line in others], [("none", 404)] * 3)
        self.assertTrue(all("traceparent" not in line for line in others))
        self.assertEqual(len({line["id"] for line in others}), 3)
        self.assertEqual((broken["status"], broken["method"]), (400, "-"))

    def test_a_rotated_log_begins_anew_and_a_full_disk_stops_no_answer(self):
        server = self.serve("--access-log", "access.log", "--access-log-format", "text")
        server.get("/livez")
        old = self.folder / "access.log"
        self.wait_for(lambda: old.read_text())
        old.rename(self.folder / "access.log.1")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(old.exists)
        server.get("/readyz")
        self.wait_for(lambda: "/readyz" in old.read_text())
        old.unlink()
        old.symlink_to("/dev/full")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: server.get("/livez").status == 200 and not re.search(
            r"^espy_access_log_dropped_lines_total 0$", server.get("/metrics").text, re.M))

    def test_slow_requests_are_told_on_standard_error(self):
        server = self.serve("--slow-request", "0")
        server.get("/livez")
        self.wait_for(lambda: '"path":"/livez"' in server.log)
        self.assertEqual(server.stop(), 0)
        quick = self.serve("--slow-request", "60000")
        quick.get("/livez")
        self.assertEqual(quick.stop(), 0)
        self.assertNotIn("livez", quick.log)

    def assert_speaks_of_what_there_is(self, expression):
        """Checks the metrics and labels of a query against docs/observability.md, which the server is checked against."""
        labels = documented_labels()
        named = re.findall(r"\b((?:espy|process)_[a-z_]+)(?:\{(.*?)\})?", expression)
        self.assertTrue(named, expression)
        used = set()
        for name, matchers in named:
            family = family_of(name, labels)
            self.assertIn(family, labels, expression)
            for label in re.findall(r"(\w+)(?:=~|!=|!~|=)", matchers):
                self.assertIn(label, labels[family] | {"job", "instance"}, expression)
            used |= labels[family]
        for group in re.findall(r"\bby \((.*?)\)", expression):
            self.assertLessEqual(set(re.findall(r"\w+", group)), used | {"job", "instance"}, expression)

    def test_the_board_speaks_of_what_there_is(self):
        board = json.loads(BOARD.read_text())
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        for panel in panels:
            for target in panel["targets"]:
                self.assert_speaks_of_what_there_is(target["expr"])
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
        taken = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(taken & cells, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells

    def test_promtool_takes_the_boards_queries(self):
        board = json.loads(BOARD.read_text())
        queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
        rules = {"groups": [{"name": "board", "rules": [
            {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
            for number, query in enumerate(queries)]}]}
        (self.folder / "board.yaml").write_text(json.dumps(rules))  # JSON is YAML
        self.promtool("check", "rules", self.folder / "board.yaml")

    def test_the_alerts_speak_of_what_there_is_and_say_what_they_mean(self):
        self.promtool("check", "rules", RULES)
        rules = RULES.read_text()
        alerts = rules.split("- alert: ")[1:]
        for alert in alerts:
            expression = re.search(r"expr: (?:>-\n)?(.*?)\n        (?:for|labels):", alert, re.S)[1]
            self.assert_speaks_of_what_there_is(expression)
            for part in ("severity:", "summary:", "description:"):
                self.assertIn(part, alert)

    def test_alerts_are_raised_when_they_should_be(self):
        self.promtool("test", "rules", RULES_TEST)

    def promtool(self, *arguments):
        done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def wait_for(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_the_page_lists_every_metric_and_no_other(self):
        documented = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE.read_text(), re.M))
        served = set(names_of(self.busy_server().get("/metrics").text))
        forwarding = {name for name in documented if name.startswith("espy_forward_")}  # with --cassandra alone
        self.assertEqual(documented - forwarding, served)
        source = (ROOT / "src/http/metrics.cc").read_text()
        self.assertEqual(forwarding, set(re.findall(r'"(espy_forward_[a-z_]+)"', source)))

    def test_the_log_goes_where_it_is_asked_to(self):
        for to in ("stderr", "stdout"):
            with open(self.folder / "out", "wb") as out, open(self.folder / "err", "wb") as err:
                process = subprocess.Popen([espy.BINARY, "serve", "--port", "0", "--store", "sqlite::memory:", "--log-format",
                                            "json", "--log-to", to], stdout=out, stderr=err)
            self.addCleanup(process.kill)
            read = lambda: {"stdout": (self.folder / "out").read_text(), "stderr": (self.folder / "err").read_text()}  # noqa: E731
            self.wait_for(lambda: '{"time":' in "".join(read().values()))
            process.terminate()
            self.assertEqual(process.wait(60), 0)
            said = read()
            lines = {name: [line for line in text.splitlines() if line.startswith('{"time":')] for name, text in said.items()}
            self.assertTrue([json.loads(line)["level"] for line in lines.pop(to)])
            self.assertEqual(list(lines.values()), [[]])


if __name__ == "__main__":
    espy.main()
