"""compose.yaml is valid, and fits the image, the settings and docs/how-to/production.md."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from api.server import SHUTDOWN_SECONDS
from runtime.settings.settings import PROJECT_ROOT, Settings
from tests.support.compose import (
    API,
    DEPLOY,
    LETTERS,
    check_compose,
    image_environment,
    interpolate,
    make_variables,
    read_compose,
)

COMPOSE = read_compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DECANT = ("migrate", "worker", *API)
KNOWN = {f"DECANT_{name.upper()}" for name in Settings.model_fields}


def test_the_file_is_what_the_specification_of_compose_says() -> None:
    check_compose(DEPLOY / "compose.yaml")


def test_every_variable_is_in_the_example_or_has_a_default() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    example = (DEPLOY / ".env.example").read_text(encoding="utf-8")
    # What is commented out in one may be so in the other.
    used = {name for name, kind, _ in LETTERS.findall("\n".join(re.findall(r"^\s*[^#\s].*", text, re.M)))}
    assert used <= set(re.findall(r"^(?:# )?(\w+)=", example, re.M))
    assert interpolate("${A:-b:1} ${C}", {"C": "d"}) == "b:1 d"
    with pytest.raises(AssertionError, match="A is not set"):
        interpolate("${A:?}", {})


def test_settings_are_known_and_paths_are_mounted() -> None:
    for name in DECANT:
        given = {k: interpolate(str(v), make_variables()) for k, v in SERVICES[name]["environment"].items()}
        assert {k for k in given if k.startswith("DECANT_")} <= KNOWN
        mounted = {part for volume in SERVICES[name]["volumes"] for part in volume.split(":")}
        assert {given["DECANT_CONTRACTS"], given["DECANT_DATA"], image_environment()["DECANT_HOME"]} <= mounted


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_can_write_to_its_image_or_win_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "healthcheck" in service or name in API  # the image has one


def test_only_the_proxy_is_reached_from_outside() -> None:
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == ["nginx"]
    assert COMPOSE["networks"]["database"] == {"internal": True}
    outside = [name for name, service in SERVICES.items() if "outside" in service["networks"]]
    assert outside == ["worker", *API, "nginx"]


def test_addresses_that_others_name_are_fixed() -> None:
    proxy = SERVICES["nginx"]["networks"]["outside"]["ipv4_address"]
    (subnet,) = [ip_network(each["subnet"]) for each in COMPOSE["networks"]["outside"]["ipam"]["config"]]
    config = (DEPLOY / "nginx" / "decant.conf").read_text(encoding="utf-8")
    for name in API:
        assert SERVICES[name]["environment"]["DECANT_TRUSTED_PROXIES"] == f"{proxy}/32"
        assert ip_address(SERVICES[name]["networks"]["outside"]["ipv4_address"]) in subnet
        assert f"server {name}:8000" in config


def test_grace_periods_are_longer_than_what_they_are_for() -> None:
    seconds = {name: int(SERVICES[name]["stop_grace_period"].removesuffix("s")) for name in SERVICES}
    assert seconds["worker"] >= Settings.model_fields["worker_stop_seconds"].default + 10
    assert min(seconds[name] for name in API) >= max(SHUTDOWN_SECONDS + 10, 45)


def test_mounted_files_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (DEPLOY / volume.partition(":")[0]).is_file(), volume
    assert (DEPLOY / SERVICES["migrate"]["build"] / "Dockerfile").resolve() == PROJECT_ROOT / "Dockerfile"
