"""The values templates work on: what is trusted, how a value prints, and the one error."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from domain.errors import Refused
from domain.text.safe import safe


class TemplateError(Refused):
    """The template cannot be read, or does not fit the data."""


class Trusted(str):
    """Text that is known to hold nothing a terminal must not obey, or that the template's author wrote."""

    __slots__ = ()


@runtime_checkable
class Fields(Protocol):
    """An object that knows its fields by name."""

    def field(self, name: str) -> object:
        """The value or method called `name`. Raises KeyError."""

    def data(self) -> object:
        """What the function `json` prints."""


_TYPES = {
    bool: "bool",
    int: "int",
    float: "float64",
    str: "string",
    Trusted: "string",
    list: "[]interface {}",
    tuple: "[]interface {}",
}


def type_name(value: object) -> str:
    """What messages call the type of a value."""
    return _TYPES.get(type(value), "map[string]interface {}" if isinstance(value, Mapping) else "interface {}")


def truth(value: object) -> bool:
    """Whether `if` takes its first branch: everything but zero, false, nil and what is empty."""
    return bool(value)


def printed(value: object, escape: Callable[[str], str] = safe) -> str:
    """How an action prints: strings as they are, lists `[a b]`, maps `map[k:v]` with sorted keys, nil `<no value>`."""
    if isinstance(value, Trusted):
        return str(value)
    return "<no value>" if value is None else plain(value, escape)


def plain(value: object, escape: Callable[[str], str]) -> str:
    """As part of something larger: nil is `<nil>`."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case Trusted():
            return str(value)
        case str():
            return escape(value)
        case float():
            return _float(value)
        case int():
            return str(value)
        case list() | tuple():
            return "[" + " ".join(plain(item, escape) for item in value) + "]"
        case Mapping():
            pairs = sorted(value.items(), key=lambda pair: str(pair[0]))
            return "map[" + " ".join(f"{plain(key, escape)}:{plain(item, escape)}" for key, item in pairs) + "]"
    return escape(str(value))


def _float(value: float) -> str:
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)
