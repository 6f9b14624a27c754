"""`--log-driver` and `--log-opt`: which there are, what they mean. Checked here, for every way in."""

from collections.abc import Mapping
from typing import cast, get_args

from domain.errors import InvalidValue
from domain.logs import DEFAULT, Limits
from domain.spec import LogConfig, LogDriver
from domain.text.units import parse_size

SPOOL = Limits(1 << 20, 4)
"""What is kept of output that nobody wants to keep: enough for those who watch."""

_DRIVERS: tuple[str, ...] = get_args(LogDriver)
_BOUNDS = ("max-size", "max-file")
_OPTIONS: dict[str, tuple[str, ...]] = {"local": _BOUNDS, "json-file": _BOUNDS, "none": ()}
_MOST_FILES = 1000


def log_config(driver: str, options: Mapping[str, str]) -> LogConfig:
    """The configuration, `local` if no driver is named. Raises: InvalidValue, naming what is wrong."""
    driver = driver or "local"
    if driver not in _DRIVERS:
        raise InvalidValue(f"no log driver named '{driver}' is registered", hint=f"known: {', '.join(_DRIVERS)}")
    for name in options:
        if name not in _OPTIONS[driver]:
            known = ", ".join(_OPTIONS[driver])
            raise InvalidValue(f"unknown log opt '{name}' for {driver} log driver",
                               hint=f"known: {known}" if known else "it has no options")
    config = LogConfig(driver=cast("LogDriver", driver), options=dict(options))
    limits(config)
    return config


def limits(config: LogConfig) -> Limits:
    """How much is kept. Raises: InvalidValue."""
    if config.driver == "none":
        return SPOOL
    size, files = config.options.get("max-size"), config.options.get("max-file")
    return Limits(DEFAULT.size if size is None else _size(size), DEFAULT.files if files is None else _files(files))


def _size(text: str) -> int:
    try:
        size = parse_size(text)
    except InvalidValue as error:
        raise InvalidValue(f"invalid value for max-size: '{text}'", hint=error.hint) from error
    if not 0 < size < 1 << 62:
        raise InvalidValue(f"invalid value for max-size: '{text}'", hint="it must be more than nothing: 10m, 1g")
    return size


def _files(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 6 or not 0 < int(text) <= _MOST_FILES:
        raise InvalidValue(f"invalid value for max-file: '{text}'", hint=f"a number from 1 to {_MOST_FILES}")
    return int(text)
