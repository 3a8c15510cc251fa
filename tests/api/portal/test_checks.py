"""Checks on pages: one count and one name each; what was withheld, and what was published anyway."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api.portal.checks import count_checks, list_checks, name_check
from catalog.model.load_request import PublishWithheld
from tests.support.keys import key_of
from tests.support.lab import Lab
from tests.support.portal import load_troubled

PAGE = "/browse/people/v1/people"
NOTE = "the source shrank"


@pytest.mark.parametrize(
    ("rule", "within", "words"),
    [
        ("maxRejected", None, "Share of rejected records"),
        ("raw records", None, "Raw records of the load"),
        ("nullValues(lanes)", None, "lanes: no value"),
        ("nullValues(lanes)", "lanes", "No value"),
        ("duplicateValues(a, b)", None, "a, b: repeated values"),
        ("own_rule", None, "own_rule"),
        ("own(rule)", None, "own(rule)"),
    ],
)
def test_a_check_has_a_name_in_words(rule: str, within: str | None, words: str) -> None:
    assert name_check(rule, within=within) == words


def test_checks_are_counted_as_they_are_listed() -> None:
    rules: list[dict[str, Any]] = [
        {"rule": "rowCount", "passed": True, "severity": "error"},
        {"rule": "nullValues(a)", "passed": False, "severity": "warning"},
        {"rule": "nullValues(b)", "passed": False, "severity": "error"},
    ]
    checks = list_checks(rules, ["a"])
    assert [(check.prop, check.result) for check in checks] == [(None, "failed"), ("a", "warning"), (None, "passed")]
    tally = count_checks(checks)
    assert (tally.passed, tally.failed, tally.warnings) == (1, 1, 1)


def main_of(client: httpx.Client, path: str, **headers: str) -> str:
    """The text of a page's content, without its elements."""
    text = client.get(path, headers=headers).text
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", "", text[text.index("<main") : text.index("<footer")]))


@pytest.mark.slow
def test_a_withheld_load_leads_who_may_decide_to_it(shared_labs: Callable[..., Lab]) -> None:
    lab = shared_labs(load_troubled)
    said = "The last load was withheld, because a check failed: you see revision 1, from before it."
    with lab.serve() as client:
        assert said in main_of(client, PAGE)
        assert "1 failed, 2 passed" in main_of(client, PAGE)
        operator = key_of(lab, "people:read", "ops:read")
        assert '<a href="/console/withheld/2">Decide about load 2</a>' in client.get(PAGE, headers=operator).text
        reader = key_of(lab, "people:read")
        assert "/console/" not in client.get(PAGE, headers=reader).text
        failed = client.get("/browse/people/v1/missing", headers=operator).text
        assert "/console/loads?product=people&amp;major=1&amp;dataset=missing" in failed


@pytest.mark.slow
def test_readers_see_that_the_records_were_published_by_decision(make_lab: Callable[..., Lab]) -> None:
    lab = load_troubled(make_lab)
    request = PublishWithheld(2, NOTE)
    assert lab.loader().run(lab.dataset("people.people"), request=request).status == "published"
    with lab.serve() as client:
        page = main_of(client, PAGE)
        assert "Published anyway. When revision 2 was published, this check failed:" in page
        assert "Share of deleted records (66.67 %, allowed ≤ 20 %)" in page
        assert "withheld" not in page
        assert "published anyway" in main_of(client, "/")
        assert "published anyway" in main_of(client, "/browse/people/v1")
        assert NOTE not in page
        operator = key_of(lab, "people:read", "ops:read")
        told = client.get(PAGE, headers=operator).text
        assert NOTE in told
        assert "/console/loads/4" in told
