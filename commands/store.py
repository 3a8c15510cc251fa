"""`decant store check` and `copy`: the object store that hosts share, and the way into it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import track

from commands.common import AsJson, load_contracts, open_urls, out
from runtime.errors import SettingsError


def check(as_json: AsJson = False) -> None:
    """Try the object store, and compare it with the ledger: raw batches that are missing, and ones left behind."""
    from catalog.storage.store_place import open_store
    from ingest.landing.landing_zone import LandingZone
    from ingest.landing.store_check import compare, try_store
    from runtime.postgres.database import make_engine

    settings, catalog = load_contracts()
    store = open_store(settings)
    tried = try_store(store, settings.work_folder)
    with open_urls(settings) as urls:
        found = compare(make_engine(urls.ingest), settings, LandingZone(store), catalog)
    if as_json:
        typer.echo(json.dumps({"store": settings.store_url, "tried": asdict(tried), **asdict(found)}, indent=2))
    else:
        place = settings.store_url or f"{settings.home} (DECANT_STORE_URL is not set)"
        out.print(f"Store: {place}", highlight=False, markup=False, soft_wrap=True)
        for line in tried.explain():
            out.print(line, highlight=False, markup=False, soft_wrap=True)
        out.print(f"Raw batches: {found.objects:,} objects, {found.bytes / 1e6:,.1f} MB", highlight=False)
        for lost in found.missing:
            out.print(
                f"{lost.dataset}: the raw batches of {lost.loads:,} loads are missing: they cannot be replayed.",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        if found.orphans:
            out.print(
                f"{found.orphans:,} objects belong to no load; those older than a day go with the hourly housekeeping"
                f" of a worker.",
                highlight=False,
                soft_wrap=True,
            )
    if found.missing or not tried.is_fit:
        raise typer.Exit(1)


def copy(
    to_home: Annotated[bool, typer.Option("--to-home", help="The other way: from the bucket into HOME.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy raw batches from HOME into the bucket of DECANT_STORE_URL; run again, it goes on where it stopped."""
    from catalog.storage.folder_store import FolderStore
    from catalog.storage.store_place import open_store
    from ingest.landing.store_check import Copied, copy_batches

    settings, _ = load_contracts()
    if settings.store_url is None:
        raise SettingsError("DECANT_STORE_URL is not set: there is no bucket to copy to or from.")
    home, bucket = FolderStore(settings.home), open_store(settings)
    source, target = (bucket, home) if to_home else (home, bucket)
    copied = Copied()
    copying = copy_batches(source, target, settings.work_folder, copied)
    for _ in track(copying, "Copying", console=out, disable=not out.is_terminal):
        pass
    if as_json:
        typer.echo(json.dumps(asdict(copied), indent=2))
    else:
        out.print(
            f"{copied.objects:,} raw batches copied ({copied.bytes / 1e6:,.1f} MB), {copied.present:,} were there.",
            highlight=False,
        )
