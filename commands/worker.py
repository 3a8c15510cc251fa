"""`decant worker`: runs schedules, queued loads, pushed events."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.common import err, given, load_contracts, open_urls


def worker(
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Concurrent loads; default: DECANT_WORKER_CONCURRENCY or 2.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Run the loads that are due now, then exit.")] = False,
) -> None:
    """Run the loads of schedules, pushed events, watched inputs and the queue."""
    from ingest.worker.supervisor import keep_working, work_once
    from runtime.logs import open_logs

    settings, catalog = load_contracts(**given(worker_concurrency=concurrency))
    open_logs()
    if not once:
        keep_working(settings, catalog, open_urls)
        return
    ended = work_once(settings, catalog, open_urls)
    err.print(", ".join(f"{count} {word}" for word, count in sorted(ended.items())) or "Nothing is due.")
    if any(ended.get(word) for word in ("failed", "withheld", "retry")):
        raise typer.Exit(1)
