"""docs/advisories.md is true: every test it names is there and says which advisory it stands for, and every advisory
that a test speaks of is in it."""

import ast
import re
from functools import cache
from pathlib import Path

from tests.house.tree import ROOT, files

DOCUMENT = ROOT / "docs" / "advisories.md"
_ADVISORY = re.compile(r"CVE-\d{4}-\d{4,}|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}")
_TEST = re.compile(r"`([\w./]+\.py)::(\w+)`")


@cache
def rows() -> tuple[tuple[str, ...], ...]:
    """The cells of the table of those that apply, without its head."""
    text = DOCUMENT.read_text(encoding="utf-8").split("\n## ")[1]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return tuple(tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:])


@cache
def docstrings(path: Path) -> dict[str, str]:
    """What the functions of a file say about themselves, after what the file says about all of them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: f"{ast.get_docstring(tree) or ''}\n{ast.get_docstring(node) or ''}" for node in found}


def test_every_row_names_tests_that_are_there_and_speak_of_it() -> None:
    """A defence that nobody tries is a hope."""
    wrong = []
    for cells in rows():
        advisories, named = _ADVISORY.findall(cells[0]), _TEST.findall(cells[-1])
        said = [docstrings(ROOT / "tests" / path).get(name, "") if (ROOT / "tests" / path).is_file() else ""
                for path, name in named]
        if not advisories or not named or not all(said):
            wrong.append(f"{cells[0]}: {cells[-1]}")
        wrong += [f"no test of {one} says so" for one in advisories if not any(one in text for text in said)]
    assert wrong == []


def test_an_advisory_is_listed_once() -> None:
    """In the table of those that apply, or below with the reason why not."""
    listed = _ADVISORY.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert sorted({one for one in listed if listed.count(one) > 1}) == []


def test_every_advisory_that_a_test_speaks_of_is_listed() -> None:
    """Whoever looks one up finds it."""
    listed = set(_ADVISORY.findall(DOCUMENT.read_text(encoding="utf-8")))
    spoken_of = {one for path in files() if path.suffix == ".py" for one in _ADVISORY.findall(path.read_text("utf-8"))}
    assert spoken_of - listed == set()
