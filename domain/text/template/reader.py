"""Template text to tree: pieces (text and actions), tokens of an action, blocks, pipelines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from domain.text.template.functions import FUNCTIONS
from domain.text.template.tree import Branch, Chain, Leave, Literal, Name, Node, Operand, Pipe, Print, Text
from domain.text.template.values import TemplateError, Trusted

MAXIMUM_DEPTH = 50
_CONSTANTS: dict[str, object] = {"true": True, "false": False, "nil": None}
_SPACE = " \t\r\n"
_PUNCTUATION = ("|", ":=", "=", ",", "(", ")")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_HEX = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True, slots=True)
class _Token:
    """`kind`: word (function or keyword), field, variable, string, number, or the punctuation itself."""

    kind: str
    text: str
    value: object
    at: int
    glued: bool


@dataclass(frozen=True, slots=True)
class _Action:
    tokens: tuple[_Token, ...]
    at: int


def read(text: str) -> tuple[Node, ...]:
    """The nodes of a template. Raises TemplateError with the place."""
    pieces = tuple(_pieces(text))
    reader = _Blocks(pieces)
    nodes = reader.block(0, in_range=False)
    if reader.stop:
        raise _bad(reader.stop_at, f"unexpected {{{{{reader.stop}}}}}")
    return nodes


def _bad(at: int, why: str) -> TemplateError:
    return TemplateError(f"template parsing error: template: :1:{at}: {why}")


def _pieces(text: str) -> Iterator[str | _Action]:
    place, trim = 0, False
    while True:
        start = text.find("{{", place)
        plain = text[place:] if start < 0 else text[place:start]
        plain = plain.lstrip(_SPACE) if trim else plain
        if start < 0:
            yield plain
            return
        body = start + 2
        if text.startswith("-", body) and text[body + 1 : body + 2] in tuple(_SPACE):
            plain, body = plain.rstrip(_SPACE), body + 2
        yield plain
        if text[body:].lstrip(_SPACE).startswith("/*"):
            place, trim = _comment(text, body)
            continue
        tokens, place, trim = _tokens(text, body)
        yield _Action(tuple(tokens), body)


def _comment(text: str, at: int) -> tuple[int, bool]:
    end = text.find("*/", at)
    if end < 0:
        raise _bad(at, "unclosed comment")
    rest = text[end + 2 :]
    inner = rest.lstrip(_SPACE)
    if rest.startswith("}}"):
        return end + 4, False
    if inner.startswith("-}}") and inner != rest:
        return len(text) - len(inner) + 3, True
    raise _bad(end, "comment ends before closing delimiter")


def _tokens(text: str, at: int) -> tuple[list[_Token], int, bool]:
    found: list[_Token] = []
    spaced = True
    while at < len(text):
        if text.startswith("}}", at):
            return found, at + 2, False
        if text[at] in _SPACE:
            at, spaced = at + 1, True
            if text.startswith("-}}", at):
                return found, at + 3, True
            continue
        token, at = _token(text, at, glued=not spaced)
        found.append(token)
        spaced = False
    raise _bad(at, "unclosed action")


def _token(text: str, at: int, *, glued: bool) -> tuple[_Token, int]:
    char = text[at]
    if char == '"':
        return _quoted(text, at)
    if char == "'":
        return _rune(text, at)
    if char == "`":
        end = text.find("`", at + 1)
        if end < 0:
            raise _bad(at, "unterminated raw quoted string")
        return _Token("string", text[at : end + 1], Trusted(text[at + 1 : end]), at, False), end + 1
    for sign in _PUNCTUATION:
        if text.startswith(sign, at):
            return _Token(sign, sign, None, at, glued), at + len(sign)
    if char.isdigit() or (char in "+-" and text[at + 1 : at + 2].isdigit()):
        return _number(text, at)
    return _word(text, at, glued=glued)


def _word(text: str, at: int, *, glued: bool) -> tuple[_Token, int]:
    end = at + 1
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    word = text[at:end]
    if word[0] == "$":
        return _Token("variable", word, None, at, glued), end
    if word[0] == ".":
        return _Token("field", word, None, at, glued), end
    if not (word[0].isalpha() or word[0] == "_"):
        raise _bad(at, f"unexpected {word[0]!r} in command")
    return _Token("word", word, None, at, glued), end


def _number(text: str, at: int) -> tuple[_Token, int]:
    end = at + 1
    while end < len(text) and (text[end].isalnum() or text[end] in "._"):
        end += 1
    body = text[at:end]
    for read in (lambda word: int(word, 0), lambda word: int(word, 10), float):
        try:
            return _Token("number", body, read(body), at, False), end
        except ValueError:
            continue
    raise _bad(at, f'bad number syntax: "{body}"')


def _quoted(text: str, at: int) -> tuple[_Token, int]:
    place, parts = at + 1, list[str]()
    while place < len(text) and text[place] not in '"\n':
        if text[place] == "\\":
            char, place = _escape(text, place)
            parts.append(char)
        else:
            parts.append(text[place])
            place += 1
    if text[place : place + 1] != '"':
        raise _bad(at, "unterminated quoted string")
    return _Token("string", text[at : place + 1], Trusted("".join(parts)), at, False), place + 1


def _rune(text: str, at: int) -> tuple[_Token, int]:
    char, place = _escape(text, at + 1) if text[at + 1 : at + 2] == "\\" else (text[at + 1 : at + 2], at + 2)
    if text[place : place + 1] != "'" or not char:
        raise _bad(at, "malformed character constant")
    return _Token("number", text[at : place + 1], ord(char), at, False), place + 1


def _escape(text: str, at: int) -> tuple[str, int]:
    letter = text[at + 1 : at + 2]
    if letter in _ESCAPES:
        return _ESCAPES[letter], at + 2
    digits = text[at + 2 : at + 2 + _HEX.get(letter, 0)]
    if letter in _HEX and len(digits) == _HEX[letter]:
        try:
            return chr(int(digits, 16)), at + 2 + len(digits)
        except (ValueError, OverflowError):
            pass
    raise _bad(at, "invalid syntax in a quoted string")


class _Blocks:
    """Builds the tree out of text and actions."""

    def __init__(self, pieces: Sequence[str | _Action]) -> None:
        self.pieces, self.place = pieces, 0
        self.stop, self.stop_at = "", 0
        self.stop_tokens: tuple[_Token, ...] = ()

    def block(self, depth: int, *, in_range: bool) -> tuple[Node, ...]:
        """Nodes up to `end`, `else` or the end of the text; what stopped it is in `stop`."""
        nodes: list[Node] = []
        self.stop = ""
        while self.place < len(self.pieces):
            piece = self.pieces[self.place]
            self.place += 1
            if isinstance(piece, str):
                nodes.extend([Text(piece)] if piece else [])
            elif self._stops(piece):
                break
            else:
                nodes.append(self._action(piece, depth, in_range))
        return tuple(nodes)

    def _stops(self, action: _Action) -> bool:
        word = action.tokens[0].text if action.tokens else ""
        if word not in ("end", "else"):
            return False
        self.stop, self.stop_at, self.stop_tokens = word, action.at, action.tokens[1:]
        if word == "end" and self.stop_tokens:
            raise _bad(action.at, "unexpected text after end")
        return True

    def _action(self, action: _Action, depth: int, in_range: bool) -> Node:
        if not action.tokens:
            raise _bad(action.at, "missing value for command")
        word = action.tokens[0].text
        if word in ("if", "with", "range"):
            return self._branch(word, action.tokens[1:], action.at, depth + 1, in_range)
        if word in ("break", "continue"):
            if not in_range or len(action.tokens) > 1:
                raise _bad(action.at, f"{{{{{word}}}}} outside {{{{range}}}}")
            return Leave(word)
        if word in ("define", "template", "block"):
            raise _bad(action.at, f"{word} is not supported")
        return Print(_Pipes(action.tokens, action.at).whole())

    def _branch(self, word: str, tokens: tuple[_Token, ...], at: int, depth: int, in_range: bool) -> Branch:
        if depth > MAXIMUM_DEPTH:
            raise _bad(at, "nested too deeply")
        pipe = _Pipes(tokens, at).whole(several=word == "range")
        inside = in_range or word == "range"
        then = self.block(depth, in_range=inside)
        otherwise: tuple[Node, ...] = ()
        if self.stop == "else":
            again, more = self.stop_tokens, self.stop_tokens[1:]
            if again:
                if again[0].text != word or word == "range":
                    raise _bad(self.stop_at, f"unexpected {again[0].text} after else")
                return Branch(word, pipe, then, (self._branch(word, more, self.stop_at, depth + 1, in_range),), at)
            otherwise = self.block(depth, in_range=in_range)
        if self.stop != "end":
            raise _bad(at, "unexpected EOF" if not self.stop else "expected end; found {{else}}")
        self.stop = ""
        return Branch(word, pipe, then, otherwise, at)


class _Pipes:
    """Reads the pipeline of one action."""

    def __init__(self, tokens: Sequence[_Token], at: int) -> None:
        self.tokens, self.place, self.at = tokens, 0, at

    def whole(self, *, several: bool = False) -> Pipe:
        """The pipeline, and nothing after it."""
        variables, declares = self._variables(several)
        pipe = self._pipe(variables, declares, 0)
        if self._peek() is not None:
            raise self._unexpected()
        return pipe

    def _peek(self) -> _Token | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def _kinds(self, count: int) -> tuple[str, ...]:
        return tuple(token.kind for token in self.tokens[:count])

    def _variables(self, several: bool) -> tuple[tuple[str, ...], bool]:
        for count, shape in ((2, ("variable",)), (4, ("variable", ",", "variable"))):
            kinds = self._kinds(count)
            if kinds[:-1] == shape and kinds[-1:] and kinds[-1] in (":=", "="):
                if count == 4 and not several:
                    raise _bad(self.at, "too many declarations in command")
                self.place = count
                names = tuple(token.text for token in self.tokens[:count] if token.kind == "variable")
                return names, kinds[-1] == ":="
        return (), True

    def _pipe(self, variables: tuple[str, ...], declares: bool, depth: int) -> Pipe:
        if depth > MAXIMUM_DEPTH:
            raise _bad(self.at, "nested too deeply")
        commands = [self._command(depth)]
        while (token := self._peek()) is not None and token.kind == "|":
            self.place += 1
            commands.append(self._command(depth))
        for command in commands[1:]:
            if isinstance(command[0], Literal):
                raise _bad(self.at, "non executable command in pipeline")
        return Pipe(tuple(commands), variables, declares)

    def _command(self, depth: int) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while (token := self._peek()) is not None and token.kind not in ("|", ")"):
            operands.append(self._operand(token, depth))
        if not operands:
            raise _bad(self.at, "missing value for command")
        return tuple(operands)

    def _operand(self, token: _Token, depth: int) -> Operand:
        self.place += 1
        match token.kind:
            case "string" | "number":
                return Literal(token.value)
            case "variable":
                return Chain(token.text, self._names(), token.at)
            case "field":
                first = (token.text[1:],) if len(token.text) > 1 else ()
                return Chain(None, first + self._names() if first else (), token.at)
            case "(":
                return self._parenthesis(token, depth)
            case "word" if token.text in _CONSTANTS:
                return Literal(_CONSTANTS[token.text])
            case "word" if token.text in FUNCTIONS:
                return Name(token.text, token.at)
            case "word":
                raise _bad(token.at, f'function "{token.text}" not defined')
        self.place -= 1
        raise self._unexpected()

    def _parenthesis(self, token: _Token, depth: int) -> Operand:
        pipe = self._pipe((), True, depth + 1)
        closing = self._peek()
        if closing is None or closing.kind != ")":
            raise _bad(token.at, "unclosed left paren")
        self.place += 1
        names = self._names()
        return Chain(pipe, names, token.at) if names else pipe

    def _names(self) -> tuple[str, ...]:
        names: list[str] = []
        while (token := self._peek()) is not None and token.kind == "field" and token.glued and len(token.text) > 1:
            names.append(token.text[1:])
            self.place += 1
        return tuple(names)

    def _unexpected(self) -> TemplateError:
        token = self.tokens[min(self.place, len(self.tokens) - 1)]
        return _bad(token.at, f'unexpected "{token.text}" in operand')
