r"""The lines of a Dockerfile: directives, comments, continuations and here-documents.

    # syntax=docker/dockerfile:1     directives stand before everything else; the first other line ends them
    # escape=`

    RUN one && \
        # a comment inside vanishes
        two
    COPY <<EOF /etc/motd
    here everything is text
    EOF
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from domain.build.places import Misread, Place
from domain.build.words import raw_words
from domain.errors import InvalidValue
from domain.options import nearest
from domain.text.safe import safe

LARGEST = 4 << 20
"""Bytes of a Dockerfile."""
_DIRECTIVE = re.compile(r"#[ \t]*([A-Za-z][A-Za-z0-9_-]*)[ \t]*=[ \t]*(.*?)[ \t]*")
_KNOWN = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]*)", re.DOTALL)
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_BODIED = frozenset({"RUN", "COPY", "ADD"})


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: its name, its text as it stands there, and whether variables in it are replaced."""

    name: str
    text: str
    expands: bool = True
    strips: bool = False

    @property
    def content(self) -> str:
        """The text, without the tabs at the beginning of its lines if `<<-` was said."""
        if not self.strips:
            return self.text
        return "\n".join(line.lstrip("\t") for line in self.text.split("\n"))


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction on one line, whatever it was written on; `marks` are (offset in text, line, column) of the pieces
    that it was put together from."""

    file: str
    text: str
    marks: tuple[tuple[int, int, int], ...]
    heredocs: tuple[Heredoc, ...] = ()

    def place(self, offset: int = 0) -> Place:
        """Where a character stands in the file."""
        index = max(bisect_right(self.marks, (offset, 1 << 60, 0)) - 1, 0)
        begin, line, column = self.marks[index]
        return Place(self.file, line, column + max(offset - begin, 0))


@dataclass(frozen=True, slots=True)
class Text:
    """A Dockerfile as lines; `warnings` are about what is probably not meant."""

    lines: tuple[Line, ...]
    escape: str = "\\"
    syntax: str = ""
    check: str = ""
    warnings: tuple[str, ...] = ()


def decoded(data: bytes, file: str) -> str:
    """The text of a file. Raises: InvalidValue."""
    if len(data) > LARGEST:
        raise InvalidValue(f"the Dockerfile ({safe(file)}) is larger than {LARGEST >> 20} MiB")
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise Misread(Place(file, line), "there is a NUL byte in it: is this a Dockerfile?")
    if not text.strip():
        raise InvalidValue(f"the Dockerfile ({safe(file)}) cannot be empty")
    return text


def read(text: str, file: str = "Dockerfile") -> Text:
    """All lines. Raises: Misread."""
    reader = _Reader(text, file)
    reader.directives()
    lines = tuple(reader.lines())
    return Text(
        lines, reader.escape, reader.found.get("syntax", ""), reader.found.get("check", ""), tuple(reader.warnings)
    )


@dataclass
class _Reader:
    text: str
    file: str
    escape: str = "\\"
    at: int = 0
    found: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    physical: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.physical = [line.removesuffix("\r") for line in self.text.split("\n")]

    def directives(self) -> None:
        """They are comments to everybody else, so they are not skipped."""
        for number, line in enumerate(self.physical, 1):
            match = _DIRECTIVE.fullmatch(line.strip())
            name = match[1].lower() if match else ""
            if match is None or name not in _KNOWN:
                guess = nearest(name, _KNOWN) if name else ""
                if guess:
                    self._warn(number, f"{safe(name)} is no directive, so this is a comment ({guess})")
                return
            if name in self.found:
                raise Misread(Place(self.file, number), f"only one {name} parser directive can be used")
            self.found[name] = match[2]
            if name == "escape":
                if match[2] not in ("\\", "`"):
                    raise Misread(
                        Place(self.file, number, line.index(match[2]) + 1 if match[2] else 1),
                        f"invalid escape '{safe(match[2])}': it can be \\ or `",
                    )
                self.escape = match[2]

    def lines(self) -> Iterator[Line]:
        while self.at < len(self.physical):
            line = self._logical()
            if line is not None:
                yield line

    def _logical(self) -> Line | None:
        """The next instruction, put together; None for a comment or an empty line."""
        pieces: list[str] = []
        marks: list[tuple[int, int, int]] = []
        size, more = 0, True
        while more and self.at < len(self.physical):
            raw, number = self.physical[self.at], self.at + 1
            stripped = raw.lstrip(" \t")
            if stripped.startswith("#") or not stripped.strip():
                self.at += 1
                if not pieces:
                    return None
                if not stripped:
                    self._warn(number, "an empty line inside of an instruction that goes on")
                continue
            piece = raw if pieces else stripped
            column = len(raw) - len(piece) + 1
            piece, more = self._continued(piece)
            marks.append((size, number, column))
            pieces.append(piece)
            size += len(piece)
            self.at += 1
        text = "".join(pieces).rstrip()
        if not text:
            return None
        line = Line(self.file, text, tuple(marks))
        _must_be_text(line)
        return Line(self.file, text, line.marks, tuple(self._bodies(line)))

    def _continued(self, piece: str) -> tuple[str, bool]:
        """The piece without the escape at its end, and whether there was one (two of them are a character)."""
        bare = piece.rstrip(" \t")
        if not bare.endswith(self.escape) or bare.endswith(self.escape * 2):
            return piece, False
        return bare[:-1], True

    def _bodies(self, line: Line) -> Iterator[Heredoc]:
        words = line.text.split(None, 2)
        name = words[1].upper() if len(words) > 1 and words[0].upper() == "ONBUILD" else words[0].upper()
        if name not in _BODIED:
            return
        for word, offset in raw_words(line.text, self.escape):
            heredoc = heredoc_of(word)
            if heredoc is not None:
                yield self._body(heredoc, line.place(offset))

    def _body(self, heredoc: Heredoc, place: Place) -> Heredoc:
        begin = self.at
        while self.at < len(self.physical):
            line = self.physical[self.at]
            self.at += 1
            if (line.lstrip("\t") if heredoc.strips else line) == heredoc.name:
                text = "".join(f"{inner}\n" for inner in self.physical[begin : self.at - 1])
                _must_be_text(Line(self.file, text, tuple(_begins(text, begin + 1))))
                return Heredoc(heredoc.name, text, heredoc.expands, heredoc.strips)
        raise Misread(place, f"unterminated heredoc: no line is just {safe(heredoc.name)}")

    def _warn(self, number: int, text: str) -> None:
        self.warnings.append(f"{Place(self.file, number)}: {text}")


def _must_be_text(line: Line) -> None:
    """Instructions go into events and configurations, which are JSON; comments may be in any encoding."""
    if (match := _NOT_UTF8.search(line.text)) is not None:
        byte = ord(match[0]) & 0xFF
        raise Misread(line.place(match.start()), f"byte 0x{byte:02x} is not UTF-8: save the file as UTF-8")


def _begins(text: str, number: int) -> Iterator[tuple[int, int, int]]:
    """The marks of lines that stand below each other."""
    at = 0
    for inner in text.split("\n"):
        yield at, number, 1
        at, number = at + len(inner) + 1, number + 1


def heredoc_of(word: str) -> Heredoc | None:
    """What a word like `<<EOF`, `<<-"EOF"` or `3<<EOF` begins; None for every other one."""
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[3]:
        return None
    name = match[3]
    bare = name.replace("'", "").replace('"', "").replace("\\", "")
    if not bare or any(c.isspace() for c in bare):
        return None
    return Heredoc(bare, "", expands=bare == name, strips=bool(match[2]))
