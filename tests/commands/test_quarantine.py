"""Quarantine from the command line: listed, exported, dismissed, replayed; withheld loads published."""

from __future__ import annotations

import json

import pytest

from commands.quarantine import truncate
from tests.support.command_line import run, run_process
from tests.support.lab import Lab
from tests.support.replays import HEAD, STRICT, mend, people, states


@pytest.mark.slow
def test_an_owner_looks_at_rejected_records_dismisses_some_and_pours_the_others_again(make_lab: object) -> None:
    lab: Lab = make_lab(STRICT)  # type: ignore[operator]
    url = lab.urls.owner
    first = lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,70,\n3,,80,\n4,Di,x,\n")
    shown = run(lab, "rejects", "people.people", DECANT_DATABASE_URL=url)
    assert "3 open rejected records" in shown.stdout, shown.stderr
    assert "age: maximum" in shown.stdout
    listed = json.loads(run(lab, "rejects", "people.people", "--json", DECANT_DATABASE_URL=url).stdout)
    assert listed["records"] == 3
    assert [(group["reason"], group["records"]) for group in listed["reasons"]] == [
        ("age: maximum", 2),
        ("age: type", 1),
        ("name: required", 1),
    ]
    sample = listed["reasons"][0]["samples"][0]
    assert (sample["load"], sample["file"], sample["line"], sample["key"]) == (first.load_id, "people.csv", 3, "2")
    exported = run_process(
        lab, "rejects", "people.people", "--reason", "type", "--export", "-", DECANT_DATABASE_URL=url
    )
    (line,) = [json.loads(line) for line in exported.stdout.splitlines()]
    assert (line["raw"], line["state"], line["reasons"][0]["rule"]) == ("4,Di,x,", "open", "type")
    target = lab.settings.home / "rejects.ndjson"
    run_process(lab, "rejects", "people.people", "--export", str(target), DECANT_DATABASE_URL=url)
    assert len(target.read_text().splitlines()) == 3
    refused = run(lab, "dismiss", "people.people", DECANT_DATABASE_URL=url)
    assert refused.returncode == 1
    assert "Choose records" in refused.stderr
    refused = run(lab, "dismiss", "people.people", "--all", "--note", "a\x1b[2J", DECANT_DATABASE_URL=url)
    assert (refused.returncode, "printable characters" in refused.stderr) == (1, True)
    dismissed = run(
        lab, "dismiss", "people.people", "--reason", "type", "--note", "not theirs", DECANT_DATABASE_URL=url
    )
    assert "1 dismissed" in dismissed.stdout, dismissed.stderr
    lab = mend(lab)
    refused = run(lab, "replay", "--load", "1", "--reason", "age: maximum", DECANT_DATABASE_URL=url)
    assert (refused.returncode, "leave one out" in refused.stderr) == (1, True)
    replayed = run(lab, "replay", "people.people", "--reason", "age: maximum", DECANT_DATABASE_URL=url)
    assert "published" in replayed.stdout, replayed.stderr
    assert people(lab) == {1: ("Ann", 30), 2: ("Bo", 70)}
    assert [state for *_, state in states(lab)] == ["replayed", "open", "dismissed"]
    dismissal, again = lab.rows("SELECT operation, records, facts FROM decant.audit_log ORDER BY id")
    assert dismissal == ("dismiss", 1, {"dismiss": {"reason": "type", "note": "not theirs"}})
    assert again[2]["replay"] == {"reason": "age: maximum"}


def test_a_null_word_is_shown_and_what_is_cut_ends_with_dots(make_lab: object) -> None:
    lab: Lab = make_lab(STRICT)  # type: ignore[operator]
    lab.ingest("people.people", HEAD + f"1,NA,30,\n2,Bo,{'9' * 80},\n3,,5,\n")
    asked = run(lab, "rejects", "people.people", "--json", DECANT_DATABASE_URL=lab.urls.owner)
    values = {
        sample["line"]: (group["reason"], sample["value"])
        for group in json.loads(asked.stdout)["reasons"]
        for sample in group["samples"]
    }
    assert values[2] == ("name: required", "NA")
    assert values[4] == ("name: required", None)
    assert values[3][1] == "9" * 80
    assert truncate("9" * 80) == "9" * 59 + "…"
    assert truncate("9" * 60) == "9" * 60


@pytest.mark.slow
def test_an_owner_publishes_what_a_gate_held_back(make_lab: object) -> None:
    lab: Lab = make_lab(STRICT.replace("maxRejected, value: 100", "maxRejected, value: 10"))  # type: ignore[operator]
    url = lab.urls.owner
    withheld = lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,70,\n")
    number = str(withheld.load_id)
    asked = run(lab, "publish", number, DECANT_DATABASE_URL=url)
    assert asked.returncode == 1
    assert "--anyway" in asked.stderr
    done = run(lab, "publish", number, "--anyway", DECANT_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    assert people(lab) == {1: ("Ann", 30)}
    ((by, facts),) = lab.rows("SELECT principal, facts FROM decant.audit_log")
    assert by.startswith("cli ")
    assert facts["publish"] == withheld.load_id
    assert lab.rows("SELECT requested_by FROM decant.loads WHERE id = %s", facts["load"]) == [(by,)]
    again = run(lab, "publish", number, "--anyway", DECANT_DATABASE_URL=url)
    assert again.returncode == 1
    assert "was published after" in again.stderr
    assert "Load 99 does not exist" in run(lab, "replay", "--load", "99", DECANT_DATABASE_URL=url).stderr
