"""References: what people type to name an image, and the one form under which it is kept.

    busybox                     docker.io/library/busybox:latest, kept and shown as busybox:latest
    localhost:5000/team/app:v1  host localhost:5000, path team/app
    app@sha256:…                the digest decides; a tag beside it is only shown

The first component is a host when it has a dot or a colon, stands in brackets, or is `localhost`.
"""

import re
from dataclasses import dataclass, replace

from domain.errors import InvalidValue
from domain.images.layer import checked_digest
from domain.text.safe import safe

DEFAULT_HOST = "docker.io"
DEFAULT_TAG = "latest"
LONGEST_NAME = 255
LONGEST_TEXT = LONGEST_NAME + len(":") + 128 + len("@sha256:") + 64

_OFFICIAL = "library/"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_HEX64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """`path` is complete (`library/busybox`); without digest there is always a tag, unless none was asked for."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """The repository as it is shown: without the default host and `library/`."""
        if self.host != DEFAULT_HOST:
            return f"{self.host}/{self.path}"
        rest = self.path.removeprefix(_OFFICIAL)
        short = rest if "/" not in rest else self.path
        return short if not _names_host(short.partition("/")[0], "/" in short) else f"{self.host}/{self.path}"

    @property
    def full(self) -> str:
        """With host, complete path, and tag or digest: `docker.io/library/busybox:latest`."""
        return f"{self.host}/{self.path}{self._suffix()}"

    @property
    def key(self) -> str:
        """The one form under which the reference is kept: `busybox:latest` or `busybox@sha256:…`."""
        return f"{self.repository}{self._suffix()}"

    def __str__(self) -> str:
        """As it is shown: the tag stays visible beside a digest."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")

    def _suffix(self) -> str:
        if self.digest:
            return f"@{self.digest}"
        return f":{self.tag}" if self.tag else ""


def parse(text: str, *, default_tag: bool = True) -> Reference:
    """The reference meant by `text`. Raises: InvalidValue, naming the value."""
    if len(text) > LONGEST_TEXT:
        raise _invalid(text)
    name, at, digest = text.partition("@")
    if _HEX64.fullmatch(text):
        raise InvalidValue(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    name, tag = _split_tag(name)
    host, path = _split_host(name)
    if path != path.lower():
        raise InvalidValue(f"invalid reference format: repository name ({_shown(path)}) must be lowercase")
    if at:
        checked_digest(digest)
    if not _HOST.fullmatch(host) or not _PATH.fullmatch(path) or len(name) > LONGEST_NAME:
        raise _invalid(text)
    if tag is not None and not _TAG.fullmatch(tag):
        raise _invalid(text)
    if host == DEFAULT_HOST and "/" not in path:
        path = _OFFICIAL + path
    reference = Reference(host, path, tag or "", digest)
    return replace(reference, tag=DEFAULT_TAG) if default_tag and not tag and not digest else reference


def parse_target(text: str) -> Reference:
    """A reference to be given to an image: a tag, never a digest. Raises: InvalidValue."""
    reference = parse(text)
    if reference.digest:
        raise InvalidValue(f'cannot give a digest to an image: "{_shown(text)}"', hint="use NAME:TAG")
    return reference


def split_key(key: str) -> tuple[str, str, str]:
    """Repository, tag and digest of a kept reference."""
    name, _, digest = key.partition("@")
    name, tag = _split_tag(name)
    return name, tag or "", digest


def _split_tag(name: str) -> tuple[str, str | None]:
    colon = name.rfind(":")
    if colon <= name.rfind("/") or name[colon:].endswith("]"):
        return name, None
    return name[:colon], name[colon + 1 :]


def _split_host(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not _names_host(first, bool(slash)):
        return DEFAULT_HOST, name
    return (DEFAULT_HOST if first == "index.docker.io" else first), rest


def _names_host(first: str, more: bool) -> bool:
    return more and (any(c in first for c in ".:[") or first == "localhost")


def _invalid(text: str) -> InvalidValue:
    return InvalidValue(f'invalid reference format: "{_shown(text)}"', hint="use [HOST[:PORT]/]NAME[:TAG][@DIGEST]")


def _shown(text: str) -> str:
    return safe(text[:200])
