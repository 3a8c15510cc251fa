"""One message sent to one receiver: a guarded, bounded POST whose redirects are not followed.

The name is resolved once, its addresses are checked, and one of those is connected to. Little of the answer is read,
and only where it says that the message was not taken.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import httpcore
import httpx

from catalog.model.webhook_address import is_within
from ingest.http_client.guarded_network import AddressRefusedError, CheckedBackend, Deadline, Resolver
from ingest.http_client.waits import read_wait
from runtime.plain_text import plain
from runtime.public_addresses import Address, Network, describe, is_public

LIMIT_SECONDS = 15.0  # for connection, message and answer together
CONNECT_SECONDS = 5.0
READ_BYTES = 2048  # of an answer's body
SHOWN_CHARACTERS = 200
GONE = 410


@dataclass(frozen=True)
class Reply:
    """How a receiver answered."""

    status: int | None  # None where there was no answer
    error: str | None = None  # why the message counts as not taken, in words
    after: float | None = None  # the seconds that it asks to be left alone

    @property
    def gone(self) -> bool:
        """Whether the receiver wants nothing more, ever."""
        return self.status == GONE


class WebhookBackend(CheckedBackend):
    """Opens connections to public addresses, and into networks that the operator allows; unencrypted only there."""

    def __init__(
        self,
        networks: Sequence[Network],
        deadline: Deadline,
        find_addresses: Resolver | None = None,
        *,
        encrypted: bool,
    ) -> None:
        super().__init__(frozenset(), deadline, find_addresses)
        self.networks = networks
        self.encrypted = encrypted

    def check(self, host: str, port: int, addresses: list[Address]) -> None:
        """AddressRefusedError where one of the addresses that a host has now is not one that it may have."""
        for address in addresses:
            if is_within(address, self.networks):
                continue
            if not is_public(address):
                raise AddressRefusedError(
                    f"{host} leads to {describe(address)}: DECANT_WEBHOOK_NETWORKS lists the allowed networks"
                )
            if not self.encrypted:
                raise AddressRefusedError(f"{host} is a public address: it needs https")


class Receiver:
    """Sends messages."""

    def __init__(self, networks: Sequence[Network], find_addresses: Resolver | None = None) -> None:
        # Its trace repeats what receivers say, and addresses, which may hold secrets.
        logging.getLogger("httpcore").setLevel(logging.WARNING)
        self.networks = networks
        self.find_addresses = find_addresses
        self.tls = httpx.create_ssl_context()

    def send(self, address: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """How the receiver at the address answered; never an exception for what it does."""
        try:
            return self.post(httpx.URL(address), headers, body)
        except AddressRefusedError as error:
            return Reply(None, str(error))
        except httpcore.TimeoutException:
            return Reply(None, f"no answer within {LIMIT_SECONDS:.0f} seconds")
        except httpcore.ConnectError as error:
            if isinstance(error.__context__, ssl.SSLCertVerificationError):
                return Reply(None, "the certificate is not valid")
            return Reply(None, "cannot be reached")
        except (httpcore.NetworkError, httpcore.ProtocolError):
            return Reply(None, "the connection was interrupted, or the answer is not valid HTTP")
        except (httpx.InvalidURL, httpcore.UnsupportedProtocol, UnicodeError, OSError):
            return Reply(None, "the address cannot be used")

    def post(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> Reply:
        """One request."""
        deadline = Deadline()
        deadline.start(LIMIT_SECONDS)
        backend = WebhookBackend(self.networks, deadline, self.find_addresses, encrypted=url.scheme == "https")
        fields = {
            "Host": url.netloc.decode(),
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "Content-Length": str(len(body)),
            **headers,
        }
        with (
            httpcore.ConnectionPool(ssl_context=self.tls, max_connections=1, network_backend=backend) as pool,
            pool.stream(
                "POST",
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=[(name.encode("ascii"), text.encode("ascii")) for name, text in fields.items()],
                content=body,
                extensions={"timeout": {"connect": CONNECT_SECONDS}},
            ) as response,
        ):
            if response.status // 100 == 2:
                return Reply(response.status)
            return Reply(response.status, explain(response), read_wait(httpx.Headers(response.headers)))


def explain(response: httpcore.Response) -> str:
    """What an answer that does not take the message says, short and harmless."""
    phrase = next((f" {known.phrase}" for known in HTTPStatus if known == response.status), "")
    said = f"answered {response.status}{phrase}"
    if response.status // 100 == 3:
        return f"{said}: redirects are not followed"
    content = b""
    try:
        for piece in response.iter_stream():
            content += piece
            if len(content) >= READ_BYTES:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        pass  # the status is enough
    text = " ".join(content[:READ_BYTES].decode("utf-8", "replace").split())
    return f"{said}: {plain(text, SHOWN_CHARACTERS)}" if text else said
