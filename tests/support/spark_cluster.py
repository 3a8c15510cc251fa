"""Spark on this machine: a master, workers and their executors, or a server of Spark Connect."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

START_SECONDS = 120
DEPLOY = "org.apache.spark.deploy"
LOCAL = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "127.0.0.1"}


@dataclass
class SparkCluster:
    """A running cluster."""

    folder: Path
    address: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, workers: int) -> None:
        """Starts the master, then the workers."""
        master = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        self.address = self.run(r"Starting Spark master at (spark://\S+)", f"{DEPLOY}.master.Master", *master)
        worker = ("--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", str(self.folder))
        for _ in range(workers):
            registered = "Successfully registered"
            self.run(registered, f"{DEPLOY}.worker.Worker", "--host", "127.0.0.1", *worker, self.address)

    def start_connect(self) -> None:
        """Starts a server of Spark Connect, which is a cluster of its own: what its script does, without a daemon."""
        server = "org.apache.spark.sql.connect.service.SparkConnectServer"
        settings = {"grpc.binding.address": "127.0.0.1", "grpc.binding.port": "0"}
        listed = [part for name, value in settings.items() for part in ("--conf", f"spark.connect.{name}={value}")]
        options = ("--master", "local[2]", "--conf", "spark.ui.enabled=false", *listed)
        started = r"Spark Connect server started at: (\S+:\d+)"
        place = self.run(started, f"{DEPLOY}.SparkSubmit", *options, "--class", server, "spark-internal")
        self.address = f"sc://{place}"

    def run(self, pattern: str, *arguments: str) -> str:
        """Starts a process of the cluster, a class and what it is told; what the pattern finds in its log."""
        import pyspark

        home = Path(pyspark.__file__).parent
        log = self.folder / f"{len(self.processes)}.log"
        # Arrow in Java needs the opening.
        java = ("java", "-Xmx512m", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-cp", str(home / "jars" / "*"))
        with log.open("w") as out:
            process = subprocess.Popen(
                [*java, *arguments],
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env=os.environ | LOCAL | {"SPARK_HOME": str(home), "SPARK_SCALA_VERSION": "2.13"},
            )
        self.processes.append(process)
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(pattern, log.read_text())):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
        return found[found.lastindex or 0]

    def executors(self) -> list[int]:
        """The process ids of the executors: the children of the workers."""
        workers = ",".join(str(process.pid) for process in self.processes[1:])
        found = subprocess.run(["pgrep", "-P", workers], capture_output=True, text=True, check=False)
        return [int(line) for line in found.stdout.split()]

    def stop(self) -> None:
        """Ends all processes, workers first: each takes its executors with it."""
        for process in reversed(self.processes):
            process.terminate()
            process.wait(START_SECONDS)


@contextmanager
def run_cluster(folder: Path, workers: int = 2) -> Iterator[SparkCluster]:
    """A cluster, and a driver in this process that reaches it."""
    with stopping(folder) as cluster:
        cluster.start(workers)
        yield cluster


@contextmanager
def run_connect(folder: Path) -> Iterator[SparkCluster]:
    """A server of Spark Connect."""
    # Once it was used, pyspark says in the environment that nothing else may be.
    with patch.dict(os.environ), stopping(folder) as cluster:
        cluster.start_connect()
        yield cluster


@contextmanager
def stopping(folder: Path) -> Iterator[SparkCluster]:
    """A cluster that is to be started, and is stopped in the end."""
    os.environ |= LOCAL | {"PYSPARK_PYTHON": sys.executable}
    cluster = SparkCluster(folder)
    try:
        yield cluster
    finally:
        cluster.stop()
