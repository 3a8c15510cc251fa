"""The folders of `tests/cases/files`: what each expects, and one contract of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

CASES = Path(__file__).parents[1] / "cases" / "files"

NAMES = sorted(folder.name for folder in CASES.iterdir())

EXPECTED: dict[str, dict[str, Any]] = {
    name: json.loads((CASES / name / "expected.json").read_text()) for name in NAMES
}


def merge_contracts() -> str:
    """One contract that has the dataset of each case, named after it."""
    servers, objects = [], []
    for name in NAMES:
        (file,) = (CASES / name / "contracts").iterdir()
        contract = yaml.safe_load(file.read_text())
        (server,), (part,) = contract["servers"], contract["schema"]
        servers.append(server | {"server": name, "path": f"${{DECANT_DATA}}/{name}/data"})
        for custom in part["customProperties"]:
            if custom["property"] == "input":
                custom["value"]["server"] = name
        objects.append(part | {"name": name})
    return json.dumps(contract | {"id": "cases", "name": "Cases", "servers": servers, "schema": objects})
