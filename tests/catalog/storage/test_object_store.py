"""Objects that hosts share: the same in a folder and in a bucket, and what is said where that does not answer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from errno import EXDEV
from pathlib import Path
from secrets import token_hex

import pytest

from catalog.storage.bucket_store import BucketStore
from catalog.storage.folder_store import FolderStore
from catalog.storage.object_store import ObjectStore
from catalog.storage.store_place import open_store
from runtime import bucket_client
from runtime.errors import SettingsError, StoreError, StoreUnavailableError
from runtime.settings.settings import load_settings
from tests.support.buckets import make_bucket

MakeStore = Callable[[], ObjectStore]
KEY = "landing/ab/abcd"


@pytest.fixture(params=["folder", "bucket", "folder of a bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """A store with nothing in it."""
    if request.param == "folder":
        return FolderStore(tmp_path / "home")
    url = make_bucket(request.getfixturevalue("bucket_server"), token_hex(8))
    return BucketStore(url if request.param == "bucket" else f"{url}/some/where", refuses_versions=True)


def draft(folder: Path, content: bytes) -> Path:
    """A finished file that is to be an object."""
    folder.mkdir(exist_ok=True)
    path = folder / f"draft-{token_hex(4)}"
    path.write_bytes(content)
    return path


def test_a_draft_on_another_disk_becomes_an_object_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if path.parent != target.parent:
            raise OSError(EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    store, made = FolderStore(tmp_path / "home"), draft(tmp_path / "a", b"bytes")
    assert store.put(made, KEY).path.read_bytes() == b"bytes"
    assert [each.key for each in store.list("landing")] == [KEY]
    assert not made.exists()


def test_an_object_is_found_with_its_bytes_until_it_is_deleted(store: ObjectStore, tmp_path: Path) -> None:
    assert (store.find(KEY, tmp_path), store.look_up(KEY), list(store.list("landing"))) == (None, None, [])
    kept = store.put(draft(tmp_path / "a", b"bytes"), KEY)
    assert (kept.path.read_bytes(), kept.is_first) == (b"bytes", True)
    (tmp_path / "b").mkdir()
    found = store.find(KEY, tmp_path / "b")
    assert found is not None
    assert found.read_bytes() == b"bytes"
    facts = store.look_up(KEY)
    assert facts is not None
    assert (facts.key, facts.size) == (KEY, 5)
    assert [(each.key, each.size) for each in store.list("landing")] == [(KEY, 5)]
    assert [each.key for each in store.list("exports")] == []
    store.delete(KEY)
    store.delete(KEY)
    (tmp_path / "c").mkdir()
    assert (store.find(KEY, tmp_path / "c"), store.look_up(KEY)) == (None, None)


def test_the_first_object_of_a_key_stays(store: ObjectStore, tmp_path: Path) -> None:
    store.put(draft(tmp_path / "a", b"first"), KEY)
    assert not store.put(draft(tmp_path / "b", b"second"), KEY).is_first
    (tmp_path / "c").mkdir()
    found = store.find(KEY, tmp_path / "c")
    assert found is not None
    assert found.read_bytes() == b"first"
    assert [path for path in tmp_path.rglob("draft-*") if path.is_file()] == []


def test_an_object_that_is_put_again_from_where_it_lies_is_not_lost(store: ObjectStore, tmp_path: Path) -> None:
    kept = store.put(draft(tmp_path / "a", b"bytes"), KEY)
    again = store.put(kept.path, KEY)
    assert (again.path.read_bytes(), again.is_first) == (b"bytes", False)
    assert store.look_up(KEY) is not None


def test_of_those_who_put_at_once_one_comes_first(store: ObjectStore, tmp_path: Path) -> None:
    drafts = [draft(tmp_path / str(number), b"%d" % number * 1000) for number in range(8)]
    with ThreadPoolExecutor(len(drafts)) as pool:
        placed = list(pool.map(lambda path: store.put(path, KEY), drafts))
    # Two that rename a file at once may both have seen none: then both say so, and one of them stays.
    assert sum(each.is_first for each in placed) == 1 or not store.is_shared
    (tmp_path / "c").mkdir()
    found = store.find(KEY, tmp_path / "c")
    assert found is not None
    assert found.read_bytes() in {b"%d" % number * 1000 for number in range(8)}


def test_an_object_of_several_pieces_comes_whole(store: ObjectStore, tmp_path: Path) -> None:
    content = bytes(range(256)) * 60_000
    store.put(draft(tmp_path / "a", content), KEY)
    (tmp_path / "b").mkdir()
    found = store.find(KEY, tmp_path / "b")
    assert found is not None
    assert found.read_bytes() == content
    assert list((tmp_path / "b").glob("*.part")) == []


def test_a_bucket_that_keeps_versions_is_refused_in_production(bucket_server: str, tmp_path: Path) -> None:
    url = make_bucket(bucket_server, token_hex(8), versioned=True)
    with pytest.raises(StoreError, match="keeps versions of deleted objects"):
        BucketStore(url, refuses_versions=True).put(draft(tmp_path, b"x"), KEY)
    assert BucketStore(url, refuses_versions=True).look_up(KEY) is None
    BucketStore(url, refuses_versions=False).put(draft(tmp_path, b"x"), KEY)


def test_a_bucket_that_is_not_there_or_does_not_answer_is_said(
    bucket_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_client, "RETRIES", 0)
    monkeypatch.setattr(bucket_client, "RETRY_TIMEOUT", timedelta(seconds=1))
    with pytest.raises(StoreError):
        BucketStore(f"{bucket_server}/nothing", refuses_versions=False).put(draft(tmp_path, b"x"), KEY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    gone = BucketStore(f"http://127.0.0.1:{port}/lake", refuses_versions=False)
    asked: tuple[Callable[[], object], ...] = (
        lambda: gone.put(draft(tmp_path, b"x"), KEY),
        lambda: gone.find(KEY, tmp_path),
        lambda: gone.look_up(KEY),
        lambda: gone.delete(KEY),
        lambda: list(gone.list("landing")),
    )
    for ask in asked:
        with pytest.raises(StoreUnavailableError, match="does not respond") as caught:
            ask()
        assert "secret-canary" not in str(caught.value)


def test_the_store_is_the_home_folder_unless_a_bucket_is_named(bucket_server: str, tmp_path: Path) -> None:
    assert isinstance(open_store(load_settings(home=tmp_path)), FolderStore)
    url = make_bucket(bucket_server, token_hex(8))
    named = load_settings(home=tmp_path, store_url=f"{url}/")
    assert open_store(named) is open_store(named)
    assert isinstance(open_store(named), BucketStore)


@pytest.mark.parametrize(
    "url", ["", "s3://", "lake", "https://host", "s3://a/../b", "file:///x", "https://a:b@host/x"]
)
def test_an_address_that_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="STORE_URL"):
        load_settings(store_url=url)
