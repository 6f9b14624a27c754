"""The instructions that `commit --change` and `import --change` accept: Dockerfile lines that only touch the config."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from domain.errors import InvalidValue
from domain.images import config
from domain.images.config import Settings, merged_env
from domain.text.safe import safe
from domain.text.units import parse_duration

_VARIABLE = re.compile(r"\\(.)|\$(?:(\w+)|\{(\w+)(?:(:[-+])([^}]*))?\})", re.ASCII)
_WORD = re.compile(r"""(?:\\.|"(?:\\.|[^"\\])*"|'[^']*'|[^\s"'\\])+""", re.DOTALL)
_PART = re.compile(r"""\\(.)|"((?:\\.|[^"\\])*)"|'([^']*)'|([^"'\\]+)""", re.DOTALL)
_SHELL = ("/bin/sh", "-c")
_NOT_IN_TRIGGERS = frozenset({"ONBUILD", "FROM", "MAINTAINER"})


def apply_changes(settings: Settings, changes: Sequence[str]) -> Settings:
    """The settings after the instructions, in order. Raises: InvalidValue."""
    own_command = False
    for change in changes:
        command = settings.command
        settings = _apply(settings, change)
        own_command = own_command or _word(change) == "CMD"
        if _word(change) == "ENTRYPOINT" and own_command:
            settings = replace(settings, command=command)
    return settings


def _word(change: str) -> str:
    return change.split(None, 1)[0].upper()


def _apply(settings: Settings, change: str) -> Settings:
    word, _, rest = change.strip().partition(" ")
    instruction = _INSTRUCTIONS.get(word.upper())
    if instruction is None:
        raise InvalidValue(
            f"{safe(word)[:100]} is not a valid change command", hint="use one of " + " ".join(_INSTRUCTIONS)
        )
    if not rest.strip() or "\0" in rest:
        raise InvalidValue(f"{word.upper()} requires at least one argument")
    return instruction(settings, rest.strip())


def _command(settings: Settings, rest: str) -> Settings:
    return replace(settings, command=_exec_or_shell(settings, rest))


def _entrypoint(settings: Settings, rest: str) -> Settings:
    # A command that was meant for another entrypoint would be given to this one (one among the same changes is for it).
    return replace(settings, entrypoint=_exec_or_shell(settings, rest), command=None)


def _env(settings: Settings, rest: str) -> Settings:
    pairs = [f"{name}={value}" for name, value in _pairs(rest, settings)]
    for pair in pairs:
        if pair.startswith("="):
            raise InvalidValue("ENV names can not be blank")
    return replace(settings, env=merged_env(settings.env, pairs))


def _label(settings: Settings, rest: str) -> Settings:
    return replace(settings, labels={**(settings.labels or {}), **dict(_pairs(rest, settings))})


def _expose(settings: Settings, rest: str) -> Settings:
    new = [port for word in _words(rest, settings) for port in config.ports(word)]
    return replace(settings, ports=tuple(sorted({*settings.ports, *new})))


def _volume(settings: Settings, rest: str) -> Settings:
    listed = _json_list(rest)
    names = [_expanded(name, settings) for name in listed] if listed is not None else _words(rest, settings)
    return replace(settings, volumes=tuple(sorted({*settings.volumes, *map(config.volume, names)})))


def _user(settings: Settings, rest: str) -> Settings:
    return replace(settings, user=config.user(" ".join(_words(rest, settings))))


def _workdir(settings: Settings, rest: str) -> Settings:
    path = _expanded(rest, settings)
    base = "" if path.startswith("/") else settings.workdir + "/"
    return replace(settings, workdir=config.workdir(base + path))


def _stop_signal(settings: Settings, rest: str) -> Settings:
    return replace(settings, stop_signal=config.stop_signal(_expanded(rest, settings)))


def _on_build(settings: Settings, rest: str) -> Settings:
    trigger = rest.split()[0].upper()
    if trigger in _NOT_IN_TRIGGERS:
        raise InvalidValue(
            f"{trigger} isn't allowed as an ONBUILD trigger"
            if trigger != "ONBUILD"
            else "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
        )
    return replace(settings, on_build=(*settings.on_build, rest))


_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


def _healthcheck(settings: Settings, rest: str) -> Settings:
    options, kind, test = _health_options(rest)
    if kind == "NONE" and not test and not options:
        return replace(settings, healthcheck={"Test": ["NONE"]})
    if kind != "CMD" or not test:
        raise InvalidValue(f'Unknown type "{safe(kind)[:50]}" in HEALTHCHECK (try CMD)')
    command = _json_list(test)
    check = {"Test": ["CMD", *command] if command is not None else ["CMD-SHELL", test]}
    return replace(settings, healthcheck=check | {name: _health_value(name, text) for name, text in options.items()})


def _health_options(rest: str) -> tuple[dict[str, str], str, str]:
    options: dict[str, str] = {}
    while rest.startswith("--"):
        option, _, rest = rest.partition(" ")
        name, equals, value = option[2:].partition("=")
        if not equals or (name not in _TIMES and name != "retries"):
            raise InvalidValue(f"Unknown flag: {safe(option)[:50]}")
        options[_TIMES.get(name, "Retries")] = value
        rest = rest.lstrip()
    kind, _, test = rest.partition(" ")
    return options, kind.upper(), test.strip()


def _health_value(name: str, text: str) -> int:
    if name != "Retries":
        return parse_duration(text)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InvalidValue(f"--retries must be at least 1 (not {safe(text)[:50]})")
    return int(text)


_INSTRUCTIONS: dict[str, Callable[[Settings, str], Settings]] = {
    "CMD": _command,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
    "HEALTHCHECK": _healthcheck,
    "STOPSIGNAL": _stop_signal,
}


def _exec_or_shell(settings: Settings, rest: str) -> tuple[str, ...] | None:
    """Only a JSON array of strings is the exec form; anything else is text for the shell."""
    listed = _json_list(rest)
    if listed is not None:
        return tuple(listed) or None
    return (*(settings.shell or _SHELL), rest)


def _json_list(text: str) -> list[str] | None:
    try:
        value = json.loads(text) if text.startswith("[") else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _pairs(rest: str, settings: Settings) -> Iterator[tuple[str, str]]:
    """`A=1 B="two words"`, or the old form `A all the rest`."""
    words = _split(rest)
    if not words or "=" not in words[0]:
        name, _, value = rest.partition(" ")
        if not value.strip():
            raise InvalidValue(f"{safe(name)[:50]} must have two arguments")
        yield _expanded(name, settings), _expanded(value.strip(), settings)
        return
    for word in words:
        if "=" not in word:
            raise InvalidValue(f"Syntax error - can't find = in {safe(word)[:50]}. Must be of the form: name=value")
        name, _, value = word.partition("=")
        yield _expanded(name, settings), _expanded(value, settings)


def _words(rest: str, settings: Settings) -> list[str]:
    return [_expanded(word, settings) for word in _split(rest)]


def _split(rest: str) -> list[str]:
    if _WORD.sub("", rest).strip():
        raise InvalidValue(f"unexpected end of statement while looking for matching quote: {safe(rest)[:100]}")
    return _WORD.findall(rest)


def _expanded(text: str, settings: Settings) -> str:
    """Quotes removed, and variables replaced by the values of the image's own environment."""
    values = dict(item.partition("=")[::2] for item in settings.env)
    if _PART.sub("", text):
        raise InvalidValue(f"unexpected end of statement while looking for matching quote: {safe(text)[:100]}")
    return "".join(_part(match, values) for match in _PART.finditer(text))


def _part(match: re.Match[str], values: dict[str, str]) -> str:
    escaped, double, single, bare = match.groups()
    if escaped is not None or single is not None:
        return escaped if escaped is not None else single
    return _substituted(double if double is not None else bare, values)


def _substituted(text: str, values: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda match: _value(match, values), text)


def _value(match: re.Match[str], values: dict[str, str]) -> str:
    escaped, plain, braced, operator, word = match.groups()
    if escaped is not None:
        return escaped if escaped in '"$\\' else "\\" + escaped
    found = values.get(plain or braced, "")
    if operator == ":-":
        return found or word
    return (word if found else "") if operator == ":+" else found
