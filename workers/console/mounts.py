"""The options of `run` and `create` that put directories of the host, volumes and memory into a container."""

from collections.abc import Callable
from typing import TypeVar

from domain.errors import InvalidValue
from domain.mounts import Mount, parse_mount, parse_volume
from domain.options import Option, OptionError, Parsed, many, one
from domain.volumes.driver import checked_driver
from domain.volumes.wanted import volumes_from as parse_volumes_from
from workers.console.errors import UNREADABLE, Plain

T = TypeVar("T")

OPTIONS: tuple[Option, ...] = (
    many("mount", "", "Mount something: type=bind|volume|tmpfs,src=/srv,dst=/srv,ro", value="key=value,…"),
    many("volume", "v", "Mount a volume (NAME:PATH), or a directory or file of the host (/HOST:PATH)",
         value="source:path[:ro]"),
    one("volume-driver", "", "Kind of the volumes: local", value="driver", default="local"),
    many("volumes-from", "", "Mount what another container has mounted", value="container[:ro]"),
)


def mounts(options: Parsed, cwd: str) -> tuple[Mount, ...]:
    """What was asked for; `cwd` is the client's directory. Raises OptionError, Plain."""
    _checked(checked_driver, options.text("volume-driver"))
    return (*(_volume(text, cwd) for text in options.many("volume")), *map(_mount, options.many("mount")))


def volumes_from(options: Parsed) -> tuple[str, ...]:
    """The containers whose mounts are wanted, as they were typed. Raises Plain."""
    for text in options.many("volumes-from"):
        _checked(parse_volumes_from, text)
    return options.many("volumes-from")


def _volume(text: str, cwd: str) -> Mount:
    return _checked(lambda text: parse_volume(text, cwd), text)


def _checked(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except InvalidValue as error:
        raise Plain(error.message, hint=error.hint, status=UNREADABLE) from error


def _mount(text: str) -> Mount:
    try:
        return parse_mount(text)
    except InvalidValue as error:
        raise OptionError(f'invalid argument "{text}" for "--mount" flag: {error.message}', hint=error.hint) from error
