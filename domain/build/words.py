r"""Words of a Dockerfile: quotes, escapes and variables, as a POSIX shell understands the part of them that is allowed.

    $name ${name}            the value, or nothing
    ${name:-word} ${name-word}   the word if it is empty or unset, or only if it is unset
    ${name:+word} ${name+word}   the word if it is set and not empty, or if it is set
    ${name:?text} ${name?text}   an error with this text if it is empty or unset, or unset
    ${name#p} ${name##p}     without the shortest or longest beginning that fits the pattern
    ${name%p} ${name%%p}     the same for its end
    ${name/p/r} ${name//p/r} with the first part that fits, or all of them, replaced (the longest at each place)

In words after an operator everything is allowed again. Text in single quotes is as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.build.patterns import ends, shell
from domain.errors import InvalidValue
from domain.text.safe import safe

LONGEST = 1 << 20
"""Characters that one word may become: a line that doubles itself must not fill the memory."""
_LONGEST_MATCHED, _LONGEST_REPLACED = 1 << 13, 1 << 11
_DEEPEST = 50
_BLANKS = " \t\r\n\v\f"
_SPECIAL = "@*#?-$!"


class BadWord(InvalidValue):
    """A word that cannot be read; `offset` is where."""

    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(text)
        self.offset = offset


@dataclass
class Values:
    """What variables mean; `used` gathers the names that were looked up."""

    known: Mapping[str, str]
    used: set[str] = field(default_factory=set)

    def get(self, name: str) -> str | None:
        """The value; None when it is unset."""
        self.used.add(name)
        return self.known.get(name)


def expand(text: str, values: Values, *, escape: str = "\\") -> str:
    """One word: variables replaced, quotes and escapes resolved. Raises: BadWord."""
    return "".join(piece for piece, _ in _Reader(text, values, escape).all())


def expand_words(text: str, values: Values, *, escape: str = "\\") -> list[str]:
    """The words of a text; blanks in the value of a variable outside of quotes separate words, too. Raises: BadWord."""
    words: list[str] = []
    current: list[str] | None = None
    for piece, splits in _Reader(text, values, escape).all():
        if not splits:
            current = [*(current or ()), piece]
            continue
        for character in piece:
            if character not in _BLANKS:
                current = current if current is not None else []
                current.append(character)
            elif current is not None:
                words.append("".join(current))
                current = None
    if current is not None:
        words.append("".join(current))
    return words


def expand_body(text: str, values: Values) -> str:
    """A here-document: variables are replaced, `\\$` is a dollar sign and `\\\\` a backslash, quotes are text."""
    return "".join(piece for piece, _ in _Reader(text, values, "\\", body=True).all())


def raw_words(text: str, escape: str = "\\") -> list[tuple[str, int]]:
    """Words with their quotes and escapes as they are, each with its offset; a quote that is not closed lasts to the
    end."""
    words: list[tuple[str, int]] = []
    start, at, quote = -1, 0, ""
    while at < len(text):
        character = text[at]
        if not quote and character in _BLANKS:
            if start >= 0:
                words.append((text[start:at], start))
            start = -1
        else:
            start = at if start < 0 else start
            if character == quote:
                quote = ""
            elif not quote and character in "\"'":
                quote = character
            elif character == escape and quote != "'":
                at += 1
        at += 1
    if start >= 0:
        words.append((text[start:], start))
    return words


class _Reader:
    """One pass over a text; pieces say whether blanks in them separate words."""

    def __init__(self, text: str, values: Values, escape: str, *, body: bool = False) -> None:
        self._text, self._values, self._escape, self._body = text, values, escape, body
        self._at = self._size = self._depth = 0

    def all(self) -> list[tuple[str, bool]]:
        return self._until("")

    def _until(self, stop: str, *, pattern: bool = False) -> list[tuple[str, bool]]:
        """Pieces up to one of the characters in `stop`, which is left to be read; an end without it is an error. In a
        `pattern` escapes stay, for it to read them."""
        pieces: list[tuple[str, bool]] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in stop:
                return pieces
            if character == "$":
                self._add(pieces, self._variable(), splits=not self._body)
            elif character == self._escape:
                self._add(pieces, self._escaped(pattern=pattern), splits=False)
            elif character == "'" and not self._body:
                self._add(pieces, _literal(self._single(), pattern), splits=False)
            elif character == '"' and not self._body:
                for piece in self._double(pattern):
                    self._add(pieces, piece, splits=False)
            else:
                self._at += 1
                self._add(pieces, character, splits=True)
        if stop:
            raise BadWord("a ${ has no }", self._at)
        return pieces

    def _add(self, pieces: list[tuple[str, bool]], text: str, *, splits: bool) -> None:
        self._size += len(text)
        if self._size > LONGEST:
            raise BadWord(f"a word becomes longer than {LONGEST} characters", self._at)
        pieces.append((text, splits))

    def _escaped(self, *, pattern: bool) -> str:
        self._at += 1
        if self._at >= len(self._text):
            return self._escape if self._body else ""
        character = self._text[self._at]
        if self._body and character not in "$\\":
            return self._escape
        self._at += 1
        return "\\" + character if pattern else character

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise BadWord("unexpected end of statement while looking for matching single-quote", self._at)
        text = self._text[self._at + 1 : end]
        self._at = end + 1
        return text

    def _double(self, pattern: bool) -> list[str]:
        begin = self._at
        self._at += 1
        pieces = [""]
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                self._at += 1
                return pieces
            if character == "$":
                pieces.append(_literal(self._variable(), pattern))
                continue
            self._at += 1
            if character == self._escape and self._at < len(self._text):
                following = self._text[self._at]
                if following in ('"', "$", self._escape):
                    self._at += 1
                    pieces.append(_literal(following, pattern))
                    continue
            pieces.append(_literal(character, pattern))
        raise BadWord("unexpected end of statement while looking for matching double-quote", begin)

    def _variable(self) -> str:
        """From a dollar sign on."""
        self._at += 1
        if self._text[self._at : self._at + 1] == "{":
            return self._braced()
        name = self._name()
        return "$" if not name else self._values.get(name) or ""

    def _name(self) -> str:
        begin = self._at
        first = self._text[begin : begin + 1]
        if first and first in _SPECIAL:
            self._at += 1
            return first
        digits = first.isdigit() and first.isascii()
        while self._at < len(self._text):
            character = self._text[self._at]
            fits = character.isdigit() if digits else character.isalnum() or character == "_"
            if not (fits and character.isascii()):
                break
            self._at += 1
        return self._text[begin : self._at]

    def _braced(self) -> str:
        begin = self._at - 1
        self._at += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise BadWord("variables are nested too deeply", begin)
        name = self._name()
        if not name:
            raise BadWord("bad substitution: a ${ needs a name", begin)
        if self._at >= len(self._text):
            raise BadWord("a ${ has no }", begin)
        result = self._operation(name)
        if self._text[self._at : self._at + 1] != "}":
            raise BadWord("a ${ has no }", begin)
        self._at += 1
        self._depth -= 1
        return result

    def _operation(self, name: str) -> str:
        """What stands between a name and the closing brace, which is left to be read."""
        operator = self._text[self._at]
        value = self._values.get(name)
        if operator == "}":
            return value or ""
        self._at += 1
        if operator == ":":
            operator = self._text[self._at : self._at + 1]
            if operator not in ("-", "+", "?"):
                raise BadWord(f'unsupported modifier "{safe(operator)}" in substitution', self._at)
            self._at += 1
            return self._choice(operator, name, value or None)
        if operator in "-+?":
            return self._choice(operator, name, value)
        if operator in "#%":
            return self._trimmed(operator, value or "")
        if operator == "/":
            return self._replaced(value or "")
        raise BadWord(f'unsupported modifier "{safe(operator)}" in substitution', self._at - 1)

    def _word(self, stop: str = "}", *, pattern: bool = False) -> str:
        return "".join(piece for piece, _ in self._until(stop, pattern=pattern))

    def _choice(self, operator: str, name: str, value: str | None) -> str:
        at = self._at
        word = self._word()
        if operator == "-":
            return word if value is None else value
        if operator == "+":
            return "" if value is None else word
        if value is None:
            raise BadWord(f"{name}: {safe(word) or 'it is not set'}", at)
        return value

    def _trimmed(self, operator: str, value: str) -> str:
        longest = self._text[self._at : self._at + 1] == operator
        self._at += longest
        elements = shell(self._word(pattern=True))
        self._check(value, _LONGEST_MATCHED)
        if operator == "%":
            found = ends(tuple(reversed(elements)), value[::-1])
            cut = found[-1 if longest else 0] if found else 0
            return value[: len(value) - cut]
        found = ends(elements, value)
        return value[found[-1 if longest else 0] :] if found else value

    def _replaced(self, value: str) -> str:
        every = self._text[self._at : self._at + 1] == "/"
        self._at += every
        elements = shell(self._word("/}", pattern=True))
        replacement = ""
        if self._text[self._at : self._at + 1] == "/":
            self._at += 1
            replacement = self._word()
        self._check(value, _LONGEST_REPLACED)
        result: list[str] = []
        at = 0
        while at < len(value):
            end = (ends(elements, value, at) or [at])[-1] if elements else at
            if end == at:
                result.append(value[at])
                at += 1
                continue
            result.append(replacement)
            at = end
            if not every:
                break
        return "".join(result) + value[at:]

    def _check(self, value: str, longest: int) -> None:
        if len(value) > longest:
            raise BadWord(f"a value of more than {longest} characters is matched with a pattern", self._at)


def _literal(text: str, pattern: bool) -> str:
    """Quoted text in a pattern stands for itself."""
    return "".join("\\" + c if c in "*?\\" else c for c in text) if pattern else text
