"""Registries for tests: Debian's `docker-registry` on loopback, plain, with TLS, with passwords or with a token
service, and a server that does what no honest one does."""

import base64
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PLACES = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/bin"))
PROGRAM = shutil.which("docker-registry", path=PLACES) or ""
NEEDED = "needs docker-registry: .ci/registry fetches it"
PATIENCE = 20.0
# bcrypt of "secret", cost 4: htpasswd -nbBC 4 ann secret
HTPASSWD = "ann:$2y$04$VCXHDA3DW9dIFYR058/VzeyqDq1BEfQqb.LJy550GHVauNYmSk0Ie\n"


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Certificate:
    """An authority and a certificate of 127.0.0.1 and localhost by it, as files."""

    authority: Path
    certificate: Path
    key: Path
    signing: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, folder: Path) -> "Certificate":
        """New ones."""
        import ipaddress

        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _certificate("a test's authority", root_key.public_key(), "a test's authority", root_key, None)
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        leaf = _certificate("localhost", key.public_key(), "a test's authority", root_key, names)
        made = cls(folder / "ca.crt", folder / "leaf.pem", folder / "leaf.key", key)
        made.authority.write_bytes(root)
        made.certificate.write_bytes(leaf)
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return made


def _certificate(
    subject: str,
    public: ec.EllipticCurvePublicKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    names: x509.SubjectAlternativeName | None,
) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class Registry:
    """One that runs; `host` is what its images are called by."""

    host: str
    process: "subprocess.Popen[bytes]"
    data: Path
    log: Path

    def requests(self) -> list[str]:
        """Lines of its access log: `METHOD path`."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if '"' in line]


@contextmanager
def distribution(
    folder: Path,
    *,
    certificate: Certificate | None = None,
    htpasswd: bool = False,
    token_service: str = "",
) -> Iterator[Registry]:
    """Debian's registry with its data below `folder`; the test is skipped where there is none."""
    if not PROGRAM:
        pytest.skip(NEEDED)
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    lines = [
        "version: 0.1",
        "log: {level: error, accesslog: {disabled: false}}",
        "storage:",
        f"  filesystem: {{rootdirectory: {folder / 'data'}}}",
        "  delete: {enabled: true}",
        "http:",
        f"  addr: 127.0.0.1:{port}",
        "  secret: of-no-importance",
    ]
    if certificate is not None and not token_service:
        lines += ["  tls:", f"    certificate: {certificate.certificate}", f"    key: {certificate.key}"]
    if htpasswd:
        (folder / "htpasswd").write_text(HTPASSWD)
        lines += ["auth:", "  htpasswd:", "    realm: tests", f"    path: {folder / 'htpasswd'}"]
    if token_service:
        assert certificate is not None
        lines += ["auth:", "  token:", f"    realm: {token_service}", "    service: tests", "    issuer: tests",
                  f"    rootcertbundle: {certificate.certificate}"]  # fmt: skip
    (folder / "config.yml").write_text("\n".join(lines) + "\n")
    log = folder / "registry.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "serve", str(folder / "config.yml")], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={"PATH": os.environ.get("PATH", ""), "OTEL_TRACES_EXPORTER": "none"},
        )  # fmt: skip
    try:
        _listening(port, process, log)
        yield Registry(f"127.0.0.1:{port}", process, folder / "data", log)
    finally:
        process.kill()
        process.wait()


def _listening(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)  # nothing tells when it listens
            continue
        return
    raise AssertionError(log.read_text(errors="replace"))


def raw(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """A request past everything that is tested."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


# A server of our own

Handler = Callable[["Request"], "Reply"]


@dataclass(frozen=True)
class Request:
    """What somebody asked; names of headers in lower case. Several values of one name in the query are joined."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """What is answered. `claimed` is a Content-Length that is not the truth; `endless` never ends the body; `cut` ends
    the connection after that many bytes of it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    claimed: int | None = None
    endless: bool = False
    cut: int | None = None


class Scripted:
    """A server whose answers a test makes up; it remembers what it was asked."""

    def __init__(self, handler: Handler, certificate: Certificate | None = None) -> None:
        self.requests: list[Request] = []
        scripted = self

        class Answering(BaseHTTPRequestHandler):
            """One connection."""

            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                parts = urlsplit(self.path)
                body = self.rfile.read(length)
                if self.headers.get("transfer-encoding", "").lower() == "chunked":
                    body = self._chunks()
                given = parse_qs(parts.query, keep_blank_values=True)
                query = {name: " ".join(values) for name, values in given.items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, parts.path, query, headers, body)
                scripted.requests.append(request)
                self._answer(handler(request))

            def _chunks(self) -> bytes:
                found = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return found

            def _answer(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if not reply.endless:
                    size = len(reply.body) if reply.claimed is None else reply.claimed
                    self.send_header("Content-Length", str(size))
                self.end_headers()
                if self.command == "HEAD":
                    return
                try:
                    self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])
                    while reply.endless:
                        self.wfile.write(b"x" * 65536)
                except OSError:
                    pass
                if reply.cut is not None or reply.endless or reply.claimed is not None:
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _any  # noqa: N815  # names of the base class

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        class Serving(ThreadingHTTPServer):
            """Clients that hang up are none of its business."""

            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Nothing."""

        self._server = Serving(("127.0.0.1", 0), Answering)
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            plain = self._server.socket
            self._server.socket = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def asked(self, method: str, beginning: str) -> list[Request]:
        """Requests of that method whose path begins so."""
        return [one for one in self.requests if one.method == method and one.path.startswith(beginning)]

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


@contextmanager
def scripted(handler: Handler, certificate: Certificate | None = None) -> Iterator[Scripted]:
    """A server with these answers."""
    server = Scripted(handler, certificate)
    try:
        yield server
    finally:
        server.close()


class TokenService:
    """Gives tokens that `docker-registry` believes: ann (password "secret") may do everything, others read `open/…`."""

    def __init__(self, certificate: Certificate, life: int = 300) -> None:
        self._certificate, self._life = certificate, life
        self.given: list[list[str]] = []

    def __call__(self, request: Request) -> Reply:
        """The answer of the service."""
        user = ""
        if basic := request.headers.get("authorization", "").removeprefix("Basic "):
            user, _, password = base64.b64decode(basic).decode().partition(":")
            if (user, password) != ("ann", "secret"):
                return Reply(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}')
        if request.method == "POST":
            fields = {name: value[-1] for name, value in parse_qs(request.body.decode()).items()}
            if fields.get("refresh_token") != "refresh-me":
                return Reply(401)
            user, scopes = "ann", fields.get("scope", "").split()
        else:
            scopes = request.query.get("scope", "").split()
        self.given.append(scopes)
        body = {"token": self._token(user, scopes), "expires_in": self._life}
        return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _token(self, user: str, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if user == "ann" else ["pull"] if name.startswith("open/") else []
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {"iss": "tests", "aud": "tests", "sub": user, "nbf": now - 10, "iat": now, "exp": now + self._life,
                  "jti": os.urandom(8).hex(), "access": access}  # fmt: skip
        chain = self._certificate.certificate.read_bytes()
        der = x509.load_pem_x509_certificate(chain).public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = ".".join(_url64(json.dumps(part).encode()) for part in (head, claims))
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        r, s = decode_dss_signature(self._certificate.signing.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_url64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sha(data: bytes) -> str:
    """The digest of these bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
