"""Certificates for servers on this machine, and a proxy that ends TLS before a server that has none."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CHUNK_BYTES = 1 << 16


def make_certificate() -> tuple[bytes, bytes]:
    """A certificate for 127.0.0.1 that signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    file_format = serialization.PrivateFormat.PKCS8
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, file_format, plain
    )


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """The files of a certificate and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / "certificate.pem", folder / "key.pem"
    for file, content in zip(files, make_certificate(), strict=True):
        file.write_bytes(content)
    return files


@asynccontextmanager
async def ending_with(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """A connection that is closed by the end of the context."""
    try:
        yield
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


@contextmanager
def run_tls_proxy(port: int, certificate: Path, key: Path, target: int) -> Iterator[None]:
    """TLS on one port of this machine, whose connections go on unencrypted to another one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.new_event_loop()
    started, ending = threading.Event(), asyncio.Event()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What comes in goes out, until one of both ends."""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, in both directions, from its handshake on; nothing of it is left open."""
        with suppress(OSError):
            async with ending_with(writer):
                await writer.start_tls(context)
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
                async with ending_with(inner_writer):
                    await asyncio.gather(forward(reader, inner_writer), forward(inner_reader, writer))

    async def run() -> None:
        """Serves until it is told to end."""
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        started.set()
        await ending.wait()
        server.close()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(20)
        loop.close()
