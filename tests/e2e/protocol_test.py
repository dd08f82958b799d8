"""HTTP/1.1 as it comes over a socket, byte by byte: what a library's client would never send, too."""
import json
import signal
import socket
import time

import espy
import pictures


class Connection:
    """A bare socket that reads answers one at a time."""

    def __init__(self, port, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _receive(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def head(self):
        """Returns the next answer's status and headers."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._receive():
                raise EOFError(f"closed after {self.buffer!r}")
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", first
        return int(status), [tuple(line.split(": ", 1)) for line in lines]

    def answer(self, method="POST"):
        """Returns the next whole answer."""
        status, headers = self.head()
        answer = espy.Answer(status, headers, b"")
        if status < 200:
            return answer
        length = 0 if method == "HEAD" else int(answer.headers["content-length"])
        while len(self.buffer) < length:
            if not self._receive():
                raise EOFError(f"closed in the body after {len(self.buffer)} of {length} bytes")
        answer.body, self.buffer = self.buffer[:length], self.buffer[length:]
        return answer

    def is_closed(self):
        """Waits for the server to close; returns whether it did so without another byte."""
        while self._receive():
            pass
        return self.buffer == b""


def post(content, path="/", headers="", content_type=None):
    """Returns the bytes of a request with a form of one file."""
    body, form_type = espy.multipart(content)
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type or form_type}\r\n"
            f"Content-Length: {len(body)}\r\n{headers}\r\n").encode() + body


GET_LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
RESULT = "The result is: 7\n"


class ProtocolTest(espy.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.serve(*self.arguments)

    arguments = ()

    def connect(self, **options):
        return Connection(self.server.port, **options)

    def tearDown(self):
        self.assertEqual(self.server.get("/livez").status, 200, "the server must have survived the test")


class Connections(ProtocolTest):
    def test_a_connection_is_kept_for_the_next_request(self):
        with self.connect() as connection:
            for _ in range(3):
                connection.send(post(pictures.seven()))
                self.assertEqual(connection.answer().text, RESULT)

    def test_pipelined_requests_are_answered_in_order(self):
        with self.connect() as connection:
            connection.send(GET_LIVEZ + post(pictures.seven()) + b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n" +
                            post(pictures.boot(), "/?model=garments") + GET_LIVEZ)
            answers = [connection.answer() for _ in range(5)]
        self.assertEqual([answer.status for answer in answers], [200, 200, 404, 200, 200])
        self.assertEqual(answers[1].text, RESULT)
        self.assertEqual(answers[3].text, "The result is: Ankle boot\n")

    def test_a_hundred_pipelined_uploads_are_all_answered_and_kept(self):
        with self.connect() as connection:
            connection.send(post(pictures.seven()) * 100)
            answers = [connection.answer().text for _ in range(100)]
        self.assertEqual(answers, [RESULT] * 100)
        self.assertEqual(len(self.server.history()), 100)

    def test_a_request_may_come_one_byte_at_a_time(self):
        with self.connect() as connection:
            for byte in post(pictures.seven()):
                connection.send(bytes([byte]))
            self.assertEqual(connection.answer().text, RESULT)

    def test_connection_close_is_honoured(self):
        with self.connect() as connection:
            connection.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = connection.answer()
            self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
            self.assertTrue(connection.is_closed())

    def test_http_1_0_closes_unless_asked_to_keep_alive(self):
        with self.connect() as connection:
            connection.send(b"GET /livez HTTP/1.0\r\n\r\n")
            self.assertEqual(connection.answer().status, 200)
            self.assertTrue(connection.is_closed())
        with self.connect() as connection:
            for _ in range(2):
                connection.send(b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                answer = connection.answer()
                self.assertEqual((answer.status, answer.headers["connection"].lower()), (200, "keep-alive"))

    def test_head_has_the_headers_of_get_and_no_body(self):
        with self.connect() as connection:
            connection.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET_LIVEZ)
            head = connection.answer("HEAD")
            self.assertEqual(head.status, 200)
            self.assertGreater(int(head.headers["content-length"]), 0)
            self.assertEqual(connection.answer().status, 200)

    def test_a_method_that_a_route_has_not_is_405_with_those_that_it_has(self):
        with self.connect() as connection:
            connection.send(b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = connection.answer()
        self.assertEqual(answer.status, 405)
        self.assertIn("POST", answer.headers["allow"])

    def test_clients_that_leave_at_any_moment_do_no_harm(self):
        request = post(pictures.seven())
        for length in range(0, len(request), 7):
            with self.connect() as connection:
                connection.send(request[:length])
        self.assertEqual(self.server.upload(pictures.seven()).text, RESULT)


class Bodies(ProtocolTest):
    def test_expect_100_continue_is_answered_before_the_body(self):
        head, body = post(pictures.seven(), headers="Expect: 100-continue\r\n").split(b"\r\n\r\n", 1)
        with self.connect() as connection:
            connection.send(head + b"\r\n\r\n")
            self.assertEqual(connection.answer().status, 100)
            connection.send(body)
            self.assertEqual(connection.answer().text, RESULT)

    def test_a_body_that_is_too_large_is_refused_before_it_is_sent(self):
        with self.connect() as connection:
            connection.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
                            b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
            self.assert_error(connection.answer(), 413, "too_large", "1000000000")

    def test_an_expectation_that_cannot_be_met_is_417(self):
        with self.connect() as connection:
            connection.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\n\r\n")
            self.assertEqual(connection.answer().status, 417)

    def test_a_chunked_body_is_put_together(self):
        body, form_type = espy.multipart(pictures.seven())
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: {form_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        for size in (1, 100, len(body)):
            chunks = [body[i : i + size] for i in range(0, len(body), size)]
            framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
            with self.subTest(size=size), self.connect() as connection:
                connection.send(head.encode() + framed + GET_LIVEZ)
                self.assertEqual(connection.answer().text, RESULT)
                self.assertEqual(connection.answer().status, 200)

    def test_a_chunked_body_has_the_same_limit(self):
        with self.connect() as connection:
            connection.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
                            b"Transfer-Encoding: chunked\r\n\r\n")
            chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
            try:
                for _ in range(32):
                    connection.send(chunk)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before the end, as it should be
            try:
                self.assertEqual(connection.answer().status, 413)
            except EOFError:
                pass  # the answer was lost to the reset that unread bytes cause

    def test_what_follows_a_body_is_the_next_request(self):
        with self.connect() as connection:
            connection.send(post(pictures.seven()) + b"surplus\r\n\r\n")
            self.assertEqual(connection.answer().text, RESULT)
            self.assert_error(connection.answer(), 400, "invalid_input", "")
            self.assertTrue(connection.is_closed())

    def test_a_body_that_ends_early_leaves_no_record(self):
        with self.connect() as connection:
            connection.send(post(pictures.seven())[:-10])
            connection.socket.shutdown(socket.SHUT_WR)
            try:
                self.assertEqual(connection.answer().status, 400)
            except EOFError:
                pass
            self.assertTrue(connection.is_closed())
        self.assertEqual(self.server.history(), [])


class Framing(ProtocolTest):
    def test_requests_that_could_be_read_in_two_ways_are_refused(self):
        host = b"Host: localhost\r\n"
        requests = {
            "two hosts": b"GET / HTTP/1.1\r\n" + host + b"Host: elsewhere\r\n\r\n",
            "no host": b"GET / HTTP/1.1\r\n\r\n",
            "both lengths": b"POST / HTTP/1.1\r\n" + host +
                            b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "two lengths": b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
            "length with a sign": b"POST / HTTP/1.1\r\n" + host + b"Content-Length: +4\r\n\r\nabcd",
            "length of words": b"POST / HTTP/1.1\r\n" + host + b"Content-Length: four\r\n\r\nabcd",
            "length beyond numbers": b"POST / HTTP/1.1\r\n" + host +
                                     b"Content-Length: 99999999999999999999999\r\n\r\n",
            "almost chunked": b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "chunked twice": b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "bad chunk size": b"POST / HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "space before the colon": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
            "no version": b"GET /\r\n\r\n",
            "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            "control characters": b"GET /\x00 HTTP/1.1\r\n" + host + b"\r\n",
        }
        for name, request in requests.items():
            with self.subTest(name), self.connect() as connection:
                connection.send(request)
                self.assertIn(connection.answer().status, (400, 413, 501))
                self.assertTrue(connection.is_closed(), "nothing after it may be believed")

    def test_http_1_0_with_chunks_is_refused(self):
        with self.connect() as connection:
            connection.send(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            self.assertEqual(connection.answer().status, 400)
            self.assertTrue(connection.is_closed())

    def test_a_later_version_of_http_is_refused(self):
        with self.connect() as connection:
            connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            self.assertIn(connection.answer().status, (400, 505))

    def test_a_huge_head_is_refused(self):
        for name, request in {
            "one header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000,
            "many headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100_000,
            "the target": b"GET /" + b"x" * 1_000_000,
        }.items():
            with self.subTest(name), self.connect() as connection:
                try:
                    connection.send(request)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                try:
                    self.assertIn(connection.answer().status, (414, 431))
                except EOFError:
                    pass  # the answer was lost to the reset that unread bytes cause


class Patience(ProtocolTest):
    arguments = ("--request-timeout", "1", "--idle-timeout", "1")

    def assert_given_up(self, connection, started):
        self.assertTrue(0.5 < time.monotonic() - started < 8, "it was given up after a second or so")

    def test_a_slow_body_is_given_up(self):
        with self.connect() as connection:
            started = time.monotonic()
            connection.send(post(pictures.seven())[:-10])
            self.assert_error(connection.answer(), 408, "timeout", "1")
            self.assertTrue(connection.is_closed())
            self.assert_given_up(connection, started)

    def test_a_head_that_drips_is_given_up(self):
        with self.connect() as connection:
            started = time.monotonic()
            try:
                for _ in range(200):  # a byte now and then does not begin the time anew
                    connection.send(b"G" if connection.buffer == b"" else b"E")
                    time.sleep(0.05)
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.assert_given_up(connection, started)

    def test_an_idle_connection_is_closed(self):
        with self.connect() as connection:
            connection.send(GET_LIVEZ)
            self.assertEqual(connection.answer().status, 200)
            started = time.monotonic()
            self.assertTrue(connection.is_closed())
            self.assert_given_up(connection, started)


class Limits(ProtocolTest):
    arguments = ("--max-connections", "8")

    def test_a_connection_too_many_is_refused_and_the_others_go_on(self):
        held = [self.connect() for _ in range(8)]
        for connection in held:
            connection.send(GET_LIVEZ)
            self.assertEqual(connection.answer().status, 200)
        with self.connect() as surplus:
            try:
                surplus.send(GET_LIVEZ)
                self.assertEqual(surplus.answer().status, 503)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                pass  # closed without a word is a refusal, too
        for connection in held:
            connection.send(post(pictures.seven()))
            self.assertEqual(connection.answer().text, RESULT)
            connection.socket.close()
        deadline = time.monotonic() + 60
        while True:  # the server learns of the closed ones in its own time
            try:
                if self.server.get("/livez").status == 200:
                    return
            except OSError:
                pass
            self.assertLess(time.monotonic(), deadline, "there is room again")


class Stopping(espy.TestCase):
    def test_a_request_in_hand_is_finished_and_kept(self):
        server = self.serve()
        request = post(pictures.seven(), "/api/predict")
        with Connection(server.port) as connection, Connection(server.port) as idle:
            idle.send(GET_LIVEZ)
            self.assertEqual(idle.answer().status, 200)
            connection.send(request[:-20])
            time.sleep(0.2)  # so that the server has begun to read it
            server.process.terminate()
            self.assertTrue(idle.is_closed(), "idle connections are closed at once")
            with self.assertRaises((ConnectionError, EOFError), msg="no new connection is served"):
                with Connection(server.port) as late:
                    late.send(GET_LIVEZ)
                    late.answer()
            connection.send(request[-20:])
            answer = connection.answer()
            self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
            self.assertTrue(connection.is_closed())
        self.assertEqual(server.process.wait(10), 0)
        restarted = self.serve()
        self.assertEqual([record["id"] for record in restarted.history()], [json.loads(answer.body)["id"]])

    def test_a_second_signal_stops_it_at_once(self):
        server = self.serve("--stop-timeout", "60")
        with Connection(server.port) as connection, Connection(server.port) as idle:
            idle.send(GET_LIVEZ)
            self.assertEqual(idle.answer().status, 200)
            connection.send(post(pictures.seven(), "/api/predict")[:-20])
            time.sleep(0.2)  # so that the server has begun to read it
            server.process.send_signal(signal.SIGTERM)
            self.assertTrue(idle.is_closed(), "it is stopping")
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
            self.assertIsNone(server.process.poll(), "there is nothing to reload, and no reason to go")
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(20), -signal.SIGTERM)

    def test_an_idle_server_stops_at_once(self):
        server = self.serve()
        started = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - started, 20)


if __name__ == "__main__":
    espy.main()
