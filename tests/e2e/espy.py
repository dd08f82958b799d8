"""What the end-to-end tests share: the real program, run and served from a folder of its own.

ESPY_BINARY names the program. Everything is spoken over sockets and files, as a user would.
"""
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BINARY = os.path.abspath(os.environ["ESPY_BINARY"])
SLOW = os.environ.get("ESPY_TEST_SLOW") == "1"  # script/test --all


class Answer:
    """An HTTP answer: status, headers (names in lower case), body."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:300]!r}"


def multipart(content, file_name="seven.png", field="file", boundary="frontier", media="image/png"):
    """Returns (body, content type) of a form with one file."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{file_name}"\r\n'
    head += f"Content-Type: {media}\r\n\r\n"
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class Server:
    """`espy serve` on a free port. Its store is history.db in `folder`, its talk is in serve.log."""

    def __init__(self, folder, *arguments):
        self.folder = pathlib.Path(folder)
        self.log_path = self.folder / "serve.log"
        command = [BINARY, "serve", "--port", "0", "--store", "sqlite:history.db", *map(str, arguments)]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.port = self._wait_for_port()

    def _wait_for_port(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            ready = re.search(r"https?://[^\s/]*:(\d+)", self.log)
            if ready:
                return int(ready[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.005)
        self.kill()
        raise AssertionError(f"espy serve did not come up: {self.log}")

    def wait_until_ready(self):
        """It answers at once, but says that it is ready when each of its loops can classify."""
        deadline = time.monotonic() + 30
        while self.get("/readyz").status != 200:
            assert time.monotonic() < deadline, self.get("/readyz")
            time.sleep(0.01)

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def stop(self):
        """Asks the server to stop and returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def connect(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None):
        """Asks once, on a connection of its own; follows no redirect."""
        connection = self.connect()
        try:
            connection.request(method, path, body, {"Connection": "close", **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def upload(self, content, path="/", accept="*/*", **parts):
        """Posts a file as a form does; `parts` as multipart() has them."""
        body, content_type = multipart(content, **parts)
        return self.request("POST", path, body, {"Content-Type": content_type, "Accept": accept})

    def history(self, query="", limit=None):
        """Returns the records that match, newest first, from all pages (or of the first `limit` only)."""
        records, cursor = [], ""
        while True:
            page = self.get(f"/api/history?limit={limit or 1000}{query}{cursor}")
            assert page.status == 200, page
            records += page.json["records"]
            if limit or not page.json.get("next"):
                return records
            cursor = f"&before={page.json['next']}"


class TestCase(unittest.TestCase):
    """A test with a folder of its own, which goes away with it."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="espy-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run_espy(self, *arguments, status=0, timeout=600, **options):
        """Runs `espy ARGUMENTS` in the folder, checks its exit status, and returns what it printed."""
        done = subprocess.run([BINARY, *map(str, arguments)], cwd=self.folder, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout, **options)
        self.assertEqual(done.returncode, status, f"espy {arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def serve(self, *arguments):
        # A busy machine stands still for seconds, and then the server rightly refuses what waited: only the tests of
        # overload are about that.
        patience = [] if "--max-wait" in arguments else ["--max-wait", "60"]
        server = Server(self.folder, *patience, *arguments)
        self.addCleanup(server.kill)
        return server

    def assert_error(self, answer, status, code, piece):
        """Checks the one shape that errors have."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers.get("content-type", "").split(";")[0], "application/json", answer)
        self.assertEqual(answer.json["error"]["code"], code, answer)
        self.assertIn(piece, answer.json["error"]["message"])


def main():
    unittest.main(verbosity=2)
