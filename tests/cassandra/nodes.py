"""A real Cassandra of one to three nodes for tests, by the tool cassandra-cluster beside this file."""
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

TOOL = pathlib.Path(__file__).with_name("cassandra-cluster")


def require_cassandra():
    """Skips the module, with the reason, when Cassandra's jars cannot be had."""
    said = subprocess.run([TOOL, "install"], capture_output=True, text=True)
    if said.returncode:
        raise unittest.SkipTest("there is no Cassandra: " + " ".join(said.stderr.split()[-40:]))


def free_ports(count):
    """Returns `count` consecutive ports that nobody listens on."""
    while True:
        first = random.randrange(20000, 30000)
        try:
            for port in range(first, first + count):
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue


class Nodes:
    """A cluster of its own on the loopback, in a folder that goes with it."""

    def __init__(self, **settings):
        self.folder = tempfile.mkdtemp(prefix="espy-cassandra-")
        network = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        self.environment = os.environ | {
            "CASSANDRA_RUN": self.folder,
            "CASSANDRA_IP": network,
            "CASSANDRA_JMX_PORT": str(free_ports(3)),
            "CASSANDRA_WAIT": "600",
        } | settings
        self.addresses = [f"{network}.{node}" for node in (1, 2, 3)]
        self.first = self.addresses[0]

    def run(self, *arguments):
        """Runs the tool; returns what it said on failure, else nothing."""
        # Its nodes must not hold a pipe of ours open, so it talks into a file.
        with tempfile.TemporaryFile("w+") as talk:
            status = subprocess.run([TOOL, *arguments], env=self.environment, stdout=talk, stderr=talk).returncode
            talk.seek(0)
            return talk.read() if status else ""

    def kill_all(self):
        """Ends all nodes at the same moment, as a loss of power would."""
        for path in pathlib.Path(self.folder).glob("node*/pid"):
            os.kill(int(path.read_text().split()[0]), signal.SIGKILL)

    def wipe(self):
        self.run("wipe")
        shutil.rmtree(self.folder, ignore_errors=True)

    def session(self, login=None, tls=None):
        """Connects Apache's own driver, which reads at LOCAL_QUORUM. `tls`: an ssl.SSLContext. Returns (cluster, session)."""
        from cassandra import ConsistencyLevel
        from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
        from cassandra.policies import ConstantReconnectionPolicy

        profile = ExecutionProfile(consistency_level=ConsistencyLevel.LOCAL_QUORUM, request_timeout=60)
        cluster = Cluster([self.first], auth_provider=login, ssl_context=tls, protocol_version=5,
                          reconnection_policy=ConstantReconnectionPolicy(0.5, max_attempts=None),
                          execution_profiles={EXEC_PROFILE_DEFAULT: profile})
        return cluster, cluster.connect()
