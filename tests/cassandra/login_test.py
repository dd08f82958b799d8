"""`espy serve --cassandra` against a real node that wants TLS and a login (PasswordAuthenticator): who has both gets in, and
whoever lacks one is told which. Apache's own driver counts what arrived, over TLS as well.
"""
import os
import pathlib
import ssl
import unittest.mock

from case import CassandraCase, Nodes, espy, require_driver


def setUpModule():
    require_driver()


class LoginTest(CassandraCase):
    @classmethod
    def setUpClass(cls):
        from cassandra.auth import PlainTextAuthProvider

        cls.nodes = Nodes(CASSANDRA_AUTH="password")
        cls.addClassCleanup(cls.nodes.wipe)
        cls.folder_of_keys = pathlib.Path(cls.nodes.folder) / "keys"
        cls.stranger = pathlib.Path(cls.nodes.folder) / "stranger"
        for folder in (cls.folder_of_keys, cls.stranger):
            said = cls.nodes.run("certificates", str(folder))
            if said:
                raise AssertionError(said)
        cls.nodes.environment["CASSANDRA_TLS"] = str(cls.folder_of_keys)
        cls.start_nodes(login=PlainTextAuthProvider("cassandra", "cassandra"),
                        tls=ssl.create_default_context(cafile=cls.folder_of_keys / "ca.pem"))

    def flags(self, authority="folder_of_keys", user="cassandra", password="cassandra"):
        flags = ["--cassandra-user", user, "--cassandra-password", password] if user else []
        return flags + (["--cassandra-ca", getattr(self, authority) / "ca.pem"] if authority else [])

    def test_the_right_authority_and_login_carry_everything(self):
        server = self.serve_with_cassandra(*self.flags())
        records = self.predict(server, 50)
        self.wait_until_drained(server)
        self.assert_in_cluster(records)
        self.assert_figures(server, records)
        listed = self.run_espy("history", "list", "--store", "sqlite:history.db", "--json", "--limit", "100", "--cassandra",
                               f"{self.nodes.first}/{self.keyspace}", *map(str, self.flags())).stdout
        self.assertEqual(listed.count('"held_by":"quorum"'), 50, listed[:500])

    def test_whoever_lacks_something_is_told_what(self):
        for arguments, piece in (
                (self.flags("stranger"), "certificate is not signed by the given authority"),
                (self.flags(None) + ["--cassandra-tls"], "certificate is not signed by the given authority"),
                (self.flags(None), "as one does that wants TLS"),
                (self.flags(password="wrong"), "cassandra refuses the login"),
                (self.flags(user=""), "cassandra refuses the login")):
            with self.subTest(piece):
                server = self.serve_with_cassandra(*arguments)
                records = self.predict(server, 1)  # nobody waits for Cassandra
                self.wait_for(f"it is said: {piece}", lambda: piece in server.log)
                self.assert_figures(server, records)
                self.assertEqual(server.stop(), 0)
                (self.folder / "history.db").unlink()

    def test_the_login_may_stand_in_the_environment(self):
        with unittest.mock.patch.dict(os.environ, ESPY_CASSANDRA_USER="cassandra", ESPY_CASSANDRA_PASSWORD="cassandra"):
            server = self.serve_with_cassandra(*self.flags(user=""))
        records = self.predict(server, 1)
        self.wait_until_drained(server)
        self.assert_in_cluster(records)


if __name__ == "__main__":
    espy.main()
