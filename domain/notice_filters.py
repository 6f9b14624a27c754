"""Which notices `events` tells: its filters. Pure; the gateway's process imports it, so it needs the standard library
alone (`domain.notices`, which makes the notices, does not stop there)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from domain.errors import InvalidValue
from domain.filters import together

_ELSEWHERE = ("config", "daemon", "node", "plugin", "secret", "service")
"""Kinds of things that this engine does not have."""
KNOWN = ("container", "event", "image", "label", "network", "scope", "type", "volume", *_ELSEWHERE)
"""The keys of filters."""


class Told(Protocol):
    """What filters look at of a `domain.notices.Notice`, or of its document."""

    @property
    def kind(self) -> str:
        """Of the thing that something happened to."""

    @property
    def action(self) -> str:
        """What happened."""

    @property
    def id(self) -> str:
        """Of the thing."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """What else is known of it."""


Test = Callable[[Told], bool]


def filters(values: Sequence[str]) -> Test:
    """What `--filter` values mean together: the same key or-ed, different keys and labels and-ed. Raises: OptionError,
    InvalidValue."""
    return together(values, _test)


def _test(key: str, wanted: str) -> Test:
    label, equals, value = wanted.partition("=")
    known: dict[str, Test] = {
        "type": lambda n: n.kind == wanted,
        "event": lambda n: n.action == wanted or n.action.startswith(f"{wanted}:"),
        "container": lambda n: n.kind == "container" and _is(n, wanted),
        "image": lambda n: _image(n, wanted),
        "network": lambda n: n.kind == "network" and _is(n, wanted),
        "volume": lambda n: n.kind == "volume" and _is(n, wanted),
        "label": lambda n: label in n.attributes and (not equals or n.attributes[label] == value),
        "scope": lambda n: wanted == "local",
    }
    if key in known:
        return known[key]
    if key in _ELSEWHERE:
        return lambda n: n.kind == key and _is(n, wanted)
    raise InvalidValue(f"invalid filter '{key}'", hint="known: " + ", ".join(known))


def _is(notice: Told, wanted: str) -> bool:
    return bool(wanted) and (notice.id.startswith(wanted) or notice.attributes.get("name") == wanted.removeprefix("/"))


def _image(notice: Told, wanted: str) -> bool:
    names = {wanted, f"{wanted}:latest", wanted.removesuffix(":latest")}
    if notice.kind == "image":
        return notice.attributes.get("name") in names or notice.id.removeprefix("sha256:").startswith(wanted)
    return notice.attributes.get("image") in names
