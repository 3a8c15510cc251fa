"""Spans, received over real OTLP: a load with its steps, a request with its statement."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import httpx
import pytest

from tests.support.lab import Lab
from tests.support.telemetry import DECANT, Collector, environment


def facts(span: Any) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


@pytest.mark.slow
def test_a_load_is_one_trace_with_a_span_for_each_step(lab: Lab, collector: Collector) -> None:
    lab.write("people.csv", "id,name,age,born\n1,Ann,30,\n")
    subprocess.run([DECANT, "ingest"], env=environment(lab, collector), check=True, capture_output=True)
    spans = {span.name: span for span in collector.spans}
    assert set(spans) >= {"load", "load land", "load cut", "load clean", "load publish"}
    root = spans["load"]
    assert facts(root)["decant.dataset"] == "people@1.people"
    for name, span in spans.items():
        if name.startswith("load "):
            assert (span.trace_id, span.parent_span_id) == (root.trace_id, root.span_id)
    ((trace_id,),) = lab.rows("SELECT trace_id FROM decant.loads")
    assert trace_id == root.trace_id.hex()


def test_a_request_s_trace_leads_down_to_its_statement(lab: Lab, collector: Collector) -> None:
    lab.ingest("people.people", "id,name,age,born\n1,Hedwig,30,\n")
    process = subprocess.Popen(
        [DECANT, "serve"],
        env=environment(lab, collector),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    url = re.search(r"http://\S+", process.stdout.readline())
    assert url
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-00", "X-API-Key": "dcnt_secret"}
    try:
        with httpx.Client(base_url=url[0], timeout=60) as client:
            path = "/data/people/v1/people/records"
            assert (
                client.get(f"{path}?name=Hedwig", headers={"traceparent": headers["traceparent"]}).status_code == 200
            )
            refused = client.get(path, headers=headers).json()
            assert refused["trace_id"] == trace
    finally:
        process.terminate()
        process.communicate(timeout=30)
    served = [span for span in collector.spans if span.name.startswith("GET /data/")]
    assert served[0].name == "GET /data/{product}/v{major}/{dataset}/records"
    # The caller said "not sampled"; what is kept is decided here.
    assert served[0].trace_id.hex() == trace
    (statement,) = [span for span in collector.spans if span.name == "SELECT people_v1.people"]
    assert statement.parent_span_id == served[0].span_id
    assert facts(statement)["db.system.name"] == "postgresql"
    assert "$1" in facts(statement)["db.query.text"]
    # A 4xx is the caller's affair: the span of the refused request has no error.
    assert all(span.status.code == 0 for span in served)
    assert not any(b"dcnt_secret" in body for body in collector.bodies)


@pytest.mark.slow
def test_nothing_is_sent_where_no_endpoint_is_set(lab: Lab, collector: Collector) -> None:
    lab.write("people.csv", "id,name,age,born\n1,Ann,30,\n")
    subprocess.run([DECANT, "ingest"], env=environment(lab, None), check=True, capture_output=True)
    assert collector.spans == []
