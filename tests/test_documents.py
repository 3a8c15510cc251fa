"""The documents say what is so: tables, commands, files, links, requests and answers are tried."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import decant
from api.http.problems import KINDS
from commands.demo import DemoKeys, demo_text
from runtime.postgres.database import DatabaseUrls
from runtime.settings.settings import PROJECT_ROOT, Settings
from runtime.version import DISTRIBUTION, read_version
from tests.support.documents import BASE, blocks, find_requests, read, section
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.walkthrough import Walkthrough, ask

README = read("README.md")
ARCHITECTURE = read("ARCHITECTURE.md")
CHANGELOG = read("CHANGELOG.md")
TOUR = read("docs/tutorial/demo.md")
# The changelog says what was so, and names commands of releases before.
DOCUMENTS = sorted(
    path.relative_to(PROJECT_ROOT).as_posix()
    for path in (
        *PROJECT_ROOT.glob("*.md"),
        *PROJECT_ROOT.glob("docs/**/*.md"),
        *PROJECT_ROOT.glob("examples/**/*.md"),
        *PROJECT_ROOT.glob("deploy/*.md"),
    )
)
UNITS = {"_ms": " ms", "_bytes": " bytes", "_pool_size": " connections", "_threads": " threads"}
# What a default is called where it is no value, or not the same everywhere.
DEFAULTS = {
    "event_brokers": "none",
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


def headings(text: str, level: int) -> list[str]:
    """The headings of one level, code left out."""
    return re.findall(rf"^{'#' * level} (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)


def marked(name: str) -> str:
    """The table between two markers of the page of its name."""
    found = re.search(rf"<!-- {name}: .*? -->\n(.*?)<!-- /{name} -->", read(f"docs/reference/{name}.md"), re.S)
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


def test_the_reference_lists_every_setting_with_its_default_and_meaning() -> None:
    assert marked("settings") == settings_table(), f"put this into settings.md:\n\n{settings_table()}"


def test_the_reference_lists_every_kind_of_problem() -> None:
    assert marked("problems") == problem_table(), f"put this into problems.md:\n\n{problem_table()}"


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
    for line in read("docs/reference/command-line.md").splitlines():
        if line.startswith("| `decant "):
            command, _, options = cells(line)
            name = " ".join(word for word in command.strip("`").split()[1:] if word.islower())
            listed[name] = set(re.findall(r"--[a-z-]+", options))
    assert listed == COMMANDS


def commands_of(text: str) -> list[str]:
    """What stands behind `decant` in the prose and the shell blocks of a document."""
    shell = "\n".join(content for language, content in blocks(text) if language in {"sh", "console"})
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)
    named = [" ".join(words.split()) for words in re.findall(r"`decant\s([^`]+)`", prose)]
    named += re.findall(r"^(?:\$ )?(?:\S+/)?decant ([a-z].*)$", shell, re.M)
    return named + re.findall(r"^\$ docker run .* decant ([a-z].*)$", shell, re.M)


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path != "CHANGELOG.md"])
def test_every_command_that_a_document_names_exists_with_these_options(path: str) -> None:
    for words in commands_of(read(path)):
        if words.startswith("--"):
            continue
        found = [name for name in COMMANDS if f"{words} ".startswith(f"{name} ")]
        assert found, f"decant {words}"
        assert set(re.findall(r"--[a-z-]+", words)) <= COMMANDS[found[0]] | {"--help"}, f"decant {words}"


def test_most_documents_name_commands() -> None:
    assert len([path for path in DOCUMENTS if commands_of(read(path))]) > 15


def test_every_make_target_that_the_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.M))
    named = {name for path in DOCUMENTS for name in re.findall(r"(?:^|`|=\d+ )make ([a-z-]+)", read(path), re.M)}
    assert len(named) > 5
    assert named <= targets


def slug_of(heading: str) -> str:
    """The anchor that a heading gets on a page."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")


def anchors_of(text: str) -> set[str]:
    """The anchors of a document; of two headings that are alike the second has a number."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} (.+)$", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S), re.M):
        slug = slug_of(heading)
        number = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other) is not None for other in found)
        found.append(f"{slug}-{number}" if number else slug)
    return set(found)


def links_of(text: str) -> list[str]:
    """The targets of a document's links, but for other hosts' and those in code."""
    prose = re.sub(r"^ *```.*?^ *```$|`[^`]*`", "", text, flags=re.M | re.S)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_link_of_a_document_leads_to_a_file_and_a_heading(path: str) -> None:
    text = read(path)
    for target in links_of(text):
        file, _, anchor = target.partition("#")
        place = (PROJECT_ROOT / path).parent / file if file else PROJECT_ROOT / path
        assert place.exists(), f"{path}: {target}"
        assert place.resolve().is_relative_to(PROJECT_ROOT), f"{path}: {target}"
        if anchor:
            assert anchor in anchors_of(place.read_text(encoding="utf-8")), f"{path}: {target}"


def test_a_link_to_nothing_is_found() -> None:
    text = "# A b\n\n## C-d `e`!\n\n## A b\n\n[x](#a-b-1) [y](z.md#q) `[no](code.md)` [w](https://example.org)\n"
    assert anchors_of(text) == {"a-b", "c-d-e", "a-b-1"}
    assert links_of(text) == ["#a-b-1", "z.md#q"]


def test_the_index_has_every_page_once() -> None:
    linked = links_of(read("docs/README.md"))
    pages = {path.removeprefix("docs/") for path in DOCUMENTS if path.startswith("docs/")} - {"README.md"}
    pages -= {page for page in pages if page.startswith("decisions/") and page != "decisions/README.md"}
    assert sorted(target for target in linked if not target.startswith("../")) == sorted(pages)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.slow
def test_every_request_of_the_tour_is_answered_as_it_says(flights: Lab) -> None:
    key = make_key(flights, "nyc-flights:read", name="tour")
    requests = [*find_requests(TOUR), *find_requests(section("Two commands", README))]
    assert len(requests) == 9
    compared = 0
    with flights.serve() as client:
        for command, shown in requests:
            answer = ask(client, command, {"KEY": key})
            status = re.search(r'"status": (\d+)', shown or "")
            assert answer.status_code == (int(status[1]) if status else 200), command
            if shown and "…" not in shown:
                assert answer.json() == json.loads(shown), command
                compared += 1
            # A shortened answer is held against its names: each is one that the service gave.
            assert set(re.findall(r'"(\w+)":', shown or "")) <= set(re.findall(r'"(\w+)": ?', answer.text)), command
    assert compared == 1


def test_every_request_of_the_reference_is_answered(flights: Lab) -> None:
    requests = [command for command, _ in find_requests(read("docs/reference/api.md"))]
    assert len(requests) == 3
    with flights.serve() as client:
        client.follow_redirects = True
        for command in requests:
            assert ask(client, command).status_code == 200, command


def test_the_demo_says_the_addresses_that_the_tour_shows() -> None:
    key = "dcnt_" + "x" * 51
    said = demo_text(BASE.replace("8000", "65535"), DemoKeys(key, key))
    assert max(map(len, said.splitlines())) <= 80
    said = demo_text(BASE, DemoKeys("dcnt_…", "dcnt_…"))
    for line in said.strip().splitlines()[:6]:
        assert line in TOUR
    for url in re.findall(rf"'({BASE}[^']*)'", said):
        assert url in TOUR


@pytest.mark.slow
def test_the_tutorial_works_step_by_step_as_it_says(tmp_path: Path, urls: DatabaseUrls) -> None:
    reader = Walkthrough(tmp_path, DECANT_DATABASE_URL=urls.owner)
    reader.walk(read("docs/tutorial/first-dataset.md"))
    assert (reader.ran, reader.compared) == (11, 10)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the user of an embedded Postgres may enter, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="decant-tests-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_newcomer_s_first_dataset_is_served_from_nothing_as_the_readme_says(open_folder: Path) -> None:
    """Without any setting: contract drafted, database embedded, service beside it."""
    reader = Walkthrough(open_folder)
    reader.walk(section("A first dataset, from a file", README))
    assert (reader.ran, reader.compared) == (7, 3)


def test_the_reference_names_every_endpoint_of_the_service() -> None:
    documented = set(re.findall(r"`GET (/[^`]*)`", read("docs/reference/api.md")))
    from api.admin import audit_routes as audit
    from api.admin import health_routes as health
    from api.admin import key_routes as keys
    from api.admin import status_routes as status
    from api.admin import subscription_routes as subscriptions
    from api.app import QUESTIONS
    from api.metadata import catalog_routes as catalog
    from api.metadata import inspection_routes as inspection
    from api.openapi import routes as docs

    modules = (audit, catalog, docs, health, inspection, keys, status, subscriptions)
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
    packages = "api|catalog|commands|ingest|migrations|runtime|tests|bench|openapi|contracts"
    pages = [ARCHITECTURE, *(read(path) for path in DOCUMENTS if path.startswith("docs/decisions/"))]
    named = set(re.findall(rf"`((?:{packages})/[\w./-]*)`", "\n".join(pages)))
    assert len(named) > 100
    assert {name for name in named if not (PROJECT_ROOT / name).exists()} == set()


def test_the_architecture_names_every_package_that_the_project_needs() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.match(r"[a-z0-9-]+", line)[0] for line in project["dependencies"]}  # type: ignore[index]
    named = set(re.findall(r"`([a-z0-9-]+)`", section("Dependencies", ARCHITECTURE)))
    assert needed - named == set()


DECISIONS = [path for path in DOCUMENTS if re.match(r"docs/decisions/\d", path)]


@pytest.mark.parametrize("path", DECISIONS)
def test_a_decision_is_one_short_page_in_three_parts(path: str) -> None:
    text = read(path)
    assert text.startswith(f"# {Path(path).name[:4]}. ")
    assert headings(text, 2) == ["Context", "Decision", "Consequences"]
    assert 15 <= len(text.splitlines()) <= 40


def test_the_decisions_are_numbered_and_listed_in_order() -> None:
    names = [Path(path).name for path in DECISIONS]
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
    assert links_of(read("docs/decisions/README.md")) == names


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


def test_the_newest_release_of_the_changelog_is_the_installed_version() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    newest = headings(CHANGELOG, 2)[1]
    assert newest.startswith(f"[{project['version']}] - ")
    assert (project["name"], project["version"]) == (DISTRIBUTION, read_version())
