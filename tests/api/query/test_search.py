"""Text search: what the contract marks, found by the index that `migrate` made."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from catalog.contract.load import load_catalog
from runtime.errors import ContractError
from tests.support.lab import Lab

BOOKS = """
apiVersion: v3.1.0
kind: DataContract
id: library
name: Library
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: books
    customProperties:
      - {property: input, value: {server: here, path: books.csv, mode: snapshot, nullValues: [""]}}
      - {property: maxDeleted, value: 100}
      - {property: searchLanguage, value: english}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: title, logicalType: string, customProperties: [{property: searchable, value: true}]}
      - {name: blurb, logicalType: string, customProperties: [{property: searchable, value: true}]}
      - {name: note, logicalType: string}
roles:
  - {role: "library:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
ROWS = """id,title,blurb,note
1,The Running Dogs,A tale of two dogs.,cat
2,Cats & Co,,dog
3,"O'Brien's ""quoted"" night",It rained.,
4,,dogs only here,
"""
MARK = "customProperties: [{property: searchable, value: true}]"
RECORDS = "/data/library/v1/books/records"


def load_library(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(BOOKS)
    lab.ingest("library.books", ROWS, "books.csv")
    return lab


@pytest.fixture
def library(product: Callable[..., Lab]) -> Lab:
    return product(load_library)


def indexes(lab: Lab) -> list[str]:
    """The definitions of the search indexes."""
    return [row[0] for row in lab.rows("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'sx\\_%' ORDER BY 1")]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("dog", [1, 4]),
        ("running dogs", [1]),
        ("cat", [2]),
        ("dog -tale", [4]),
        ('"two dogs"', [1]),
        ("cats or night", [2, 3]),
        ("O'Brien", [3]),
        ("nothing such", []),
        ("the", []),
        ("'; drop table x; --", []),
        ("& | ! ( ) :*", []),
    ],
)
def test_a_search_finds_words_as_people_write_them(library: Lab, words: str, found: list[int]) -> None:
    with library.serve() as client:
        for query in ({"q": words}, {"q": words, "at": "1"}):
            answer = client.get(RECORDS, params=query)
            assert answer.status_code == 200, answer.text
            assert [record["id"] for record in answer.json()["data"]] == found
        counted = client.get("/data/library/v1/books/aggregate", params={"q": words}).json()["data"]
        assert counted == [{"count": len(found)}]
        exported = client.get("/data/library/v1/books/export", params={"q": words, "format": "ndjson"}).text
        assert exported.count("\n") == len(found)


@pytest.mark.slow
@pytest.mark.alone
def test_a_search_sees_the_revision_that_is_read(library: Lab) -> None:
    library.ingest("library.books", ROWS.replace("dogs only here", "cats only here"), "books.csv")
    with library.serve() as client:
        client.headers["Decant-Min-Revision"] = "2"
        assert [r["id"] for r in client.get(f"{RECORDS}?q=dog").json()["data"]] == [1]
        earlier = client.get(f"{RECORDS}?q=dog&at=1")
        assert earlier.status_code == 200, (earlier.text, dict(earlier.headers))
        assert [r["id"] for r in earlier.json()["data"]] == [1, 4]


def test_the_index_answers_the_search(library: Lab) -> None:
    assert len(indexes(library)) == 2
    with psycopg.connect(library.urls.owner, autocommit=True) as connection:
        connection.execute("SET enable_seqscan = off")
        (definition,) = [d for d in indexes(library) if "books_history" not in d]
        expression = definition.partition("USING gin (")[2].removesuffix(")")
        plan = connection.execute(
            f"EXPLAIN SELECT * FROM library_v1.books WHERE {expression} @@ websearch_to_tsquery('english', 'dog')"
        ).fetchall()
    assert any("Bitmap Index Scan on sx_books_" in line for (line,) in plan)


@pytest.mark.slow
@pytest.mark.alone
def test_a_text_of_any_length_can_be_published_and_searched(library: Lab) -> None:
    words = " ".join(f"word{number}" for number in range(60_000))
    report = library.ingest("library.books", ROWS + f'5,huge,"{words} {"x" * 3000}",\n', "books.csv")
    assert report.status == "published"
    with library.serve() as client:
        client.headers["Decant-Min-Revision"] = "2"
        assert [r["id"] for r in client.get(f"{RECORDS}?q=word77&properties=id").json()["data"]] == [5]


@pytest.mark.alone
def test_what_is_searched_can_change_without_a_script(library: Lab) -> None:
    before = indexes(library)
    contract = library.settings.contracts / "contract0.odcs.yaml"
    contract.write_text(
        BOOKS.replace("name: note, logicalType: string", f"name: note, logicalType: string, {MARK}").replace(
            "version: 1.0.0", "version: 1.1.0"
        )
    )
    changed = Lab(library.settings, library.urls)
    changed.migrate()
    assert len(indexes(changed)) == 2
    assert set(indexes(changed)).isdisjoint(before)
    with changed.serve() as client:
        assert [r["id"] for r in client.get(f"{RECORDS}?q=dog").json()["data"]] == [1, 2, 4]


@pytest.mark.parametrize(
    ("words", "code"),
    [("", "invalid_value"), ("  ", "invalid_value"), ("x" * 129, "query_too_complex"), ("a\0b", "invalid_text")],
)
def test_what_is_no_search_is_refused(library: Lab, words: str, code: str) -> None:
    with library.serve() as client:
        answer = client.get(RECORDS, params={"q": words})
        assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: english", "value: klingon", "searchLanguage"),
        (
            "name: id, logicalType: integer, primaryKey: true",
            f"name: id, logicalType: integer, primaryKey: true, {MARK}",
            "only applies to text",
        ),
    ],
)
def test_a_contract_that_cannot_be_searched_so_is_refused(library: Lab, old: str, new: str, message: str) -> None:
    (library.settings.contracts / "contract0.odcs.yaml").write_text(BOOKS.replace(old, new))
    with pytest.raises(ContractError, match=message):
        load_catalog(library.settings)
