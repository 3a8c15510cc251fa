"""Fetches the programs that only tests run, such as PgBouncer and nginx, from Debian's packages, without installing.

    python scripts/debian_tools.py [PROGRAM ...]

apt-get downloads the packages and the libraries that are missing here, and they are unpacked into a cache folder.
Nothing is configured, no service is started, and root is not needed. What is installed already is used as it is.
Chromium runs only where it is installed: as root it is installed, otherwise it is asked for.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FETCH_TIMEOUT_SECONDS = 600
# The package of each program.
PACKAGES = {
    "pgbouncer": "pgbouncer",
    "nginx": "nginx",
    "mariadbd": "mariadb-server-core",
    "chromium": "chromium",
    "node": "nodejs",
    "systemd-analyze": "systemd",
}
# What finds its parts in places of its own only where it is installed; elsewhere, root installs it.
INSTALLED = frozenset({"chromium"})
PROGRAM_FOLDERS = ("usr/sbin", "usr/bin")


class ToolMissingError(Exception):
    """A program is neither installed nor to be had."""


@dataclass(frozen=True)
class Tool:
    """A program, the folder that stands for / to it, and the variables with which it finds its libraries."""

    program: Path
    root: Path
    environment: dict[str, str]


def cache_folder() -> Path:
    """Where unpacked programs are kept. Of root, in a folder that the unprivileged users of servers can enter."""
    if os.geteuid() == 0:
        return Path("/var/cache/decant-tests")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "decant-tests"


def find_tool(program: str) -> Tool:
    """A program, installed or fetched; ToolMissingError says why there is none."""
    path = os.pathsep.join(["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"])
    if (installed := shutil.which(program, path=path)) is not None:
        return Tool(Path(installed), Path("/"), {})
    if program in INSTALLED and os.geteuid() == 0:
        install_package(PACKAGES[program])
        return find_tool(program)
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / program
    # Several test processes may ask at once: one fetches, the others wait.
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            fetch_packages(PACKAGES[program], root)
    for folder in PROGRAM_FOLDERS:
        if (root / folder / program).exists():
            libraries = sorted({str(path.parent) for path in root.glob("usr/lib/**/*.so*")} | {str(root / "usr/lib")})
            return Tool(root / folder / program, root, {"LD_LIBRARY_PATH": os.pathsep.join(libraries)})
    raise ToolMissingError(f"The package {PACKAGES[program]} has no program {program}.")


def install_package(package: str) -> None:
    """Installs a package; ToolMissingError where that fails."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run_quietly(["apt-get", "-qq", "update"], cache)
        run_quietly(["apt-get", "-qq", "install", "--yes", "--no-install-recommends", package], cache)


def fetch_packages(package: str, root: Path) -> None:
    """Unpacks a package, and those it needs that are not installed, into a folder that exists only when complete."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ToolMissingError(f"{package} is not installed, and only Debian's packages can be fetched.")
    with tempfile.TemporaryDirectory(dir=root.parent) as name:
        draft = Path(name)
        for folder in ("lists/partial", "archives/partial", "packages", "root"):
            (draft / folder).mkdir(parents=True)
        options = [f"Dir::State::lists={draft / 'lists'}", f"Dir::Cache={draft}", "APT::Sandbox::User="]
        apt = ["apt-get", "-qq", *(part for option in options for part in ("-o", option))]
        run_quietly([*apt, "update"], draft)
        plan = run_quietly([*apt, "install", "--simulate", "--no-install-recommends", package], draft)
        missing = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
        run_quietly([*apt, "download", *missing], draft / "packages")
        for archive in sorted((draft / "packages").glob("*.deb")):
            run_quietly(["dpkg-deb", "-x", str(archive), str(draft / "root")], draft)
        (draft / "root").chmod(0o755)
        (draft / "root").rename(root)


def run_quietly(command: list[str], folder: Path) -> str:
    """What a command prints; ToolMissingError with its last words where it fails."""
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ToolMissingError(f"{command[0]} did not end within {FETCH_TIMEOUT_SECONDS} s.") from None
    if done.returncode != 0:
        raise ToolMissingError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-1500:]}")
    return done.stdout


def main() -> None:
    """Prints where each program is."""
    for program in sys.argv[1:] or PACKAGES:
        if program not in PACKAGES:
            sys.exit(f"{program} is none of {', '.join(PACKAGES)}.")
        try:
            print(find_tool(program).program)
        except ToolMissingError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
