"""Lists in addresses: separators count before percent-decoding, and a repeated parameter is a list too."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.datasets.aggregates_parameters import AggregateValidator, Group, Measure
from api.http.problems import Problem
from api.query.parameters import Validator
from catalog.model.dataset import Dataset
from runtime.postgres.database import DatabaseUrls
from tests.support.examples import examples
from tests.support.lab import Lab, walk

NAMES = """
apiVersion: v3.1.0
kind: DataContract
id: names
name: Names
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: names
    customProperties:
      - {property: input, value: {server: here, path: names.csv, mode: snapshot, nullValues: ["NULL"]}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: name, logicalType: string}
      - {name: size, logicalType: integer}
      - {name: made, logicalType: timestamp}
roles:
  - {role: "names:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
DATASET = "/data/names/v1/names"
TEXTS = [
    "Doe, Jane",
    "Doe",
    "Jane",
    "Smith",
    "a,b,c",
    ",",
    "100%",
    "%2C",
    "a+b",
    "a b",
    "+",
    "it's",
    'say "hi"',
    "[in]",
    "{}",
    "&=?#",
    "é",
    "日本",
    "\U0001f600",
    "\\",
    "",
]
FOUND = [
    ("name[in]=Doe%2C%20Jane,Smith", {"Doe, Jane", "Smith"}),
    ("name[in]=Doe%2C+Jane,Smith", {"Doe, Jane", "Smith"}),
    ("name%5Bin%5D=Doe%2c%20Jane&name[in]=Smith", {"Doe, Jane", "Smith"}),
    ("name[in]=Doe&name[in]=Jane,Smith", {"Doe", "Jane", "Smith"}),
    ("name[in]=%2C", {","}),
    ("name[in]=,", {""}),
    ("name[in]=%252C,100%25", {"%2C", "100%"}),
    ("name[in]=a+b", {"a b"}),
    ("name[in]=a%2Bb,%2B", {"a+b", "+"}),
    ("name=a+b", {"a b"}),
    ("name=a%2Bb", {"a+b"}),
    ("name=%2B", {"+"}),
    ("name=a,b,c", {"a,b,c"}),
    ("name[like]=Doe,*", {"Doe, Jane"}),
]
REFUSED = [
    ("name=a&name=b", "duplicate_parameter", "name"),
    ("limit=1&limit=2", "duplicate_parameter", "limit"),
    ("size[in]=1%2C2", "invalid_value", "%2C"),
    ("size[in]=1,", "invalid_value", "integer"),
    ("&".join(["size[in]=1"] * 201), "query_too_complex", "200"),
    ("sort=name&sort=-name", "duplicate_parameter", "repeated"),
    ("name[in]=%FF,a", "invalid_text", "UTF-8"),
    ("name[in]=a,%00", "invalid_text", "NUL"),
]


@pytest.fixture
def client(make_lab: Callable[..., Lab]) -> Iterator[httpx.Client]:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "name", "size", "made"])
    for number, name in enumerate(TEXTS):
        writer.writerow([number, name, number % 3, "2020-01-01T00:00:00Z"])
    lab = make_lab(NAMES)
    assert lab.ingest("names.names", out.getvalue(), "names.csv").status == "published"
    with lab.serve() as client:
        yield client


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Lab.build(tmp_path, DatabaseUrls("", "", "", ""), NAMES).dataset("names.names")


def write_list(name: str, texts: list[str], *, form: bool, repeated: bool) -> str:
    """A list as a client sends it: encoded as a form's or not, with commas or as many parameters."""
    name, *members = (urlencode({"": part})[1:] if form else quote(part, safe="") for part in (name, *texts))
    return "&".join(f"{name}={member}" for member in members) if repeated else f"{name}={','.join(members)}"


def test_separators_count_before_decoding(client: httpx.Client) -> None:
    for query, expected in FOUND:
        records = client.get(f"{DATASET}/records?{query}").json()["data"]
        assert {record["name"] for record in records} == expected, query


def test_what_is_no_list_comes_once_and_members_are_checked_one_by_one(dataset: Dataset) -> None:
    for query, code, words in REFUSED:
        with pytest.raises(Problem, match=words) as refused:
            Validator(dataset).parse(query.encode())
        assert refused.value.code == code, query


@pytest.mark.parametrize("separator", [",", "%2C", "&{name}="])
def test_names_are_separated_however_a_client_sends_a_list(dataset: Dataset, separator: str) -> None:
    validator = Validator(dataset)

    def address(name: str, *members: str) -> bytes:
        return f"{name}={separator.replace('{name}', name).join(members)}".encode()

    assert validator.parse(address("sort", "-size", "name")).sort == (("size", True), ("name", False))
    assert validator.parse(address("properties", "name", "id")).properties == ("id", "name")
    asked = AggregateValidator(validator)
    assert asked.parse(address("group_by", "size", "month(made)")).groups == (Group("size"), Group("made", "month"))
    assert asked.parse(address("measure", "count", "sum:size")).measures == (Measure("count"), Measure("sum", "size"))
    assert asked.parse(address("sort", "-count") + b"&group_by=size").sort == (("count", True),)
    with pytest.raises(Problem, match="at most 20"):
        asked.parse(address("measure", *["count"] * 21))


texts_of_all_kinds = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(TEXTS),
    min_size=1,
    max_size=8,
)


@settings(max_examples=examples(300, 25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=texts_of_all_kinds, form=st.booleans(), repeated=st.booleans())
@example(texts=["a,b", "%2C", "+", " ", "\\", "e\u0301", "'", '"', "[]", "\U0010ffff"], form=True, repeated=False)
def test_any_list_of_texts_is_read_as_it_was_meant(
    dataset: Dataset, texts: list[str], form: bool, repeated: bool
) -> None:
    query = Validator(dataset).parse(write_list("name[in]", texts, form=form, repeated=repeated).encode())
    assert query.values == (texts,)


@pytest.mark.slow
@settings(max_examples=examples(40, 25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=texts_of_all_kinds, form=st.booleans(), repeated=st.booleans(), limit=st.integers(1, 3))
def test_a_walk_finds_exactly_the_listed_texts(
    client: httpx.Client, texts: list[str], form: bool, repeated: bool, limit: int
) -> None:
    query = write_list("name[in]", texts, form=form, repeated=repeated)
    expected = sorted((name for name in TEXTS if name in texts), key=str.encode, reverse=True)
    # `next` is followed as it is given: what it repeats must be read as before.
    found = walk(client, f"{DATASET}/records?{query}&limit={limit}&sort=-name")
    assert [record["name"] for record in found] == expected
    (total,) = client.get(f"{DATASET}/aggregate?{query}").json()["data"]
    assert total == {"count": len(expected)}
    exported = client.get(f"{DATASET}/export?format=csv&{query}&properties=id")
    assert {int(line) for line in exported.text.split()[1:]} == {record["id"] for record in found}
