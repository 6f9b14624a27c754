r"""Patterns of file names and of the shell, matched in time that grows with the product of both lengths at most: who
writes a Dockerfile must not be able to keep the engine busy with one line.

A pattern is a tuple of elements: a character stands for itself, `ANY` for any one, `MANY` for any number of them (none
of both for a slash in patterns of file names), and a `Class` for one of a set. The thin client uses this module, too:
no imports.
"""


class Wrong(Exception):
    """A pattern that cannot be meant."""


class Class:
    """`[a-z]`, or `[^a-z]`: one character out of these ranges, or any other one; never a slash."""

    __slots__ = ("negated", "ranges")

    def __init__(self, ranges: "list[tuple[str, str]]", negated: bool) -> None:
        self.ranges, self.negated = ranges, negated

    def holds(self, character: str) -> bool:
        """Whether it stands for this character."""
        return any(low <= character <= high for low, high in self.ranges) != self.negated


ANY, MANY, ANY_NAME, MANY_NAME, DEEP = "any", "many", "any in a name", "many in a name", "any directories"
"""`…_NAME` stops at a slash; `DEEP` is `**/`: nothing, or anything that ends in a slash."""
Element = "str | Class"


def shell(text: str, escape: str = "\\") -> "tuple[str | Class, ...]":
    """A pattern of `${name#pattern}`: `*`, `?`, and characters after an escape for themselves."""
    elements: list[str | Class] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character == escape and at + 1 < len(text):
            at += 1
            elements.append(text[at])
        elif character == "*":
            elements.append(MANY)
        else:
            elements.append(ANY if character == "?" else character)
        at += 1
    return tuple(elements)


def names(text: str, *, deep: bool = True) -> "tuple[str | Class, ...]":
    """A pattern of paths: `*` and `?` stop at a slash, `**` (if `deep`) does not, `[a-z]` and `[^a-z]`, `\\x`.

    Raises: Wrong.
    """
    elements: list[str | Class] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character == "*":
            at = _stars(text, at, elements, deep)
            continue
        if character == "[":
            at = _class(text, at + 1, elements)
            continue
        if character == "\\":
            at += 1
            if at == len(text):
                raise Wrong("it ends in a backslash")
            elements.append(text[at])
        else:
            elements.append(ANY_NAME if character == "?" else character)
        at += 1
    return tuple(elements)


def _stars(text: str, at: int, elements: "list[str | Class]", deep: bool) -> int:
    end = at
    while end < len(text) and text[end] == "*":
        end += 1
    if end - at < 2 or not deep:
        elements.append(MANY_NAME)
    elif text[end : end + 1] == "/":
        elements.append(DEEP)
        return end + 1
    else:
        elements.append(MANY)
    return end


def _class(text: str, at: int, elements: "list[str | Class]") -> int:
    negated = text[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while at < len(text) and (text[at] != "]" or not ranges):
        low, at = _one(text, at)
        high = low
        if text[at : at + 1] == "-":
            high, at = _one(text, at + 1)
        ranges.append((low, high))
    if at >= len(text) or not ranges:
        raise Wrong("a [ has no ]")
    elements.append(Class(ranges, negated))
    return at + 1


def _one(text: str, at: int) -> "tuple[str, int]":
    if text[at : at + 1] == "\\":
        at += 1
    if at >= len(text) or text[at] in "-]":
        raise Wrong("a range in [ ] is not whole")
    return text[at], at + 1


def ends(pattern: "tuple[str | Class, ...]", text: str, start: int = 0) -> "list[int]":
    """All places where a match that begins at `start` may end, in order."""
    states = _closed({0}, pattern, text, start)
    found = [start] if len(pattern) in states else []
    at = start
    while states and at < len(text):
        after: set[int] = set()
        for state in states:
            if state < len(pattern):
                _advance(pattern[state], state, text[at], after)
        at += 1
        states = _closed(after, pattern, text, at)
        if len(pattern) in states:
            found.append(at)
    return found


def edges(pattern: "tuple[str | Class, ...]") -> "tuple[str, str]":
    """The text that everything which fits begins with, and the one it ends with: most things are judged by these."""
    return _literal(pattern), _literal(tuple(reversed(pattern)))[::-1]


def _literal(pattern: "tuple[str | Class, ...]") -> str:
    text = ""
    for element in pattern:
        if isinstance(element, Class) or len(element) != 1:
            break
        text += element
    return text


def matches(pattern: "tuple[str | Class, ...]", text: str) -> bool:
    """Whether the whole text fits."""
    return ends(pattern, text)[-1:] == [len(text)]


def may_hold(pattern: "tuple[str | Class, ...]", directory: str) -> bool:
    """Whether something below this directory might fit."""
    states = _closed({0}, pattern, directory, 0)
    text = directory + "/"
    for at, character in enumerate(text):
        after: set[int] = set()
        for state in states:
            if state < len(pattern):
                _advance(pattern[state], state, character, after)
        states = _closed(after, pattern, text, at + 1)
        if not states:
            return False
    return any(state < len(pattern) for state in states)


def _advance(element: "str | Class", state: int, character: str, after: "set[int]") -> None:
    if element is MANY:
        after.add(state)
    elif element is MANY_NAME:
        if character != "/":
            after.add(state)
    elif element is DEEP:
        after.add(state)
        if character == "/":
            after.add(state + 1)
    elif element is ANY:
        after.add(state + 1)
    elif element is ANY_NAME:
        if character != "/":
            after.add(state + 1)
    elif isinstance(element, Class):
        if character != "/" and element.holds(character):
            after.add(state + 1)
    elif element == character:
        after.add(state + 1)


def _closed(states: "set[int]", pattern: "tuple[str | Class, ...]", text: str, at: int) -> "set[int]":
    """With what is reached without a character: past any number of stars, and past `**/` where a name begins."""
    begins = at == 0 or text[at - 1 : at] == "/"
    todo = list(states)
    while todo:
        state = todo.pop()
        if state == len(pattern):
            continue
        element = pattern[state]
        skipped = element is MANY or element is MANY_NAME or (element is DEEP and begins)
        if skipped and state + 1 not in states:
            states.add(state + 1)
            todo.append(state + 1)
    return states
