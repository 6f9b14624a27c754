"""Help texts as they are: one golden file, so that a change of what users read is seen in review."""

from pathlib import Path

import pytest

from tests.workers.console.fakes import Prompt
from workers.console.commands import NOUNS, VERBS

GOLDEN = Path(__file__).parent / "golden"
SPELLINGS = (
    [[name] for name in VERBS] + [[noun] for noun in NOUNS] + [["container", "inspect"], ["image", "inspect"], []]
    + [["volume", name] for name in NOUNS["volume"][1]] + [["gateway", name] for name in NOUNS["gateway"][1]]
    + [["container", "prune"], ["image", "prune"], ["system", "check"], ["system", "df"], ["system", "prune"]]
)


@pytest.mark.parametrize("words", SPELLINGS, ids=" ".join)
async def test_the_help_text_is_the_one_that_was_reviewed(prompt: Prompt, words: list[str]) -> None:
    """To take over a change: delete the file, write what the command prints, and read it."""
    answer = await prompt.ok(*words, "--help")
    assert answer.out == (GOLDEN / f"{'-'.join(words) or 'lading'}.txt").read_text(encoding="utf-8")


def test_no_golden_file_is_left_behind() -> None:
    """A verb that went away takes its text along."""
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {"-".join(words) or "lading" for words in SPELLINGS}


@pytest.mark.parametrize("words", [[name] for name in VERBS], ids=" ".join)
async def test_every_help_text_teaches(prompt: Prompt, words: list[str]) -> None:
    """Usage, one sentence, what there is, two examples; no line wider than a terminal of 120 columns."""
    answer = await prompt.ok(*words, "--help")
    assert answer.out.startswith(f"Usage:  lading {words[0]}")
    assert answer.lines[2] == VERBS[words[0]].summary
    assert answer.out.count(f"  lading {words[0]}") >= 1
    assert "Examples:" in answer.lines
    assert max(len(line) for line in answer.lines) <= 120
