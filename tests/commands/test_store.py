"""`decant store` as a person and a script meet it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import pytest

from tests.support.buckets import LOGIN, make_bucket
from tests.support.command_line import run
from tests.support.lab import Lab

GOOD = "id,name,age,born\n1,Ann,30,1990-01-31\n"


@pytest.mark.slow
def test_a_home_is_moved_into_a_bucket_and_checked(
    make_lab: Callable[..., Lab], bucket_server: str, tmp_path: Path
) -> None:
    lab = make_lab()
    lab.ingest("people.people", GOOD)
    bucket = LOGIN | {"DECANT_STORE_URL": make_bucket(bucket_server, token_hex(8))}
    missing = run(lab, "store", "check", **bucket)
    assert missing.returncode == 1
    assert "people@1.people: the raw batches of 1 loads are missing" in missing.stdout.replace("\n", " ")
    for words in ("1 raw batches copied (0.0 MB), 0 were there", "0 raw batches copied (0.0 MB), 1 were there"):
        copied = run(lab, "store", "copy", **bucket)
        assert copied.returncode == 0, copied.stderr
        assert words in copied.stdout
    checked = run(lab, "store", "check", "--json", **bucket)
    assert checked.returncode == 0, checked.stdout
    found = json.loads(checked.stdout)
    assert (found["objects"], found["orphans"], found["missing"]) == (1, 0, [])
    assert found["tried"]["keeps_first"]
    back = run(lab, "store", "copy", "--to-home", "--json", **bucket, DECANT_HOME=str(tmp_path / "another"))
    assert json.loads(back.stdout) == {"objects": 1, "bytes": len(GOOD), "present": 0}
    assert [path.read_text() for path in (tmp_path / "another" / "landing").rglob("*") if path.is_file()] == [GOOD]


def test_a_home_alone_is_checked_and_copied_nowhere(lab: Lab) -> None:
    lab.ingest("people.people", GOOD)
    checked = run(lab, "store", "check")
    assert checked.returncode == 0, checked.stdout
    assert "DECANT_STORE_URL is not set" in checked.stdout.replace("\n", " ")
    refused = run(lab, "store", "copy")
    assert refused.returncode == 1
    assert "there is no bucket to copy to or from" in refused.stderr.replace("\n", " ")


def test_a_bucket_that_is_not_there_is_said_in_a_sentence(lab: Lab, bucket_server: str) -> None:
    result = run(lab, "store", "check", **LOGIN, DECANT_STORE_URL=f"{bucket_server}/nothing")
    assert result.returncode == 1
    assert "does not exist: make the bucket first" in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stdout + result.stderr
