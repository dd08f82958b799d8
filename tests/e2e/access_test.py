"""Who may come in: keys and scopes, rates, pages of other origins, and what a server says of its own exposure."""
import json
import signal
import socket
import subprocess
import time

import espy
import pictures

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Access(espy.TestCase):
    def make_key(self, name, *scopes):
        flags = [flag for scope in scopes for flag in ("--scope", scope)]
        return self.run_espy("key", "create", name, "--keys", "espy.keys", *flags).stdout.strip()

    def setUp(self):
        super().setUp()
        self.ann = self.make_key("ann", "predict")
        self.bob = self.make_key("bob", "history")
        self.root = self.make_key("root", "admin")
        self.server = self.serve("--keys", "espy.keys")

    def status(self, method, path, key=None, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return self.server.request(method, path, body, headers).status

    def test_a_key_may_what_its_scopes_say(self):
        picture = pictures.seven()
        record = self.server.request("POST", "/api/predict", picture, {"X-Api-Key": self.ann}).json
        correction = (json.dumps({"label": 1}), {"Content_Type": "application/json"})
        routes = {
            ("GET", "/"): "ann", ("GET", "/api/models"): "ann", ("POST", "/api/predict"): "ann",
            ("GET", "/history"): "bob", ("GET", "/api/history"): "bob", ("GET", f"/api/history/{record['id']}"): "bob",
            ("GET", record["upload"]["url"]): "bob", ("POST", f"/api/history/{record['id']}/correction"): "bob",
            ("GET", "/metrics"): "root",
        }
        keys = {"ann": self.ann, "bob": self.bob, "root": self.root}
        for (method, path), owner in routes.items():
            body, headers = (None, {}) if method == "GET" else correction if "correction" in path else (picture, {})
            self.assertEqual(self.status(method, path, None, body, **headers), 401, path)
            self.assertEqual(self.status(method, path, "espy_" + "0" * 64, body, **headers), 401, path)
            for name, key in keys.items():
                expected = 200 if name == owner else 403
                self.assertEqual(self.status(method, path, key, body, **headers), expected, f"{name} {path}")
        for path in ("/livez", "/readyz", "/style.css", "/login"):
            self.assertEqual(self.status("GET", path), 200, path)

    def test_a_refusal_says_what_is_missing(self):
        answer = self.server.get("/api/history")
        self.assert_error(answer, 401, "unauthorized", "this needs a key")
        self.assertIn("Bearer", answer.headers["www-authenticate"])
        answer = self.server.get("/api/history", Authorization=f"Bearer {self.ann}")
        self.assert_error(answer, 403, "forbidden", "ann may not do this, only predict")
        answer = self.server.get("/api/history", Authorization="Basic YTpi")
        self.assert_error(answer, 401, "unauthorized", "this needs a key")  # that is a proxy's
        for fields in ({"Authorization": "Basic YTpi", "X-Api-Key": self.bob}, {"X-Api-Key": self.bob, "Authorization": "Basic YTpi"}):
            self.assertEqual(self.server.get("/api/history", **fields).status, 200)

    def test_the_file_has_no_key_and_lists_names(self):
        text = (self.folder / "espy.keys").read_text()
        for key in (self.ann, self.bob, self.root):
            self.assertNotIn(key[5:], text)
        self.assertEqual(self.run_espy("key", "list").stdout.split(),
                         ["ann", "predict", "bob", "history", "root", "admin"])
        self.run_espy("key", "create", "ann", status=1)
        self.run_espy("key", "create", "a b", status=1)
        self.run_espy("key", "remove", "nobody", status=1)

    def wait_for(self, status, key):
        deadline = time.monotonic() + 60
        while self.status("GET", "/api/models", key) != status:
            self.assertLess(time.monotonic(), deadline, self.server.log)
            time.sleep(0.05)

    def test_keys_come_and_go_while_it_serves(self):
        carol = self.make_key("carol", "predict")
        self.wait_for(200, carol)  # without a signal
        self.run_espy("key", "remove", "carol")
        self.server.process.send_signal(signal.SIGHUP)
        self.wait_for(401, carol)
        (self.folder / "espy.keys").write_text("nonsense\n")
        self.server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while "still in use" not in self.server.log:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertEqual(self.status("GET", "/api/models", self.ann), 200)

    def test_logging_in_sets_a_cookie_that_only_browsers_of_this_origin_send(self):
        page = self.server.get("/", Accept="text/html")
        self.assertEqual(page.status, 401)
        self.assertIn('action="/login"', page.text)
        wrong = self.server.request("POST", "/login", "key=espy_wrong", FORM)
        self.assertEqual(wrong.status, 401)
        self.assertNotIn("set-cookie", wrong.headers)
        answer = self.server.request("POST", "/login", f"key={self.bob}&next=//evil.example", FORM)
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/"))
        cookie = answer.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
            self.assertIn(part, cookie)
        cookie = cookie.split(";")[0]
        self.assertEqual(self.status("GET", "/history", Cookie=cookie), 200)
        self.assertEqual(self.status("GET", "/", Cookie=cookie), 403)
        answer = self.server.request("POST", "/logout", "", FORM)
        self.assertIn("Max-Age=0", answer.headers["set-cookie"])

    def test_no_page_of_another_origin_uses_a_cookie(self):
        body, content_type = espy.multipart(pictures.seven())
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                        {"Sec-Fetch-Site": "same-site", "Origin": f"http://127.0.0.1:{self.server.port}"}):
            for path in ("/", "/api/predict", "/login", "/logout"):
                answer = self.server.request("POST", path, body, {"Content-Type": content_type, **headers,
                                                                  "Cookie": f"espy_key={self.ann}"})
                self.assertEqual(answer.status, 403, (path, headers))
        own = {"Origin": f"http://127.0.0.1:{self.server.port}", "Sec-Fetch-Site": "same-origin"}
        answer = self.server.request("POST", "/", body, {"Content-Type": content_type, **own, "Cookie": f"espy_key={self.ann}"})
        self.assertEqual(answer.status, 200)


class Rates(espy.TestCase):
    def test_an_address_and_a_key_have_a_bucket_each(self):
        key = self.run_espy("key", "create", "ann").stdout.strip()
        server = self.serve("--rate", "5", "--keys", "espy.keys")
        answers = [server.get("/api/models", Authorization=f"Bearer {key}") for _ in range(12)]
        refused = [answer for answer in answers if answer.status == 429]
        self.assertTrue(4 <= 12 - len(refused) <= 8, answers)
        self.assert_error(refused[0], 429, "too_many_requests", "this key sends more than 5")
        self.assertGreaterEqual(int(refused[0].headers["retry-after"]), 1)
        self.assertEqual(server.get("/api/models").status, 401, "the address has not used up its own")
        statuses = [server.get("/api/models").status for _ in range(12)]
        self.assertIn(429, statuses)
        self.assertEqual({server.get("/livez").status for _ in range(30)}, {200}, "probes are free")
        time.sleep(1.2)
        self.assertEqual(server.get("/api/models", Authorization=f"Bearer {key}").status, 200)

    def test_by_default_there_is_no_limit(self):
        server = self.serve()
        self.assertEqual({server.get("/api/models").status for _ in range(200)}, {200})


class Origins(espy.TestCase):
    PREFLIGHT = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "authorization"}

    def test_by_default_no_page_of_another_origin_may_ask(self):
        server = self.serve()
        answer = server.request("OPTIONS", "/api/predict", headers=self.PREFLIGHT)
        self.assertEqual(answer.status, 405)
        self.assertNotIn("access-control-allow-origin", answer.headers)
        self.assertNotIn("access-control-allow-origin", server.get("/api/models", Origin="https://app.example").headers)

    def test_an_origin_that_was_named_may(self):
        server = self.serve("--cors-origin", "https://app.example")
        answer = server.request("OPTIONS", "/api/predict", headers=self.PREFLIGHT)
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://app.example")
        self.assertIn("Authorization", answer.headers["access-control-allow-headers"])
        answer = server.request("POST", "/api/predict", pictures.seven(), {"Origin": "https://app.example"})
        self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (200, "https://app.example"))
        self.assertNotIn("access-control-allow-credentials", answer.headers)
        answer = server.get("/api/models", Origin="https://other.example")
        self.assertNotIn("access-control-allow-origin", answer.headers)
        self.assertEqual(answer.headers["vary"], "Origin")

    def test_pages_carry_the_headers_that_protect_them(self):
        headers = self.serve().get("/").headers
        self.assertIn("default-src 'none'", headers["content-security-policy"])
        self.assertIn("frame-ancestors 'none'", headers["content-security-policy"])
        for name, value in {"x-content-type-options": "nosniff", "x-frame-options": "DENY",
                            "referrer-policy": "same-origin", "cross-origin-opener-policy": "same-origin",
                            "cross-origin-resource-policy": "same-origin"}.items():
            self.assertEqual(headers[name], value)


class Exposure(espy.TestCase):
    def test_without_a_host_only_this_machine_reaches_it(self):
        server = self.serve()
        self.assertIn("http://127.0.0.1:", server.log)
        self.assert_said(server, "only this machine can reach it")
        name = socket.gethostbyname(socket.gethostname())
        if not name.startswith("127."):
            with self.assertRaises(OSError):
                socket.create_connection((name, server.port), timeout=2)

    def test_everywhere_without_keys_is_warned_of(self):
        self.assert_said(self.serve("--host", "0.0.0.0"), "there are no keys")

    def test_keys_in_the_clear_are_warned_of(self):
        self.run_espy("key", "create", "ann")
        self.assert_said(self.serve("--host", "0.0.0.0", "--keys", "espy.keys"), "unencrypted")

    def assert_said(self, server, piece):
        deadline = time.monotonic() + 60
        while piece not in server.log:
            self.assertLess(time.monotonic(), deadline, server.log)
            time.sleep(0.02)

    def test_a_file_of_keys_that_is_missing_or_broken_is_no_open_door(self):
        (self.folder / "broken").write_text("ann everything 00\n")
        for file in ("nowhere", "broken"):
            done = subprocess.run([espy.BINARY, "serve", "--port", "0", "--keys", file], cwd=self.folder,
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn(file, done.stderr)


if __name__ == "__main__":
    espy.main()
