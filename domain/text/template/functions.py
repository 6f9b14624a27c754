"""The functions of templates. The first argument of each is how data are escaped; the rest are the template's."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from domain.text.safe import safe_json
from domain.text.template.values import Fields, TemplateError, Trusted, plain, truth, type_name

_Escape: TypeAlias = Callable[[str], str]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TemplateError(f"expected string; found {type_name(value)}")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TemplateError(f"expected integer; found {type_name(value)}")
    return value


def _like(original: str, text: str) -> str:
    return Trusted(text) if isinstance(original, Trusted) else text


def _json(_: _Escape, value: object) -> str:
    return Trusted(safe_json(value.data() if isinstance(value, Fields) else value))


def _join(escape: _Escape, values: object, separator: object) -> str:
    if not isinstance(values, list | tuple):
        raise TemplateError(f"expected slice of strings; found {type_name(values)}")
    return Trusted(plain(_text(separator), escape).join(plain(value, escape) for value in values))


def _split(_: _Escape, text: object, separator: object) -> list[str]:
    body, mark = _text(text), _text(separator)
    return [_like(body, part) for part in (body.split(mark) if mark else list(body))]


def _upper(_: _Escape, text: object) -> str:
    return _like(_text(text), _text(text).upper())


def _lower(_: _Escape, text: object) -> str:
    return _like(_text(text), _text(text).lower())


def _title(_: _Escape, text: object) -> str:
    body = _text(text)
    letters = [char.upper() if place == 0 or not body[place - 1].isalnum() else char for place, char in enumerate(body)]
    return _like(body, "".join(letters))


def _pad(_: _Escape, text: object, before: object, after: object) -> str:
    body = _text(text)
    spaces = [min(max(_whole(count), 0), 10_000) for count in (before, after)]
    return _like(body, " " * spaces[0] + body + " " * spaces[1]) if body else body


def _truncate(_: _Escape, text: object, length: object) -> str:
    body = _text(text)
    return _like(body, body[: max(_whole(length), 0)])


def _index(_: _Escape, value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list | tuple | str):
            place = _whole(key)
            if not 0 <= place < len(value):
                raise TemplateError(f"index out of range: {place}")
            value = ord(value[place]) if isinstance(value, str) else value[place]
        else:
            raise TemplateError(f"can't index item of type {type_name(value)}")
    return value


def _slice(_: _Escape, value: object, *places: object) -> object:
    if not isinstance(value, list | tuple | str):
        raise TemplateError(f"can't slice item of type {type_name(value)}")
    if len(places) > 2:
        raise TemplateError("too many slice indexes")
    bounds = [_whole(place) for place in places]
    start, end = (bounds + [0, len(value)][len(bounds) :])[:2]
    if not 0 <= start <= end <= len(value):
        raise TemplateError(f"index out of range: {end}")
    return _like(value, value[start:end]) if isinstance(value, str) else value[start:end]


def _len(_: _Escape, value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, list | tuple | Mapping):
        return len(value)
    raise TemplateError(f"len of type {type_name(value)}")


def _not(_: _Escape, value: object) -> bool:
    return not truth(value)


def _println(escape: _Escape, *values: object) -> str:
    return Trusted(" ".join(plain(value, escape) for value in values) + "\n")


def _print(escape: _Escape, *values: object) -> str:
    # Like fmt.Sprint: a space between two operands when neither is a string.
    parts: list[str] = []
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            parts.append(" ")
        parts.append(plain(value, escape))
    return Trusted("".join(parts))


def _printf(escape: _Escape, pattern: object, *values: object) -> str:
    text, rest, out = _text(pattern), list(values), list[str]()
    while text:
        before, percent, text = text.partition("%")
        out.append(plain(_like(_text(pattern), before), escape))
        if not percent:
            break
        flags = text[: len(text) - len(text.lstrip("-+# 0123456789."))]
        verb, text = text[len(flags) : len(flags) + 1], text[len(flags) + 1 :]
        out.append("%" if verb == "%" else _verb(flags, verb, rest, escape))
    if rest:
        out.append("%!(EXTRA " + ", ".join(f"{type_name(value)}={plain(value, escape)}" for value in rest) + ")")
    return Trusted("".join(out))


def _verb(flags: str, verb: str, rest: list[object], escape: _Escape) -> str:
    if not rest:
        return f"%!{verb}(MISSING)" if verb else "%!(NOVERB)"
    value = rest.pop(0)
    if any(digits.isdigit() and int(digits) > 10_000 for digits in flags.lstrip("-+# ").split(".")):
        raise TemplateError("the width is too large")
    try:
        match verb:
            case "s" | "v":
                return f"%{flags}s" % plain(value, escape)
            case "q":
                return f"%{flags}s" % safe_json(_text(value))
            case "d" | "x" | "X" | "o" | "c" if isinstance(value, int) and not isinstance(value, bool):
                return f"%{flags}{verb}" % value
            case "f" | "g" | "e" if isinstance(value, float):
                return f"%{flags}{verb}" % value
            case "t" if isinstance(value, bool):
                return plain(value, escape)
    except (ValueError, TypeError, OverflowError):
        pass
    return f"%!{verb}({type_name(value)}={plain(value, escape)})"


def _compare(order: Callable[[int], bool]) -> Callable[..., bool]:
    def compare(_: _Escape, left: object, right: object) -> bool:
        return order(_ordered(left, right))

    return compare


def _ordered(left: object, right: object) -> int:
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (left, right))
    if not numeric:
        raise TemplateError("incompatible types for comparison")
    assert isinstance(left, int | float)
    assert isinstance(right, int | float)
    return (left > right) - (left < right)


def _eq(_: _Escape, first: object, *others: object) -> bool:
    if not others:
        raise TemplateError("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _ne(_: _Escape, left: object, right: object) -> bool:
    return not _same(left, right)


def _same(left: object, right: object) -> bool:
    simple = left is None or right is None or isinstance(left, bool) or isinstance(right, bool)
    return left is right if simple else _ordered(left, right) == 0


def _never(*_: object) -> object:
    raise TemplateError("is decided where its arguments are read")


FUNCTIONS: dict[str, Callable[..., object]] = {
    "and": _never,
    "or": _never,
    "not": _not,
    "len": _len,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "eq": _eq,
    "ne": _ne,
    "lt": _compare(lambda sign: sign < 0),
    "le": _compare(lambda sign: sign <= 0),
    "gt": _compare(lambda sign: sign > 0),
    "ge": _compare(lambda sign: sign >= 0),
    "json": _json,
    "join": _join,
    "split": _split,
    "upper": _upper,
    "lower": _lower,
    "title": _title,
    "pad": _pad,
    "truncate": _truncate,
}
"""All functions of the engine's templates; `and` and `or` stop early, so their arguments are not read beforehand."""
