"""Contracts that are mended, and their rejected records replayed again."""

from __future__ import annotations

from typing import Any

from catalog.model.load_request import Replay
from tests.support.lab import PEOPLE, Lab

HEAD = "id,name,age,born\n"

STRICT = PEOPLE.replace("maximum: 150", "maximum: 50")


def mend(lab: Lab, before: str = "maximum: 50", after: str = "maximum: 150") -> Lab:
    """The same product under a contract that was mended."""
    for file in lab.settings.contracts.iterdir():
        file.write_text(file.read_text().replace(before, after))
    return Lab(lab.settings, lab.urls)


def replay(lab: Lab, load: int | None = None, address: str = "people.people") -> Any:
    return lab.loader().run(lab.dataset(address), request=Replay(load))


def people(lab: Lab) -> dict[int, tuple[str, int]]:
    return {row[0]: row[1:] for row in lab.rows("SELECT id, name, age FROM people_v1.people")}


def states(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.rows("SELECT load_id, line, state FROM decant.rejected_records ORDER BY load_id, line")
