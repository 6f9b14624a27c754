"""GNU-style options over declarative tables: data in, data out, no printing and no exits.

    table = (flag("force", "f", "Remove it even while it runs"), many("env", "e", "Set a variable", value="NAME=VALUE"))
    parse(table, ["-f", "--env=A=1", "-eB=2", "web"]).arguments == ("web",)

Accepted: `-it` (flags bundled), `-eA=1` and `-e A=1` and `-e=A=1`, `--env A=1` and `--env=A=1`, `--rm=false`,
`-d=false`, `--` (the rest are arguments) and `-` (an argument).
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from domain.errors import InvalidValue
from domain.text.safe import legible

Kind = Literal["flag", "one", "many", "number"]

FILE = "file"
"""The `value` of options that name a file of the client."""
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


class OptionError(InvalidValue):
    """The command line cannot be read: unknown option, missing or impossible value."""


class UnsupportedError(OptionError):
    """The option is known and has no effect in this version."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `same_as` makes it another spelling; `hidden` keeps it out of help; `refused` is a known name
    of the industry's CLI that has no effect here and must say so, and `why` if that is not just for want of time."""

    name: str
    short: str = ""
    help: str = ""
    kind: Kind = "flag"
    value: str = ""
    default: str = ""
    same_as: str = ""
    hidden: bool = False
    refused: bool = False
    why: str = ""

    @property
    def takes_value(self) -> bool:
        """Whether a value follows."""
        return self.kind != "flag"

    @property
    def spelling(self) -> str:
        """`-e, --env`, as messages quote it."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


def flag(name: str, short: str = "", help: str = "", *, default: bool = False) -> Option:
    """On or off."""
    return Option(name, short, help, default="true" if default else "")


def one(name: str, short: str = "", help: str = "", *, value: str = "string", default: str = "") -> Option:
    """One value; the last one given counts."""
    return Option(name, short, help, "one", value, default)


def many(name: str, short: str = "", help: str = "", *, value: str = "list") -> Option:
    """Any number of values, in order."""
    return Option(name, short, help, "many", value)


def number(name: str, short: str = "", help: str = "", *, default: str = "") -> Option:
    """A whole number."""
    return Option(name, short, help, "number", "int", default)


def alias(name: str, of: Option, short: str = "") -> Option:
    """Another, hidden spelling of `of`."""
    return Option(name, short, kind=of.kind, value=of.value, same_as=of.name, hidden=True)


def refused(spellings: str, *, why: str = "") -> tuple[Option, ...]:
    """Names of the standard CLI without effect here, as in its own tables: `-m/--memory= -t/--tty --cpus=`."""
    return tuple(_refused(spelling, why) for spelling in spellings.split())


def _refused(spelling: str, why: str) -> Option:
    short, _, long = spelling.rpartition("/")
    kind: Kind = "one" if long.endswith("=") else "flag"
    return Option(long.strip("-="), short.lstrip("-"), kind=kind, hidden=True, refused=True, why=why)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was given. `given` maps canonical names to their values in order (flags: `true`/`false`)."""

    given: Mapping[str, tuple[str, ...]]
    arguments: tuple[str, ...]
    spelled: frozenset[str] = field(default_factory=frozenset)
    defaults: Mapping[str, str] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether it was given at all."""
        return name in self.given

    def flag(self, name: str) -> bool:
        """The last value of a flag."""
        return (self.given.get(name) or (self.defaults.get(name) or "false",))[-1] == "true"

    def one(self, name: str) -> str | None:
        """The last value, the default, or None."""
        values = self.given.get(name)
        return values[-1] if values else self.defaults.get(name) or None

    def text(self, name: str) -> str:
        """The last value, the default, or the empty text."""
        return self.one(name) or ""

    def many(self, name: str) -> tuple[str, ...]:
        """All values in order."""
        return self.given.get(name, ())

    def legible(self, *, files: Iterable[str], paths: int) -> "Parsed":
        """The same with U+FFFD for bytes that are not UTF-8: nothing else can be stored. The options that name `files`
        and the first `paths` arguments stay as they are: they are opened, not stored."""
        kept = frozenset(files)
        given = {name: v if name in kept else tuple(map(legible, v)) for name, v in self.given.items()}
        arguments = (*self.arguments[:paths], *map(legible, self.arguments[paths:]))
        return Parsed(given, arguments, self.spelled, self.defaults)

    def number(self, name: str) -> int | None:
        """The last number, the default, or None."""
        value = self.one(name)
        return None if value is None else int(value)


def parse(table: Iterable[Option], argv: Sequence[str], *, interspersed: bool = True) -> Parsed:
    """Read `argv`; with `interspersed` false the first argument ends the options. Raises OptionError."""
    options = tuple(table)
    reader = _Reader(options, tuple(argv), interspersed)
    reader.run()
    defaults = {option.name: option.default for option in options if option.default}
    given = {name: tuple(values) for name, values in reader.given.items()}
    return Parsed(given, tuple(reader.arguments), frozenset(reader.spelled), defaults)


class _Reader:
    """One pass over one command line."""

    def __init__(self, options: tuple[Option, ...], argv: tuple[str, ...], interspersed: bool) -> None:
        self.long = {option.name: option for option in options}
        self.short = {option.short: option for option in options if option.short}
        self.argv, self.at, self.interspersed = argv, 0, interspersed
        self.given: dict[str, list[str]] = {}
        self.arguments: list[str] = []
        self.spelled: set[str] = set()

    def run(self) -> None:
        while self.at < len(self.argv):
            word = self.argv[self.at]
            self.at += 1
            if word == "--":
                break
            if word.startswith("--"):
                self._long(word[2:])
            elif word.startswith("-") and word != "-":
                self._bundle(word[1:])
            else:
                self.arguments.append(word)
                if not self.interspersed:
                    break
        self.arguments.extend(self.argv[self.at :])

    def _long(self, body: str) -> None:
        name, equals, value = body.partition("=")
        option = self.long.get(name)
        if option is None or not name:
            raise OptionError(f"unknown flag: --{name}", hint=_nearest(name, self.long.values()))
        if equals or not option.takes_value:
            self._keep(option, value if equals else "true")
        else:
            self._keep(option, self._next(f"flag needs an argument: --{name}"))

    def _bundle(self, body: str) -> None:
        rest = body
        while rest:
            letter, rest = rest[0], rest[1:]
            option = self.short.get(letter)
            if option is None:
                raise OptionError(f"unknown shorthand flag: '{letter}' in -{body}", hint=self._one_dash(body))
            if rest.startswith("=") or (option.takes_value and rest):
                return self._keep(option, rest.removeprefix("="))
            if option.takes_value:
                return self._keep(option, self._next(f"flag needs an argument: '{letter}' in -{body}"))
            self._keep(option, "true")
        return None

    def _one_dash(self, body: str) -> str:
        name = body.partition("=")[0]
        return f"did you mean --{name}?" if len(name) > 1 and self._shown(name) else ""

    def _shown(self, name: str) -> bool:
        option = self.long.get(name)
        return option is not None and not option.refused

    def _next(self, missing: str) -> str:
        if self.at == len(self.argv):
            raise OptionError(missing)
        self.at += 1
        return self.argv[self.at - 1]

    def _keep(self, option: Option, value: str) -> None:
        if option.refused:
            why = f": {option.why}" if option.why else ""
            raise UnsupportedError(f"--{option.name} is not supported by this version of lading{why}")
        self.spelled.add(option.name)
        self.given.setdefault(option.same_as or option.name, []).append(_checked(option, value))


def _checked(option: Option, value: str) -> str:
    if option.kind == "flag":
        if value not in _TRUE | _FALSE:
            raise bad_value(option, value, "true or false is expected")
        return "true" if value in _TRUE else "false"
    if option.kind == "number":
        return str(_whole(option, value))
    return value


def _whole(option: Option, value: str) -> int:
    digits = value.lstrip("+-") if value[:1] in "+-" else value
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19 or len(value) - len(digits) > 1:
        raise bad_value(option, value, "a whole number is expected")
    result = int(value)
    if not _SMALLEST <= result <= _LARGEST:
        raise bad_value(option, value, "the number is out of range")
    return result


def bad_value(option: Option, value: str, why: str) -> OptionError:
    """`invalid argument "x" for "-n, --last" flag: …`."""
    return OptionError(f'invalid argument "{value}" for "{option.spelling}" flag: {why}')


def filter_pair(value: str) -> tuple[str, str]:
    """What `--filter` was given: the key in lower case, and what is wanted of it. Raises OptionError."""
    key, equals, wanted = value.partition("=")
    if not equals:
        raise OptionError(
            f'invalid argument "{value}" for "-f, --filter" flag: bad format of filter (expected name=value)'
        )
    return key.strip().lower(), wanted.strip()


def _nearest(name: str, options: Iterable[Option]) -> str:
    names = [option.name for option in options if not option.hidden]
    return nearest(name, names, prefix="--")


def nearest(word: str, words: Iterable[str], *, prefix: str = "") -> str:
    """`did you mean --force?`, or nothing when no known word is close."""
    close = difflib.get_close_matches(word.lower(), sorted(words), n=1, cutoff=0.6)
    return f"did you mean {prefix}{close[0]}?" if close else ""
