"""Names of schemas and tables, and the order in which datasets are loaded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.model.dataset import POSTGRES_NAME_BYTES, Dataset, ForeignKey, Input, name_schema, shorten_name
from catalog.model.dependencies import order_by_dependency


def make_dataset(
    name: str,
    parents: tuple[str, ...] = (),
    *,
    enforced: bool = True,
    reads: tuple[str, ...] = (),
    schema: str = "p_v1",
) -> Dataset:
    """A dataset that refers to `parents` and whose query reads `reads`."""
    return Dataset(
        product="p",
        major=1,
        schema=schema,
        name=name,
        table=name,
        title=name,
        description="",
        properties={},
        key=(),
        foreign_keys=tuple(ForeignKey(("x",), parent, ("y",), enforced) for parent in parents),
        input=Input(kind="query", mode="snapshot", query="select 1", reads=reads) if reads else None,
        gates=(),
        max_rejected=0.1,
        max_deleted=0.5,
        reject_unknown_columns=False,
    )


@pytest.mark.parametrize(
    ("product", "major", "schema"),
    [
        ("nyc-flights", 1, "nyc_flights_v1"),
        ("NYC.Flights", 12, "nyc_flights_v12"),
        ("-a--b-", 0, "a_b_v0"),
        ("53581432-6c55-4ba2-a65f-72344a91553a", 1, "53581432_6c55_4ba2_a65f_72344a91553a_v1"),
        ("---", 1, "product_v1"),
    ],
)
def test_a_schema_is_the_slugged_id_and_the_major(product: str, major: int, schema: str) -> None:
    assert name_schema(product, major) == schema


def test_majors_of_a_long_id_differ_in_their_schema() -> None:
    names = {name_schema("a" * 80, major) for major in range(1, 30)}
    assert len(names) == 29
    assert all(len(name) <= POSTGRES_NAME_BYTES for name in names)


@settings(deadline=None, database=None)
@given(st.text(min_size=1, max_size=80, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_shortened_name_fits_postgres_and_a_short_one_stays(name: str) -> None:
    short = shorten_name(name)
    assert len(short.encode()) <= POSTGRES_NAME_BYTES
    assert short == name or len(name.encode()) > POSTGRES_NAME_BYTES
    assert shorten_name(short) == short


def test_long_names_with_one_beginning_stay_apart() -> None:
    names = ["flights_" + "x" * 60 + end for end in ("a", "b", "_history")]
    assert len({shorten_name(name) for name in names}) == 3


def test_a_dataset_knows_its_address_and_its_path() -> None:
    dataset = make_dataset("flights")
    assert (dataset.address, dataset.path) == ("p@1.flights", "/data/p/v1/flights")


@st.composite
def draw_graph(draw: st.DrawFn) -> list[Dataset]:
    """Datasets without a circle, in any order; a reference is a foreign key or a query that reads."""
    count = draw(st.integers(1, 8))
    made = []
    for number in range(count):
        earlier = st.lists(st.sampled_from(range(number)), unique=True) if number else st.just([])
        parents = tuple(f"d{parent}" for parent in draw(earlier))
        reads = tuple(f"d{parent}" for parent in draw(earlier))
        made.append(make_dataset(f"d{number}", parents, reads=reads))
    return draw(st.permutations(made))


@settings(deadline=None, database=None)
@given(draw_graph())
def test_each_dataset_comes_after_all_that_it_needs(datasets: list[Dataset]) -> None:
    ordered = order_by_dependency(datasets)
    place = {dataset.name: index for index, dataset in enumerate(ordered)}
    assert len(ordered) == len(datasets)
    for dataset in datasets:
        needed = {key.dataset for key in dataset.foreign_keys} | set(dataset.input.reads if dataset.input else ())
        assert all(place[name] < place[dataset.name] for name in needed)


@pytest.mark.parametrize(
    "datasets",
    [
        pytest.param([make_dataset("a", ("b",)), make_dataset("b", ("a",))], id="two foreign keys"),
        pytest.param([make_dataset("a", ("b",)), make_dataset("b", reads=("a",))], id="a foreign key and a query"),
        pytest.param(
            [make_dataset("a", ("b",)), make_dataset("b", ("c",)), make_dataset("c", ("a",))], id="three datasets"
        ),
    ],
)
def test_a_circle_is_named(datasets: list[Dataset]) -> None:
    with pytest.raises(ValueError, match=r"a → b → .*a"):
        order_by_dependency(datasets)


def test_a_circle_that_is_not_enforced_and_a_dataset_that_refers_to_itself_are_no_circles() -> None:
    loose = [make_dataset("a", ("b",)), make_dataset("b", ("a",), enforced=False), make_dataset("c", ("c",))]
    assert [dataset.name for dataset in order_by_dependency(loose)] == ["b", "a", "c"]


def test_a_query_may_read_another_products_dataset_by_its_schema() -> None:
    derived = make_dataset("d", reads=("other_v1.source",))
    source = make_dataset("source", schema="other_v1")
    namesake = make_dataset("source")
    assert order_by_dependency([derived, namesake, source]) == [source, derived, namesake]
