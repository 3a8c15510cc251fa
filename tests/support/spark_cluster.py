"""A Spark cluster of processes on this machine: one master, workers, and their executors."""

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

START_SECONDS = 120
LOCAL = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "127.0.0.1"}


@dataclass
class SparkCluster:
    """A running cluster."""

    folder: Path
    address: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, workers: int) -> None:
        """Starts the master, then the workers."""
        master = ("--port", "0", "--webui-port", "0")
        self.address = self.run("master.Master", r"Starting Spark master at (spark://\S+)", *master)
        worker = ("--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", str(self.folder))
        for _ in range(workers):
            self.run("worker.Worker", "Successfully registered", *worker, self.address)

    def run(self, name: str, pattern: str, *arguments: str) -> str:
        """Starts a process of the cluster; what the pattern finds in its log."""
        import pyspark

        home = Path(pyspark.__file__).parent
        log = self.folder / f"{len(self.processes)}.log"
        command = ["java", "-Xmx512m", "-cp", str(home / "jars" / "*"), f"org.apache.spark.deploy.{name}"]
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", *arguments],
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
    os.environ |= LOCAL | {"PYSPARK_PYTHON": sys.executable}
    cluster = SparkCluster(folder)
    try:
        cluster.start(workers)
        yield cluster
    finally:
        cluster.stop()
