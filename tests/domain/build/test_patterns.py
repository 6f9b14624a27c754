"""Patterns, and the rules of `.dockerignore` on top of them."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.build.ignore import Rules
from domain.build.patterns import Wrong, edges, ends, matches, may_hold, names, shell


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("a", "a", True),
        ("a", "b/a", False),
        ("*", "a", True),
        ("*", "a/b", False),
        ("*.go", "x.go", True),
        ("*.go", "d/x.go", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("**", "a/b/c", True),
        ("**/c", "c", True),
        ("**/c", "a/b/c", True),
        ("**/c", "a/bc", False),
        ("a/**", "a/b/c", True),
        ("a/**/d", "a/d", True),
        ("a/**/d", "a/b/c/d", True),
        ("a/**/d", "a/bd", False),
        ("**.txt", "a/b.txt", True),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "zx", True),
        ("[]a]", "a", False),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("d[ou]t/*", "dot/x", True),
    ],
)
def test_a_pattern_fits_a_path(pattern: str, path: str, fits: bool) -> None:
    """Stars stop at a slash, two of them do not."""
    try:
        assert matches(names(pattern), path) == fits
    except Wrong:
        assert not fits


@pytest.mark.parametrize("pattern", ["[a", "[", "a\\", "[a-]", "[]"])
def test_half_a_pattern_is_refused(pattern: str) -> None:
    """It could only be guessed what it means."""
    with pytest.raises(Wrong):
        names(pattern)


@given(st.text(alphabet="ab*?/", max_size=8), st.text(alphabet="ab/", max_size=8))
def test_patterns_agree_with_regular_expressions(pattern: str, path: str) -> None:
    """An oracle that is made in another way; `**` is left out, where they would have to agree on more."""
    if "**" in pattern:
        return
    expression = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    assert matches(names(pattern), path) == (re.fullmatch(expression, path) is not None)


@given(st.text(alphabet="ab*?", max_size=8), st.text(alphabet="ab/", max_size=8))
def test_patterns_of_the_shell_agree_with_the_library_s(pattern: str, text: str) -> None:
    """There a star goes past everything."""
    assert (ends(shell(pattern), text)[-1:] == [len(text)]) == fnmatch.fnmatchcase(text, pattern)


@given(st.text(alphabet="ab*?/[]", max_size=8), st.lists(st.sampled_from("ab"), min_size=1, max_size=4))
def test_what_fits_lies_where_it_may(pattern: str, parts: list[str]) -> None:
    """Whoever does not go into a directory must not miss anything, and the edges must hold."""
    try:
        elements = names(pattern)
    except Wrong:
        return
    path = "/".join(parts)
    if matches(elements, path):
        begin, end = edges(elements)
        assert path.startswith(begin)
        assert path.endswith(end)
        for depth in range(1, len(parts)):
            assert may_hold(elements, "/".join(parts[:depth]))


def test_a_pattern_cannot_keep_the_engine_busy() -> None:
    """Backtracking would need longer than the universe is old."""
    assert not matches(names("*a" * 30 + "b"), "a" * 200)
    assert not matches(names("**/a/" * 15 + "b"), "a/" * 60 + "c")


@pytest.mark.parametrize(
    ("lines", "path", "hidden"),
    [
        ("", "a", False),
        ("# a", "a", False),
        ("a", "a", True),
        ("/a", "a", True),
        ("a/", "a/b/c", True),
        ("a", "b/a", False),
        ("**/a", "b/a", True),
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README.md", "other.md", True),
        ("!README.md\n*.md", "README.md", True),
        ("*\n!**/*.py", "x.py", False),
        ("*\n!**/*.py", "d/e/x.py", False),
        ("*\n!**/*.py", "d/e/x.c", True),
        ("*\n!src", "src/a/b", False),
        ("docs\n!docs/keep", "docs/keep/x", False),
        ("docs\n!docs/keep", "docs/other", True),
        ("./a/../b", "b", True),
        ("  spaced  ", "spaced", True),
        (" # no comment", "# no comment", True),
        (".", "a", False),
        ("\ufeffa", "a", True),
        ("a\r\nb\r\n", "b", True),
        ("!", "a", False),
    ],
)
def test_the_last_line_that_fits_decides(lines: str, path: str, hidden: bool) -> None:
    """Also where a later line brings back what is below a directory that is hidden."""
    assert Rules(lines).hides(path) == hidden


@given(
    st.lists(st.sampled_from(["*", "a", "!a", "a/b", "!a/b", "**/b", "!**/b", "a/*", "!a/*", "b*"]), max_size=5),
    st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4),
)
def test_nothing_is_missed_in_a_directory_that_is_not_entered(lines: list[str], parts: list[str]) -> None:
    """`hides_all` may only be said of a directory in which nothing is left."""
    rules = Rules("\n".join(lines))
    path = "/".join(parts)
    for depth in range(1, len(parts)):
        if rules.hides_all("/".join(parts[:depth])):
            assert rules.hides(path)


def test_the_line_that_hides_is_known() -> None:
    """An error names it."""
    rule = Rules("# first\nnode_modules\ndist").verdict("dist/app.js")
    assert rule is not None
    assert (rule.number, rule.text) == (3, "dist")
