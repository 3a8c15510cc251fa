"""A document's commands run as its reader would run them, and what it shows held against what comes."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tests.support.command_line import DECANT
from tests.support.documents import BASE, blocks, curl_commands
from tests.support.waiting import wait_until

PORT_SERVER = re.compile(r"^(?:python3 -m http\.server|nats-server .*-p) (\d+)")
# Keeps the folder in which a block ends, and what it exported, for the next block.
STATE = "import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]))"
KEEP = f"""\n{shlex.quote(sys.executable)} -c '{STATE}' > "$WALKTHROUGH"\n"""


def words_of(text: str) -> list[list[str]]:
    """Each line's words, without what differs from run to run: times, seconds, folders, the service's port."""
    lines = []
    for line in text.strip().splitlines():
        line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", line)
        line = re.sub(r"\S*/(\.decant|home)/", "HOME/", line)
        line = re.sub(r" \d+\.\d( s)?$", " SECONDS", line)
        line = re.sub(r"\d+ s ago", "AGO", line)
        if not line.startswith("Generating "):
            lines.append(line.split())
    return lines


def ask(client: httpx.Client, command: str, variables: dict[str, str] | None = None) -> httpx.Response:
    """The answer to a curl command, whatever its lines."""
    words = shlex.split(re.sub(r"\$(\w+)", lambda found: (variables or {}).get(found[1], found[0]), command))
    assert words.pop(0) == "curl"
    method, body, headers, url, globbed = "GET", None, {}, "", True
    while words:
        word = words.pop(0)
        if word in {"-X", "-H", "-d"}:
            value = words.pop(0)
            if word == "-X":
                method = value
            elif word == "-d":
                body = value
            else:
                name, _, content = value.partition(": ")
                headers[name] = content
        elif word.startswith("-"):
            assert set(word[1:]) <= set("gsL"), command
            globbed = globbed and "g" not in word
        else:
            url = word
    assert url.startswith(f"{BASE}/"), command
    assert not (globbed and "[" in url), f"curl reads the brackets itself: {command}"
    return client.request(method, url.removeprefix(BASE), content=body, headers=headers)


def is_like(shown: object, given: object) -> bool:
    """Whether an answer is the one that is shown, in which "…" stands for what differs from run to run."""
    if isinstance(shown, dict) and isinstance(given, dict):
        return shown.keys() == given.keys() and all(is_like(shown[name], given[name]) for name in shown)
    if isinstance(shown, list) and isinstance(given, list):
        return len(shown) == len(given) and all(map(is_like, shown, given))
    if isinstance(shown, str) and isinstance(given, str) and "…" in shown:
        return re.fullmatch(".+".join(map(re.escape, shown.split("…"))), given) is not None
    return type(shown) is type(given) and shown == given


class Walkthrough:
    """A reader with a folder, a shell and the services that were started."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.state = folder / "walkthrough.json"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("DECANT_", "OTEL_"))} | {
            "PATH": f"{DECANT.parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
            "PYTHONUNBUFFERED": "1",
            "DECANT_PORT": "0",
            "WALKTHROUGH": str(self.state),
            **variables,
        }
        self.client: httpx.Client | None = None
        self.ran = 0
        self.compared = 0

    def walk(self, text: str) -> None:
        """Runs every block of a document, and compares what follows it."""
        printed, answer = "", None
        with ExitStack() as running:
            for language, content in blocks(text):
                if language == "text":
                    assert words_of(printed) == words_of(content.replace("…/", "/")), printed
                    self.compared += 1
                elif language == "json":
                    assert answer is not None
                    assert is_like(json.loads(content), answer.json()), answer.text
                    self.compared += 1
                elif language == "sh":
                    self.ran += 1
                    if content.strip() == "decant serve":
                        self.client, printed = running.enter_context(self.serve())
                    elif found := PORT_SERVER.match(content):
                        running.enter_context(self.serve_others(content, found[1]))
                    elif commands := curl_commands(content):
                        if prepared := content[: content.index("curl ")].strip():
                            self.run(prepared)
                        assert self.client is not None
                        for command in commands:
                            answer = ask(self.client, command, self.environment)
                            assert answer.status_code < 500, answer.text
                    else:
                        printed = self.run(content)
                else:
                    raise AssertionError(f"nobody runs a block of {language!r}")

    def run(self, script: str) -> str:
        """What a block prints on standard output; the next one begins where it ends."""
        done = subprocess.run(
            ["sh", "-ec", script + KEEP],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        folder, self.environment = json.loads(self.state.read_text())
        self.folder = Path(folder)
        return done.stdout

    @contextmanager
    def serve(self) -> Iterator[tuple[httpx.Client, str]]:
        """A client of `decant serve` and the line that it printed; ended as a service manager would."""
        process = subprocess.Popen(
            [DECANT, "serve"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        try:
            line = process.stdout.readline()
            found = re.search(r"Serving on (http://[\d.:]+)", line)
            assert found, line + process.stdout.read()
            with httpx.Client(base_url=found[1], timeout=60, follow_redirects=True) as client:
                # Both addresses name the port, which is another one here.
                yield client, line.replace(found[1], BASE)
        finally:
            process.terminate()
            process.communicate(timeout=60)

    @contextmanager
    def serve_others(self, command: str, port: str) -> Iterator[None]:
        """A server that a document starts, on a free port that contracts and scripts of the folder then name."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            other = str(free.getsockname()[1])
        for file in (*self.folder.glob("contracts/*.yaml"), *self.folder.glob("*.py")):
            file.write_text(file.read_text().replace(f":{port}", f":{other}"))
        program, *words = shlex.split(command.replace(port, other, 1))
        process = subprocess.Popen(
            [DECANT.with_name(program), *words],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: is_open(int(other)))
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def is_open(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0
