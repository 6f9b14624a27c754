"""Options: every spelling that fingers know, and what is told when one is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.options import (
    OptionError,
    UnsupportedError,
    alias,
    flag,
    many,
    nearest,
    number,
    one,
    parse,
    refused,
)

TIMEOUT = number("timeout", "t", "Seconds")
TABLE = (
    flag("force", "f", "Force"),
    flag("interactive", "i", "Keep stdin"),
    flag("sig-proxy", "", "Pass signals", default=True),
    many("env", "e", "Variable"),
    one("name", "", "Name"),
    one("workdir", "w", "Directory", default="/"),
    TIMEOUT,
    alias("time", TIMEOUT),
    *refused("-m/--memory= --privileged -p/--publish="),
)


@pytest.mark.parametrize(
    ("argv", "given"),
    [
        (["-f"], {"force": ("true",)}),
        (["-if"], {"interactive": ("true",), "force": ("true",)}),
        (["--force=false"], {"force": ("false",)}),
        (["-f=false"], {"force": ("false",)}),
        (["--force=T", "--force=0"], {"force": ("true", "false")}),
        (["-e", "A=1"], {"env": ("A=1",)}),
        (["-eA=1"], {"env": ("A=1",)}),
        (["-e=A=1"], {"env": ("A=1",)}),
        (["--env", "A=1", "--env=B=2"], {"env": ("A=1", "B=2")}),
        (["-fe", "A=1"], {"force": ("true",), "env": ("A=1",)}),
        (["-e", "-f"], {"env": ("-f",)}),
        (["--name="], {"name": ("",)}),
        (["--name", "--force"], {"name": ("--force",)}),
        (["-t", "-1"], {"timeout": ("-1",)}),
        (["-t5"], {"timeout": ("5",)}),
        (["--time", "+7"], {"timeout": ("7",)}),
        ([], {}),
    ],
)
def test_every_gnu_spelling_is_read(argv: list[str], given: dict[str, tuple[str, ...]]) -> None:
    """Scripts use all of them."""
    assert dict(parse(TABLE, argv).given) == given


def test_values_have_defaults_and_the_last_one_counts() -> None:
    """As everywhere."""
    parsed = parse(TABLE, ["--name", "a", "--name", "b"])
    assert (parsed.one("name"), parsed.one("workdir"), parsed.text("missing")) == ("b", "/", "")
    assert (parsed.flag("sig-proxy"), parsed.flag("force")) == (True, False)
    assert (parsed.number("timeout"), parsed.many("env")) == (None, ())
    assert parse(TABLE, ["--sig-proxy=false"]).flag("sig-proxy") is False


def test_an_alias_counts_as_what_it_stands_for_and_is_noticed() -> None:
    """A deprecated spelling gets its note."""
    parsed = parse(TABLE, ["--time", "3"])
    assert parsed.number("timeout") == 3
    assert "time" in parsed.spelled


def test_options_may_follow_arguments_unless_the_first_one_ends_them() -> None:
    """`rm web --force` and `run image --force` mean different things."""
    assert parse(TABLE, ["a", "--force", "b"]).arguments == ("a", "b")
    apart = parse(TABLE, ["-f", "image", "--force", "-x"], interspersed=False)
    assert apart.arguments == ("image", "--force", "-x")


def test_two_dashes_end_the_options() -> None:
    """Names may begin with a dash."""
    assert parse(TABLE, ["-f", "--", "-f", "--"]).arguments == ("-f", "--")
    assert parse(TABLE, ["--", "a", "-f"], interspersed=False).arguments == ("a", "-f")


def test_a_single_dash_is_an_argument() -> None:
    """It stands for stdin."""
    assert parse(TABLE, ["-", "-f"]).arguments == ("-",)


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["--forse"], "unknown flag: --forse", "did you mean --force?"),
        (["--zzzzz"], "unknown flag: --zzzzz", ""),
        (["-x"], "unknown shorthand flag: 'x' in -x", ""),
        (["-fx"], "unknown shorthand flag: 'x' in -fx", ""),
        (["-name"], "unknown shorthand flag: 'n' in -name", "did you mean --name?"),
        (["--env"], "flag needs an argument: --env", ""),
        (["-e"], "flag needs an argument: 'e' in -e", ""),
        (["--force=maybe"], 'invalid argument "maybe" for "-f, --force" flag: true or false is expected', ""),
        (["-t", "x"], 'invalid argument "x" for "-t, --timeout" flag: a whole number is expected', ""),
        (["-t", "1.5"], 'invalid argument "1.5" for "-t, --timeout" flag: a whole number is expected', ""),
        (["-t", "9" * 19], f'invalid argument "{"9" * 19}" for "-t, --timeout" flag: the number is out of range', ""),
        (["--"[:2] + "=x"], "unknown flag: --", ""),
    ],
)
def test_what_cannot_be_read_is_named_with_the_nearest_option(argv: list[str], message: str, hint: str) -> None:
    """A typo costs one look, not a page of usage."""
    with pytest.raises(OptionError) as caught:
        parse(TABLE, argv)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    "argv", [["-m", "1g"], ["--memory=1g"], ["-m1g"], ["--privileged"], ["-fp", "80:80"], ["--publish", "1"]]
)
def test_an_option_without_effect_is_refused_by_name(argv: list[str]) -> None:
    """Nobody may believe in a limit that is not there."""
    with pytest.raises(UnsupportedError, match="is not supported by this version of lading"):
        parse(TABLE, argv)


def test_what_is_refused_is_never_suggested() -> None:
    """A suggestion must work."""
    with pytest.raises(OptionError) as caught:
        parse(TABLE, ["--memori"])
    assert caught.value.hint == ""
    assert nearest("stp", ["stop", "start"]) == "did you mean stop?"


WORD = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8)


@given(
    st.lists(st.one_of(WORD, st.sampled_from(["-f", "--env", "-e", "--", "-", "-t", "--name=x", "-fe"])), max_size=8),
    st.booleans(),
)
def test_no_command_line_makes_the_reader_stumble(argv: list[str], interspersed: bool) -> None:
    """Read or refused; and no word gets lost or doubled."""
    try:
        parsed = parse(TABLE, argv, interspersed=interspersed)
    except OptionError:
        return
    assert len(parsed.arguments) + sum(len(values) for values in parsed.given.values()) <= sum(len(w) + 1 for w in argv)
    assert [word for word in parsed.arguments if word not in argv] == []


@given(st.lists(st.tuples(st.sampled_from(["-e", "--env"]), WORD), max_size=5), st.lists(WORD, max_size=4))
def test_values_and_arguments_arrive_unchanged(pairs: list[tuple[str, str]], arguments: list[str]) -> None:
    """Any bytes may be in them."""
    parsed = parse(TABLE, [*(word for pair in pairs for word in pair), "--", *arguments])
    assert parsed.many("env") == tuple(value for _, value in pairs)
    assert parsed.arguments == tuple(arguments)
