"""The options of `run` and `create` that put directories of the host, and memory, into a container."""

from domain.errors import InvalidValue
from domain.mounts import Mount, parse_mount, parse_volume
from domain.options import Option, OptionError, Parsed, many
from workers.console.errors import UNREADABLE, Plain

OPTIONS: tuple[Option, ...] = (
    many("mount", "", "Mount something: type=bind,src=/srv,dst=/srv,ro", value="key=value,…"),
    many("volume", "v", "Mount a directory or file of the host", value="host:path[:ro]"),
)


def mounts(options: Parsed, cwd: str) -> tuple[Mount, ...]:
    """What was asked for; `cwd` is the client's directory. Raises OptionError, Plain."""
    return (*(_volume(text, cwd) for text in options.many("volume")), *map(_mount, options.many("mount")))


def _volume(text: str, cwd: str) -> Mount:
    try:
        return parse_volume(text, cwd)
    except InvalidValue as error:
        raise Plain(error.message, hint=error.hint, status=UNREADABLE) from error


def _mount(text: str) -> Mount:
    try:
        return parse_mount(text)
    except InvalidValue as error:
        raise OptionError(f'invalid argument "{text}" for "--mount" flag: {error.message}', hint=error.hint) from error
