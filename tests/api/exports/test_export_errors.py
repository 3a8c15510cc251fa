"""What goes wrong in the database is told alike of pages and of exports."""

from __future__ import annotations

import psycopg
import pytest

from runtime.errors import DatabaseError, DatabaseUnavailableError, QueryTimeoutError, QueryTooExpensiveError
from runtime.postgres.database import translate_state
from tests.support.lab import Lab

BASE = "/data/people/v1/people"


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        (None, DatabaseUnavailableError),
        ("57014", QueryTimeoutError),
        ("53400", QueryTooExpensiveError),
        ("57P01", DatabaseUnavailableError),
        ("55P03", DatabaseUnavailableError),
        ("53300", DatabaseUnavailableError),
        ("42501", DatabaseError),
        ("42P01", DatabaseError),
        ("22012", DatabaseError),
        ("ZZZZZ", DatabaseError),
    ],
)
def test_an_error_is_told_by_its_sqlstate(sqlstate: str | None, kind: type[DatabaseError]) -> None:
    assert type(translate_state(sqlstate)) is kind


def test_what_is_refused_is_no_lost_database(lab: Lab) -> None:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    with lab.serve() as client:
        assert client.get(f"{BASE}/records").status_code == 200
        with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
            owner.execute("REVOKE SELECT ON people_v1.people, people_v1.people_history FROM decant_read")
        page = client.get(f"{BASE}/records?limit=7")
        for form in ("csv", "ndjson", "parquet"):
            export = client.get(f"{BASE}/export?format={form}&id[gte]=1")
            assert (export.status_code, export.json()["code"]) == (page.status_code, page.json()["code"]), form
        assert page.status_code == 500
