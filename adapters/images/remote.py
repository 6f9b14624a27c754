"""Files from addresses, for ADD: fetched over HTTP into a file without a name, never unpacked or executed."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit

from domain.build.placing import Node
from domain.errors import Refused, Unavailable
from domain.text.safe import safe

_PIECE = 1 << 20
_TIMEOUT = 60.0
_MODE = 0o600


def is_address(source: str) -> bool:
    """Whether ADD has to fetch it."""
    return source.startswith(("http://", "https://"))


@dataclass
class Remote:
    """A tree of files that were fetched; implements `adapters.images.placed.Readable`. Its descriptors stay the
    caller's."""

    nodes: dict[str, Node] = field(default_factory=dict)
    _fds: dict[str, int] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)

    def look(self, path: str) -> Node | None:
        """See `domain.build.placing.Tree`."""
        return self.nodes.get(path)

    def names(self, path: str) -> Sequence[str]:
        """See `domain.build.placing.Tree`."""
        return sorted(self.nodes) if not path else ()

    def data(self, node: Node) -> Iterator[bytes]:
        """The content of a file."""
        at = 0
        while piece := os.pread(self._fds[node.path], _PIECE, at):
            yield piece
            at += len(piece)

    def digest(self, node: Node) -> str:
        """Of the content of a file."""
        return self._digests[node.path]

    def add(self, url: str, fd: int, most: int, checksum: str) -> str:
        """Fetch one file; its name in this tree. Raises: Refused, Unavailable."""
        name = unquote(urlsplit(url).path.rpartition("/")[2]) or "index"
        if name in (".", "..") or "/" in name or "\0" in name:
            raise Refused(f"no file can have the name that {safe(url)} ends in")
        while name in self.nodes:
            name += "_"
        size, mtime, digest = _fetched(url, fd, most)
        if checksum and checksum.lower() != f"sha256:{digest}":
            raise Refused(f"{safe(url)} is sha256:{digest}, but should be {safe(checksum)[:100]}")
        self.nodes[name] = Node(name, "file", _MODE, 0, 0, size, mtime)
        self._fds[name], self._digests[name] = fd, digest
        return name


def _fetched(url: str, fd: int, most: int) -> tuple[int, int, str]:
    """Size, time (ns; 0 if nobody says one) and digest of what is there now."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler, urllib.request.UnknownHandler, urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):  # neither files nor FTP, wherever an answer leads
        opener.add_handler(handler())
    request = urllib.request.Request(url, headers={"User-Agent": "lading", "Accept-Encoding": "identity"})
    found, size = hashlib.sha256(), 0
    try:
        with opener.open(request, timeout=_TIMEOUT) as answer:
            while piece := answer.read(_PIECE):
                size += len(piece)
                if size > most:
                    raise Refused(f"{safe(url)} is larger than there is room for")
                found.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            return size, _time(answer.headers.get("Last-Modified", "")), found.hexdigest()
    except urllib.error.HTTPError as error:
        raise Refused(f"{safe(url)}: the server answers {error.code} {safe(str(error.reason))[:100]}") from error
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable(f"{safe(url)} cannot be fetched: {safe(str(reason))[:200]}") from error


def _time(text: str) -> int:
    try:
        return max(int(parsedate_to_datetime(text).timestamp()), 0) * 10**9
    except (TypeError, ValueError, OverflowError):
        return 0
