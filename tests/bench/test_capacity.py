"""The formulas of capacity: with round numbers, and with those of the document, which are the command's own words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.database.published_heads import WHOLE_SECONDS
from bench.capacity.model import (
    FULL,
    OTHERS,
    Constants,
    Demand,
    background,
    most_publications,
    plan,
    requests_per_second,
)
from bench.capacity.report import describe_constants, describe_example
from runtime.settings.settings import PROJECT_ROOT

ROUND = Constants(
    idle=0.01,
    notified=0.001,
    head=WHOLE_SECONDS / 100_000,
    cached=2000,
    page=500,
    page_database=0.001,
    idle_database=0.005,
    notified_database=0.0005,
    load=0.1,
    load_database=0.05,
    worker_idle=0.1,
    loads_per_second=8,
    connections=17,
    worker_connections=10,
)

# What the document shows, as it was measured.
DOCUMENTED = Constants(
    idle=0.005,
    notified=0.00059,
    head=3.1e-6,
    cached=9486,
    page=2847,
    page_database=0.0004,
    idle_database=0.003,
    notified_database=0.0009,
    load=0.107,
    load_database=0.038,
    worker_idle=0.0281,
    loads_per_second=3.6,
    connections=17,
    worker_connections=12,
)


def test_background_is_rest_and_publications_and_the_poll_of_all_heads() -> None:
    assert background(ROUND, publications=0, datasets=0) == pytest.approx(0.01)
    assert background(ROUND, publications=50, datasets=2000) == pytest.approx(0.01 + 0.05 + 0.02)
    assert background(ROUND, publications=0, datasets=2000, interval=WHOLE_SECONDS / 2) == pytest.approx(0.05)


def test_requests_are_a_harmonic_mean_of_what_is_left_of_the_processes() -> None:
    assert requests_per_second(ROUND, processes=1, used=0, hits=1) == pytest.approx(2000)
    assert requests_per_second(ROUND, processes=1, used=0, hits=0) == pytest.approx(500)
    assert requests_per_second(ROUND, processes=4, used=0.5, hits=0.5) == pytest.approx(2 / (0.5 / 2000 + 0.5 / 500))


def test_a_plan_leaves_every_core_room() -> None:
    demand = Demand(datasets=2000, publications=10, requests=1000, hits=0.5)
    found = plan(ROUND, demand)
    assert found.background == pytest.approx(0.04)
    reached = requests_per_second(ROUND, found.processes, found.background, demand.hits)
    assert FULL * reached >= demand.requests > FULL * reached * (found.processes - 1) / found.processes
    assert found.workers == 2  # 1 core of loads, of which each worker gives six tenths
    assert found.connections == 17 * found.processes + 10 * found.workers + OTHERS
    assert found.api_cores == pytest.approx(found.processes * 0.04 + 1.25)
    assert found.worker_cores == pytest.approx(2 * 0.1 + 1)
    assert found.database_cores == pytest.approx(0.5 + 0.5 + found.processes * 0.01)
    assert plan(ROUND, replace(demand, processes=3)).processes == 3


def test_what_is_scarcest_comes_first() -> None:
    found = plan(ROUND, Demand(datasets=10, publications=1, requests=10, hits=1, processes=5))
    assert list(found.shares(cores=64, max_connections=100)) == ["connections", "cores"]
    assert next(iter(found.shares(cores=1, max_connections=1000))) == "cores"


def test_a_demand_that_no_process_can_follow_is_said() -> None:
    with pytest.raises(ValueError, match="71% of a core"):
        plan(ROUND, Demand(datasets=0, publications=700, requests=1, hits=1))
    assert most_publications(ROUND, 2000) == pytest.approx(70)
    assert most_publications(ROUND, 100_000) == 0


def test_the_document_has_the_constants_and_the_example_as_they_are_computed() -> None:
    text = (PROJECT_ROOT / "docs/explanation/capacity.md").read_text()
    rows = [f"| {name} | {figure} | {meaning} |" for name, figure, meaning in describe_constants(DOCUMENTED)]
    assert "\n".join(rows) in text
    assert "\n".join(describe_example(DOCUMENTED)) in text
