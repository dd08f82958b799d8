"""Clients that mean no good, or are very slow: they are cut off in time, and the others are served meanwhile."""
import random
import socket
import threading
import time

import espy
import pictures
from protocol_test import GET_LIVEZ, RESULT, Connection, post


class Abuse(espy.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.serve("--request-timeout", "1", "--idle-timeout", "30", "--max-connections", "400")

    def served_meanwhile(self):
        """Uploads on fresh connections until asked to stop; returns how to stop it and get the latencies."""
        latencies, stopped = [], threading.Event()

        def work():
            while not stopped.is_set():
                began = time.monotonic()
                assert self.server.upload(pictures.seven()).text == RESULT
                latencies.append(time.monotonic() - began)

        thread = threading.Thread(target=work)
        thread.start()

        def finish():
            stopped.set()
            thread.join()
            self.assertGreater(len(latencies), 20, "others were served")
            self.assertLess(sorted(latencies)[len(latencies) * 9 // 10], 2, "and soon")

        return finish

    def assert_all_closed(self, connections, seconds):
        """Drips on until every connection is closed, which must be so after some seconds."""
        deadline = time.monotonic() + seconds
        while connections and time.monotonic() < deadline:
            for connection in list(connections):
                try:
                    connection.sendall(b"a")
                    connection.setblocking(False)
                    try:
                        while connection.recv(65536):
                            pass
                        raise ConnectionResetError
                    except BlockingIOError:
                        connection.setblocking(True)
                except OSError:
                    connections.remove(connection)
                    connection.close()
            time.sleep(0.1)
        self.assertEqual(len(connections), 0, f"all are closed within {seconds} s")

    def open(self, count, request):
        connections = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=60)
            connection.sendall(request)
            connections.append(connection)
        return connections

    def test_heads_that_drip_are_cut_off(self):
        finish = self.served_meanwhile()
        self.assert_all_closed(self.open(150, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: "), 25)
        finish()

    def test_bodies_that_drip_are_cut_off(self):
        finish = self.served_meanwhile()
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
        self.assert_all_closed(self.open(150, head), 25)
        finish()

    def test_chunks_that_drip_are_cut_off(self):
        finish = self.served_meanwhile()
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n"
        self.assert_all_closed(self.open(150, head), 25)
        finish()

    def test_readers_that_drip_are_cut_off(self):
        finish = self.served_meanwhile()
        readers = []
        for _ in range(8):
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", self.server.port))
            reader.setblocking(False)
            readers.append(reader)
        deadline = time.monotonic() + 60
        while readers and time.monotonic() < deadline:
            for reader in list(readers):
                try:
                    reader.send(GET_LIVEZ * 500)
                except BlockingIOError:
                    pass
                except OSError:
                    readers.remove(reader)
                    reader.close()
                    continue
                try:
                    reader.recv(1)  # so little that the answers never end
                except BlockingIOError:
                    pass
                except OSError:
                    readers.remove(reader)
                    reader.close()
            time.sleep(0.02)
        finish()
        self.assertEqual(len(readers), 0, "who takes a byte now and then is cut off")

    def test_a_flood_beyond_the_cap_is_turned_away(self):
        with Connection(self.server.port) as regular:
            regular.send(GET_LIVEZ)
            self.assertEqual(regular.answer().status, 200)
            flood = []
            for _ in range(1500):
                connection = socket.socket()
                connection.setblocking(False)
                connection.connect_ex(("127.0.0.1", self.server.port))
                flood.append(connection)
            for _ in range(20):  # who is in is served through the flood
                regular.send(post(pictures.seven()))
                self.assertEqual(regular.answer().text, RESULT)
            for connection in flood:
                connection.close()
        self.assert_served_again()

    def assert_served_again(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.server.get("/livez").status == 200:
                    return
            except OSError:
                pass
            self.assertLess(time.monotonic(), deadline, "there is room again")
            time.sleep(0.05)

    def test_a_half_closed_connection_gets_its_answers(self):
        with Connection(self.server.port) as connection:
            connection.send(post(pictures.seven()) * 3 + GET_LIVEZ)
            connection.socket.shutdown(socket.SHUT_WR)
            for _ in range(3):
                self.assertEqual(connection.answer().text, RESULT)
            self.assertEqual(connection.answer().status, 200)
            self.assertTrue(connection.is_closed())

    def test_who_half_closes_and_says_nothing_is_let_go(self):
        connections = self.open(50, b"")
        for connection in connections:
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(5)
            self.assertEqual(connection.recv(1), b"")
            connection.close()

    def test_garbage_behind_good_requests(self):
        source = random.Random(7)
        for size in (1, 10, 1000, 100_000):
            for _ in range(10):
                with self.subTest(size), Connection(self.server.port) as connection:
                    garbage = source.randbytes(size)
                    try:
                        connection.send(GET_LIVEZ + post(pictures.seven()) + garbage + b"\r\n\r\n")
                    except (BrokenPipeError, ConnectionResetError):
                        continue
                    try:
                        self.assertEqual(connection.answer().status, 200)
                        self.assertEqual(connection.answer().text, RESULT)
                        self.assertIn(connection.answer().status, (400, 408, 431, 501))
                        connection.is_closed()
                    except EOFError:
                        self.assertGreater(size, 10_000, "only a reset, which much unread causes, may cost answers")
        self.assert_served_again()

    def test_connections_that_are_reset_at_any_moment(self):
        request = post(pictures.seven())
        for i in range(300):
            connection = socket.create_connection(("127.0.0.1", self.server.port))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(request[: i * len(request) // 300] if i % 2 else request)
            connection.close()
        self.assertEqual(self.server.upload(pictures.seven()).text, RESULT)


if __name__ == "__main__":
    espy.main()
