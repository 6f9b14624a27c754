"""Networks as lists show them: the rows' fields and the filters."""

from collections.abc import Callable, Sequence

from domain.errors import InvalidValue
from domain.filters import together
from domain.text.times import created_at
from workers.console.listing import Field, Shape
from workers.networks import Known

Test = Callable[[Known, bool], bool]
"""Of a network, and whether any container is to be on it."""


def shape(*, full: bool) -> Shape[Known]:
    """The list of `network ls`."""
    fields = {
        "ID": Field[Known]("NETWORK ID", lambda known: known.id if full else known.id[:12]),
        "Name": Field[Known]("NAME", lambda known: known.name),
        "Driver": Field[Known]("DRIVER", lambda known: known.network.driver),
        "Scope": Field[Known]("SCOPE", lambda known: "local"),
        "IPv6": Field[Known]("IPV6", lambda known: _yes(known.network.ipv6)),
        "Internal": Field[Known]("INTERNAL", lambda known: _yes(known.network.internal)),
        "Labels": Field[Known]("LABELS", _labels),
        "CreatedAt": Field[Known]("CREATED AT", lambda known: created_at(known.created_at)),
        "Subnets": Field[Known]("SUBNETS", lambda known: ", ".join(one.subnet for one in known.network.addresses)),
    }
    table = tuple(fields[name] for name in ("ID", "Name", "Driver", "Scope"))
    return Shape(fields, table, label=lambda known, key: known.network.labels.get(key, ""))


def _yes(value: object) -> str:
    return "true" if value else "false"


def _labels(known: Known) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(known.network.labels.items()))


def filters(values: Sequence[str]) -> Test:
    """What `--filter` values mean together: the same key or-ed, different keys and-ed. Raises OptionError,
    InvalidValue."""
    return together(values, _test)


def _test(key: str, text: str) -> Test:
    simple: dict[str, Test] = {
        "driver": lambda known, _: known.network.driver == text,
        "id": lambda known, _: known.id.startswith(text),
        "name": lambda known, _: text in known.name,
        "scope": lambda known, _: text == "local",
        "label": _label(text),
    }
    if key in simple:
        return simple[key]
    if key == "type" and text in ("custom", "builtin"):
        return lambda known, _: known.network.built_in is (text == "builtin")
    if key == "dangling" and text.lower() in ("true", "false", "1", "0"):
        dangling = text.lower() in ("true", "1")
        return lambda known, wanted: (not known.network.built_in and not wanted) is dangling
    if key in ("type", "dangling"):
        raise InvalidValue(f"invalid filter '{key}={text}'")
    raise InvalidValue(f"invalid filter '{key}'", hint="known: driver, id, name, label, scope, type, dangling")


def _label(text: str) -> Test:
    key, equals, value = text.partition("=")
    return lambda known, _: key in known.network.labels and (not equals or known.network.labels[key] == value)
