"""Ten thousand connections that are open and say nothing: what they cost, and that others are served beside them."""
import resource
import socket
import sys
import time

import espy
import pictures
from protocol_test import GET_LIVEZ, RESULT

CONNECTIONS = 10_000
LIMIT_MIB = 100  # of the whole process


class Idle(espy.TestCase):
    def memory_mib(self, server):
        with open(f"/proc/{server.process.pid}/smaps_rollup", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file.readlines()[1:])
        # What is shared with nobody, and what is in memory of the program's own file.
        return int(fields["Rss"].split()[0]) / 1024

    def test_ten_thousand_idle_connections_are_cheap(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < CONNECTIONS + 200:
            self.skipTest(f"this machine lets a process open {hard} files")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CONNECTIONS + 200), hard))
        server = self.serve("--max-connections", CONNECTIONS + 100, "--idle-timeout", 600)
        self.assertEqual(server.upload(pictures.seven()).text, RESULT)
        before = self.memory_mib(server)
        connections = []
        self.addCleanup(lambda: [connection.close() for connection in connections])
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            connection.sendall(GET_LIVEZ)  # idle, after it was served
            connections.append(connection)
        for connection in connections:
            self.assertIn(b"200 OK", connection.recv(4096))
        time.sleep(3)
        after = self.memory_mib(server)
        print(f"memory: {before:.1f} MiB; with {CONNECTIONS} idle connections {after:.1f} MiB, "
              f"{(after - before) * 1024 * 1024 / CONNECTIONS:.0f} bytes each", file=sys.stderr)
        began = time.monotonic()
        for _ in range(20):
            self.assertEqual(server.upload(pictures.seven()).text, RESULT)
        self.assertLess(time.monotonic() - began, 20)
        for connection in connections[::100]:
            connection.sendall(GET_LIVEZ)
            self.assertIn(b"200 OK", connection.recv(4096))
        self.assertLess(after, LIMIT_MIB)


if __name__ == "__main__":
    espy.main()
