"""Contracts drafted from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from catalog.document.yaml_document import FastLoader
from ingest.drafting.draft import Draft, draft_contract
from ingest.landing.unpacking import UnpackLimit
from runtime.settings.settings import Settings, load_settings
from tests.support.lab import Lab

LIMIT = UnpackLimit(1 << 30)


def place(tmp_path: Path, name: str, content: str | bytes) -> tuple[Path, Settings]:
    """A file in the data folder, and settings that know that folder."""
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    (data / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return data / name, load_settings(home=tmp_path / "home", data=data)


def draft(tmp_path: Path, name: str, content: str | bytes, **options: Any) -> tuple[Draft, dict[str, Any]]:
    """The draft, and the one dataset of its contract."""
    file, chosen = place(tmp_path, name, content)
    drafted = draft_contract(file, chosen, **options)
    return drafted, yaml.load(drafted.text, FastLoader)["schema"][0]


def properties(dataset: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in dataset["properties"]}


def types(dataset: dict[str, Any]) -> dict[str, str]:
    return {part["name"]: part["logicalType"] for part in dataset["properties"]}


def input_of(dataset: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = dataset["customProperties"][0]["value"]
    return value


def load(make_lab: Callable[..., Lab], drafted: Draft) -> tuple[Lab, Any]:
    """The lab after `migrate` and `ingest` of a drafted contract."""
    lab = make_lab(drafted.text)
    (dataset,) = lab.catalog.datasets()
    report = lab.loader().run(dataset)
    assert report.error is None, report.error
    return lab, report.outcome
