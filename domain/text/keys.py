r"""Detach keys: the sequence that leaves a container's terminal without ending anything. Pure.

    parse("ctrl-p,ctrl-q") == b"\x10\x11"
    parse("a,ctrl-\\")     == b"a\x1c"

    Watch(b"\x10\x11").feed(b"ls\r\x10")   gives b"ls\r", and holds ^P back: it may be the beginning
    Watch(b"\x10\x11").feed(b"\x10\x11")   gives b"", and `complete` is set
"""

from typing import Final

from domain.errors import InvalidValue

DEFAULT: Final = "ctrl-p,ctrl-q"
_CONTROL: Final = "@abcdefghijklmnopqrstuvwxyz[\\]^_"
"""Where a character stands here is the byte that it makes with ctrl."""
_PREFIX: Final = "ctrl-"
_HINT: Final = f"use a list like {DEFAULT}: single characters, or ctrl- and one of a-z @ [ \\ ] ^ _"


def parse(text: str) -> bytes:
    """The bytes that these keys send; the default's for the empty text. Raises InvalidValue."""
    return b"".join(_byte(key, text) for key in (text or DEFAULT).split(","))


def _byte(key: str, text: str) -> bytes:
    if len(key) == 1 and key.isascii():
        return key.encode()
    letter = key.removeprefix(_PREFIX)
    if key.startswith(_PREFIX) and len(letter) == 1 and letter in _CONTROL:
        return bytes((_CONTROL.index(letter),))
    raise InvalidValue(f"invalid detach keys ({text}) provided", hint=_HINT)


class Watch:
    """Looks for the keys in what is typed, in any pieces: what could still become them is held back, what cannot any
    more is given out. The result does not depend on where the pieces were cut (Knuth, Morris, Pratt 1977)."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._shorter = _shorter(keys)
        self._matched = 0
        self.complete = False

    def feed(self, data: bytes) -> bytes:
        """What of it is for the program. After the last key nothing is: the person typed it elsewhere in mind."""
        if self.complete:
            return b""
        if self._matched == 0 and self._keys[:1] not in data:
            return data
        out = bytearray()
        self.complete = any(self._completes(value, out) for value in data)
        return bytes(out)

    def rest(self) -> bytes:
        """What is held back, when nothing follows any more."""
        held, self._matched = self._keys[:self._matched], 0
        return b"" if self.complete else held

    def _completes(self, value: int, out: bytearray) -> bool:
        while self._matched and self._keys[self._matched] != value:
            kept = self._shorter[self._matched - 1]
            out += self._keys[:self._matched - kept]
            self._matched = kept
        if self._keys[self._matched] != value:
            out.append(value)
            return False
        self._matched += 1
        return self._matched == len(self._keys)


def _shorter(keys: bytes) -> list[int]:
    """For each place the length of the longest beginning of the keys that ends there, other than all up to there."""
    lengths = [0] * len(keys)
    for place in range(1, len(keys)):
        length = lengths[place - 1]
        while length and keys[place] != keys[length]:
            length = lengths[length - 1]
        lengths[place] = length + (keys[place] == keys[length])
    return lengths
