"""Clients from elsewhere: proven by a certificate, and with two directions that end one by one."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.gateway.process import _common_name, _mutual
from adapters.gateway.tls import TlsStream


def signed(folder: Path, name: str, by: str) -> None:
    """A key and a certificate `NAME.pem`, signed by another one, or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / f"{name}.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = serialization.load_pem_private_key((folder / f"{by}.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)])).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=name == by, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(signer, hashes.SHA256()))
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server, a client, and a stranger with an authority of its own."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, by in (("authority", "authority"), ("server", "authority"), ("ann", "authority"), ("mallory", "mallory")):
        signed(folder, name, by)
    return folder


class Server:
    """Answers every client that proves itself with all it has said, once it says no more."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.seen: list[str] = []
        self.done = asyncio.Event()
        self.port = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        try:
            stream = await TlsStream.accept(reader, writer, self._context)
            self.seen.append(_common_name(stream.certificate))
            said = b""
            while data := await stream.read(65536):
                said += data
            for at in range(0, len(said), 65536):
                stream.write(said[at:at + 65536])
                await stream.drain()
            stream.close()
        except OSError:
            self.seen.append("refused")
            writer.close()
        self.done.set()


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[Server]:
    """Listens on the loopback device."""
    context = _mutual(str(folder / "server.pem"), str(folder / "server.key"), str(folder / "authority.pem"))
    server = Server(context)
    async with await asyncio.start_server(server.connected, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


class Client(TlsStream):
    """The other side of the same thing."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
    ) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")

    def end(self) -> None:
        """Say that nothing more comes, and go on listening."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._send()


async def _spoken(folder: Path, port: int, name: str, data: bytes) -> bytes:
    """What a client hears that says something, ends its own direction, and goes on listening. Raises: OSError."""
    context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the certificates are as a person makes them by hand
    if name:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            stream = await Client.accept(reader, writer, context)
            for at in range(0, len(data), 65536):
                stream.write(data[at:at + 65536])
                await stream.drain()
            assert isinstance(stream, Client)
            stream.end()
            heard = b""
            while piece := await stream.read(65536):
                heard += piece
        finally:
            writer.close()
    return heard


@pytest.mark.parametrize("size", [1, 300_000])
async def test_who_says_no_more_still_hears_everything(folder: Path, server: Server, size: int) -> None:
    """As a command without input does on a hijacked connection; the name in the certificate is who it was."""
    assert await _spoken(folder, server.port, "ann", b"x" * size) == b"x" * size
    assert server.seen == ["ann"]


@pytest.mark.parametrize("name", ["", "mallory"])
async def test_who_cannot_prove_itself_gets_nowhere(folder: Path, server: Server, name: str) -> None:
    """Neither without a certificate nor with one that somebody else has signed: elsewhere containers (CVE-2014-5279,
    CVE-2025-9074) and pages in a browser (CVE-2014-5280) reached an engine that trusted whoever came by the network."""
    heard = b""
    with contextlib.suppress(OSError):  # TLS 1.3: the client's handshake is over before the server refuses it
        heard = await _spoken(folder, server.port, name, b"x")
    assert heard == b""
    async with asyncio.timeout(5):
        await server.done.wait()
    assert server.seen == ["refused"]


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b""])
async def test_what_is_no_tls_is_refused(server: Server, said: bytes) -> None:
    """Plain HTTP is not spoken over a network."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(said)
    writer.write_eof()
    async with asyncio.timeout(5):
        await reader.read()
        await server.done.wait()
    writer.close()
    assert server.seen == ["refused"]


async def test_who_does_not_listen_is_heard(folder: Path) -> None:
    """A flood that a client does not read must not keep what it says from the process: it may say stop."""
    mutual = _mutual(str(folder / "server.pem"), str(folder / "server.key"), str(folder / "authority.pem"))
    heard = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = await TlsStream.accept(reader, writer, mutual)

        async def flood() -> None:
            while True:
                stream.write(bytes(65536))
                await stream.drain()

        flooding = asyncio.ensure_future(flood())
        while writer.transport.get_write_buffer_size() < 65536:
            await asyncio.sleep(0)
        assert await stream.read(65536) == b"stop"
        heard.set()
        flooding.cancel()
        writer.transport.abort()

    context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(folder / "ann.pem", folder / "ann.key")
    async with asyncio.timeout(10), await asyncio.start_server(connected, "127.0.0.1", 0) as listening:
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.sockets[0].getsockname()[1], limit=1024)
        stream = await Client.accept(reader, writer, context)
        stream.write(b"stop")
        await heard.wait()
        writer.close()
