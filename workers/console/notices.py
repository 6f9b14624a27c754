"""Notices as `events` chooses them: its filters."""

from collections.abc import Sequence

from domain.errors import InvalidValue
from domain.notices import Notice
from workers.console.words import together
from workers.tidings import Test

_ELSEWHERE = ("config", "daemon", "node", "plugin", "secret", "service")
"""Kinds of things that this engine does not have."""
KNOWN = ("container", "event", "image", "label", "network", "scope", "type", "volume", *_ELSEWHERE)
"""The keys of filters."""


def filters(values: Sequence[str]) -> Test:
    """What `--filter` values mean together: the same key or-ed, different keys and labels and-ed. Raises OptionError,
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


def _is(notice: Notice, wanted: str) -> bool:
    return bool(wanted) and (notice.id.startswith(wanted) or notice.attributes.get("name") == wanted.removeprefix("/"))


def _image(notice: Notice, wanted: str) -> bool:
    names = {wanted, f"{wanted}:latest", wanted.removesuffix(":latest")}
    if notice.kind == "image":
        return notice.attributes.get("name") in names or notice.id.removeprefix("sha256:").startswith(wanted)
    return notice.attributes.get("image") in names
