"""Foreign text (names, labels, commands, errors out of images) made harmless for a terminal.

Escaped are the C0 and C1 controls, DEL, lone surrogates (bytes that are not UTF-8), the controls of bidirectional
text and the Unicode line separators, each as its Python-like escape (`\\x1b`, `\\u202e`); all other text is left as it
is. A backslash itself is not doubled: the result is for eyes, the exact value is in the JSON forms.
"""

import json

_SHORT = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}
_WIDE = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)


def _table(keep: str) -> dict[int, str]:
    narrow = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
    table = narrow | _SHORT | {code: f"\\u{code:04x}" for code in _WIDE}
    return {code: text for code, text in table.items() if chr(code) not in keep}


_LINE = _table("")
_BLOCK = _table("\n\t")
_QUOTED = {ord('"'): '\\"', ord("\\"): "\\\\", 0x07: "\\a", 0x08: "\\b", 0x0B: "\\v", 0x0C: "\\f"}
_JSON = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *_WIDE)}


def safe(text: str) -> str:
    """`text` on exactly one line, with nothing in it that a terminal obeys."""
    return _escape(text, _LINE)


def safe_block(text: str) -> str:
    """Like `safe`, but line feeds and tabs stay."""
    return _escape(text, _BLOCK)


def safe_json(value: object, *, indent: int | None = None) -> str:
    """JSON that a terminal does not obey and a parser reads back exactly."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
    text = text.translate(_JSON)
    return text if _encodable(text) else "".join(_json_surrogate(char) for char in text)


def legible(text: str) -> str:
    """`text` with U+FFFD for each byte that is not UTF-8: what can be stored and looked up."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def quoted(text: str) -> str:
    """`text` in double quotes, escaped as the industry's CLI quotes commands: `"echo a\\n\\x1b[0m"`."""
    return '"' + safe(text.translate(_QUOTED)) + '"'


def _escape(text: str, table: dict[int, str]) -> str:
    if text.isascii() and text.isprintable():
        return text
    text = text.translate(table)
    return text if _encodable(text) else "".join(_surrogate(char) for char in text)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _surrogate(char: str) -> str:
    code = ord(char)
    if not 0xD800 <= code <= 0xDFFF:
        return char
    # `surrogateescape` maps an undecodable byte B to U+DC00+B: show the byte.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _json_surrogate(char: str) -> str:
    return f"\\u{ord(char):04x}" if 0xD800 <= ord(char) <= 0xDFFF else char
