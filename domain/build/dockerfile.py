"""From the text of a Dockerfile to its instructions. What cannot be meant is refused with its place and, where there is
one, the spelling that is nearest.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from domain.build.instructions import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    MountWish,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Words,
    Workdir,
)
from domain.build.lines import Heredoc, Line, Text, heredoc_of, read
from domain.build.places import Misread, Place
from domain.build.words import raw_words
from domain.errors import InvalidValue
from domain.options import nearest
from domain.text.safe import safe
from domain.text.units import parse_duration

_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
_FLAGS: dict[str, tuple[str, ...]] = {
    "FROM": ("platform",),
    "RUN": ("mount", "network", "security", "device"),
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "ADD": ("chown", "chmod", "link", "checksum", "keep-git-dir", "unpack", "exclude"),
    "HEALTHCHECK": (*_TIMES, "retries"),
}
_SWITCHES = frozenset({"link", "parents", "keep-git-dir", "unpack"})
_REPEATED = frozenset({"mount", "exclude", "device"})
_NO_TRIGGER = frozenset({"ONBUILD", "FROM", "MAINTAINER"})


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """All instructions in order; `warnings` are about what is probably not meant."""

    file: str
    instructions: tuple[Instruction, ...]
    escape: str = "\\"
    warnings: tuple[str, ...] = ()


def parse(text: str, file: str = "Dockerfile") -> Dockerfile:
    """All of a file. Raises: Misread, InvalidValue."""
    lines = read(text, file)
    reader = _Reader(lines)
    instructions = tuple(reader.instruction(line) for line in lines.lines)
    if not instructions:
        raise InvalidValue(f"file with no instructions: {safe(file)}")
    return Dockerfile(file, instructions, lines.escape, (*lines.warnings, *reader.warnings))


def parse_trigger(text: str, image: str, escape: str = "\\") -> Instruction:
    """An instruction that an image has kept for those who build on it. Raises: Misread."""
    lines = read(text, f"ONBUILD of {image}")
    if len(lines.lines) != 1:
        raise Misread(Place(f"ONBUILD of {image}", 1), "it is not one instruction")
    return _Reader(Text(lines.lines, escape)).instruction(lines.lines[0], trigger=True)


@dataclass
class _Rest:
    """What follows the name of an instruction: flags, then everything else from `offset` on."""

    line: Line
    name: str
    flags: dict[str, list[tuple[str, int]]]
    offset: int

    @property
    def text(self) -> str:
        return self.line.text[self.offset :]

    @property
    def place(self) -> Place:
        return self.line.place()

    def wrong(self, text: str, offset: int = 0, *, hint: str = "") -> Misread:
        return Misread(self.line.place(self.offset + offset), text, hint=hint)

    def flag(self, name: str) -> str:
        return self.flags[name][-1][0] if name in self.flags else ""

    def switch(self, name: str) -> bool | None:
        if name not in self.flags:
            return None
        value, offset = self.flags[name][-1]
        if value.lower() not in ("", "true", "false", "1", "0"):
            raise Misread(self.line.place(offset), f"--{name} is true or false, not {safe(value)[:50]}")
        return value.lower() in ("", "true", "1")


@dataclass
class _Reader:
    text: Text
    warnings: list[str] = field(default_factory=list)

    def instruction(self, line: Line, *, trigger: bool = False) -> Instruction:
        """One line. Raises: Misread."""
        word = line.text.split(None, 1)[0]
        name = word.upper()
        read_rest = _INSTRUCTIONS.get(name)
        if read_rest is None:
            guess = _nearest_upper(name, _INSTRUCTIONS)
            raise Misread(line.place(), f"unknown instruction: {safe(word)[:100]}{_asked(guess)}")
        if trigger and name in _NO_TRIGGER:
            raise Misread(line.place(), _not_a_trigger(name))
        rest = self._rest(line, name, len(word))
        if not rest.text and not (name in ("CMD", "ENTRYPOINT", "RUN") and rest.flags):
            raise Misread(line.place(), f"{name} requires at least one argument")
        return read_rest(self, rest)

    def _rest(self, line: Line, name: str, at: int) -> _Rest:
        known = _FLAGS.get(name, ())
        flags: dict[str, list[tuple[str, int]]] = {}
        text = line.text
        for word, offset in raw_words(text[at:], self.text.escape):
            if not word.startswith("--") or name == "ONBUILD":
                return _Rest(line, name, flags, at + offset)
            if word == "--":
                rest = text[at + offset + 2 :]
                return _Rest(line, name, flags, len(text) - len(rest.lstrip()))
            flag, _, value = word[2:].partition("=")
            self._check_flag(line, name, known, flag, at + offset, equals="=" in word)
            if flag in flags and flag not in _REPEATED:
                raise Misread(line.place(at + offset), f"--{flag} is given twice")
            flags.setdefault(flag, []).append((_unquoted(value), at + offset))
        return _Rest(line, name, flags, len(text))

    def _check_flag(
        self, line: Line, name: str, known: Sequence[str], flag: str, offset: int, *, equals: bool
    ) -> None:
        if flag not in known:
            guess = nearest(flag, known, prefix="--")
            raise Misread(line.place(offset), f"unknown flag: --{safe(flag)[:100]} for {name}{_asked(guess)}")
        if not equals and flag not in _SWITCHES:
            raise Misread(line.place(offset), f"--{flag} needs a value: --{flag}=…")

    # One function for each instruction

    def from_(self, rest: _Rest) -> From:
        words = rest.text.split()
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise rest.wrong("FROM requires either one or three arguments", hint="FROM IMAGE [AS NAME]")
        name = words[2].lower() if len(words) == 3 else ""
        if name and (not name[0].isalpha() or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in name)):
            raise rest.wrong(
                f'invalid name for build stage: "{safe(words[2])[:100]}"',
                rest.text.rindex(words[2]),
                hint="a name begins with a letter and goes on with letters, digits, -, _ and .",
            )
        return From(rest.place, rest.line.text, words[0], name, rest.flag("platform"))

    def run(self, rest: _Rest) -> Run:
        if "device" in rest.flags:
            raise Misread(rest.line.place(rest.flags["device"][0][1]), "--device is not supported by this version")
        security = rest.flag("security")
        if security not in ("", "sandbox"):
            raise Misread(
                rest.line.place(rest.flags["security"][-1][1]), f"--security={safe(security)[:50]} is not allowed",
                hint="steps of a build are always confined like containers",
            )
        network = rest.flag("network")
        if network not in ("", "default", "none", "host"):
            guess = nearest(network, ("default", "none", "host"))
            raise Misread(
                rest.line.place(rest.flags["network"][-1][1]), f"unknown network: {safe(network)[:50]}{_asked(guess)}"
            )
        command = self._command(rest)
        if not command.words:
            raise rest.wrong("RUN requires at least one argument")
        mounts = tuple(self._mount(rest, value, offset) for value, offset in rest.flags.get("mount", ()))
        return Run(rest.place, rest.line.text, command, rest.line.heredocs, mounts, network, security)

    def _mount(self, rest: _Rest, value: str, offset: int) -> MountWish:
        options: list[tuple[str, str]] = []
        for part in value.split(","):
            name, equals, text = part.partition("=")
            name = name.strip().lower()
            if name not in _MOUNT_KEYS:
                raise Misread(
                    rest.line.place(offset),
                    f"unknown key in --mount: {safe(name)[:50]}{_asked(nearest(name, _MOUNT_KEYS))}",
                )
            options.append((_MOUNT_KEYS[name], text if equals else "true"))
        kinds = [text for name, text in options if name == "type"] or ["bind"]
        if kinds[-1] not in _MOUNT_KINDS:
            raise Misread(
                rest.line.place(offset),
                f"unsupported mount type: {safe(kinds[-1])[:50]}{_asked(nearest(kinds[-1], _MOUNT_KINDS))}",
            )
        return MountWish(tuple(options))

    def copy(self, rest: _Rest) -> Copy:
        listed = self._json(rest)
        words = listed if listed is not None else [word for word, _ in _plain_words(rest.text)]
        if len(words) < 2:
            raise rest.wrong(f"{rest.name} requires at least two arguments, but only one was provided", hint=(
                f"{rest.name} SOURCE… DESTINATION"))
        self._check_heredoc_target(rest, words[-1])
        return Copy(
            rest.place,
            rest.line.text,
            sources=tuple(words[:-1]),
            destination=words[-1],
            add=rest.name == "ADD",
            heredocs=rest.line.heredocs,
            source=rest.flag("from"),
            chown=rest.flag("chown"),
            chmod=rest.flag("chmod"),
            link=bool(rest.switch("link")),
            parents=bool(rest.switch("parents")),
            exclude=tuple(value for value, _ in rest.flags.get("exclude", ())),
            checksum=rest.flag("checksum"),
            keep_git_dir=bool(rest.switch("keep-git-dir")),
            unpack=rest.switch("unpack"),
        )

    def _check_heredoc_target(self, rest: _Rest, destination: str) -> None:
        if heredoc_of(destination) is not None:
            raise rest.wrong(f"{rest.name} cannot have a here-document as its destination", rest.text.rindex("<<"))

    def env(self, rest: _Rest) -> Env:
        return Env(rest.place, rest.line.text, self._pairs(rest))

    def label(self, rest: _Rest) -> Label:
        return Label(rest.place, rest.line.text, self._pairs(rest))

    def _pairs(self, rest: _Rest) -> tuple[tuple[str, str], ...]:
        """`A=1 B="two words"`, or the old form `A all the rest`."""
        words = raw_words(rest.text, self.text.escape)
        if "=" not in words[0][0]:
            name, _, value = rest.text.partition(" ") if " " in rest.text else rest.text.partition("\t")
            if not value.strip():
                raise rest.wrong(f"{rest.name} must have two arguments", hint=f"{rest.name} NAME=value …")
            return ((name, value.strip()),)
        pairs = []
        for word, offset in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise rest.wrong(
                    f"Syntax error - can't find = in {safe(word)[:100]}. Must be of the form: name=value", offset
                )
            if not name:
                raise rest.wrong(f"{rest.name} names can not be blank", offset)
            pairs.append((name, value))
        return tuple(pairs)

    def arg(self, rest: _Rest) -> Arg:
        pairs: list[tuple[str, str | None]] = []
        for word, offset in raw_words(rest.text, self.text.escape):
            name, equals, value = word.partition("=")
            if not name:
                raise rest.wrong("ARG names can not be blank", offset)
            pairs.append((name, value if equals else None))
        return Arg(rest.place, rest.line.text, tuple(pairs))

    def cmd(self, rest: _Rest) -> Cmd:
        return Cmd(rest.place, rest.line.text, self._command(rest))

    def entrypoint(self, rest: _Rest) -> Entrypoint:
        return Entrypoint(rest.place, rest.line.text, self._command(rest))

    def shell(self, rest: _Rest) -> Shell:
        listed = self._json(rest, warn=False)
        if not listed:
            raise rest.wrong("SHELL requires the arguments to be in JSON form", hint='SHELL ["/bin/bash", "-c"]')
        return Shell(rest.place, rest.line.text, tuple(listed))

    def expose(self, rest: _Rest) -> Expose:
        return Expose(rest.place, rest.line.text, tuple(word for word, _ in raw_words(rest.text, self.text.escape)))

    def volume(self, rest: _Rest) -> Volume:
        listed = self._json(rest)
        paths = listed if listed is not None else [word for word, _ in _plain_words(rest.text)]
        if not paths or any(not path.strip() for path in paths):
            raise rest.wrong("VOLUME specified can not be an empty string")
        return Volume(rest.place, rest.line.text, tuple(paths))

    def user(self, rest: _Rest) -> User:
        return User(rest.place, rest.line.text, self._one(rest))

    def workdir(self, rest: _Rest) -> Workdir:
        return Workdir(rest.place, rest.line.text, rest.text)

    def stop_signal(self, rest: _Rest) -> StopSignal:
        return StopSignal(rest.place, rest.line.text, self._one(rest))

    def _one(self, rest: _Rest) -> str:
        words = raw_words(rest.text, self.text.escape)
        if len(words) > 1:
            raise rest.wrong(f"{rest.name} requires exactly one argument", words[1][1])
        return words[0][0]

    def maintainer(self, rest: _Rest) -> Maintainer:
        self.warnings.append(f"{rest.place}: MAINTAINER is old: say LABEL org.opencontainers.image.authors=…")
        return Maintainer(rest.place, rest.line.text, rest.text)

    def onbuild(self, rest: _Rest) -> OnBuild:
        line = rest.line
        marks = tuple((max(begin - rest.offset, 0), number, column + max(rest.offset - begin, 0))
                      for begin, number, column in line.marks)
        inner = Line(line.file, rest.text, marks, line.heredocs)
        self.instruction(inner, trigger=True)
        bodies = "".join(f"\n{heredoc.text}{heredoc.name}" for heredoc in line.heredocs)
        return OnBuild(rest.place, line.text, rest.text + bodies)

    def healthcheck(self, rest: _Rest) -> Healthcheck:
        kind, _, test = rest.text.partition(" ")
        times = {key: self._time(rest, name) for name, key in (*_TIMES.items(), ("retries", "Retries"))
                 if name in rest.flags}
        if kind.upper() == "NONE":
            if test.strip() or times:
                raise rest.wrong("HEALTHCHECK NONE takes no arguments")
            return Healthcheck(rest.place, rest.line.text, None)
        if kind.upper() != "CMD":
            guess = _asked(_nearest_upper(kind, ("CMD", "NONE")))
            raise rest.wrong(f'Unknown type "{safe(kind)[:50]}" in HEALTHCHECK (try CMD){guess}')
        inner = _Rest(rest.line, "HEALTHCHECK", {}, len(rest.line.text) - len(test.lstrip()))
        command = self._command(inner)
        if not command.words or not any(command.words):
            raise rest.wrong("Missing command after HEALTHCHECK CMD")
        return Healthcheck(rest.place, rest.line.text, command, times)

    def _time(self, rest: _Rest, name: str) -> int:
        text, offset = rest.flags[name][-1]
        if name == "retries":
            if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) == int(text)):
                raise Misread(rest.line.place(offset), f"--retries must be at least 1 (not {safe(text)[:50]})")
            return int(text)
        try:
            time = parse_duration(text)
        except InvalidValue as error:
            raise Misread(rest.line.place(offset), f"--{name}: {error.message}", hint=error.hint) from error
        if time < 0 or 0 < time < 1_000_000:
            raise Misread(rest.line.place(offset), f"Interval {name!r} cannot be less than 1ms")
        return time

    # Forms of arguments

    def _command(self, rest: _Rest) -> Words:
        listed = self._json(rest)
        if listed is not None:
            return Words(tuple(listed), exec=True)
        return Words((rest.text,) if rest.text else ())

    def _json(self, rest: _Rest, *, warn: bool = True) -> list[str] | None:
        """Only an array of texts is the exec form; everything else is text."""
        text = rest.text.strip()
        if not text.startswith("["):
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, list) and all(isinstance(item, str) and "\0" not in item for item in value):
            return value
        if warn and (text.endswith("]") or "'" in text):
            self.warnings.append(f"{rest.line.place(rest.offset)}: {rest.name}: this is not a JSON array of texts in "
                                 "double quotes, so it is taken as text")
        return None


def _plain_words(text: str) -> list[tuple[str, int]]:
    """Words between blanks; quotes mean nothing here."""
    words, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        words.append((word, at))
        at += len(word)
    return words


def _unquoted(value: str) -> str:
    """Flags may be quoted as a whole or in parts."""
    result, quote = [], ""
    for character in value:
        if character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
        else:
            result.append(character)
    return "".join(result)


def _asked(guess: str) -> str:
    return f" ({guess})" if guess else ""


def _nearest_upper(word: str, words: Iterable[str]) -> str:
    guess = nearest(word, [name.lower() for name in words])
    return guess.replace(guess.split()[-1], guess.split()[-1].upper()) if guess else ""


def _not_a_trigger(name: str) -> str:
    if name == "ONBUILD":
        return "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
    return f"{name} isn't allowed as an ONBUILD trigger"


_MOUNT_KINDS = ("bind", "cache", "tmpfs", "secret", "ssh")
_MOUNT_KEYS = {
    name: name
    for name in ("type", "target", "source", "from", "id", "readonly", "sharing", "mode", "uid", "gid", "size", "env",
                 "required", "readwrite")
} | {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}

_INSTRUCTIONS: dict[str, Callable[[_Reader, _Rest], Instruction]] = {
    "FROM": _Reader.from_,
    "RUN": _Reader.run,
    "CMD": _Reader.cmd,
    "LABEL": _Reader.label,
    "MAINTAINER": _Reader.maintainer,
    "EXPOSE": _Reader.expose,
    "ENV": _Reader.env,
    "ADD": _Reader.copy,
    "COPY": _Reader.copy,
    "ENTRYPOINT": _Reader.entrypoint,
    "VOLUME": _Reader.volume,
    "USER": _Reader.user,
    "WORKDIR": _Reader.workdir,
    "ARG": _Reader.arg,
    "ONBUILD": _Reader.onbuild,
    "STOPSIGNAL": _Reader.stop_signal,
    "HEALTHCHECK": _Reader.healthcheck,
    "SHELL": _Reader.shell,
}

__all__ = ["Dockerfile", "Heredoc", "parse", "parse_trigger"]
