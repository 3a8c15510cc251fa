"""examples/scale is valid beside deploy/compose.yaml, and fits the settings and the image."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from runtime.settings.settings import PROJECT_ROOT, load_settings
from tests.support.compose import DEPLOY, check_compose, interpolate, read_compose

FOLDER = PROJECT_ROOT / "examples" / "scale"
SCALE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = SCALE["services"]


@pytest.mark.slow
def test_the_file_is_what_the_specification_of_compose_says() -> None:
    check_compose(FOLDER / "compose.yaml")


def test_every_process_has_the_bucket_and_a_home_of_its_own() -> None:
    home = "/var/lib/decant"
    for name in ("migrate", "api-1", "api-2", "worker"):
        # A volume at the same place takes the other's place.
        assert SERVICES[name]["volumes"] == [home]
        assert home in {volume.split(":")[-1] for volume in read_compose()["services"][name]["volumes"]}
    for name in ("migrate", "api-1", "api-2", "worker", "spark-worker"):
        given = {
            key: interpolate(str(value), {"BUCKET_PASSWORD": "x"})
            for key, value in SERVICES[name]["environment"].items()
        }
        settings = load_settings(
            **{key.removeprefix("DECANT_").lower(): text for key, text in given.items() if "DECANT" in key}
        )
        assert settings.store_url == "http://bucket:8333/decant"
        assert settings.engine == ("spark://spark-master:7077" if name == "worker" else "local")
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(given)


def test_what_is_added_is_named_by_nobody_else_and_reached_within_the_network_alone() -> None:
    known = read_compose()
    for name, service in SERVICES.items():
        if name not in known["services"]:
            assert service["networks"] == ["database"]
            assert "ports" not in service
            assert service["cap_drop"] == ["ALL"]
    assert "database" in known["networks"]


def test_the_image_is_made_of_the_projects_own() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert "FROM ${DECANT_IMAGE}" in dockerfile
    base = (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8")
    version = base.partition("ARG BASE=python:")[2].partition("-")[0]
    assert f"/opt/decant/.venv/lib/python{version}/site-packages/pyspark" in dockerfile
    assert (DEPLOY / SERVICES["worker"]["build"]["context"]).resolve() == FOLDER
