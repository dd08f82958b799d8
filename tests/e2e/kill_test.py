"""A 200 means it is on disk: the server is killed at random moments under load, and nothing answered is missing."""
import http.client
import json
import random
import threading
import time

import espy
import pictures

ROUNDS = 50
HISTORIES = 20 if espy.SLOW else 1  # each of so many rounds: to verify an ever longer one takes ever longer
CLIENTS = 64
SEED = 20240229


class Client(threading.Thread):
    """Uploads on one connection until it breaks; keeps the id of every answer that it got whole."""

    def __init__(self, server):
        super().__init__()
        self.server = server
        self.answered = []
        self.unexpected = []

    def run(self):
        body, content_type = espy.multipart(pictures.seven())
        connection = self.server.connect(timeout=60)
        try:
            while True:
                connection.request("POST", "/api/predict", body, {"Content-Type": content_type})
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != 200:
                    self.unexpected.append((answer.status, content))
                    return
                self.answered.append(json.loads(content)["id"])
        except (OSError, http.client.HTTPException):
            pass  # killed
        finally:
            connection.close()


class KillTest(espy.TestCase):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)

    def round(self, server):
        """Loads the server, kills it, and returns the ids that were answered."""
        clients = [Client(server) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(self.random.uniform(0.02, 0.4))
        server.kill()
        for client in clients:
            client.join()
            self.assertEqual(client.unexpected, [])
        return [record for client in clients for record in client.answered]

    def test_no_answered_record_is_missing_after_kill_9(self):
        for history in range(HISTORIES):
            with self.subTest(history=history):
                self.kill_and_count()

    def kill_and_count(self):
        """Fifty rounds on a history that begins empty."""
        for file in self.folder.glob("history.db*"):
            file.unlink()
        answered, recovery = [], []
        for _ in range(ROUNDS):
            started = time.monotonic()
            server = self.serve()
            recovery.append(time.monotonic() - started)
            answered += self.round(server)
            if len(recovery) % 10 == 0:
                self.run_espy("history", "verify", "--store", "sqlite:history.db")
        self.assertGreater(len(answered), ROUNDS, "the clients had no work to show")

        exported = self.run_espy("history", "export", "--store", "sqlite:history.db", "--format", "ndjson")
        kept = [json.loads(line)["id"] for line in exported.stdout.splitlines()]
        missing = set(answered) - set(kept)
        print(f"{ROUNDS} rounds of kill -9, {CLIENTS} clients: {len(answered)} answered, {len(kept)} kept, "
              f"{len(missing)} missing, {len(kept) - len(set(kept))} doubled; "
              f"start after a kill took {1000 * max(recovery):.0f} ms at most")
        self.assertEqual(missing, set())
        self.assertEqual(len(kept), len(set(kept)), "an id is in the history twice")
        # What was kept beyond the answers was on its way to a client when the server was killed.
        self.assertLessEqual(len(kept) - len(answered), ROUNDS * CLIENTS)
        server = self.serve()
        self.assertEqual(sorted(kept), sorted(record["id"] for record in server.history()))
        server.kill()


if __name__ == "__main__":
    espy.main()
