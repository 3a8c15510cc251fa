"""Spans, received over real OTLP: a load with its steps, a request with its statement."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.lab import Lab

DECANT = Path(sys.executable).with_name("decant")


class Collector(ThreadingHTTPServer):
    """Keeps every span that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Receiver)


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        self.server.spans += [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def environment(lab: Lab, collector: Collector | None) -> dict[str, str]:
    found = {k: v for k, v in os.environ.items() if not k.startswith(("DECANT_", "OTEL_"))}
    found |= {
        "DECANT_HOME": str(lab.settings.home),
        "DECANT_CONTRACTS": str(lab.settings.contracts),
        "DECANT_DATA": str(lab.settings.data_folder),
        "DECANT_DATABASE_URL": lab.urls.owner,
        "DECANT_PORT": "0",
        "PYTHONUNBUFFERED": "1",
    }
    if collector:
        found["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.server_address[1]}"
    return found


def facts(span: Any) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


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
        with httpx.Client(base_url=url[0]) as client:
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


def test_nothing_is_sent_where_no_endpoint_is_set(lab: Lab, collector: Collector) -> None:
    lab.write("people.csv", "id,name,age,born\n1,Ann,30,\n")
    subprocess.run([DECANT, "ingest"], env=environment(lab, None), check=True, capture_output=True)
    assert collector.spans == []
