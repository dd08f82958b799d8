"""TLS as clients see it: curl and Python, the versions that are spoken, and a certificate that changes while it serves."""
import http.client
import os
import signal
import socket
import ssl
import subprocess
import time

import espy
import pictures
from protocol_test import GET_LIVEZ, RESULT, post


def make_certificate(folder, name, common_name="localhost"):
    """Writes NAME.pem and NAME.key for localhost; returns their paths."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", f"/CN={common_name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


class Tls(espy.TestCase):
    def setUp(self):
        super().setUp()
        self.certificate, self.key = make_certificate(self.folder, "first")
        (self.folder / "seven.png").write_bytes(pictures.seven())

    def start(self, *arguments):
        server = self.serve("--tls-certificate", self.certificate, "--tls-key", self.key, *arguments)
        self.assertIn("https://127.0.0.1", server.log)
        return server

    def context(self, **options):
        context = ssl.create_default_context(cafile=self.certificate)
        for name, value in options.items():
            setattr(context, name, value)
        return context

    def connect(self, server, context=None):
        plain = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        return (context or self.context()).wrap_socket(plain, server_hostname="localhost")

    def get(self, server):
        connection = http.client.HTTPSConnection("localhost", server.port, context=self.context(), timeout=60)
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def test_curl_uploads(self):
        server = self.start()
        for options in ([], ["--http1.1"], ["--tlsv1.3"], ["--tlsv1.2", "--tls-max", "1.2"]):
            with self.subTest(options):
                done = subprocess.run(["curl", "--silent", "--show-error", "--cacert", self.certificate, *options,
                                       "--form", "file=@seven.png", f"https://localhost:{server.port}/"],
                                      cwd=self.folder, capture_output=True, text=True, timeout=30)
                self.assertEqual((done.returncode, done.stdout), (0, RESULT), done.stderr)

    def test_a_connection_is_kept_and_large_answers_come_whole(self):
        server = self.start()
        large = pictures.encoded(pictures.Image.effect_noise((800, 800), 80))
        connection = http.client.HTTPSConnection("localhost", server.port, context=self.context(), timeout=60)
        body, content_type = espy.multipart(large)
        for _ in range(3):
            connection.request("POST", "/api/predict", body, {"Content-Type": content_type})
            answer = connection.getresponse()
            record = espy.Answer(answer.status, answer.getheaders(), answer.read()).json
            connection.request("GET", record["upload"]["url"])
            self.assertEqual(connection.getresponse().read(), large)
        connection.close()

    def test_pipelined_requests_and_a_half_close(self):
        server = self.start()
        with self.connect(server) as connection:
            connection.sendall(post(pictures.seven()) * 20 + GET_LIVEZ.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            received = b""
            while data := connection.recv(65536):
                received += data
        self.assertEqual(received.count(RESULT.encode()), 20)
        self.assertIn(b'{"status":"ok"}', received)

    def test_old_versions_are_refused_and_new_ones_spoken(self):
        server = self.start()
        for version, spoken in ((ssl.TLSVersion.TLSv1_3, "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, "TLSv1.2")):
            with self.connect(server, self.context(minimum_version=version, maximum_version=version)) as connection:
                self.assertEqual(connection.version(), spoken)
                cipher = connection.cipher()[0]
                self.assertTrue("GCM" in cipher or "CHACHA20" in cipher, cipher)
        old = self.context(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with self.assertRaises((ssl.SSLError, ConnectionResetError)):
            self.connect(server, old)
        self.assertEqual(self.get(server)[0], 200)

    def test_health_is_asked_over_tls(self):
        server = self.start()
        for arguments in ((f"https://localhost:{server.port}",), ("--port", server.port, "--tls-certificate", self.certificate)):
            self.assertEqual(self.run_espy("health", *arguments).stdout, "ok\n")
        self.assertNotEqual(subprocess.run([espy.BINARY, "health", f"http://localhost:{server.port}"],
                                           capture_output=True).returncode, 0)

    def test_http_1_1_is_agreed_on(self):
        server = self.start()
        context = self.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with self.connect(server, context) as connection:
            self.assertEqual(connection.selected_alpn_protocol(), "http/1.1")

    def test_what_is_not_encrypted_is_let_go(self):
        server = self.start("--request-timeout", "1")
        for first in (GET_LIVEZ, b"\x16\x03\x01", b"", os.urandom(500)):
            with self.subTest(first[:20]), socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain:
                plain.sendall(first)
                try:
                    while data := plain.recv(65536):
                        self.assertNotIn(b"HTTP", data)
                except ConnectionResetError:
                    pass
        self.assertEqual(self.get(server)[0], 200)

    def test_the_certificate_changes_while_it_serves(self):
        server = self.start()
        second, second_key = make_certificate(self.folder, "second")

        def serial():
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with self.connect(server, context) as connection:
                return connection.getpeercert(binary_form=True)

        def wait_until_changed(before):
            deadline = time.monotonic() + 60
            while serial() == before:
                self.assertLess(time.monotonic(), deadline, server.log)
                time.sleep(0.05)

        before = serial()
        with self.connect(server) as old:
            self.key.write_bytes(b"nonsense")  # a broken file changes nothing
            server.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 60
            while "still in use" not in server.log:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            self.assertEqual(serial(), before)

            self.key.write_bytes(second_key.read_bytes())
            self.certificate.write_bytes(second.read_bytes())
            server.process.send_signal(signal.SIGHUP)
            wait_until_changed(before)
            old.sendall(GET_LIVEZ)
            self.assertIn(b"200 OK", old.recv(65536), "a connection keeps what it began with")

        between = serial()
        third, third_key = make_certificate(self.folder, "third")  # now without a signal
        self.key.write_bytes(third_key.read_bytes())
        self.certificate.write_bytes(third.read_bytes())
        wait_until_changed(between)
        self.assertEqual(self.get(server)[0], 200)

    def test_mistakes_are_said_at_the_start(self):
        _, other = make_certificate(self.folder, "other")
        for arguments, piece in ((["--tls-certificate", self.certificate], "go together"),
                                 (["--tls-certificate", "nowhere", "--tls-key", self.key], "nowhere"),
                                 (["--tls-certificate", self.certificate, "--tls-key", other], "other.key"),
                                 (["--tls-certificate", "seven.png", "--tls-key", self.key], "seven.png")):
            with self.subTest(piece):
                done = subprocess.run([espy.BINARY, "serve", "--port", "0", "--store", "sqlite::memory:",
                                       *map(str, arguments)], cwd=self.folder, capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(piece, done.stderr)


if __name__ == "__main__":
    espy.main()
