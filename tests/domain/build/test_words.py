"""Words of a Dockerfile: every form of substitution, by table and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.build.words import BadWord, Values, expand, expand_body, expand_words, raw_words

KNOWN = {"x": "foo.bar.foo", "e": "", "p": "/usr/local/lib", "name": "web", "sp": "a b  c"}
CASES = [
    ("plain", "plain"),
    ("$x", "foo.bar.foo"),
    ("${x}y", "foo.bar.fooy"),
    ("$xy", ""),
    ("$name-1", "web-1"),
    (r"\$x", "$x"),
    (r"\\$name", "\\web"),
    ("'$x'", "$x"),
    ('"$name"', "web"),
    (r'"\$name"', "$name"),
    (r'"a\b"', r"a\b"),
    (r"a\b", "ab"),
    ("a'b c'd", "ab cd"),
    ("$", "$"),
    ("a$ b", "a$ b"),
    ("$1", ""),
    ("${u:-word}", "word"),
    ("${u-word}", "word"),
    ("${e:-word}", "word"),
    ("${e-word}", ""),
    ("${x:+word}", "word"),
    ("${e:+word}", ""),
    ("${e+word}", "word"),
    ("${u+word}", ""),
    ("${u:-$name}", "web"),
    ("${u:-${v:-deep}}", "deep"),
    ("${u:-'a}b'}", "a}b"),
    ('${u:-"a b"}', "a b"),
    ("${x:?no}", "foo.bar.foo"),
    ("${x#*.}", "bar.foo"),
    ("${x##*.}", "foo"),
    ("${x%.*}", "foo.bar"),
    ("${x%%.*}", "foo"),
    ("${x#foo}", ".bar.foo"),
    ("${x#nothing}", "foo.bar.foo"),
    ("${x%foo}", "foo.bar."),
    ("${p##*/}", "lib"),
    ("${p%/*}", "/usr/local"),
    ("${x#???}", ".bar.foo"),
    (r"${x#\*}", "foo.bar.foo"),
    ("${x/foo/one}", "one.bar.foo"),
    ("${x//foo/one}", "one.bar.one"),
    ("${x/foo}", ".bar.foo"),
    ("${x//o/}", "f.bar.f"),
    ("${x/b*o/}", "foo."),
    (r"${p//\//_}", "_usr_local_lib"),
    ("${x/$name/n}", "foo.bar.foo"),
    ("${name/w/$e}", "eb"),
]
WRONG = ["${x", "${", "${}", "${x:", "${x:=y}", "${x^}", "${u:?}", "${u?gone}", "'open", '"open', "${x/foo/one"]


@pytest.mark.parametrize(("text", "meant"), CASES)
def test_a_word_means_what_a_shell_makes_of_it(text: str, meant: str) -> None:
    """Each form once."""
    assert expand(text, Values(KNOWN)) == meant


@pytest.mark.parametrize("text", WRONG)
def test_a_word_that_is_not_whole_is_refused(text: str) -> None:
    """Half a substitution is a mistake, never text."""
    with pytest.raises(BadWord):
        expand(text, Values(KNOWN))


def test_an_error_of_the_writer_s_own_is_told_in_his_words() -> None:
    """`${name:?text}` exists for that."""
    with pytest.raises(BadWord, match="u: set it with --build-arg"):
        expand("${u:?set it with --build-arg}", Values(KNOWN))


def test_another_escape_leaves_backslashes_alone() -> None:
    """`# escape=`` ` is for paths of another system."""
    assert expand(r"C:\dir`$x", Values(KNOWN), escape="`") == r"C:\dir$x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("80 443", ["80", "443"]),
        ("$sp", ["a", "b", "c"]),
        ('"$sp"', ["a b  c"]),
        ("x$sp", ["xa", "b", "c"]),
        ("''", [""]),
        ("$e", []),
        ("  ", []),
        (r"a\ b", ["a b"]),
    ],
)
def test_blanks_of_a_value_separate_words_outside_of_quotes(text: str, words: list[str]) -> None:
    """`EXPOSE $PORTS` with two of them exposes two."""
    assert expand_words(text, Values(KNOWN)) == words


def test_a_here_document_keeps_its_quotes() -> None:
    """It is a file, not a word."""
    assert expand_body("say \"$name\" '$name' \\$name \\\\ \\n\n", Values(KNOWN)) == (
        "say \"web\" 'web' $name \\ \\n\n"
    )


def test_a_value_that_doubles_itself_is_stopped() -> None:
    """Twenty lines would fill any memory."""
    with pytest.raises(BadWord, match="longer than"):
        expand("$a$a", Values({"a": "x" * 700_000}))


def test_nesting_has_an_end() -> None:
    """Recursion is bounded by a rule and not by the interpreter."""
    with pytest.raises(BadWord, match="nested"):
        expand("${a:-" * 500 + "}" * 500, Values({}))


def test_what_was_looked_up_is_known() -> None:
    """Arguments that nothing asks for are told to the user."""
    values = Values(KNOWN)
    expand("$name ${u:-$x}", values)
    assert values.used == {"name", "u", "x"}


@given(st.text(alphabet="abc*?.\\/", max_size=12), st.text(alphabet="abc./", max_size=12))
def test_cutting_gives_a_part_of_the_value(pattern: str, value: str) -> None:
    """Whatever the pattern, a beginning or an end is cut off and nothing else, and the longest is never shorter."""
    known = Values({"v": value, "q": "x"})
    quoted = pattern.replace("\\", "\\\\").replace("}", "")
    short, long = expand(f"${{v#{quoted}}}", known), expand(f"${{v##{quoted}}}", known)
    assert value.endswith(short)
    assert short.endswith(long)
    short, long = expand(f"${{v%{quoted}}}", known), expand(f"${{v%%{quoted}}}", known)
    assert value.startswith(short)
    assert short.startswith(long)


@given(st.text(max_size=40))
def test_any_text_is_a_word_or_refused(text: str) -> None:
    """Nothing else may come out of foreign text."""
    try:
        expand(text, Values(KNOWN))
    except BadWord:
        return


@given(st.text(alphabet="ab \t'\"\\", max_size=30))
def test_raw_words_stand_where_they_say(text: str) -> None:
    """Columns of errors depend on it."""
    for word, offset in raw_words(text):
        assert text[offset : offset + len(word)] == word
        assert word.strip()


@given(st.text(alphabet="ab$'\"\\ {}", max_size=20))
def test_single_quotes_protect_everything(text: str) -> None:
    """The one form without any exception."""
    plain = text.replace("'", "")
    assert expand(f"'{plain}'", Values({"a": "1"})) == plain
