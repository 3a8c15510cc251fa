"""Blanks around raw texts: dropped unless the contract keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.contract import load_catalog
from catalog.errors import ContractError
from catalog.settings import load_settings
from tests.ingest.test_file_cases import CASES, EXPECTED, TRIMMED, merge_contracts
from tests.lab import Lab


def keep_blanks(contract: str) -> dict[str, Any]:
    """The contract with the cases about blanks alone, which keep them: one dataset as a whole, two by property."""
    document: dict[str, Any] = json.loads(contract)
    document["schema"] = [part for part in document["schema"] if part["name"] in TRIMMED]
    kept = {"property": "trim", "value": False}
    for part in document["schema"]:
        if part["name"] == "whitespace":
            part["customProperties"].append(kept)
        else:
            for prop in part["properties"]:
                prop["customProperties"] = [kept]
    return document


def test_blanks_are_kept_where_the_contract_says_so_and_no_two_keys_become_one(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(json.dumps(keep_blanks(merge_contracts())), data=CASES)
    for name in sorted(TRIMMED):
        outcome = lab.ingest(f"cases.{name}").outcome
        assert outcome is not None
        assert (outcome.status, outcome.rejected, outcome.duplicates) == ("published", 0, 0)
        rows = lab.rows(f'SELECT code, text FROM cases_v1.{name} ORDER BY code COLLATE "C"')
        # The empty text is a null word of every input unless nullValues says otherwise.
        assert rows == [(record["code"], record["text"] or None) for record in EXPECTED[name]["records"]]


def test_a_property_may_keep_blanks_that_the_others_lose(make_lab: Callable[..., Lab]) -> None:
    document = keep_blanks(merge_contracts())
    document["schema"] = [part for part in document["schema"] if part["name"] == "whitejson"]
    (part,) = document["schema"]
    part["customProperties"].append({"property": "trim", "value": False})
    text = next(prop for prop in part["properties"] if prop["name"] == "text")
    text["customProperties"] = [{"property": "trim", "value": True}]
    lab = make_lab(json.dumps(document), data=CASES)
    assert lab.ingest("cases.whitejson").status == "published"
    assert lab.rows('SELECT code, text FROM cases_v1.whitejson ORDER BY code COLLATE "C"') == [
        (" A", "other"),
        ("A", "def f():"),
        ("B", None),
    ]


def test_trim_is_true_or_false(tmp_path: Path) -> None:
    document = keep_blanks(merge_contracts())
    document["schema"][0]["customProperties"].append({"property": "trim", "value": "no"})
    file = tmp_path / "cases.odcs.yaml"
    file.write_text(json.dumps(document))
    with pytest.raises(ContractError, match="trim: 'no' is neither true nor false"):
        load_catalog(load_settings(contracts=file, data=CASES))
