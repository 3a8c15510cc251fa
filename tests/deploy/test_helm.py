"""The chart renders, and what it renders is what Kubernetes takes, fits the image, and starts in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from api.observability import metrics
from api.server import SHUTDOWN_SECONDS
from runtime.settings.settings import Settings
from runtime.version import read_version
from tests.support.compose import DEPLOY, image_environment

helm = pytest.importorskip("helm_python", reason="helm-python-sdk is not built for this machine")
CHART = DEPLOY / "helm" / "decant"
VERSIONS = ("1.29", "1.37")  # the oldest that the chart takes, and the newest that is known
EVERYTHING: dict[str, Any] = {
    "autoscaling": {"enabled": True},
    "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]},
    "ingress": {"enabled": True, "tlsSecret": "tls", "className": "nginx", "annotations": {"a": "b"}},
    "contracts": {"configMap": "contracts", "revision": "abc"},
    "data": {"existingClaim": "data"},
    "home": {"storageClass": "shared"},
    "image": {"tag": "9.9.9", "pullSecrets": [{"name": "registry"}]},
    "env": {"DECANT_ACCESS_LOG": False, "DECANT_METRICS_OPEN": True},
    "envFrom": [{"secretRef": {"name": "sources"}}],
    "api": {"env": {"DECANT_PUBLIC_URL": "https://data.example.org"}, "tag": "9.9.8"},
    "migrate": {"resources": {"requests": {"memory": "1Gi"}}},
    "serviceAccountName": "buckets",
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
}
KNOWN = {f"DECANT_{name.upper()}" for name in Settings.model_fields}


def render(values: dict[str, Any], name: str = "decant") -> list[dict[str, Any]]:
    """The objects of a release."""
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(values, name=name, namespace="data")
    found = [each for path, text in texts.items() if path.endswith(".yaml") for each in yaml.safe_load_all(text)]
    return [each for each in found if each]


def containers(values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(component, specification of the pod, container) of each pod."""
    for each in render(values):
        if each["kind"] in {"Deployment", "Job"}:
            pod = each["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            yield container["name"], pod, container


def test_the_chart_passes_lint_and_has_the_version_of_decant() -> None:
    report = helm.lint(CHART, EVERYTHING, strict=True)
    assert report["errors"] == []
    assert [each["error"] for each in report["messages"]] == ["icon is recommended"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == read_version()


def test_pods_that_share_a_bucket_share_no_volume() -> None:
    values = {"store": {"url": "s3://lake/decant"}}
    assert "PersistentVolumeClaim" not in {each["kind"] for each in render(values)}
    for _, pod, container in containers(values):
        (home,) = (volume for volume in pod["volumes"] if volume["name"] == "home")
        assert home == {"name": "home", "emptyDir": {}}
        assert {"name": "DECANT_STORE_URL", "value": "s3://lake/decant"} in container["env"]
    (migrate,) = (container for name, _, container in containers(values) if name == "migrate")
    assert "--rebuild-scripts" in migrate["args"]


@pytest.mark.sampled
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "values", [{}, EVERYTHING, {"store": {"url": "s3://lake/x"}}], ids=["default", "everything", "bucket"]
)
def test_kubernetes_takes_every_object(values: dict[str, Any], version: str) -> None:
    objects = render(values)
    kinds = {each["kind"] for each in objects}
    assert kinds >= {"Deployment", "Job", "PodDisruptionBudget", "Service"}
    assert ("PersistentVolumeClaim" in kinds) == ("store" not in values)
    more = {"HorizontalPodAutoscaler", "Ingress", "NetworkPolicy"}
    assert (more & kinds == more) is (values is EVERYTHING)
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_migration_comes_first_with_a_login_that_nobody_else_gets() -> None:
    objects = {(each["kind"], each["metadata"]["name"]): each for each in render({})}
    hooks = {
        key: each["metadata"]["annotations"] for key, each in objects.items() if each["metadata"].get("annotations")
    }
    assert hooks["Job", "decant-migrate"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    claim = hooks["PersistentVolumeClaim", "decant-home"]
    assert int(claim["helm.sh/hook-weight"]) < int(hooks["Job", "decant-migrate"]["helm.sh/hook-weight"])
    assert claim["helm.sh/resource-policy"] == "keep"
    taken = {
        name: {each["valueFrom"]["secretKeyRef"]["key"] for each in container["env"] if "valueFrom" in each}
        for name, _, container in containers({})
    }
    assert taken == {
        "migrate": {"DECANT_SECRET", "DECANT_DATABASE_URL"},
        "worker": {"DECANT_SECRET", "DECANT_INGEST_DATABASE_URL"},
        "api": {"DECANT_SECRET", "DECANT_READ_DATABASE_URL", "DECANT_WRITE_DATABASE_URL"},
    }


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
def test_pods_fit_the_image_and_may_do_nothing_else(values: dict[str, Any]) -> None:
    seen = set()
    for name, pod, container in containers(values):
        seen.add(name)
        assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (10001, 10001)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        assert mounted[image_environment()["DECANT_HOME"]] == "home"
        assert set(mounted.values()) == {each["name"] for each in pod["volumes"]}
        variables = [each["name"] for each in container["env"]]
        assert len(set(variables)) == len(variables)
        assert {each for each in variables if each.startswith("DECANT_")} <= KNOWN
        assert container["args"][0] == {"migrate": "migrate", "worker": "worker", "api": "serve"}[name]
    assert seen == {"migrate", "worker", "api"}


def test_an_older_api_stays_while_the_workers_are_new() -> None:
    images = {name: container["image"] for name, _, container in containers(EVERYTHING)}
    assert images == {"migrate": "decant:9.9.9", "worker": "decant:9.9.9", "api": "decant:9.9.8"}


def test_pods_end_in_order() -> None:
    pods = {name: (pod, container) for name, pod, container in containers({})}
    api, container = pods["api"]
    drain = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert api["terminationGracePeriodSeconds"] >= max(45, drain + SHUTDOWN_SECONDS + 10)
    settings = {each["name"]: each.get("value") for each in pods["worker"][1]["env"]}
    grace = pods["worker"][0]["terminationGracePeriodSeconds"]
    assert grace >= max(45, float(settings["DECANT_WORKER_STOP_SECONDS"] or 0) + 10)
    probes = {each: container[each]["httpGet"]["path"] for each in container if each.endswith("Probe")}
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def test_scaling_asks_for_figures_that_exist() -> None:
    (scaler,) = [each for each in render(EVERYTHING) if each["kind"] == "HorizontalPodAutoscaler"]
    asked = [each["pods"]["metric"]["name"] for each in scaler["spec"]["metrics"]]
    assert asked == [each._name for each in (metrics.READ_CONNECTIONS, metrics.WAITING)]
    fixed = [each["metadata"]["name"] for each in render(EVERYTHING) if "replicas" in each.get("spec", {})]
    assert fixed == ["decant-worker"]


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 2},
        {"api": {"replicas": "two"}},
        {"api": {"gracePeriodSeconds": 10}},
        {"env": {"DECANT_SECRET": "in a values file"}},
        {"secret": ""},
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmError):
        render(values)


def test_another_name_of_the_release_names_everything() -> None:
    names = {each["metadata"]["name"] for each in render({}, name="shop")}
    assert names == {
        "shop-decant",
        "shop-decant-api",
        "shop-decant-home",
        "shop-decant-migrate",
        "shop-decant-worker",
    }
