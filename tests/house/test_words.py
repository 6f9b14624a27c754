"""What the project says about itself: every module what it owns, nothing about the machine it was made on."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files

PYTHON = [path for path in files() if path.suffix == ".py"]
TEXT = [path for path in files() if path.suffix in {".py", ".md", ".toml", ".txt", ".json", ".yml", ".cfg", ""}]

# Spelled in pieces, so that this file does not contain them: homes of people and build machines, hosts of registries,
# documents that are not in the repository.
FORBIDDEN = {
    "a folder of one machine": r"(?<![\w.])/(work|root/\.|home/\w+)/" + r"[\w.]",
    "an interpreter of one machine": "py" + r"env/(versions|shims)",
    "the host of a registry":
        "|".join(("py" + r"pi\.org", "python" + "hosted", r"deb\." + "debian", "npm" + r"js\.org")),
    "a document outside the repository":
        r"\b(STYLE|DESIGN|EVENTS|KERNEL|NETWORK|IMAGES|CONTRACT|SECURITY|UX|ARCHITECTURE)" + r"(\.md|,? section)",
    "a folder outside the repository": r"(?<![\w/])shared" + "/(?!object)",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_project_speaks_of_itself_alone(what: str) -> None:
    """A reader has this repository and nothing else; a path of somebody's machine or a lost document only misleads."""
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for path in TEXT:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found += [f"{path.relative_to(ROOT)}:{number}: {line.strip()}" for number, line in enumerate(lines, 1)
                  if pattern.search(line)]
    assert found == [], f"names {what}"


def test_every_module_says_what_it_owns() -> None:
    """The docstring at the top is where a newcomer decides whether to read on."""
    assert [str(path.relative_to(ROOT)) for path in PYTHON if not ast.get_docstring(_parsed(path))] == []


def test_every_test_says_why_it_matters() -> None:
    """A test is deleted by whoever does not know what it is for."""
    silent = []
    for path in PYTHON:
        if path.name.startswith("test_"):
            silent += [f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}" for node in ast.walk(_parsed(path))
                       if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                       and node.name.startswith("test_") and not ast.get_docstring(node)]
    assert silent == []


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME", "XX" + "X:"])
def test_nothing_is_left_to_do_in_a_comment(word: str) -> None:
    """What is missing belongs into the documentation of what is not there, where users can read it."""
    assert [str(path.relative_to(ROOT)) for path in PYTHON if word in path.read_text(encoding="utf-8")] == []


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
