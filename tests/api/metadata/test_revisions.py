"""The list of publications over HTTP."""

from __future__ import annotations

from tests.support.lab import Lab, walk

REVISIONS = "/data/people/v1/people/revisions"


def test_the_publications_of_a_dataset_come_newest_first_in_pages_that_leave_none_out(lab: Lab) -> None:
    for count in (1, 2, 3):
        lab.ingest("people.people", "id,name,age,born\n" + "".join(f"{n},Ann,1,\n" for n in range(count)))
    with lab.serve() as client:
        answer = client.get(REVISIONS)
        assert answer.status_code == 200, answer.text
        assert [(row["revision"], row["record_count"], row["inserted"]) for row in answer.json()["data"]] == [
            (3, 3, 1),
            (2, 2, 1),
            (1, 1, 1),
        ]
        assert (answer.json()["revision"], answer.json()["next"]) == (3, None)
        assert walk(client, f"{REVISIONS}?limit=1") == answer.json()["data"]
        unchanged = client.get(REVISIONS, headers={"If-None-Match": answer.headers["etag"]})
        assert unchanged.status_code == 304


def test_a_dataset_that_was_never_published_has_no_publications(lab: Lab) -> None:
    with lab.serve() as client:
        assert client.get(REVISIONS).json() == {"data": [], "revision": 0, "next": None}


def test_what_is_wrong_with_a_list_of_publications_is_named(lab: Lab) -> None:
    with lab.serve() as client:
        for query, code in (
            ("befor=1", "unknown_parameter"),
            ("limit=0", "limit_out_of_range"),
            ("before=x", "invalid_value"),
            ("limit=1&limit=1", "duplicate_parameter"),
        ):
            answer = client.get(f"{REVISIONS}?{query}")
            assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
