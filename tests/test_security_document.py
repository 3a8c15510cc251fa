"""SECURITY.md names files that are there."""

from __future__ import annotations

import re

from runtime.settings.settings import PROJECT_ROOT


def test_what_security_md_names_exists() -> None:
    text = (PROJECT_ROOT / "SECURITY.md").read_text()
    named = set(re.findall(r"`((?:api|catalog|commands|ingest|migrations|tests|docs)/[\w/.]+)`", text))
    assert len(named) > 60
    assert {name for name in named if not (PROJECT_ROOT / name).exists()} == set()


def test_every_promise_and_every_risk_has_a_test() -> None:
    text = (PROJECT_ROOT / "SECURITY.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "/" in line]
    untested = [row for row in rows if "tests/" not in row and not row.startswith(("| `decant_", "| owner"))]
    assert untested == []
