"""What a migration does for one product does not grow with the number of the others."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from catalog.migration.migrate import migrate
from runtime.errors import MigrationError
from tests.support.databases import Databases
from tests.support.lab import PEOPLE, Lab

SIZES = (2, 4, 6)
COUNTERS: list[Counter[Path]] = []  # those that count now


def count_opening(event: str, arguments: tuple[Any, ...]) -> None:
    """Counts the openings of scripts, compiled ones included."""
    if COUNTERS and event == "open" and isinstance(arguments[0], str) and arguments[0].endswith((".py", ".pyc")):
        COUNTERS[-1][Path(arguments[0])] += 1


@cache
def watch_openings() -> None:
    """Has openings counted, from the first test that counts any: an audit hook stays, and slows down all tests."""
    sys.addaudithook(count_opening)


@contextmanager
def count_work() -> Iterator[tuple[Counter[Path], list[str]]]:
    """(openings of scripts, statements) of what runs meanwhile."""
    opened: Counter[Path] = Counter()
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    watch_openings()
    COUNTERS.append(opened)
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield opened, statements
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
        COUNTERS.remove(opened)


def name_product(text: str, name: str) -> str:
    return text.replace("id: people", f"id: {name}").replace("people:read", f"{name}:read")


@pytest.mark.slow
def test_scripts_read_and_statements_run_grow_with_the_products_and_no_faster(
    databases: Databases, tmp_path: Path
) -> None:
    opened: dict[str, list[int]] = {"all": [], "none": [], "one": []}
    run: dict[str, list[int]] = {"all": [], "none": [], "one": []}
    for size in SIZES:
        database = databases.create()
        # Roles belong to the server: those of another size must not be there yet.
        texts = [name_product(PEOPLE, f"grow{size}x{number}") for number in range(size)]
        lab = Lab.build(tmp_path / str(size), databases.urls(database), *texts)
        for work, applied in (("all", size + 1), ("none", 0), ("one", 1)):
            if work == "one":
                contract = lab.settings.contracts / "contract0.odcs.yaml"
                contract.write_text(contract.read_text().replace("name: born", "name: birthday"))
                lab = Lab(lab.settings, lab.urls)
            with count_work() as (files, statements):
                report = migrate(lab.settings, lab.urls.owner, lab.catalog)
            assert len([name for name in report.applied if name.startswith("grow")]) == min(applied, size)
            scripts = {path: times for path, times in files.items() if path.is_relative_to(lab.settings.home)}
            opened[work].append(sum(scripts.values()))
            run[work].append(len(statements))
            once = [text for text in statements if text.startswith("REVOKE ALL ON ALL TABLES IN SCHEMA decant")]
            assert len(once) == 1  # one statement for all logins, whatever the number of products
        databases.run(f'DROP DATABASE "{database}" WITH (FORCE)')
    for counts in (*opened.values(), *run.values()):
        small, middle, large = counts
        assert large - middle == middle - small > 0, (opened, run)
    # With nothing to do, one product costs as much as each of the others, and all reading is of its own script.
    assert [count % size for count, size in zip(opened["none"], SIZES, strict=True)] == [0, 0, 0]


@pytest.mark.slow
def test_a_product_does_not_move_with_one_whose_schema_begins_like_its_own(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(name_product(PEOPLE, "people_v1_0"), PEOPLE)
    records = "id,name,age,born\n1,Ann,30,2000-01-31\n"
    for address in ("people_v1_0.people", "people.people"):
        assert lab.ingest(address, records).status == "published"
    contract = lab.settings.contracts / "contract0.odcs.yaml"
    added = "      - {name: born, logicalType: date}\n      - {name: town, logicalType: string}\n"
    text = contract.read_text().replace("      - {name: born, logicalType: date}\n", added)
    contract.write_text(text.replace("version: 1.0.0", "version: 1.1.0"))
    lab = Lab(lab.settings, lab.urls)
    assert migrate(lab.settings, lab.urls.owner, lab.catalog).applied == ["people_v1_0_v1_0002"]
    # What the latest load left is forgotten for the one whose tables changed.
    query = (
        "SELECT d.product, l.cleaning_sha256 IS NULL FROM decant.loads AS l"
        " JOIN decant.datasets AS d ON d.id = l.dataset_id ORDER BY 1"
    )
    assert lab.rows(query) == [("people", False), ("people_v1_0", True)]
    assert lab.rows("SELECT branch, name LIKE branch || '\\_0%%' FROM decant.scripts ORDER BY name") == [
        ("people_v1", True),
        ("people_v1_0_v1", True),
        ("people_v1_0_v1", True),
    ]


def test_a_database_of_a_newer_version_is_named(lab: Lab) -> None:
    with psycopg.connect(lab.urls.owner) as connection:
        moved = "UPDATE decant.alembic_version SET version_num = 'decant_9001' WHERE version_num ~ '^decant_[0-9]+$'"
        assert connection.execute(moved.encode()).rowcount == 1
    with pytest.raises(MigrationError, match=r"newer version of Decant .*decant_9001"):
        lab.migrate()


def test_scripts_that_part_or_lack_what_they_follow_are_refused(lab: Lab) -> None:
    folder = lab.settings.home / "migrations"
    (script,) = folder.glob("people_v1_0001*.py")
    text = script.read_text()
    for number in (2, 3):
        second = text.replace("people_v1_0001", f"people_v1_000{number}", 1)
        second = second.replace("down_revision = None", 'down_revision = "people_v1_0001"')
        second = second.replace("branch_labels = ", "branch_labels = None #")
        (folder / f"people_v1_000{number}_x.py").write_text(second)
    with pytest.raises(MigrationError, match=r"Multiple head revisions .* argument 'people_v1@head'"):
        lab.migrate()
    for path in folder.glob("people*.py"):
        path.unlink()
    with pytest.raises(MigrationError, match=r"Can't locate revision .*'people_v1_0001'.*rebuild-scripts"):
        lab.migrate()
    assert lab.rows("SELECT version_num FROM decant.alembic_version WHERE version_num LIKE 'people%%'") == [
        ("people_v1_0001",)
    ]
