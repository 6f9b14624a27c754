"""Where a reference leads: short names, the default registry, mirrors, and which registries may go without TLS.

    [registries]
    default = "reg.example.com"                # where a name without a host is looked for; docker.io if not given
    insecure = ["10.0.0.7:5000", "10.1.0.0/16"]  # a certificate is not checked there, and plain HTTP will do
    [registries.mirrors]
    "docker.io" = ["https://mirror.local:5000/hub"]   # asked first, in this order; the registry itself comes last
    [registries.short_names]
    tools = "reg.example.com/team/tools"

Loopback is always insecure, as every engine has it.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from domain.errors import InvalidValue
from domain.images.reference import DEFAULT_HOST, DEFAULT_TAG, Reference, parse
from domain.text.safe import safe

DOCKER_API = "registry-1.docker.io"
"""The host that answers for docker.io."""
DOCKER_INDEX = "index.docker.io"
"""The host that is asked there for a search."""

_MIRROR = re.compile(r"(?:(https?)://)?([^/\s]+)((?:/[a-z0-9._-]+)*)/?")
_KEYS = frozenset({"default", "insecure", "mirrors", "short_names", "certificates"})


@dataclass(frozen=True, slots=True)
class Registries:
    """The configuration, checked. `certificates` is a folder of `HOST:PORT/ca.crt`, asked before the industry's."""

    default: str = DEFAULT_HOST
    insecure: tuple[str, ...] = ()
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    short_names: Mapping[str, str] = field(default_factory=dict)
    certificates: str = "/etc/lading/certs.d"

    def expand(self, text: str, *, default_tag: bool = True) -> Reference:
        """The reference meant by what somebody typed. Raises: InvalidValue."""
        reference = parse(text, default_tag=default_tag)
        if not _is_short(text):
            return reference
        alias = self.short_names.get(_bare(text))
        if alias is not None:
            target = parse(alias, default_tag=False)
            tag, digest = reference.tag, reference.digest
            given = _has_tag(text)
            return replace(target, tag=tag if given or not target.tag else target.tag, digest=digest or target.digest)
        if self.default == DEFAULT_HOST:
            return reference
        return replace(reference, host=self.default, path=reference.path.removeprefix("library/"))

    def is_insecure(self, host: str) -> bool:
        """Whether plain HTTP and a certificate that nobody vouches for will do. `host` may have a port."""
        name = bare_host(host)
        if is_loopback(host) or host in self.insecure or name in self.insecure:
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return any("/" in item and address in ipaddress.ip_network(item, strict=False) for item in self.insecure)

    def endpoints(self, host: str) -> "tuple[Endpoint, ...]":
        """Whom to ask for an image, in order: the mirrors of the host, then the host."""
        return (*(self._mirror(text) for text in self.mirrors.get(host, ())), self.endpoint(host))

    def endpoint(self, host: str) -> "Endpoint":
        """The registry itself."""
        return Endpoint(host, DOCKER_API if host == DEFAULT_HOST else host, insecure=self.is_insecure(host))

    def _mirror(self, text: str) -> "Endpoint":
        scheme, host, prefix = _mirror_parts(text)
        insecure = scheme == "http" or self.is_insecure(host)
        return Endpoint(host, host, scheme=scheme, prefix=prefix.strip("/"), insecure=insecure, mirror=True)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server: `host` is what credentials and certificates are filed under, `address` whom to connect to.

    `scheme` is empty when it has to be found out: https, and where that is allowed (`insecure`) also http. `prefix` is
    put before every repository.
    """

    host: str
    address: str
    scheme: str = ""
    prefix: str = ""
    insecure: bool = False
    mirror: bool = False

    @property
    def schemes(self) -> tuple[str, ...]:
        """What to try, in order."""
        if self.scheme:
            return (self.scheme,)
        return ("https", "http") if self.insecure else ("https",)

    def path(self, path: str) -> str:
        """What the repository `path` is called there."""
        return f"{self.prefix}/{path}" if self.prefix else path


def parse_registries(table: object, what: str) -> Registries:
    """The table `[registries]` of the configuration. Raises: InvalidValue, naming the key."""
    if not isinstance(table, dict):
        raise InvalidValue(f"{what}: registries must be a table")
    unknown = table.keys() - _KEYS
    if unknown:
        raise InvalidValue(f"{what}: unknown key registries.{min(unknown)}", hint=f"known: {', '.join(sorted(_KEYS))}")
    default = _text(table.get("default", DEFAULT_HOST), f"{what}: registries.default")
    insecure = _texts(table.get("insecure", []), f"{what}: registries.insecure")
    for item in insecure:
        _checked_insecure(item, what)
    return Registries(
        default=_checked_host(default, f"{what}: registries.default"),
        insecure=insecure,
        mirrors=_mirrors(table.get("mirrors", {}), what),
        short_names=_short_names(table.get("short_names", {}), what),
        certificates=_text(table.get("certificates", Registries().certificates), f"{what}: registries.certificates"),
    )


def parse_host(text: str) -> str:
    """The registry that somebody typed (`login HOST`): a host with or without a port or a scheme.

    Raises: InvalidValue.
    """
    place = text.partition("://")[2] if text.startswith(("https://", "http://")) else text
    host = place.partition("/")[0].lower()
    return DEFAULT_HOST if host in (DOCKER_INDEX, DOCKER_API) else _checked_host(host, "invalid registry")


def bare_host(host: str) -> str:
    """Without the port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and not name.endswith(":") else host


def is_loopback(host: str) -> bool:
    """Whether it is this machine, by its name."""
    name = bare_host(host).strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_short(text: str) -> bool:
    """Whether no host was typed."""
    first, slash, _ = text.partition("/")
    return not slash or not (any(char in first for char in ".:[") or first == "localhost" or first != first.lower())


def _bare(text: str) -> str:
    name = text.partition("@")[0]
    return name.partition(":")[0]


def _has_tag(text: str) -> bool:
    return ":" in text.partition("@")[0]


def _checked_host(host: str, what: str) -> str:
    try:
        found = parse(f"{host}/x:{DEFAULT_TAG}").host
    except InvalidValue:
        found = ""
    # A name without a dot is a part of a path in a reference, and still a machine in somebody's network.
    if (found != host or not host) and not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", host):
        raise InvalidValue(f'{what}: "{safe(host)[:100]}" is not a host', hint="write HOST or HOST:PORT")
    return host


def _checked_insecure(item: str, what: str) -> None:
    if "/" not in item:
        _checked_host(item, f"{what}: registries.insecure")
        return
    try:
        ipaddress.ip_network(item, strict=False)
    except ValueError as error:
        shown = safe(item)[:100]
        raise InvalidValue(f'{what}: registries.insecure: "{shown}" is neither a host nor a network') from error


def _mirrors(table: object, what: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(table, dict):
        raise InvalidValue(f"{what}: registries.mirrors must be a table of lists")
    mirrors = {}
    for host, items in table.items():
        place = f"{what}: registries.mirrors of {safe(str(host))[:100]}"
        mirrors[_checked_host(str(host), place)] = texts = _texts(items, place)
        for text in texts:
            _checked_host(_mirror_parts(text, place)[1], place)
    return mirrors


def _mirror_parts(text: str, what: str = "mirror") -> tuple[str, str, str]:
    match = _MIRROR.fullmatch(text)
    if match is None:
        raise InvalidValue(f'{what}: "{safe(text)[:100]}" is not an address', hint="write https://HOST[:PORT][/PREFIX]")
    return match[1] or "", match[2], match[3]


def _short_names(table: object, what: str) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise InvalidValue(f"{what}: registries.short_names must be a table of names")
    for name, target in table.items():
        if _is_short(target):
            raise InvalidValue(f"{what}: the short name {safe(name)[:100]} must stand for a name with its registry")
        parse(target)
    return dict(table)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"{what} must be a text")
    return value


def _texts(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidValue(f"{what} must be a list of texts")
    return tuple(_text(item, what) for item in value)
