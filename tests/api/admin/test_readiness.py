"""A process is ready as long as it can read what its contracts need, whatever the database has besides."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.lab import PEOPLE, Lab

RECORDS = "/data/people/v1/people/records"
NEWER = PEOPLE.replace("version: 1.0.0", "version: 1.1.0").replace(
    "- {name: born,", "- {name: town, logicalType: string}\n      - {name: born,"
)
WORDS = PEOPLE.replace("version: 1.0.0", "version: 1.0.1").replace("name: People\n", "name: All people\n")


def with_contract(lab: Lab, text: str) -> Lab:
    """The same product as the next version of the contract has it; not yet migrated."""
    Path(lab.settings.contracts, "contract0.odcs.yaml").write_text(text)
    return Lab(lab.settings, lab.urls)


@pytest.mark.slow
def test_an_old_process_serves_through_an_additive_migration_beside_a_new_one(lab: Lab) -> None:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    answers: list[tuple[str, int]] = []
    over = threading.Event()

    def keep_asking(base: httpx.URL) -> None:
        with httpx.Client(base_url=base, timeout=30) as client:
            for number in range(100_000):
                if over.is_set():
                    return
                paths = (RECORDS, f"{RECORDS}/1", f"{RECORDS}?age[gt]={number % 7}", "/readyz")
                answers.extend((path, client.get(path).status_code) for path in paths)

    with lab.serve() as old:
        asking = threading.Thread(target=keep_asking, args=(old.base_url,))
        asking.start()
        try:
            newer = with_contract(lab, NEWER)
            with newer.serve() as early:
                # A new process that starts before the migration has not got its column yet.
                assert early.get("/readyz").status_code == 503
                newer.migrate()
                assert early.get("/readyz").status_code == 200
                newer.ingest("people.people", "id,name,age,born,town\n1,Ann,31,1990-01-31,Ulm\n2,Ben,,,\n")
                seen = {"Decant-Min-Revision": "2"}
                assert early.get(RECORDS, headers=seen).json()["data"][0]["town"] == "Ulm"
                assert "town" not in old.get(RECORDS, headers=seen).json()["data"][0]
                assert old.get("/readyz").status_code == 200
        finally:
            over.set()
            asking.join(60)
        assert len(answers) > 4
        assert {status for _, status in answers} == {200}


def test_what_a_process_needs_decides_whether_it_is_ready(lab: Lab) -> None:
    changes = (  # what is done, how it is undone, whether the process can still read
        ("ALTER TABLE people_v1.people ADD COLUMN more text", "ALTER TABLE people_v1.people DROP COLUMN more", True),
        (
            "ALTER TABLE people_v1.people RENAME COLUMN age TO years",
            "ALTER TABLE people_v1.people RENAME COLUMN years TO age",
            False,
        ),
        (
            "ALTER TABLE people_v1.people ALTER COLUMN age TYPE text",
            "ALTER TABLE people_v1.people ALTER COLUMN age TYPE bigint USING age::bigint",
            False,
        ),
        (
            "ALTER TABLE people_v1.people_history DROP COLUMN born",
            "ALTER TABLE people_v1.people_history ADD COLUMN born date",
            False,
        ),
        ("ALTER SCHEMA people_v1 RENAME TO elsewhere", "ALTER SCHEMA elsewhere RENAME TO people_v1", False),
    )
    with_contract(lab, WORDS).migrate()
    with lab.serve() as old, psycopg.connect(lab.urls.owner, autocommit=True) as owner:
        assert old.get("/readyz").json() == {"status": "ok"}
        for change, undoing, ready in changes:
            owner.execute(change.encode())
            answer = old.get("/readyz")
            if ready:
                assert (answer.status_code, answer.json()) == (200, {"status": "ok"}), change
            else:
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), change
                assert "this process does not have" in answer.json()["reason"]
                assert "people" not in answer.text
            owner.execute(undoing.encode())
            assert old.get("/readyz").status_code == 200, undoing


def test_columns_of_every_type_are_known_by_their_names_in_the_database(make_lab: Callable[..., Lab]) -> None:
    kinds = {
        "a": "logicalType: integer, physicalType: smallint",
        "b": "logicalType: integer, physicalType: bigint",
        "c": 'logicalType: number, physicalType: "numeric(12,4)"',
        "d": "logicalType: number",
        "e": "logicalType: string, logicalTypeOptions: {maxLength: 20}",
        "f": "logicalType: boolean",
        "g": "logicalType: timestamp",
        "h": "logicalType: timestamp, logicalTypeOptions: {timezone: false}",
        "i": "logicalType: time",
        "j": "logicalType: array, items: {logicalType: string}",
        "k": "logicalType: object",
        "l": "logicalType: string, physicalType: uuid",
    }
    more = "".join(f"\n      - {{name: {name}, {kind}}}" for name, kind in kinds.items())
    lab = make_lab(PEOPLE.replace("logicalType: date}", "logicalType: date}" + more))
    lab.rows("UPDATE decant.datasets SET contract_sha256 = 'other' RETURNING NULL")
    with lab.serve() as client:
        assert client.get("/readyz").status_code == 200
