"""The figures in words."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from api.database.published_heads import WHOLE_SECONDS
from bench.capacity.model import Constants, Demand, most_publications, plan

EXAMPLE = Demand(datasets=500, publications=2, requests=300, hits=0.5)
CORES, MAX_CONNECTIONS = 4, 100  # of the machine that the example is held against


def describe_constants(constants: Constants) -> list[tuple[str, str, str]]:
    """Each constant: what it is called, its figure, and what it is of."""
    return [
        ("b", f"{constants.idle:.2%}", "of a core: an API process at rest"),
        ("c₁", f"{constants.notified * 1000:.2f} ms", "API process: a publication that it hears of"),
        ("c₂", f"{constants.head * 1e6:.1f} µs", "API process: a head in a poll of all"),
        ("T", f"{WHOLE_SECONDS:.0f} s", "between two polls of all heads"),
        ("cached", f"{constants.cached:,.0f}", "answers from the cache in a second of a core"),
        ("page", f"{constants.page:,.0f}", "pages of 100 records in a second of a core"),
        ("p", f"{constants.page_database * 1000:.2f} ms", "Postgres: such a page"),
        ("b′", f"{constants.idle_database:.2%}", "of a core: Postgres, for an API process at rest"),
        (
            "c₁′",
            f"{constants.notified_database * 1000:.2f} ms",
            "Postgres: each API process that hears of a publication",
        ),
        ("l", f"{constants.load * 1000:.0f} ms", "worker: a small load (10 records)"),
        ("l′", f"{constants.load_database * 1000:.0f} ms", "Postgres: such a load"),
        ("w", f"{constants.worker_idle:.2%}", "of a core: a worker at rest"),
        ("loads", f"{constants.loads_per_second:.1f}", "small loads a second that one worker reached"),
        ("k", f"{constants.connections}", "connections of an API process, at most"),
        ("k′", f"{constants.worker_connections}", "connections of a worker, counted after loads"),
    ]


def show_constants(constants: Constants, out: Console) -> None:
    """Nothing comes back; prints each constant, and the formulas that hold them."""
    table = Table("constant", "measured", "is", title="constants", title_justify="left")
    for row in describe_constants(constants):
        table.add_row(*row)
    out.print(table)
    out.print("background of an API process: u = b + ν·c₁ + D·c₂/T", highlight=False)
    out.print("requests a second: N·(1 − u)/(h/cached + (1 − h)/page)", highlight=False)


def describe_example(constants: Constants, demand: Demand = EXAMPLE) -> list[str]:
    """What a demand needs, line by line."""
    found = plan(constants, demand)
    used = found.shares(CORES, MAX_CONNECTIONS)
    most = most_publications(constants, demand.datasets)
    asked = f"{demand.publications:g} publications and {demand.requests:g} requests a second"
    return [
        f"{demand.datasets:,} datasets, {asked}, {demand.hits:.0%} of them cached:",
        f"  background        {found.background:.1%} of a core in each API process",
        f"  API processes     {found.processes}, {found.api_cores:.2f} cores",
        f"  workers           {found.workers}, {found.worker_cores:.2f} cores",
        f"  Postgres          {found.database_cores:.2f} cores",
        f"  connections       {found.connections}",
        f"  of {CORES} cores        {used['cores']:.0%}",
        f"  of {MAX_CONNECTIONS} connections {used['connections']:.0%}",
        f"  following takes a tenth of a core from {most:.0f} publications a second on",
    ]


def show_example(constants: Constants, out: Console) -> None:
    """Nothing comes back; prints what the example needs on the machine that was measured."""
    for line in describe_example(constants):
        out.print(line, highlight=False)


def show_figures(title: str, figures: dict[str, str], out: Console) -> None:
    """Nothing comes back; prints figures by their names."""
    table = Table("figure", "measured", title=title, title_justify="left")
    for name, value in figures.items():
        table.add_row(name, value)
    out.print(table)
