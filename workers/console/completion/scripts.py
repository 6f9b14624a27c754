"""The scripts: a template for each shell with the table in its place."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workers.console.completion.table import Page

_HERE = Path(__file__).parent
_MARK = "@TABLE@\n"


def script(shell: str, pages: Sequence[Page]) -> str:
    """What the shell is to read. Raises KeyError for a shell that is not one of `SHELLS`."""
    return _WRITERS[shell](pages)


def _bash(pages: Sequence[Page]) -> str:
    return _filled("lading.bash", _cases(pages), {"core": _template("core.sh")})


def _zsh(pages: Sequence[Page]) -> str:
    return _filled("lading.zsh", _cases(pages), {"core": _template("core.sh")})


def _fish(pages: Sequence[Page]) -> str:
    arms = []
    for page in pages:
        spellings = " ".join(_quoted(spelling) for spelling in page.spellings)
        arms.append(f"        case {spellings}\n            printf '%s\\n' \\\n")
        arms.append(" \\\n".join(f"                {_fish_quoted(row)}" for row in page.rows) + "\n")
    return _filled("lading.fish", "".join(arms), {})


def _cases(pages: Sequence[Page]) -> str:
    """Arms of a `case`; what is in a here-document needs no quotes."""
    arms = []
    for page in pages:
        pattern = " | ".join(_quoted(spelling) for spelling in page.spellings)
        rows = "".join(f"{row}\n" for row in page.rows)
        arms.append(f"    {pattern}) _lading_read << 'ROWS' ;;\n{rows}ROWS\n")
    return "".join(arms)


def _filled(name: str, table: str, parts: Mapping[str, str]) -> str:
    text = _template(name)
    for mark, part in parts.items():
        text = text.replace(f"@{mark.upper()}@\n", part)
    return text.replace(_MARK, table)


def _template(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _quoted(text: str) -> str:
    return f"'{text}'"


def _fish_quoted(text: str) -> str:
    """Inside of single quotes fish knows two escapes, of the quote and of the backslash."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_WRITERS: Mapping[str, Callable[[Sequence[Page]], str]] = {"bash": _bash, "fish": _fish, "zsh": _zsh}
SHELLS = tuple(_WRITERS)
"""The shells that there is a script for."""
