"""Volumes as lists show them: the rows' fields and the filters."""

from collections.abc import Callable, Mapping, Sequence

from domain.errors import InvalidValue
from domain.filters import together
from domain.text.times import created_at
from domain.text.units import human_size
from workers.console.listing import Field, Shape
from workers.volumedesk import Known

Test = Callable[[Known], bool]


def shape(sizes: Mapping[str, int]) -> Shape[Known]:
    """The list of `volume ls`; `sizes` in bytes, where they were looked up."""
    fields = {
        "Name": Field[Known]("VOLUME NAME", lambda known: known.name),
        "Driver": Field[Known]("DRIVER", lambda known: known.driver),
        "Mountpoint": Field[Known]("MOUNTPOINT", lambda known: known.mountpoint),
        "Scope": Field[Known]("SCOPE", lambda known: "local"),
        "Labels": Field[Known]("LABELS", _labels),
        "Links": Field[Known]("LINKS", lambda known: str(len(known.users))),
        "Size": Field[Known]("SIZE", lambda known: human_size(sizes[known.name]) if known.name in sizes else "N/A"),
        "Status": Field[Known]("STATUS", lambda known: known.state),
        "CreatedAt": Field[Known]("CREATED AT", lambda known: created_at(known.created)),
    }
    return Shape(fields, (fields["Driver"], fields["Name"]), label=lambda known, key: known.labels.get(key, ""))


def _labels(known: Known) -> str:
    return ",".join(f"{key}={value}" for key, value in known.labels.items())


def filters(values: Sequence[str]) -> Test:
    """What `--filter` values mean together: the same key or-ed, different keys and-ed. Raises OptionError,
    InvalidValue."""
    return together(values, _test)


def _test(key: str, text: str) -> Test:
    match key:
        case "name":
            return lambda known: text in known.name
        case "driver":
            return lambda known: known.driver == text
        case "label":
            label, equals, value = text.partition("=")
            return lambda known: label in known.labels and (not equals or known.labels[label] == value)
        case "dangling" if text.lower() in ("true", "1", "false", "0"):
            dangling = text.lower() in ("true", "1")
            return lambda known: (not known.users) is dangling
        case "dangling":
            raise InvalidValue(f"invalid filter 'dangling={text}'", hint="use true or false")
    raise InvalidValue(f"invalid filter '{key}'", hint="known: dangling, driver, label, name")
