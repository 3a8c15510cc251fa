"""Every record counted after two hosts were killed for a while, and everything that must be left about, or not."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from catalog.storage.export_files import delete_old_exports
from ingest.landing.landing_zone import LandingZone
from runtime.postgres.database import make_engine
from tests.endurance.hosts_clients import FAULT_CHARACTERS
from tests.endurance.hosts_model import Content, Events, Items
from tests.endurance.hosts_parts import DECANT, Site
from tests.support.lab import Lab

LATER = timedelta(days=30)  # housekeeping of then: everything is past its time
LOADS = (
    "SELECT raw, accepted, rejected, duplicates FROM decant.loads AS l"
    " JOIN decant.datasets AS d ON d.id = l.dataset_id WHERE d.dataset = %s"
    " AND status IN ('published', 'unchanged') AND raw IS NOT NULL ORDER BY l.revision, l.id"
)
REVISIONS = (
    "SELECT r.revision, r.record_count FROM decant.revisions AS r"
    " JOIN decant.datasets AS d ON d.id = r.dataset_id WHERE d.dataset = %s ORDER BY 1"
)
ITEMS = "SELECT id, number, _revision, NULL FROM depot_v1.items"
HISTORY = "SELECT id, number, _revision, _until FROM depot_v1.items_history"


def find_revision(lab: Lab) -> int:
    """The current revision of the items."""
    ((revision,),) = lab.rows("SELECT revision FROM decant.datasets WHERE dataset = 'items'")
    return int(revision)


def is_quiet(lab: Lab, batches: int) -> bool:
    """Whether every batch is published, no event waits, and nothing runs or is queued."""
    ((waiting,),) = lab.rows("SELECT count(*) FROM decant.events WHERE load_id IS NULL")
    ((unfinished,),) = lab.rows("SELECT count(*) FROM decant.loads WHERE status IN ('queued', 'running')")
    return bool(find_revision(lab) >= batches and not waiting and not unfinished)


def count_everything(
    site: Site, items: Items, events: Events, key: dict[str, str], faults: list[str]
) -> dict[str, int]:
    """Figures of what was found; what is wrong goes to `faults`."""
    figures: Counter[str] = Counter()
    checks: list[Callable[[], None]] = [
        lambda: count_items(site.lab, items, figures),
        lambda: check_history(site.lab, items),
        lambda: count_events(site.lab, events, figures),
        lambda: read_receipts(site, events, key, figures),
        lambda: check_leftovers(site.lab, figures),
        lambda: check_store(site, figures),
    ]
    for check in checks:
        try:
            check()
        except AssertionError as error:
            faults.append(str(error)[:FAULT_CHARACTERS])
    return dict(figures)


def count_items(lab: Lab, items: Items, figures: Counter[str]) -> None:
    """Each batch made one load with its counts, and each key has its last value."""
    loads = lab.rows(LOADS, "items")
    wanted = [batch.counts for batch in items.batches]
    assert len(loads) == len(wanted), f"{len(loads)} loads of {len(wanted)} batches"
    for place, (load, batch) in enumerate(zip(loads, wanted, strict=True), 1):
        assert load == batch, f"batch {place}: {load} instead of {batch}"
        assert load[0] == sum(load[1:])
    current = dict(lab.rows("SELECT id, number FROM depot_v1.items"))
    assert current == items.current, f"{len(set(current.items()) ^ set(items.current.items()))} keys differ"
    raw, accepted, rejected, duplicates = map(sum, zip(*loads, strict=True)) if loads else (0, 0, 0, 0)
    figures.update({"items: loads": len(loads), "items: raw": raw, "items: accepted": accepted})
    figures.update({"items: rejected": rejected, "items: duplicates": duplicates, "items: current": len(current)})


def check_history(lab: Lab, items: Items) -> None:
    """Revisions have no gap, and each still holds what it held."""
    revisions = lab.rows(REVISIONS, "items")
    stated = [(number, content.count) for number, content in enumerate(items.contents) if number]
    assert revisions == stated, f"{set(revisions) ^ set(stated)}"
    begun: dict[int, list[tuple[int, int]]] = {}
    ended: dict[int, list[tuple[int, int]]] = {}
    for number, value, revision, until in lab.rows(f"{ITEMS} UNION ALL {HISTORY}"):
        begun.setdefault(revision, []).append((number, value))
        if until is not None:
            ended.setdefault(until, []).append((number, value))
    content = Content()
    for revision, wanted in enumerate(items.contents):
        for record in ended.get(revision, []):
            content = content.minus(record)
        for record in begun.get(revision, []):
            content = content.plus(record)
        assert content == wanted, f"history at revision {revision}: {content} instead of {wanted}"


def count_events(lab: Lab, events: Events, figures: Counter[str]) -> None:
    """Each event that was acknowledged is there once, and none besides."""
    loads = lab.rows(LOADS, "events")
    pushed = events.total()
    raw, accepted, rejected, duplicates = map(sum, zip(*loads, strict=True)) if loads else (0, 0, 0, 0)
    figures.update({"events: loads": len(loads), "events: raw": raw, "events: accepted": accepted})
    figures.update({"events: rejected": rejected, "events: duplicates": duplicates})
    assert (raw, accepted, rejected, duplicates) == (sum(pushed.values()), pushed["good"], pushed["bad"], 0), pushed
    found = lab.rows("SELECT id, amount FROM depot_v1.events ORDER BY id")
    wanted = sorted(number for receipt in events.receipts for number in receipt.good)
    assert found == [(number, number * 2) for number in wanted], f"{len(found)} events instead of {len(wanted)}"
    revisions = lab.rows(REVISIONS, "events")
    assert [number for number, _ in revisions] == list(range(1, len(revisions) + 1))


def read_receipts(site: Site, events: Events, key: dict[str, str], figures: Counter[str]) -> None:
    """Each receipt says of each of its events what became of it."""
    with httpx.Client(timeout=60, headers=key) as client:
        for number, receipt in enumerate(events.receipts):
            address = site.addresses[number % len(site.addresses)]
            answer = client.get(f"{address}{receipt.address}", params={"limit": 1000})
            assert answer.status_code == 200, answer.text
            outcomes = Counter(event["outcome"] for event in answer.json()["data"]["events"])
            wanted = Counter({"published": len(receipt.good), "rejected": receipt.bad})
            assert outcomes == wanted, f"{receipt.address}: {outcomes} instead of {wanted}"
    figures["receipts"] = len(events.receipts)


def check_leftovers(lab: Lab, figures: Counter[str]) -> None:
    """Nothing of a killed load is left in the database."""
    assert lab.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'decant_staging'") == []
    assert lab.rows("SELECT * FROM decant.parked_indexes") == []
    states = dict(lab.rows("SELECT status, count(*) FROM decant.loads GROUP BY 1"))
    figures.update({f"loads {status}": number for status, number in states.items()})
    ((again,),) = lab.rows("SELECT count(*) FROM decant.loads WHERE attempt > 1")
    figures["loads taken up again"] = again
    assert not states.get("withheld"), states


def check_store(site: Site, figures: Counter[str]) -> None:
    """After housekeeping, the bucket holds what the ledger names, and nothing else."""
    settings, engine = site.lab.settings, make_engine(site.lab.urls.ingest)
    try:
        zone = LandingZone.of(settings)
        figures["exports in the bucket"] = sum(key.startswith("exports/") for key in list_bucket(site.store))
        figures["raw batches left by killed loads"] = zone.remove_orphans(engine, datetime.now(UTC) + LATER)
        delete_old_exports(settings, datetime.now(UTC) + LATER)
    finally:
        engine.dispose()
    checked = subprocess.run(
        [DECANT, "store", "check", "--json"], env=site.environment(1), capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found: dict[str, Any] = json.loads(checked.stdout)
    assert (found["missing"], found["orphans"]) == ([], 0), checked.stdout
    named = site.lab.rows("SELECT DISTINCT part ->> 'sha256' FROM decant.loads"
                          " CROSS JOIN jsonb_array_elements(landed -> 'parts') AS part")  # fmt: skip
    kept = {f"landing/{sha256[:2]}/{sha256}" for (sha256,) in named}
    stored = set(list_bucket(site.store))
    assert stored == kept, f"only in the bucket: {stored - kept}, only in the ledger: {kept - stored}"
    figures["raw batches in the bucket"] = len(stored)


def list_bucket(address: str) -> list[str]:
    """The keys of all objects of a bucket."""
    keys: list[str] = []
    while True:
        after = f"&start-after={quote(keys[-1], safe='')}" if keys else ""
        found = re.findall("<Key>(.*?)</Key>", httpx.get(f"{address}?list-type=2{after}", timeout=60).text)
        if not found:
            return keys
        keys += found
