"""README, ARCHITECTURE and CHANGELOG say what is so: tables, commands, files, requests and answers are tried."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import typer

import decant
from api.auth.api_keys import create_key
from api.http.problems import KINDS
from commands.demo import demo_text
from runtime.database import DatabaseUrls, make_engine
from runtime.settings import PROJECT_ROOT, Settings, read_secret
from runtime.version import DISTRIBUTION, read_version
from tests.support.documents import BASE
from tests.support.lab import Lab

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (PROJECT_ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
CHANGELOG = (PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
DECANT = Path(sys.executable).with_name("decant")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UNITS = {"_ms": " ms", "_bytes": " bytes", "_pool_size": " connections", "_threads": " threads"}
# What a default is called where it is no value, or not the same everywhere.
DEFAULTS = {
    "duckdb_threads": "4 threads, or as many as there are cores where those are fewer",
    **dict.fromkeys(
        (
            "token_issuers",
            "trusted_proxies",
            "cors_origins",
            "peppers",
            "input_variables",
            "input_roots",
            "input_buckets",
        ),
        "none",
    ),
}
SECTIONS = [
    "System overview",
    "Data flow",
    "Components",
    "Dependencies",
    "Access and security",
    "Monitoring and reliability",
    "Testing and validation",
    "Appendix",
]
SUBSECTIONS = {
    "System overview": ["Code map", "Design decisions"],
    "Data flow": ["Ingestion", "Processing/transformation", "Output/serving"],
    "Components": ["Data sources", "Processing layer", "Output layer"],
    "Appendix": ["Diagram", "API contract", "Changelog", "Contact"],
}
KINDS_OF_CHANGE = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def section(title: str, text: str = README, level: int = 2) -> str:
    """What stands under a heading, up to the next of its level."""
    found = re.search(rf"^{'#' * level} {re.escape(title)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.M | re.S)
    assert found, f"there is no section {title!r}"
    return found[1]


def headings(text: str, level: int) -> list[str]:
    """The headings of one level, code left out."""
    return re.findall(rf"^{'#' * level} (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of each code block."""
    return [(match[1], match[2]) for match in BLOCK.finditer(text)]


def marked(name: str) -> str:
    """The table between two markers of the README."""
    found = re.search(rf"<!-- {name}: .*? -->\n(.*?)<!-- /{name} -->", README, re.S)
    assert found
    return found[1]


def table(*rows: tuple[str, ...]) -> str:
    """A Markdown table."""
    head, *body = rows
    lines = [f"| {' | '.join(row)} |\n" for row in (head, *body)]
    return "".join([lines[0], f"|{'---|' * len(head)}\n", *lines[1:]])


def cells(line: str) -> list[str]:
    """The cells of a row of a table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def settings_table() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        unit = next((words for end, words in UNITS.items() if name.endswith(end)), "")
        value = "not set" if field.default is None else f"{field.default}{unit}"
        rows.append((f"`DECANT_{name.upper()}`", DEFAULTS.get(name, value), field.description or ""))
    return table(("variable", "default", "meaning"), *rows)


def problem_table() -> str:
    rows = [(f"`{code}`", str(kind.status), kind.title, kind.meaning) for code, kind in KINDS.items()]
    return table(("code", "status", "title", "meaning"), *rows)


def test_the_readme_lists_every_setting_with_its_default_and_meaning() -> None:
    assert marked("settings") == settings_table(), f"put this into the README:\n\n{settings_table()}"


def test_the_readme_lists_every_kind_of_problem() -> None:
    assert marked("problems") == problem_table(), f"put this into the README:\n\n{problem_table()}"


def find_commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    """("contract lint", its options) for each command of the command line."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from find_commands(command, (*path, name))
        else:
            options = {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")}
            yield " ".join((*path, name)), options - {"--help"}


COMMANDS = dict(find_commands(typer.main.get_command(decant.app)))


def test_the_table_of_commands_has_every_command_with_every_option() -> None:
    listed = {}
    for line in section("Command line").splitlines():
        if line.startswith("| `decant "):
            command, _, options = cells(line)
            name = " ".join(word for word in command.strip("`").split()[1:] if word.islower())
            listed[name] = set(re.findall(r"--[a-z-]+", options))
    assert listed == COMMANDS


def test_every_command_that_the_readme_names_exists_with_these_options() -> None:
    shell = "\n".join(content for language, content in blocks(README) if language in {"sh", "console"})
    named = re.findall(r"`decant ([^`]+)`", README)
    named += re.findall(r"^(?:\S+/)?decant ([a-z].*)$", shell, re.M)
    named += re.findall(r"^\$ docker run .* decant ([a-z].*)$", shell, re.M)
    assert len(named) > 15
    for words in named:
        found = [name for name in COMMANDS if f"{words} ".startswith(f"{name} ")]
        assert found, f"decant {words}"
        assert set(re.findall(r"--[a-z-]+", words)) <= COMMANDS[found[0]], f"decant {words}"


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (PROJECT_ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:^|`|=\d+ )make (\w+)", README, re.M))
    assert named
    assert named <= targets


def test_every_file_that_the_documents_link_to_exists() -> None:
    for document in (README, ARCHITECTURE, CHANGELOG):
        for target in re.findall(r"\]\(([^)#:]+)\)", document):
            assert (PROJECT_ROOT / target).exists(), target


def find_requests(text: str) -> Iterator[tuple[str, str | None]]:
    """(curl command, the answer that is shown for it or None) in a piece of the README."""
    found = blocks(text)
    for index, (language, content) in enumerate(found):
        commands = re.findall(r"^curl .*$", content, re.M) if language == "sh" else []
        following = found[index + 1] if index + 1 < len(found) else ("", "")
        for command in commands:
            yield command, following[1] if following[0] == "json" and len(commands) == 1 else None


def answer_of(client: httpx.Client, command: str, key: str = "") -> httpx.Response:
    """The answer to a curl command."""
    url = re.search(rf"'{BASE}(/[^']*)'", command)
    assert url, command
    if "[" in url[1]:
        assert command.startswith("curl -g "), f"curl reads the brackets itself: {command}"
    return client.get(url[1], headers={"Authorization": f"Bearer {key}"} if "$KEY" in command else {})


def test_every_request_of_the_tour_is_answered_as_it_says(flights: Lab) -> None:
    key = create_key(make_engine(flights.urls.write), read_secret(flights.settings), "tour", ["nyc-flights:read"])
    requests = list(find_requests(section("A tour of the demo")))
    assert len(requests) == 7
    compared = 0
    with flights.serve() as client:
        for command, shown in requests:
            answer = answer_of(client, command, key)
            status = re.search(r'"status": (\d+)', shown or "")
            assert answer.status_code == (int(status[1]) if status else 200), command
            if shown and "…" not in shown:
                assert answer.json() == json.loads(shown), command
                compared += 1
            # A shortened answer is held against its names: each is one that the service gave.
            assert set(re.findall(r'"(\w+)":', shown or "")) <= set(re.findall(r'"(\w+)": ?', answer.text)), command
    assert compared == 1


def test_the_demo_says_the_addresses_that_the_tour_shows() -> None:
    said = demo_text(BASE, "dcnt_…")
    tour = section("A tour of the demo")
    for line in said.strip().splitlines()[:6]:
        assert line in tour
    for url in re.findall(rf"'({BASE}[^']*)'", said):
        assert url in tour


@contextmanager
def run_service(folder: Path, environment: dict[str, str]) -> Iterator[tuple[httpx.Client, str]]:
    """A client of `decant serve` and the line that it printed; ended as Ctrl-C would."""
    process = subprocess.Popen(
        [DECANT, "serve"], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    try:
        line = process.stdout.readline()
        found = re.search(r"Serving on (http://\S+)", line)
        assert found, line + process.stdout.read()
        with httpx.Client(base_url=found[1], timeout=20) as client:
            yield client, line.replace(found[1], BASE)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def words_of(text: str) -> list[list[str]]:
    """Each line's words, without what differs from run to run: times, seconds, folders."""
    lines = []
    for line in text.strip().splitlines():
        line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", line)
        line = re.sub(r"\S*/(\.decant|home)/", "HOME/", line)
        line = re.sub(r" \d+\.\d( s)?$", " SECONDS", line)
        line = re.sub(r"\d+ s ago", "AGO", line)
        if not line.startswith("Generating "):
            lines.append(line.split())
    return lines


def run_block(script: str, folder: Path, environment: dict[str, str]) -> tuple[str, Path]:
    """What a block of the README prints in a shell, and the folder in which it ends."""
    mark = "ends-in-folder "
    done = subprocess.run(
        ["sh", "-ec", f"{script}\necho '{mark}'$PWD"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    printed, _, end = done.stdout.rpartition(mark)
    return printed, Path(end.strip())


def test_a_reader_s_own_dataset_works_step_by_step_as_the_readme_says(tmp_path: Path, urls: DatabaseUrls) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DECANT_", "OTEL_"))} | {
        "PATH": f"{DECANT.parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
        "PYTHONUNBUFFERED": "1",
        "DECANT_DATABASE_URL": urls.owner,
        "DECANT_PORT": "0",
    }
    text = section("Add your own dataset in five minutes")
    before_serving, _, after = text.partition("**7. ")
    folder = tmp_path
    printed = ""
    checked = []
    for language, content in blocks(before_serving):
        if language == "sh":
            printed, folder = run_block(content, folder, environment)
        else:
            assert words_of(printed) == words_of(content.replace("…/", "/")), printed
            checked.append(content)
    assert len(checked) == 6
    (_, serve), (_, said), *_ = blocks(after)
    assert serve.strip() == "decant serve"
    with run_service(folder, environment) as (client, line):
        # Both addresses name the port, which is another one here.
        assert re.sub(r"http://[\d.:]+", BASE, line) == said
        requests = list(find_requests(after))
        assert len(requests) == 3
        for command, shown in requests:
            answer = answer_of(client, command)
            assert answer.status_code == 200, answer.text
            assert answer.json() == json.loads(shown or ""), command


def test_the_readme_names_every_endpoint_of_the_service() -> None:
    documented = set(re.findall(r"`GET (/[^`]*)`", section("The API")))
    from api.admin import audit_routes as audit
    from api.admin import health_routes as health
    from api.admin import key_routes as keys
    from api.app import QUESTIONS
    from api.metadata import catalog_routes as catalog
    from api.metadata import inspection_routes as inspection
    from api.openapi import routes as docs

    modules = (audit, catalog, docs, health, inspection, keys)
    routes = [*QUESTIONS, *(route for module in modules for route in module.router.routes)]
    readable = [route for route in routes if "GET" in getattr(route, "methods", ())]
    served = {re.sub(r":path\}", "}", route.path) for route in readable}  # type: ignore[attr-defined]
    documented = {path.partition("?")[0] for path in documented}
    assert documented == served - {"/", "/static/{name}"}


def test_the_architecture_has_its_sections_in_order() -> None:
    assert headings(ARCHITECTURE, 2) == SECTIONS
    for title, parts in SUBSECTIONS.items():
        assert headings(section(title, ARCHITECTURE), 3) == parts
    assert "```mermaid\n" in section("Diagram", ARCHITECTURE, level=3)


def test_every_source_file_that_the_architecture_names_exists() -> None:
    packages = "api|catalog|ingest|migrations|tests|bench|openapi|contracts"
    named = set(re.findall(rf"`((?:{packages})/[\w./-]*)`", ARCHITECTURE))
    assert len(named) > 20
    planned = {"catalog/records.py"}  # named because it is not there
    assert {name for name in named - planned if not (PROJECT_ROOT / name).exists()} == set()
    assert not any((PROJECT_ROOT / name).exists() for name in planned)


def test_the_architecture_names_every_package_that_the_project_needs() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.match(r"[a-z0-9-]+", line)[0] for line in project["dependencies"]}  # type: ignore[index]
    named = set(re.findall(r"`([a-z0-9-]+)`", section("Dependencies", ARCHITECTURE)))
    assert needed - named == set()


def test_the_newest_release_of_the_changelog_is_the_installed_version() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    newest = headings(CHANGELOG, 2)[1]
    assert newest.startswith(f"[{project['version']}] - ")
    assert (project["name"], project["version"]) == (DISTRIBUTION, read_version())


def test_the_changelog_keeps_its_form() -> None:
    lines = CHANGELOG.splitlines()
    assert lines[0] == "# Changelog"
    releases = headings(CHANGELOG, 2)
    assert releases[0] == "[Unreleased]"
    for release in releases[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", release)
    changes = headings(CHANGELOG, 3)
    assert changes
    assert set(changes) <= KINDS_OF_CHANGE
    for kind in changes:
        assert section(kind, CHANGELOG, level=3).lstrip().startswith("- ")
