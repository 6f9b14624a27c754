"""Connections to registries: TLS, proxies, keep-alive, and every fault as an error of ours. Knows nothing of images.

urllib3 is imported with the first request: the daemon of a host that pulls nothing is 4 MB and 30 ms smaller.
"""

import re
import ssl
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from domain.errors import Refused
from domain.images.denials import RegistryDenied, RegistryFailed
from domain.images.registries import Endpoint
from domain.text.safe import safe

if TYPE_CHECKING:
    import urllib3

PIECE = 1 << 18
CONNECT, HANDSHAKE, READ = 10.0, 2.0, 30.0
"""Seconds: to connect; to connect and shake hands where it may be plain HTTP that is spoken; until something comes."""
_INDUSTRY = ("/etc/containers/certs.d", "/etc/docker/certs.d")
_POOLS = 32
_LONGEST_HEADER = 16 << 10
_PLAIN_HTTP = re.compile("WRONG_VERSION_NUMBER|HTTP_REQUEST|UNEXPECTED_EOF|record layer failure|packet length", re.I)


class PlainHttp(Exception):
    """The other side does not speak TLS."""


class Answer:
    """Status and headers (names in lower case), and a body that is read once; closed in the end whatever happens."""

    def __init__(self, response: "urllib3.BaseHTTPResponse", method: str, url: str) -> None:
        self._response, self._method, self.url, self.status = response, method, url, response.status
        self.headers = {name.lower(): value[:_LONGEST_HEADER] for name, value in response.headers.items()}
        self.challenges = tuple(value[:_LONGEST_HEADER] for value in response.headers.getlist("www-authenticate"))

    def header(self, name: str) -> str:
        """Empty when there is none."""
        return self.headers.get(name, "")

    def pieces(self) -> Iterator[bytes]:
        """The body. Raises: RegistryFailed when it is cut."""
        with _told(self.url):
            yield from self._response.stream(PIECE, decode_content=False)

    def read(self, limit: int, what: str) -> bytes:
        """The whole body. Raises: Refused when it is larger than `limit`, RegistryFailed when it is cut."""
        found = bytearray()
        for piece in self.pieces():
            found += piece
            if len(found) > limit:
                self.close()
                raise Refused(f"{what} is too large: more than {limit} bytes")
        self.close()
        return bytes(found)

    def some(self, limit: int) -> bytes:
        """The beginning of the body, of one that only explains: a fault here is no fault."""
        found = bytearray()
        try:
            for piece in self.pieces():
                found += piece
                if len(found) >= limit:
                    break
        except RegistryFailed:
            pass
        self.close()
        return bytes(found[:limit])

    def close(self) -> None:
        """Let go of the connection; it is used again when the body was read."""
        if self._short():
            self._response.drain_conn()
        else:
            self._response.close()
        self._response.release_conn()

    def _short(self) -> bool:
        length = self.header("content-length")
        return self._method == "HEAD" or (length.isascii() and length.isdigit() and len(length) < 6)

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *what: object) -> None:
        self.close()


class Web:
    """One pool of connections for every way to check certificates, and for every proxy."""

    def __init__(self, certificates: str, environ: Mapping[str, str]) -> None:
        """`certificates` is our own folder of `HOST/ca.crt`; proxies are those of `environ`."""
        self._folders = (certificates, *_INDUSTRY)
        self._proxies = _proxies(environ)
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._lock = Lock()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        endpoint: Endpoint | None = None,
        body: bytes | Iterable[bytes] | None = None,
        probing: bool = False,
    ) -> Answer:
        """One request. `endpoint` is given where its certificates and its laxness count, and not behind a redirect.

        Raises: RegistryFailed (try again), RegistryDenied (the certificate), PlainHttp, Refused (the address).
        """
        import urllib3

        pool = self._pool(url, endpoint)
        timeout = urllib3.Timeout(connect=HANDSHAKE if probing else CONNECT, read=READ)
        with _told(url):
            response = pool.request(
                method, url, headers=dict(headers), body=body, preload_content=False, decode_content=False,
                redirect=False, retries=False, timeout=timeout,
            )  # fmt: skip
        return Answer(response, method, url)

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def _pool(self, url: str, endpoint: Endpoint | None) -> "urllib3.PoolManager":
        import urllib3

        parts = urlsplit(url)
        proxy = self._proxy(parts.scheme, parts.netloc)
        key = (endpoint.host if endpoint else "", proxy)
        with self._lock:
            found = self._pools.get(key)
            if found is None:
                options: dict[str, Any] = {"num_pools": 4, "maxsize": 8, "ssl_context": self._context(endpoint)}
                if len(self._pools) >= _POOLS:
                    self._pools.pop(next(iter(self._pools))).clear()
                # Whoever is insecure was named so; the warning would come with every request.
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
                found = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
                self._pools[key] = found
            return found

    def _proxy(self, scheme: str, place: str) -> str:
        host = place.rpartition("@")[2]
        if urllib.request.proxy_bypass_environment(host, self._proxies):  # type: ignore[attr-defined]
            return ""
        proxy = self._proxies.get(scheme) or self._proxies.get("all") or ""
        return proxy if not proxy or "://" in proxy else f"http://{proxy}"

    def _context(self, endpoint: Endpoint | None) -> ssl.SSLContext:
        """Raises: Refused when a file cannot be used."""
        context = ssl.create_default_context()
        # Since Python 3.13 certificates without every extension of RFC 5280 are refused; other engines take them, and
        # those of registries at home are made by hand.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if endpoint is None:
            return context
        folder = self._folder(endpoint.host)
        if folder is None:
            if endpoint.insecure:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        try:
            for authority in sorted(folder.glob("*.crt")):
                context.load_verify_locations(authority)
            for certificate in sorted(folder.glob("*.cert")):
                context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        except (OSError, ValueError) as error:
            raise Refused(f"the certificates in {folder} cannot be used: {safe(str(error))[:200]}") from error
        return context

    def _folder(self, host: str) -> Path | None:
        folders = (Path(root) / host for root in self._folders)
        return next((folder for folder in folders if any(folder.glob("*.crt")) or any(folder.glob("*.cert"))), None)


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """`HTTPS_PROXY` and its kin; small letters win, as everywhere."""
    found: dict[str, str] = {}
    for spelled in (str.upper, str.lower):
        for name in ("http", "https", "all", "no"):
            if value := environ.get(spelled(f"{name}_proxy")):
                found[name] = value
    return found


class _told:  # noqa: N801  # a context manager that reads like a function, and costs nothing in a generator
    """Turns what urllib3 raises into our errors."""

    def __init__(self, url: str) -> None:
        self._host = safe(urlsplit(url).netloc.rpartition("@")[2])[:200]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, GeneratorExit):
            return
        from urllib3 import exceptions

        if isinstance(error, exceptions.SSLError | ssl.SSLError):
            raise _untrusted(self._host, error) from error
        if isinstance(error, exceptions.ProxyError):
            raise RegistryFailed(f"the proxy on the way to {self._host} does not work: {_reason(error)}") from error
        if isinstance(error, exceptions.LocationParseError | exceptions.URLSchemeUnknown | UnicodeError):
            raise Refused(f"the registry sends us to an address that is none: {self._host}") from error
        if isinstance(error, exceptions.NameResolutionError):
            hint = "is the name right, and does this machine reach it?"
            raise RegistryFailed(f"there is no registry {self._host}: its name is not known", hint=hint) from error
        if isinstance(error, exceptions.HTTPError | OSError):
            raise RegistryFailed(f"{self._host} cannot be reached: {_reason(error)}") from error


def _untrusted(host: str, error: BaseException) -> Exception:
    text = str(error)
    if _PLAIN_HTTP.search(text):
        return PlainHttp(host)
    if "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
        return RegistryDenied(
            f"the certificate of {host} is not to be trusted: {_reason(error)}",
            hint=f"put its authority into certs.d/{host}/ca.crt, or name it in registries.insecure",
        )
    return RegistryFailed(f"TLS with {host} failed: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """The innermost words, without Python's names for things."""
    inner: BaseException = error
    while (cause := inner.__cause__ or inner.__context__) is not None and isinstance(cause, OSError):
        inner = cause
    if isinstance(inner, OSError) and inner.strerror:
        return safe(inner.strerror)[:200].lower()
    text = str(error.args[-1] if error.args else error)
    return safe(re.sub(r"^.*?: ", "", text) if "object at 0x" in text else text)[:200]


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
