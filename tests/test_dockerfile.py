"""The image, as far as it can be held to its word without building it."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath

import httpx
import pytest

from runtime.postgres.database import DatabaseUrls
from runtime.settings.settings import PROJECT_ROOT, Settings

PACKAGES = ("api", "catalog", "commands", "ingest", "migrations", "runtime")
HIDDEN_FOLDERS = (".git", ".venv", ".decant", ".mypy_cache", ".ruff_cache", ".hypothesis", "tests", "bench")
# Runs a command on the copied source as the image would: what its last step uninstalls cannot be imported.
RUN = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {gone}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Gone())
import decant
assert decant.__file__.startswith(sys.argv[1]), decant.__file__
sys.argv = ["decant", *sys.argv[2:]]
decant.main()
"""


def read_instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of each line of the Dockerfile, continued ones joined."""
    lines = (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#")).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in text.splitlines() if line]


INSTRUCTIONS = read_instructions()


def arguments_of(name: str) -> list[str]:
    """The arguments of every instruction of a name."""
    return [arguments for instruction, arguments in INSTRUCTIONS if instruction == name]


def final_stage() -> list[tuple[str, str]]:
    """The instructions of the last stage."""
    last = max(index for index, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM")
    return INSTRUCTIONS[last:]


def copied_sources() -> list[str]:
    """What is copied from the repository."""
    return [s for a in arguments_of("COPY") if not a.startswith("--from") for s in a.split()[:-1]]


def environment_of_image() -> dict[str, str]:
    """The variables that the last stage sets."""
    found: dict[str, str] = {}
    for name, arguments in final_stage():
        if name == "ENV":
            found |= dict(pair.split("=", 1) for pair in arguments.split())
    return found


def health_command() -> list[str]:
    """The health check's command."""
    (check,) = arguments_of("HEALTHCHECK")
    command: list[str] = json.loads(check.partition("CMD ")[2])
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


def install_commands(text: str) -> list[list[str]]:
    """The words of each `pip install`, without the interpreter and with one name for the lock."""
    found = re.findall(r"-m pip install (.+)$", text, re.MULTILINE)
    return [command.replace('"$lock"', "requirements.lock").split() for command in found]


def is_ignored(path: str) -> bool:
    """Whether .dockerignore leaves a path out: the last pattern that fits it, or a folder around it, decides."""
    ignored = False
    for line in (PROJECT_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!").strip("/")
        if not pattern or line.startswith("#"):
            continue
        parts = PurePosixPath(path).parts
        places = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        # `*` stays within one folder; `**/` is any folders, or none.
        fits = any(
            fnmatch.fnmatchcase(PurePosixPath(place).name, pattern[3:])
            if pattern.startswith("**/")
            else place.count("/") == pattern.count("/") and fnmatch.fnmatchcase(place, pattern)
            for place in places
        )
        if fits:
            ignored = not line.startswith("!")
    return ignored


def test_everything_that_is_copied_exists_and_enters_the_build() -> None:
    for source in copied_sources():
        assert (PROJECT_ROOT / source).exists(), source
        assert not is_ignored(source)
    for package in PACKAGES:
        for file in (PROJECT_ROOT / package).rglob("*"):
            path = file.relative_to(PROJECT_ROOT).as_posix()
            assert is_ignored(path) == ("__pycache__" in path), path


def test_nothing_private_enters_the_build() -> None:
    for name in HIDDEN_FOLDERS:
        assert is_ignored(name)
        assert is_ignored(f"{name}/inside/file")
    for name in (".env", "decant.env", "secret", "key.pem"):
        assert is_ignored(name)


def test_the_entry_point_is_the_project_s_command() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    (entry,) = arguments_of("ENTRYPOINT")
    (command,) = arguments_of("CMD")
    assert json.loads(entry)[0] in project["scripts"]
    assert json.loads(command) == ["serve"]


def test_every_package_is_copied_and_compiled() -> None:
    setuptools = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    installed = {name.partition(".")[0] for name in setuptools["packages"]}
    assert installed == set(PACKAGES)
    code = installed | {f"{name}.py" for name in setuptools["py-modules"]}
    moved = set(setuptools["package-dir"].values())  # of other names in the checkout
    assert code | moved <= set(copied_sources())
    (compiled,) = re.findall(r"-m compileall -q ([^&]+)", "\n".join(arguments_of("RUN")))
    assert set(compiled.split()) == code


def test_the_image_does_not_run_as_root() -> None:
    (user,) = [arguments for name, arguments in final_stage() if name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    home = environment_of_image()["DECANT_HOME"]
    prepared = [arguments for name, arguments in final_stage() if name == "RUN" and home in arguments]
    owner, group = user.split(":")
    assert any(f"-o {owner} -g {group} {home}" in arguments for arguments in prepared)
    assert arguments_of("VOLUME") == [home]


def test_the_image_is_set_up_for_production_and_holds_no_secret() -> None:
    environment = environment_of_image()
    assert environment["DECANT_ENV"] == "production"
    assert environment["DECANT_HOST"] == "0.0.0.0"
    known = {f"DECANT_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in environment if name.startswith("DECANT_")} <= known
    text = (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"index-url|://(?!127\.0\.0\.1)|postgresql", text)
    assert [arguments.partition("=")[0] for arguments in arguments_of("ARG")] == ["BASE"]
    assert not {"DECANT_SECRET", "DECANT_DATABASE_URL"} & set(environment)


def test_the_exposed_port_is_the_default_one() -> None:
    assert arguments_of("EXPOSE") == [str(Settings.model_fields["port"].default)]


def test_the_image_is_installed_as_a_checkout_is() -> None:
    script = (PROJECT_ROOT / "scripts" / "install.sh").read_text(encoding="utf-8")
    commands = install_commands("\n".join(arguments_of("RUN")))
    assert commands == install_commands(script)
    assert {"--require-hashes", "--no-deps"} <= set(commands[0])


def test_both_stages_have_the_same_base() -> None:
    # The virtual environment is copied from one to the other, and leads to the base's interpreter.
    bases = [arguments.split()[0] for arguments in arguments_of("FROM")]
    assert bases == ["${BASE}"] * 2
    # Given by its digest, or else this; the first instruction of all, so that it holds for both.
    assert INSTRUCTIONS[0] == ("ARG", "BASE=python:3.12-slim-bookworm")


class Answering(BaseHTTPRequestHandler):
    status = 200
    paths: list[str]

    def do_GET(self) -> None:
        self.paths.append(self.path)
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def answer_with(answered: int) -> Iterator[tuple[int, list[str]]]:
    """The port of a server that always answers with one status, and the paths that it was asked for."""
    asked: list[str] = []
    handler = type("Handler", (Answering,), {"status": answered, "paths": asked})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server.server_address[1], asked
        server.shutdown()
        thread.join()


def check_health(port: int, **environment: str) -> int:
    """The exit status of the health check's command."""
    variables = os.environ | {"DECANT_PORT": str(port)} | environment
    return subprocess.run(health_command(), env=variables, capture_output=True, check=False).returncode


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False)])
def test_the_health_check_asks_readyz_and_believes_only_a_200(status: int, healthy: bool) -> None:
    with answer_with(status) as (port, asked):
        # A proxy in the environment is not asked.
        assert (check_health(port, http_proxy="http://127.0.0.1:1") == 0) == healthy
        assert asked == ["/readyz"]


def test_the_health_check_fails_where_nothing_listens() -> None:
    with answer_with(200) as (port, _):
        pass
    assert check_health(port) != 0


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with what the image copies, and nothing else."""
    folder = tmp_path / "image"
    folder.mkdir()
    for source in copied_sources():
        path = PROJECT_ROOT / source
        if path.is_dir():
            shutil.copytree(path, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(path, folder / source)
    return folder


def command_in(image: Path, *words: str) -> list[str]:
    """The command line that runs Decant from a folder, without what the image's last step uninstalls."""
    removed = re.search(r"pip uninstall \S+ -y (.+)$", "\n".join(arguments_of("RUN")), re.MULTILINE)
    assert removed
    gone = {name.replace("-", "_") for name in removed[1].split()}
    return [sys.executable, "-c", RUN.replace("{gone}", repr(gone)), str(image), *words]


def variables_for(image: Path, urls: DatabaseUrls) -> dict[str, str]:
    """The environment of a container, given a database and a secret."""
    found = {k: v for k, v in os.environ.items() if not k.startswith(("DECANT_", "OTEL_", "PYTHON"))}
    of_image = {k: v for k, v in environment_of_image().items() if k != "PATH"}
    given = {
        "DECANT_HOME": str(image.parent / "home"),
        "DECANT_HOST": "127.0.0.1",
        "DECANT_PORT": "0",
        "DECANT_SECRET": "s" * 32,
        "DECANT_DATABASE_URL": urls.owner,
        "DECANT_INGEST_DATABASE_URL": urls.ingest,
        "DECANT_READ_DATABASE_URL": urls.read,
        "DECANT_WRITE_DATABASE_URL": urls.write,
    }
    return found | of_image | given


@pytest.mark.slow
def test_what_is_copied_is_enough_to_import_and_to_lint(image: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DECANT_", "PYTHON"))}
    imported = subprocess.run([sys.executable, "-c", "import decant"], cwd=image, env=environment, check=False)
    assert imported.returncode == 0
    linted = subprocess.run(
        command_in(image, "contract", "lint"), cwd=image, env=environment, capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stderr
    assert "0 errors" in linted.stdout


@pytest.mark.slow
def test_what_is_copied_migrates_serves_and_is_found_healthy(image: Path, urls: DatabaseUrls) -> None:
    environment = variables_for(image, urls)
    migrated = subprocess.run(
        command_in(image, "migrate"), cwd=image, env=environment, capture_output=True, text=True, check=False
    )
    assert migrated.returncode == 0, migrated.stderr
    service = subprocess.Popen(
        command_in(image, *json.loads(arguments_of("CMD")[0])),
        cwd=image,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert service.stdout
    try:
        said = service.stdout.readline()
        found = re.search(r"Serving on http://127\.0\.0\.1:(\d+)", said)
        assert found, said + service.stdout.read()
        assert check_health(int(found[1])) == 0
        answer = httpx.get(f"http://127.0.0.1:{found[1]}/docs", timeout=20)
        assert answer.status_code == 200
    finally:
        service.terminate()
        service.communicate(timeout=30)
