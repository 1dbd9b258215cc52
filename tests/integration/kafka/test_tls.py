"""Brokers behind TLS: the relay proves them by their authority, and itself by its certificate."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plugyard.bootstrap.stack.plan import free_ports
from plugyard.infrastructure.relay.relay import Relay
from plugyard.infrastructure.relay.settings import KafkaSettings
from tests.integration.kafka.conftest import OutboxDatabase
from tests.integration.kafka.test_relay import until
from tests.tansu import Tansu, tansu

PASSWORD = "a-password-of-a-key"


class Authority:
    """Issues certificates, and writes them with their keys into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        own = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))

    def issue(self, name: str, password: str | None = None) -> tuple[Path, Path]:
        """The files of a certificate for 127.0.0.1 and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        signed = self._builder(named, key).add_extension(address, False).sign(self._key, hashes.SHA256())
        certificate, private = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        hidden: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            hidden = serialization.BestAvailableEncryption(password.encode())
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden))
        return certificate, private


@pytest.fixture
def behind() -> Iterator[tuple[Tansu, int]]:
    """A broker, and the port on which TLS for it is spoken."""
    (port,) = free_ports(1)
    with tansu(port) as running:
        yield running, port


@asynccontextmanager
async def tls(broker: Tansu, port: int, context: ssl.SSLContext) -> AsyncIterator[None]:
    """Speak TLS on that port, and the broker's own protocol behind."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, inner = broker.url.partition(":")
        to_reader, to_writer = await asyncio.open_connection(host, int(inner))
        await asyncio.gather(copy(reader, to_writer), copy(to_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        yield
    finally:
        server.close()


async def test_events_go_by_tls_to_brokers_of_the_right_authority_alone(
    outbox: OutboxDatabase, behind: tuple[Tansu, int], plugins: list[str], tmp_path: Path
) -> None:
    broker, port = behind
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ours.file))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*ours.issue("broker"))
    certificate, key = ours.issue("relay", PASSWORD)
    right = KafkaSettings(
        f"127.0.0.1:{port}", security="tls", ca=ours.file, certificate=certificate, key=key, key_password=PASSWORD
    )
    wrong_certificate, wrong_key = others.issue("stranger")
    outbox.write(20, plugins)
    async with tls(broker, port, context):
        for wrong in (
            replace(right, ca=others.file),
            replace(right, certificate=wrong_certificate, key=wrong_key, key_password=None),
            replace(right, key_password="another"),
            KafkaSettings(f"127.0.0.1:{port}"),
        ):
            relay = Relay(outbox.service_url, wrong, 4)
            relay.start()
            await until(lambda relay=relay: relay.state.startswith("warning: Kafka"))  # type: ignore[misc]
            assert PASSWORD not in relay.state
            assert relay.published == 0
            await relay.close()
        relay = Relay(outbox.service_url, right, 4)
        relay.start()
        await until(lambda: relay.published == 20)
        await relay.close()
