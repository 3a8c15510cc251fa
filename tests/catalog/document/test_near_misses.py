"""Every name that means something, one slip away: never silently ignored. The names are those of the code itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from catalog.contract.load import lint_contracts
from catalog.contract.service_levels import READERS
from catalog.document.custom_properties import CUSTOM_PROPERTIES
from runtime.errors import Finding, SettingsError
from runtime.near_misses import find_near, fold_name, is_one_slip
from runtime.settings.settings import Settings, load_settings, unknown_variables

PRODUCTION = {"env": "production", "secret": "x" * 32, "database_url": "postgresql://own@db.example/decant"}
CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: shop
version: 1.0.0
status: active
servers:
  - {server: erp, type: postgresql, host: db, port: 5432, database: shop, schema: public, customProperties: []}
customProperties: []
schema:
  - name: kinds
    properties: [{name: kind, logicalType: string, primaryKey: true}]
  - name: items
    customProperties: [{property: input, value: {server: erp, table: items}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true, customProperties: []}
      - name: kind
        logicalType: string
        relationships: [{type: foreignKey, to: kinds.kind, customProperties: []}]
roles: [{role: reader, access: read, customProperties: []}]
slaProperties: [{property: availability, value: 99}]
support: [{channel: ops, url: "https://example.org/ops", customProperties: []}]
"""


def slips(name: str) -> Iterator[str]:
    """The name with one letter left out, doubled, in the other case, or in its neighbour's place."""
    for place, sign in enumerate(name):
        before, after = name[:place], name[place + 1 :]
        yield from (before + after, before + 2 * sign + after, before + sign.swapcase() + after)
        yield before + after[:1] + sign + after[1:]


def lint(folder: Path, place: str, *custom_properties: dict[str, object], slas: Iterable[str] = ()) -> list[Finding]:
    """The findings about a contract with these custom properties in a place, and these service levels."""
    contract = yaml.safe_load(CONTRACT)
    items = contract["schema"][1]
    parts = {
        "contract": contract,
        "server": contract["servers"][0],
        "dataset": items,
        "property": items["properties"][0],
        "relationship": items["properties"][1]["relationships"][0],
        "role": contract["roles"][0],
        "support channel": contract["support"][0],
    }
    parts[place]["customProperties"] += custom_properties
    contract["slaProperties"] += [{"property": name, "value": 99} for name in slas]
    (folder / "shop.odcs.yaml").write_text(yaml.safe_dump(contract))
    return lint_contracts(load_settings(contracts=folder, home=folder / "home"))[1]


def errors(found: list[Finding]) -> list[str]:
    return [finding.message for finding in found if finding.severity == "error"]


@pytest.mark.sampled
@pytest.mark.parametrize("place", CUSTOM_PROPERTIES)
def test_a_custom_property_one_slip_away_is_an_error(tmp_path: Path, place: str) -> None:
    wrong = {slip for name in CUSTOM_PROPERTIES[place] for slip in slips(name)} - {*CUSTOM_PROPERTIES[place], ""}
    found = errors(lint(tmp_path, place, *({"property": name, "value": "x"} for name in wrong)))
    for name in wrong:
        assert any(message.startswith(f"unknown custom property {name!r}; did you mean") for message in found), name
    # What another tool calls its own is left to it.
    alien: list[dict[str, object]] = [{"property": name, "value": 1, "vendor": "other"} for name in wrong]
    alien += [{"property": f"other:{name}", "value": 1} for name in wrong]
    assert not errors(lint(tmp_path, place, *alien))


@pytest.mark.parametrize("name", ["filter", "predicate", "where", "costCentre", "rows_", "Rows", "row", "input"])
def test_a_role_has_no_custom_property_that_nobody_understands(tmp_path: Path, name: str) -> None:
    (message,) = errors(lint(tmp_path, "role", {"property": name, "value": "kind = 'a'"}))
    assert name in message


@pytest.mark.parametrize("value", [None, "yes", 1, []])
@pytest.mark.parametrize("name", CUSTOM_PROPERTIES["role"])
def test_a_limit_of_a_role_that_says_nothing_is_an_error(tmp_path: Path, name: str, value: object) -> None:
    assert errors(lint(tmp_path, "role", {"property": name, "value": value}))


def test_a_limit_stands_there_once(tmp_path: Path) -> None:
    twice = lint(tmp_path, "role", {"property": "rows", "value": "id = 1"}, {"property": "rows", "value": True})
    assert "'rows' is repeated" in errors(twice)


def test_a_name_that_means_something_elsewhere_is_pointed_out(tmp_path: Path) -> None:
    for place in CUSTOM_PROPERTIES:
        others = {name for other, names in CUSTOM_PROPERTIES.items() if other != "server" for name in names} - {
            *CUSTOM_PROPERTIES[place]
        }
        found = lint(tmp_path, place, *({"property": name, "value": "x"} for name in others))
        for name in others:
            assert any(repr(name) in finding.message for finding in found), (place, name)
    assert not lint(tmp_path, "property", {"property": "colour", "value": "red"})


def test_a_service_level_one_slip_away_is_an_error(tmp_path: Path) -> None:
    for name in READERS:
        wrong = sorted(set(slips(name)) - {*READERS})
        messages = errors(lint(tmp_path, "contract", slas=wrong))
        assert len(messages) == len(wrong)
        for each in wrong:
            assert any(repr(each) in said and f"did you mean {name!r}?" in said for said in messages), each
    others = ("availability", "generalAvailability", "throughput", "errorRate", "timeToRepair", "other:latency")
    assert not errors(lint(tmp_path, "contract", slas=others))


@pytest.mark.slow
def test_a_variable_of_decant_one_slip_away_is_told_and_refused_in_production(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {name.upper() for name in Settings.model_fields}
    assert list(unknown_variables()) == []
    wrong = {f"DECANT_{slip.upper()}" for name in known for slip in slips(name)} - {
        f"DECANT_{name}" for name in known
    }
    for name in wrong:
        monkeypatch.setenv(name, "1")
    said = list(unknown_variables())
    assert {line.partition(":")[0] for line in said} == wrong
    assert all("did you mean DECANT_" in line for line in said if not line.startswith("DECANT_:"))
    load_settings()
    with pytest.raises(SettingsError, match="DECANT_PORTT: unknown setting; did you mean DECANT_PORT"):
        load_settings(**PRODUCTION)


def test_what_kubernetes_sets_for_a_service_called_decant_is_no_slip(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8000_TCP", "PORT_8000_TCP_ADDR"):
        monkeypatch.setenv(f"DECANT_{name}", "x")
    assert load_settings(**PRODUCTION).env == "production"
    monkeypatch.setenv("DECANT_ANYTHING", "x")
    with pytest.raises(SettingsError, match="DECANT_ANYTHING: unknown setting"):
        load_settings(**PRODUCTION)


@given(st.text("abcdeXY_-", min_size=1, max_size=12), st.data())
def test_one_slip_is_found_whatever_the_name(name: str, data: st.DataObject) -> None:
    wrong = data.draw(st.sampled_from(sorted(set(slips(name)))))
    assert is_one_slip(fold_name(wrong), fold_name(name))
    assert find_near(wrong, [name]) == name
    assert not is_one_slip("abcd", "badc")
    assert find_near("zzzzzz", ["abcdef"]) is None
