"""The figures in words."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from api.database.published_heads import WHOLE_SECONDS
from bench.capacity.model import FULL, Constants, Demand, most_publications, plan

EXAMPLE = Demand(datasets=500, publications=2, requests=300, hits=0.5)


def show_constants(constants: Constants, out: Console) -> None:
    """Nothing comes back; prints each formula with what it holds."""
    table = Table("constant", "measured", "is", title="constants", title_justify="left")
    rows = (
        ("b", f"{constants.idle:.2%}", "share of a core, an API process at rest"),
        ("c1", f"{constants.notified * 1000:.2f} ms", "API process, a publication heard of"),
        ("c2", f"{constants.head * 1e6:.1f} µs", "API process, a head in a poll of all"),
        ("T", f"{WHOLE_SECONDS:.0f} s", "between two polls of all heads"),
        ("cached", f"{constants.cached:,.0f}", "answers from the cache, in a second of a core"),
        ("page", f"{constants.page:,.0f}", "pages of 100 records, in a second of a core"),
        ("page, Postgres", f"{constants.page_database * 1000:.2f} ms", "Postgres, for such a page"),
        ("b, Postgres", f"{constants.idle_database:.2%}", "share of a core, for an API process at rest"),
        ("c1, Postgres", f"{constants.notified_database * 1000:.2f} ms", "for each API process that hears"),
        ("load", f"{constants.load * 1000:.0f} ms", "worker, a small load (10 records)"),
        ("load, Postgres", f"{constants.load_database * 1000:.0f} ms", "Postgres, for such a load"),
        ("worker at rest", f"{constants.worker_idle:.2%}", "share of a core"),
        ("loads", f"{constants.loads_per_second:.1f}", "a second, that one worker reached here"),
        ("connections", f"{constants.connections}", "of an API process, at most"),
        ("", f"{constants.worker_connections}", "of a worker, counted"),
    )
    for row in rows:
        table.add_row(*row)
    out.print(table)
    out.print("background of an API process = b + ν·c1 + D·c2/T", highlight=False)
    out.print("requests a second = N·(1 − u)/(h/cached + (1 − h)/page)", highlight=False)


def show_example(constants: Constants, out: Console) -> None:
    """Nothing comes back; prints what the example needs on the machine that was measured."""
    found = plan(constants, EXAMPLE)
    asked = (
        f"{EXAMPLE.datasets} datasets, {EXAMPLE.publications:.0f} publications and {EXAMPLE.requests:.0f} requests"
    )
    out.print(f"{asked} a second, {EXAMPLE.hits:.0%} of them cached, cores at most {FULL:.0%} busy:", highlight=False)
    cores = f"{found.api_cores:.2f} + {found.worker_cores:.2f} + {found.database_cores:.2f} cores"
    out.print(
        f"  background {found.background:.1%}, {found.processes} API processes, {found.workers} workers,"
        f" {found.connections} connections, {cores} (API, workers, Postgres)",
        highlight=False,
    )
    most = most_publications(constants, EXAMPLE.datasets)
    out.print(f"  following takes a tenth of a core from {most:.0f} publications a second on", highlight=False)


def show_figures(title: str, figures: dict[str, str], out: Console) -> None:
    """Nothing comes back; prints figures by their names."""
    table = Table("figure", "measured", title=title, title_justify="left")
    for name, value in figures.items():
        table.add_row(name, value)
    out.print(table)
