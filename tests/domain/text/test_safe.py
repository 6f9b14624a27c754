"""Foreign text must not steer a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.text.safe import quoted, safe, safe_block, safe_json

TEXT = st.text(st.characters(codec=None))  # lone surrogates included


def obeyed(text: str, *, allowed: str = "") -> list[str]:
    """The characters that a terminal could obey."""
    return [
        c for c in text if c not in allowed and (ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066\u2028\u200f")
    ]


@given(TEXT)
def test_no_character_that_a_terminal_obeys_gets_through(text: str) -> None:
    """A name or label is data, whatever is in it."""
    assert obeyed(safe(text)) == []
    assert obeyed(safe_block(text), allowed="\n\t") == []
    safe(text).encode()


@given(TEXT)
def test_what_is_quoted_is_one_line_between_quotes(text: str) -> None:
    """A command in a list."""
    written = quoted(text)
    assert obeyed(written) == []
    assert written[0] == written[-1] == '"'
    assert '"' not in written[1:-1].replace("\\\\", "").replace('\\"', "")


@given(TEXT)
def test_making_safe_twice_changes_nothing(text: str) -> None:
    """Text may pass through several hands."""
    assert safe(safe(text)) == safe(text)


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"])))
def test_letters_and_signs_stay_as_they_are(text: str) -> None:
    """Names in any script are readable."""
    assert safe(text) == text


@given(TEXT)
def test_json_is_safe_and_reads_back_exactly(text: str) -> None:
    """Scripts get the exact value, a terminal nothing to obey."""
    written = safe_json({"x": text})
    assert obeyed(written) == []
    written.encode()
    assert json.loads(written)["x"].encode("utf-8", "surrogatepass") == text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b2J", "\\x9b2J"),
        ("abc\u202edef", "abc\\u202edef"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\xe9"),
        ("\x7f", "\\x7f"),
    ],
)
def test_what_is_escaped_is_still_recognised(text: str, shown: str) -> None:
    """A person sees that something odd is in the name."""
    assert safe(text) == shown
