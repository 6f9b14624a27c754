"""Documents point at things that are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.cli.main import address
from domain.options import parse
from tests.house.tree import ROOT, files
from workers.console.commands import NOUNS, VERBS
from workers.console.verb import Verb

DOCUMENTS = [path for path in files() if path.suffix == ".md"]
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```", re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The fragments of a document's headings, spelled as hosting sites spell them."""
    text = _CODE.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.*?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    """A dead link is the first thing a reader meets, and the last he forgives."""
    dead = []
    for link in _LINK.findall(_CODE.sub("", document.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, fragment = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or (fragment and fragment not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_page_is_reached_from_the_readme() -> None:
    """A page that nobody links to is a page that nobody reads."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document not in seen and document.suffix == ".md":
            seen.add(document)
            links = _LINK.findall(document.read_text(encoding="utf-8"))
            targets = ((document.parent / link.partition("#")[0]).resolve() for link in links)
            waiting += [target for target in targets if target.is_file()]
    assert [str(path.relative_to(ROOT)) for path in DOCUMENTS if path not in seen] == []


def test_every_path_that_a_document_names_is_there() -> None:
    """Documents explain the tree by its names; a renamed file must take its explanation along."""
    pattern = re.compile(r"`((?:domain|adapters|workers|migrations|tests|bench|docs|\.ci)/[\w./-]+)`")
    missing = [f"{document.relative_to(ROOT)}: {name}" for document in DOCUMENTS
               for name in pattern.findall(document.read_text(encoding="utf-8")) if not (ROOT / name).exists()]
    assert missing == []


_SHOWN = re.compile(r"^(?:\$ )?(.*\blading .*)$", re.MULTILINE)
_NAMED = re.compile(r"`lading ([a-z][^`]*)`")
_DAEMON = ("start", "stop", "status")


def verb_of(words: list[str]) -> tuple[Verb | None, list[str]]:
    """The verb that is meant, and the words behind it."""
    below = NOUNS[words[0]][1] if words[0] in NOUNS else VERBS
    spelled = words[1:] if words[0] in NOUNS else words
    return (below.get(spelled[0]) if spelled else None), spelled[1:]


def typed(line: str) -> Iterator[list[str]]:
    """What follows `lading` in each part of a line of shell."""
    words: list[str] = []
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    for word in [*reader, ";"]:
        if word.strip("|&;<>()"):
            words.append(word)
            continue
        if words[:1] == ["lading"]:
            yield words[1:]
        words = []


def commands(text: str) -> Iterator[tuple[list[str], bool]]:
    """The command lines in a document, and whether they are whole: those in blocks can be typed as they are."""
    for block in _CODE.findall(text):
        yield from ((words, True) for line in _SHOWN.findall(block) for words in typed(line))
    yield from ((line.split(), False) for line in _NAMED.findall(_CODE.sub("", text)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_document_shows_can_be_typed(document: Path) -> None:
    """A newcomer copies it: the verb exists, its options are its own, and it gets as many arguments as it wants."""
    for words, whole in commands(document.read_text(encoding="utf-8")):
        if words[0] == "daemon":
            assert words[1] in _DAEMON, words
            continue
        verb, rest = verb_of(address(words)[1])
        assert verb is not None, words
        count = len(parse(verb.options, rest, interspersed=verb.interspersed).arguments) if whole else verb.least
        assert verb.least <= count <= (count if verb.most is None else verb.most), words
