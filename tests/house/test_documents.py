"""Documents point at things that are there."""

import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files

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
