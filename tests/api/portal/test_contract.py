"""The page of a contract: what `/contract` says, readable, as YAML, and against the version before."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest

from api.portal.contract_text import Difference, compare_documents, describe_rule
from api.portal.highlighting import CHARACTERS_MAXIMUM, highlight_yaml
from tests.support.keys import key_of
from tests.support.lab import PEOPLE, Lab
from tests.support.portal import load_shop

PAGE = "/browse/shop/v1/contract"
NEWER = (
    PEOPLE.replace("version: 1.0.0", "version: 2.0.0")
    .replace("age, logicalType: integer, logicalTypeOptions: {minimum: 0, maximum: 150}", "age, logicalType: number")
    .replace("      - {name: born, logicalType: date}\n", "      - {name: town, logicalType: string}\n")
)


def text_of(page: str) -> str:
    """The text of a page."""
    return html.unescape(re.sub(r"<[^>]+>", "", page))


def test_every_part_of_a_contract_is_shown_with_an_anchor(product: Callable[[Any], Lab]) -> None:
    lab = product(load_shop)
    with lab.serve() as client:
        page = client.get(PAGE)
        document = client.get("/data/shop/v1/contract", headers={"Accept": "application/json"}).json()
        assert page.status_code == 200
        shown = text_of(page.text)
        assert "<script>alert" not in page.text
        for part in document["schema"]:
            assert f'id="{part["name"]}"' in page.text
            for prop in part["properties"]:
                assert prop["name"] in shown
                assert prop.get("description", "") in shown
        assert f'id="{document["schema"][0]["name"]}.price"' in page.text
        for level in document["slaProperties"]:
            assert level["element"] in shown
        for role in document["roles"]:
            assert role["role"] in shown
        assert "nullValues < 1" in shown
        # Every anchor that is linked is there.
        linked = {html.unescape(name) for name in re.findall(r'href="#([^"]+)"', page.text)} - {"main"}
        assert linked <= {html.unescape(name) for name in re.findall(r'id="([^"]+)"', page.text)}
        # Where records come from is told to operators alone, as `/contract` does.
        assert "servers" not in document
        assert "Servers" not in shown
        operator = client.get(PAGE, headers=key_of(lab, "shop:read", "ops:read"))
        assert "Servers" in operator.text
        assert "${DECANT_DATA}" in operator.text
        assert f'href="{PAGE}"' in client.get("/browse/shop/v1").text


def test_the_yaml_is_the_same_text_with_colours(product: Callable[[Any], Lab]) -> None:
    with product(load_shop).serve() as client:
        page = client.get(f"{PAGE}?view=yaml").text
        told = client.get("/data/shop/v1/contract").text
    shown = re.search(r'<pre [^>]*class="yaml"[^>]*><code>(.*?)</code></pre>', page, re.S)
    assert shown is not None
    assert text_of(shown[1]).strip() == told.strip()
    assert '<span class="y-nt">apiVersion</span>' in shown[1]
    assert "style=" not in shown[1]
    assert "<script>" not in shown[1]


@pytest.mark.alone
def test_what_changed_since_the_major_version_before_is_listed(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE, NEWER)
    with lab.serve() as client:
        first, second = (client.get(f"/browse/people/v{major}/contract") for major in (1, 2))
    assert "Changes since" not in first.text
    assert second.status_code == 200
    shown = re.sub(r"\s+", " ", text_of(second.text))
    assert "Changes since version 1.0.0" in shown
    for line in (
        "added property people.town",
        "removed property people.born",
        "changed property people.age: logicalType: integer → number",
        "changed property people.age: other rules",
    ):
        assert line in shown


def test_differences_are_those_of_names_types_roles_and_levels() -> None:
    level = {"property": "latency", "value": 2, "unit": "d", "element": "a.t"}
    old = {"schema": [{"name": "a", "properties": []}], "roles": [{"role": "r"}], "slaProperties": [level]}
    new = {"schema": [{"name": "b"}], "roles": None, "slaProperties": [level | {"value": 3}]}
    assert compare_documents(old, old) == []
    assert compare_documents(old, new) == [
        Difference("added", "dataset b", ""),
        Difference("removed", "dataset a", ""),
        Difference("removed", "role r", ""),
        Difference("changed", "service level latency a.t", "2 d → 3 d"),
    ]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"metric": "rowCount", "mustBeGreaterThan": 10}, "rowCount > 10"),
        ({"metric": "nullValues", "mustBeBetween": [1, 5], "unit": "percent"}, "nullValues between 1 and 5 percent"),
        ({"type": "sql", "name": "late", "query": "select 1", "mustBe": 0}, "late = 0"),
        ({"mustBeBetween": 3}, "rule"),
    ],
)
def test_rules_are_read_as_sentences(rule: dict[str, Any], text: str) -> None:
    assert describe_rule(rule).text == text


def test_a_long_or_hostile_text_is_shown_plain() -> None:
    assert "<script>" not in highlight_yaml("a: <script>alert(1)</script>\n")
    assert "\u202e" not in highlight_yaml("a: \u202egnp.exe\n")
    assert "y-nt" not in highlight_yaml("a: b\n" * CHARACTERS_MAXIMUM)
