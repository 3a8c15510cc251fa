"""`decant restored`: records that the database, or the home folder, was restored from a backup."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.common import load_contracts, open_urls, out


def restored(
    reason: Annotated[
        str, typer.Option(help="The reason, for the record of epochs.")
    ] = "an operator reported that the database was restored",
) -> None:
    """Begin a new epoch after a restore: consumers with revisions of an earlier epoch are told to start again."""
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
        "Earlier entity tags, cursors and positions are rejected with 410 (epoch_ended): consumers start again.",
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
    out.print("The restore undid erasures made since the backup: repeat them with `decant erase`.", soft_wrap=True)
