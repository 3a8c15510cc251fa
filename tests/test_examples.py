"""Each folder of examples/, run from a copy as its README says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from catalog.contract.load import lint_contracts
from runtime.postgres.database import DatabaseUrls
from runtime.settings.settings import PROJECT_ROOT, load_settings
from tests.support.documents import read
from tests.support.walkthrough import Walkthrough

EXAMPLES = PROJECT_ROOT / "examples"
FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("*/contracts"))  # those that a reader runs here


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_an_example_does_what_its_readme_says(name: str, tmp_path: Path, urls: DatabaseUrls) -> None:
    folder = tmp_path / name
    # What a reader's own run left in the checkout is no part of the example.
    shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns(".decant"))
    reader = Walkthrough(folder, DECANT_DATABASE_URL=urls.owner)
    reader.walk(read(f"examples/{name}/README.md"))
    assert reader.ran >= 3
    assert reader.compared >= 1


def test_every_example_is_listed_and_short() -> None:
    index = read("examples/README.md")
    assert len(FOLDERS) == 5
    for name in [*FOLDERS, "scale"]:
        assert f"({name}/README.md)" in index
        assert len(read(f"examples/{name}/README.md").splitlines()) <= 30


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.odcs.yaml")), ids=lambda path: path.name)
def test_the_contract_of_an_example_has_no_findings(path: Path) -> None:
    _, findings = lint_contracts(load_settings(contracts=path))
    assert findings == []
