"""Every subcommand explains itself, and no document shows a command line that the engine would refuse."""

import re
import shlex
from pathlib import Path

import pytest

from domain.options import parse
from tests.house.tree import ROOT, files
from workers.console import help as texts
from workers.console.commands import NOUNS, VERBS
from workers.console.verb import Verb

EVERY = tuple(dict.fromkeys((*VERBS.values(), *NOUNS["network"][1].values())))
DOCUMENTS = [path for path in files() if path.suffix == ".md"]
_INNER = re.compile(r"\$\(([^)]*)\)")
_BLOCK = re.compile(r"^```(?:console|sh)?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def read(line: str) -> None:
    """Read every call of lading in a line of shell as the console does. Raises what the console would tell."""
    for inner in _INNER.findall(line):
        read(inner)
    words = [""]
    lexer = shlex.shlex(_INNER.sub("X", line), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    for word in (*lexer, ";"):
        if set(word) <= set("|&;<>"):
            if words[0] == "lading":
                _read(words[1:])
            words = [""] if set(word) & set("|&;") else ["", ""]
        else:
            words = [word] if words == [""] else [*words, word]


def _read(words: list[str]) -> None:
    if not words or words[0] in ("help", "--version", "-v", "--help") or words[0] == "daemon":
        return
    verb = NOUNS[words[0]][1][words[1]] if words[0] in NOUNS else VERBS[words[0]]
    rest = words[2:] if words[0] in NOUNS else words[1:]
    if "--help" in rest:
        return
    arguments = parse(verb.options, rest, interspersed=verb.interspersed).arguments
    assert verb.least <= len(arguments), f"{verb.name} needs an argument"
    assert verb.most is None or len(arguments) <= verb.most, f"{verb.name} takes fewer arguments"


@pytest.mark.parametrize("verb", EVERY, ids=lambda verb: verb.name)
def test_every_verb_has_a_help_text_with_examples(verb: Verb) -> None:
    """A person who types --help wants a line to copy."""
    text = texts.of_verb(verb)
    assert text.startswith(f"Usage:  lading {verb.name}")
    assert len(verb.examples) >= 2
    assert all(example.command in text and example.meaning in text for example in verb.examples)


@pytest.mark.parametrize("verb", EVERY, ids=lambda verb: verb.name)
def test_every_option_that_is_shown_says_what_it_does(verb: Verb) -> None:
    """An option without words is one that nobody dares to use."""
    silent = [option.name for option in verb.options if not (option.help or option.hidden or option.refused)]
    assert silent == []


@pytest.mark.parametrize("verb", EVERY, ids=lambda verb: verb.name)
def test_every_example_can_be_read(verb: Verb) -> None:
    """An example that is refused is worse than none."""
    for example in verb.examples:
        read(example.command)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_line_in_a_document_can_be_read(document: Path) -> None:
    """Documents grow old while options change; this one tells."""
    for block in _BLOCK.findall(document.read_text(encoding="utf-8")):
        for line in block.splitlines():
            command = re.sub(r"^(\$ |# )?(sudo )?", "", line.strip())
            if re.search(r"(^|[|(] *)lading ", command):
                read(command)


def test_the_overview_names_every_verb() -> None:
    """docs/commands.md is where a user looks for what there is."""
    overview = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [verb.name for verb in EVERY if f"`{verb.name}`" not in overview] == []
