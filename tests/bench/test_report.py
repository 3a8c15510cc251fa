"""The tables of the benchmark, as a terminal of eighty columns shows them."""

from __future__ import annotations

import io
import re

from rich.console import Console

from api.portal.routes import PAGES
from bench.big import BigPagination
from bench.cases import Case
from bench.older import State
from bench.portal import Figure, Times, show
from bench.portal_pages import OPEN_PAGES, OWNER_PAGES, Limits
from bench.report import show_big, show_older, show_serve
from bench.wrk import Round

TARGETS = {"idiomatic": 4.0, "bare": 0.85, "postgrest": 1.15}
RATES = {"decant": 12_345.6, "idiomatic": 345.6, "bare": 1_345.6, "postgrest": 13_345.6}


def narrow() -> Console:
    return Console(file=io.StringIO(), width=80)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_of_serving_shows_every_figure_in_eighty_columns() -> None:
    rounds = {name: [Round(rate, 4.25, 1110.5)] for name, rate in RATES.items()}
    console = narrow()
    show_serve([Case("c", "304 by If-None-Match", TARGETS, {}, rounds=rounds)], 1, console)
    text = text_of(console)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for figure in ("12,346", "4.2, 1110", "× 35.72 ≥ 4", "× 9.17 ≥ 0.85", "× 0.93 ≥ 1.15"):
        assert figure in text, text
    assert text.count("missed") == 1


def test_a_page_that_is_slower_at_an_older_revision_is_named() -> None:
    rates = {"head": 1_500.0, "at=head": 1_400.0, "at=head-1": 1_000.0}
    rounds = {place: [Round(rate, 4.25, 9.5)] for place, rate in rates.items()}
    console = narrow()
    state = State("all", "after a load of 100 %", 10, 50, dict.fromkeys(rates, ""), rounds)
    show_older([state], console)
    text = text_of(console)
    assert max(map(len, text.splitlines())) <= 80
    assert "history 5.00 times current" in text
    assert "missed: page after a load of 100 %: 1.50 apart, not 1.3" in text


def test_a_walk_that_slows_down_is_named() -> None:
    console = narrow()
    show_big(BigPagination(10_000_000, 10_001, 123.4, 10.0, 13.0, []), console)
    text = text_of(console)
    assert max(map(len, text.splitlines())) <= 80
    assert "missed: the last pages: 1.30 times as long as the first, not 1.2" in text


def test_a_page_over_a_limit_is_marked_beside_it() -> None:
    limits = Limits(100, 15_000)
    figures = [
        Figure("quick", limits, Times(99.4, 15_000), Times(10, 15_000)),
        Figure("slow", limits, Times(100.6, 900)),
        Figure("heavy", limits, Times(5, 15_001), Times(5, 15_001)),
    ]
    console = narrow()
    assert not show(figures, console)
    lines = text_of(console).splitlines()
    over = {name: next(line for line in lines if name in line).count("over") for name in ("quick", "slow", "heavy")}
    assert over == {"quick": 0, "slow": 1, "heavy": 1}
    assert "2 of 3 pages over a limit" in lines[-1]
    assert show(figures[:1], narrow())


def test_every_page_of_the_portal_is_measured() -> None:
    asked = {page.path.partition("?")[0] for page in (*OPEN_PAGES, *OWNER_PAGES)}
    unmeasured = {
        page.name
        for page in PAGES
        if not any(re.fullmatch(re.sub(r"\{[^}]+\}", "[^?]+", page.path), path) for path in asked)
    }
    assert unmeasured == set()
