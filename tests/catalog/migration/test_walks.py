"""Contracts drawn at random, one after the other on one database, with a load after each."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from catalog.migration.alembic_scripts import make_branch
from catalog.migration.migrate import migrate
from catalog.migration.table_changes import compare_schema
from runtime.errors import MigrationError
from runtime.postgres.database import make_engine
from tests.support.databases import Databases
from tests.support.examples import examples
from tests.support.lab import Lab

TYPES = {
    "string": {"logicalType": "string"},
    "smallint": {"logicalType": "integer", "physicalType": "smallint"},
    "bigint": {"logicalType": "integer"},
    "numeric": {"logicalType": "number", "physicalType": "numeric(12,2)"},
    "double": {"logicalType": "number"},
    "date": {"logicalType": "date"},
    "boolean": {"logicalType": "boolean"},
}
VALUES = {"date": ["2024-01-31", "1999-12-01"], "boolean": ["true", "false"]}

COLUMNS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.tuples(st.sampled_from(sorted(TYPES)), st.booleans()),
    min_size=1,
)


@st.composite
def draw_shape(draw: st.DrawFn) -> dict[str, Any]:
    """The properties of a dataset, which of them are indexed, and its key."""
    columns = draw(COLUMNS)
    usable = sorted(name for name, (kind, _) in columns.items() if kind != "boolean")
    key = draw(st.lists(st.sampled_from(usable), unique=True, max_size=2)) if usable else []
    return {"columns": {"id": ("bigint", False), **columns}, "key": ["id", *key]}


def write(shape: dict[str, Any]) -> str:
    properties = [
        {
            "name": name,
            **TYPES[kind],
            **({"customProperties": [{"property": "indexed", "value": True}]} if indexed else {}),
            **(
                {"primaryKey": True, "primaryKeyPosition": shape["key"].index(name) + 1}
                if name in shape["key"]
                else {}
            ),
        }
        for name, (kind, indexed) in shape["columns"].items()
    ]
    contract = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "walk",
        "version": "1.0.0",
        "status": "draft",
        "servers": [{"server": "here", "type": "local", "path": "${DECANT_DATA}", "format": "csv"}],
        "schema": [
            {
                "name": "things",
                "customProperties": [
                    {"property": "input", "value": {"server": "here", "path": "things.csv"}},
                    {"property": "maxDeleted", "value": 100},
                ],
                "properties": properties,
            }
        ],
    }
    return yaml.safe_dump(contract, sort_keys=False)


def records(shape: dict[str, Any], turn: int) -> str:
    """A file of two records that fit the shape; the second differs from turn to turn."""
    names = list(shape["columns"])
    lines = [",".join(names)]
    for number in (1, 2):
        values = {
            name: VALUES.get(kind, [str(number), str(number + turn)])[(number + turn) % 2]
            for name, (kind, _) in shape["columns"].items()
        }
        lines.append(",".join(str(number) if name == "id" else values[name] for name in names))
    return "\n".join(lines) + "\n"


# Without shrinking: it would take minutes, and the steps that fail are few.
@pytest.mark.slow
@settings(deadline=None, database=None, max_examples=examples(4, 2), phases=[Phase.generate])
@given(st.lists(draw_shape(), min_size=2, max_size=4))
def test_any_contract_follows_any_other_or_is_refused_in_words_and_loads_afterwards(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, shapes: list[dict[str, Any]]
) -> None:
    name = databases.create()
    folder = tmp_path_factory.mktemp("walk")
    urls = databases.urls(name)
    try:
        turns = count()
        for shape in shapes:
            lab = Lab.build(folder, urls, write(shape))
            if refusal := refuse(lab):
                # Records that do not fit a new type or key: the way is to begin anew, and it is open.
                assert "No change was made" in refusal
                for table in ("walk_v1.things", "walk_v1.things_history"):
                    lab.rows(f"WITH gone AS (DELETE FROM {table} RETURNING 1) SELECT count(*) FROM gone")
                lab.rows("WITH done AS (UPDATE decant.datasets SET record_count = 0 RETURNING 1) SELECT 1 FROM done")
                assert refuse(lab) is None
            check(lab, shape, next(turns))
    finally:
        databases.run(f'DROP DATABASE "{name}" WITH (FORCE)')


def refuse(lab: Lab) -> str | None:
    """Why the contract cannot follow the last one; None where it was migrated."""
    try:
        migrate(lab.settings, lab.urls.owner, lab.catalog, allow_loss=True)
    except MigrationError as error:
        return str(error)
    return None


def check(lab: Lab, shape: dict[str, Any], turn: int) -> None:
    """Nothing differs any more, and what is loaded is what was in the file."""
    (product,) = lab.catalog.products.values()
    with make_engine(lab.urls.owner).connect() as connection:
        assert compare_schema(connection, make_branch(lab.settings, product)).differences == []
    report = lab.ingest("walk.things", records(shape, turn), "things.csv")
    assert report.outcome is not None, report.error
    assert (report.outcome.accepted, report.outcome.rejected) == (2, 0)
    names = ", ".join(f'"{name}"::text' for name in shape["columns"])
    stored = lab.rows(f"SELECT {names} FROM walk_v1.things ORDER BY id")
    wanted = [line.split(",") for line in records(shape, turn).splitlines()[1:]]
    assert [[plain(value) for value in row] for row in stored] == [[plain(value) for value in row] for row in wanted]


def plain(value: str) -> str:
    """A value without the decimals that its type adds."""
    return value.removesuffix(".00")
