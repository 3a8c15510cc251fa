"""`decant restored`: says that the database, or the home, comes from a backup."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.common import load_contracts, open_urls, out


def restored(
    reason: Annotated[
        str, typer.Option(help="Why, for the record.")
    ] = "an operator said that the database was restored",
) -> None:
    """Begin a new epoch after a restore: consumers who name revisions of before are told to start again."""
    from catalog.storage.epoch import read_epochs, renew_epoch
    from catalog.storage.high_water import note_heads
    from ingest.landing.restored import find_missing_batches
    from ingest.ledger.audit import who_runs_this
    from runtime.postgres.database import make_engine

    settings, catalog = load_contracts()
    with open_urls(settings) as urls:
        engine = make_engine(urls.owner)
        with engine.begin() as connection:
            before = read_epochs(connection)[-1]
            epoch = renew_epoch(connection, before, reason, who_runs_this())
            note_heads(connection, settings, list(catalog.datasets()), epoch)
            missing = find_missing_batches(connection, settings, catalog)
    out.print(f"Epoch {epoch} begins; {before} has ended.", highlight=False)
    out.print(
        "Entity tags, cursors and changes of before are refused with 410 (epoch_ended), and consumers start again.",
        highlight=False,
        soft_wrap=True,
    )
    for lost in missing:
        out.print(
            f"{lost.dataset}: the raw batches of {lost.loads:,} loads are not in the landing zone: they cannot be"
            f" replayed, and the raw text of their records cannot be shown.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    out.print("Erasures made since the backup are undone by it: repeat them with `decant erase`.", soft_wrap=True)
