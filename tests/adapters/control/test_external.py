"""A nats-server that somebody else runs, with TLS: the bus and the control socket reach it with the same words."""

import asyncio
import datetime
import ipaddress
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.control.console import Call, serve_calls
from adapters.control.listener import ControlSocket
from adapters.nats.access import ExternalServer
from adapters.nats.binary import find_nats_server
from adapters.nats.bus import NatsBus
from domain.errors import Unavailable
from tests.adapters.control.engine import HOST
from tests.adapters.control.test_listener import call

ROOT = Path(__file__).resolve().parents[3]
_CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
from adapters.cli.main import main
sys.exit(main(["-H", sys.argv[2], "logs", "-f", "web"], ()))
"""


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bus")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256()))
    paths = directory / "cert.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    return paths


@pytest.fixture
async def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server with TLS and one user for everything."""
    certificate, key = _certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    (tmp_path / "server.conf").write_text(json.dumps({
        "host": "127.0.0.1", "port": port, "tls": {"cert_file": str(certificate), "key_file": str(key)},
        "authorization": {"users": [{"user": "engine", "password": "secret"}]}}))
    server = await asyncio.create_subprocess_exec(find_nats_server(), "-c", tmp_path / "server.conf",
                                                  stderr=subprocess.DEVNULL)
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                await asyncio.sleep(0.005)
    writer.close()
    yield port
    server.kill()
    await server.wait()


def _credentials(tmp_path: Path) -> Path:
    path = tmp_path / "credentials.json"
    path.write_text('{"daemon": {"user": "engine", "password": "secret"}}')
    path.chmod(0o600)
    return path


@pytest.mark.slow
async def test_a_call_over_an_external_server_with_tls(tmp_path: Path, port: int) -> None:
    """The same code path, with the certificate checked on both connections."""
    async def answer(call: Call) -> None:
        await call.out(b"hello")

    external = ExternalServer(f"tls://127.0.0.1:{port}", _credentials(tmp_path))
    bus = NatsBus(external.locate)
    await bus.connect()
    tmp_path.chmod(0o711)
    control = ControlSocket(tmp_path / "s", HOST, external.locate, " ".join)
    console = await serve_calls(bus, HOST, answer, control)
    await control.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    writer.write(call(b"ps"))
    assert b"Ohello" in await asyncio.wait_for(reader.readuntil(b"X0\r\n"), 10)
    writer.close()
    await control.close()
    await console.close()
    await bus.close()


@pytest.mark.slow
async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, port: int,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise TLS protects against nothing."""
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    external = ExternalServer(f"tls://127.0.0.1:{port}", _credentials(tmp_path))
    with pytest.raises(Unavailable):
        await NatsBus(external.locate).connect(timeout=1)


@pytest.mark.slow
async def test_a_client_elsewhere_speaks_for_itself_and_its_death_is_noticed(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encrypted, without any socket of the daemon; the only sign of its end is that nobody listens any more."""
    monkeypatch.setattr("adapters.control.console._LOOK_EVERY", 0.05)
    ended = asyncio.Event()

    async def answer(call: Call) -> None:
        await call.out(call.actor.user.encode() + b" asks " + " ".join(call.argv).encode())
        try:
            await asyncio.Event().wait()
        finally:
            assert call.deserted
            ended.set()

    external = ExternalServer(f"tls://127.0.0.1:{port}", _credentials(tmp_path))
    bus = NatsBus(external.locate)
    await bus.connect()
    tmp_path.chmod(0o711)
    console = await serve_calls(bus, HOST, answer, ControlSocket(tmp_path / "s", HOST, external.locate, " ".join))
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", _CLIENT, str(ROOT), f"tls://engine@127.0.0.1:{port}/{HOST}",
        stdout=subprocess.PIPE, env={"LADING_PASSWORD": "secret", "SSL_CERT_FILE": str(tmp_path / "cert.pem")})
    assert client.stdout is not None
    async with asyncio.timeout(10):
        assert await client.stdout.readexactly(20) == b"engine asks logs -f "
        await asyncio.sleep(0.3)  # some looks find it there
        assert not ended.is_set()
        client.kill()
        await ended.wait()
        await client.wait()
    await console.close()
    await bus.close()
