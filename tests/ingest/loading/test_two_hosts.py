"""Two hosts without a shared disk: what one brings into the bucket, the other one reads, erases and takes up."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

import obstore
import pytest
import sqlalchemy as sa

from catalog.model.load_request import Erase, Replay
from catalog.storage.bucket_store import open_client
from catalog.storage.object_store import EXPORTS, KNOWN, LANDING, ObjectStore
from catalog.storage.store_place import open_store
from ingest.cleaning import published_snapshot
from ingest.cleaning.published_snapshot import delete_outdated_copies
from ingest.inspection.raw_record import make_raw_lookup
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.landing_zone import LandingZone, key_of, land_part
from ingest.landing.raw import RawPart
from ingest.landing.store_check import Copied, compare, copy_batches, try_store
from runtime.postgres.database import make_engine
from tests.support.buckets import make_bucket
from tests.support.lab import Lab
from tests.support.waiting import wait_until

FIRST = "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,x,\n3,Cid,50,\n"
SECOND = FIRST.replace("Cid", "Cyd")
PEOPLE = "people.people"


@pytest.fixture
def hosts(make_lab: Callable[..., Lab], bucket_server: str, tmp_path: Path) -> tuple[Lab, Lab]:
    """Two hosts with a bucket between them; both read the same input."""
    first = make_lab(store_url=make_bucket(bucket_server, token_hex(8)))
    second = Lab(first.settings.model_copy(update={"home": tmp_path / "another-host"}), first.urls)
    return first, second


def store_of(lab: Lab) -> ObjectStore:
    return open_store(lab.settings)


def keys_in(lab: Lab, prefix: str) -> list[str]:
    return sorted(found.key for found in store_of(lab).list(prefix))


def texts_on(lab: Lab) -> bytes:
    """All that lies in the home of a host."""
    return b"".join(path.read_bytes() for path in lab.settings.home.rglob("*") if path.is_file())


@pytest.mark.slow
def test_raw_batches_lie_in_the_bucket_and_on_no_host(hosts: tuple[Lab, Lab]) -> None:
    first, second = hosts
    assert first.ingest(PEOPLE, FIRST).status == "published"
    assert second.ingest(PEOPLE).status == "unchanged"
    assert len(keys_in(first, LANDING)) == 1
    assert second.ingest(PEOPLE, SECOND).status == "published"
    assert len(keys_in(first, LANDING)) == 2
    for host in hosts:
        assert b"Ann" not in texts_on(host)
        assert not host.landing.exists()


def test_another_host_replays_and_shows_what_one_has_landed(hosts: tuple[Lab, Lab]) -> None:
    first, second = hosts
    load = first.ingest(PEOPLE, FIRST).load_id
    report = second.loader().run(second.dataset(PEOPLE), request=Replay(load_id=load))
    assert report.status in {"published", "unchanged"}, report
    ((landed, parts),) = first.rows("SELECT landed, parts FROM decant.loads WHERE id = %s", load)
    find_raw = make_raw_lookup(second.settings)
    assert find_raw(second.dataset(PEOPLE), {"landed": landed, "parts": parts}, 2) == "1,Ann,30,1990-01-31"


@pytest.mark.slow
def test_an_erasure_on_one_host_leaves_nothing_in_the_bucket_or_on_the_other(
    hosts: tuple[Lab, Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_snapshot, "SNAPSHOT_FROM_RECORDS", 1)
    first, second = hosts
    first.ingest(PEOPLE, FIRST)
    assert len(keys_in(first, KNOWN)) == 1
    # The other host fetches the records to compare with, and keeps them.
    assert second.ingest(PEOPLE, SECOND).status == "published"
    assert first.ingest(PEOPLE, SECOND + "4,Dee,1,\n").status == "published"
    assert list(second.settings.known_folder.iterdir())
    request = Erase(key=("1",))
    assert second.loader().run(second.dataset(PEOPLE), request=request).status == "published"
    for key in keys_in(first, LANDING):
        found = store_of(first).find(key, first.settings.work_folder)
        assert found is not None
        assert b"Ann" not in found.read_bytes()
    assert keys_in(first, KNOWN) == []
    delete_outdated_copies(first.settings)
    assert [path for path in first.settings.known_folder.iterdir() if b"Ann" in path.read_bytes()] == []
    assert list(first.settings.known_folder.iterdir()) == []


def test_a_batch_that_somebody_changed_in_the_bucket_is_not_read(hosts: tuple[Lab, Lab], bucket_server: str) -> None:
    first, second = hosts
    load = first.ingest(PEOPLE, FIRST).load_id
    (key,) = keys_in(first, LANDING)
    obstore.put(open_client(str(first.settings.store_url)), key, FIRST.replace("Ann", "Eve").encode())
    report = second.loader().run(second.dataset(PEOPLE), request=Replay(load_id=load))
    assert report.status == "failed"
    assert "was changed in the object store" in (report.error or "")


def test_a_bucket_that_does_not_answer_fails_a_load_that_is_tried_again(
    hosts: tuple[Lab, Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.errors import StoreUnavailableError

    first, _ = hosts
    store = store_of(first)

    def refuse(*_: object) -> None:
        raise StoreUnavailableError("https://lake.example does not respond.")

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", refuse)
        report = first.ingest(PEOPLE, FIRST)
    assert (report.status, report.error_code) == ("failed", "store_unavailable")
    assert first.rows("SELECT count(*) FROM people_v1.people") == [(0,)]
    assert first.ingest(PEOPLE).status == "published"


@pytest.mark.slow
def test_two_services_send_the_same_file(hosts: tuple[Lab, Lab]) -> None:
    first, second = hosts
    first.ingest(PEOPLE, FIRST)
    for form in ("parquet", "xlsx"):
        path = f"/data/people/v1/people/export?format={form}&at=1"
        answers = []
        for host in hosts:
            with host.serve() as client:
                answers.append(client.get(path))
        one, two = answers
        assert one.status_code == two.status_code == 200
        assert one.content == two.content
        for name in ("etag", "repr-digest", "last-modified"):
            assert one.headers[name] == two.headers[name]
    assert len(keys_in(first, EXPORTS)) == 2
    request = Erase(key=("1",))
    assert second.loader().run(second.dataset(PEOPLE), request=request).status == "published"
    assert keys_in(first, EXPORTS) == []
    with first.serve() as client:
        assert client.get("/data/people/v1/people/export?format=parquet&at=1").status_code == 410
        wait_until(lambda: not list(first.settings.exports_folder.rglob("*.parquet")))


def test_nobody_removes_a_batch_while_another_load_is_about_to_name_it(hosts: tuple[Lab, Lab]) -> None:
    first, second = hosts
    first.ingest(PEOPLE, FIRST)
    zone = LandingZone.of(first.settings)
    (key,) = keys_in(first, LANDING)
    digest = Path(key).name
    first.rows("UPDATE decant.loads SET landed = NULL RETURNING id")
    engine = make_engine(second.urls.ingest)
    folder = second.settings.work_folder
    part = land_part(RawPart("people.csv", iter([FIRST.encode()])), folder, 1000, lambda size: None)
    assert part.sha256 == digest
    removed: list[int | None] = []
    with engine.begin() as connection:
        zone.place(connection, LandedBatch(digest, (part,)))
        remover = threading.Thread(target=lambda: removed.append(zone.remove_unneeded(engine, digest)))
        remover.start()
        remover.join(0.3)
        assert removed == []
        note = {"parts": [{"name": "people.csv", "sha256": digest}]}
        connection.execute(
            sa.text("UPDATE decant.loads SET landed = CAST(:note AS jsonb)"), {"note": json.dumps(note)}
        )
    remover.join()
    assert removed == [None]
    assert zone.holds(digest)


def test_what_no_load_names_goes_after_a_day(hosts: tuple[Lab, Lab], tmp_path: Path) -> None:
    first, second = hosts
    first.ingest(PEOPLE, FIRST)
    zone, engine = LandingZone.of(first.settings), make_engine(first.urls.ingest)
    left = land_part(RawPart("x", iter([b"left behind"])), tmp_path / "drafts", 1000, lambda size: None)
    zone.store.put(left.path, key_of(left.sha256))
    found = compare(engine, first.settings, zone, first.catalog)
    assert (found.objects, found.orphans, found.missing) == (2, 1, [])
    now = datetime.now(UTC)
    assert zone.remove_orphans(engine, now) == 0
    assert zone.remove_orphans(engine, now + timedelta(days=2)) == 1
    assert len(keys_in(first, LANDING)) == 1
    assert second.ingest(PEOPLE).status == "unchanged"


@pytest.mark.slow
def test_a_home_is_copied_into_the_bucket_and_goes_on_from_there(
    make_lab: Callable[..., Lab], bucket_server: str, tmp_path: Path
) -> None:
    lab = make_lab()
    load = lab.ingest(PEOPLE, FIRST).load_id
    lab.ingest(PEOPLE, gzip.compress(SECOND.encode()))
    url = make_bucket(bucket_server, token_hex(8))
    moved = Lab(lab.settings.model_copy(update={"home": tmp_path / "moved", "store_url": url}), lab.urls)
    engine = make_engine(moved.urls.ingest)
    (missing,) = compare(engine, moved.settings, LandingZone.of(moved.settings), moved.catalog).missing
    assert (missing.dataset, missing.loads) == ("people@1.people", 2)
    for present in (0, 2):
        copied = Copied()
        assert len(list(copy_batches(store_of(lab), store_of(moved), tmp_path / "work", copied))) == 2
        assert (copied.objects, copied.present) == (2 - present, present)
    assert keys_in(lab, LANDING) == keys_in(moved, LANDING)
    assert compare(engine, moved.settings, LandingZone.of(moved.settings), moved.catalog).missing == []
    assert moved.loader().run(moved.dataset(PEOPLE), request=Replay(load_id=load)).status in {
        "published",
        "unchanged",
    }


def test_a_store_is_tried_by_an_object_of_its_own(hosts: tuple[Lab, Lab], make_lab: Callable[..., Lab]) -> None:
    first, _ = hosts
    for lab in (first, make_lab()):
        tried = try_store(store_of(lab), lab.settings.work_folder)
        assert tried.is_fit, list(tried.explain())
        assert "put, found and deleted" in " ".join(tried.explain())
        assert keys_in(lab, "probes") == []
