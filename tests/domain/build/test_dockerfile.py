"""From text to instructions, by tables: what is read, and what is refused at which place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.build.dockerfile import parse, parse_trigger
from domain.build.instructions import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    OnBuild,
    Run,
    Shell,
    Volume,
    Words,
    Workdir,
)
from domain.build.lines import decoded
from domain.build.places import Misread
from domain.errors import InvalidValue


def one(text: str, kind: type[Instruction]) -> Instruction:
    """The instruction of a Dockerfile that has only this one beside FROM."""
    found = parse(f"FROM a\n{text}").instructions[1]
    assert isinstance(found, kind)
    return found


def test_comments_and_empty_lines_are_nothing() -> None:
    """Also those with blanks before them."""
    found = parse("# one\n\n   # two\nFROM a\n\t\n#three")
    assert [type(i) for i in found.instructions] == [From]
    assert found.instructions[0].place.line == 4


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("RUN a \\\n  b", "a   b"),
        ("RUN a \\  \n b", "a  b"),
        ("RUN a \\\n# comment\n b", "a  b"),
        ("RUN a \\\n   # comment\n b", "a  b"),
        ("RUN a \\\n\n b", "a  b"),
        ("RUN a \\", "a"),
        ("RUN a \\\r\n b\r\n", "a  b"),
        ("RUN a\\\\\nRUN c", "a\\\\"),
        ("  RUN   a  b  ", "a  b"),
        ("run a", "a"),
        ("RUN a # no comment", "a # no comment"),
    ],
)
def test_a_line_goes_on_after_an_escape(text: str, command: str) -> None:
    """Comments inside vanish, blanks before what goes on stay."""
    found = one(text, Run)
    assert isinstance(found, Run)
    assert found.command == Words((command,))


def test_directives_stand_first() -> None:
    """After any other line they are comments."""
    assert parse("# escape=`\nFROM a\nRUN x `\n y").instructions[1].text == "RUN x  y"
    assert parse("# syntax=docker/dockerfile:1\n# escape = `\nFROM a").escape == "`"
    assert parse("# hello\n# escape=`\nFROM a").escape == "\\"
    assert parse("\n# escape=`\nFROM a").escape == "\\"
    assert parse("# caf\udce9\nFROM a\nRUN x\\\n# caf\udce9\n y").instructions[1].text == "RUN x y"


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("# escape=x\nFROM a", "Dockerfile:1:10", "invalid escape 'x'"),
        ("# escape=`\n# escape=`\nFROM a", "Dockerfile:2:1", "only one escape parser directive"),
        ("FROM a\nRNU x", "Dockerfile:2:1", "unknown instruction: RNU (did you mean RUN?)"),
        ("FROM a\n\n  COPPY x y", "Dockerfile:3:3", "unknown instruction: COPPY (did you mean COPY?)"),
        ("FROM a\nzzzzz", "Dockerfile:2:1", "unknown instruction: zzzzz"),
        ("FROM a\nCOPY --chwon=1 x y", "Dockerfile:2:6", "unknown flag: --chwon for COPY (did you mean --chown?)"),
        ("FROM a\nCOPY \\\n  --form=b x y", "Dockerfile:3:3", "(did you mean --from?)"),
        ("FROM a\nCOPY --chown x y", "Dockerfile:2:6", "--chown needs a value"),
        ("FROM a\nCOPY --chown=1 --chown=2 x y", "Dockerfile:2:16", "--chown is given twice"),
        ("FROM a\nCOPY --link=maybe x y", "Dockerfile:2:6", "--link is true or false"),
        ("FROM a\nCOPY x", "Dockerfile:2:6", "COPY requires at least two arguments"),
        ("FROM a\nLABEL x=\\\n  k\udce9", "Dockerfile:3:4", "byte 0xe9 is not UTF-8"),
        ("FROM a\nCOPY <<E /x\none\nk\udce9\nE", "Dockerfile:4:2", "byte 0xe9 is not UTF-8"),
        ("FROM a\nRUN", "Dockerfile:2:1", "RUN requires at least one argument"),
        ("FROM a b", "Dockerfile:1:6", "FROM requires either one or three arguments"),
        ("FROM a AS 1x", "Dockerfile:1:11", "invalid name for build stage"),
        ("FROM a\nENV x", "Dockerfile:2:5", "ENV must have two arguments"),
        ("FROM a\nENV a=1 b", "Dockerfile:2:9", "can't find = in b"),
        ("FROM a\nENV =1", "Dockerfile:2:5", "names can not be blank"),
        ("FROM a\nSHELL bash", "Dockerfile:2:7", "SHELL requires the arguments to be in JSON form"),
        ("FROM a\nUSER a b", "Dockerfile:2:8", "requires exactly one argument"),
        ("FROM a\nHEALTHCHECK CDM x", "Dockerfile:2:13", 'Unknown type "CDM" in HEALTHCHECK (try CMD) (did you mean'),
        ("FROM a\nHEALTHCHECK --retries=0 CMD x", "Dockerfile:2:13", "--retries must be at least 1"),
        ("FROM a\nHEALTHCHECK --interval=1 CMD x", "Dockerfile:2:13", "--interval: invalid duration"),
        ("FROM a\nHEALTHCHECK NONE x", "Dockerfile:2:13", "takes no arguments"),
        ("FROM a\nONBUILD FROM b", "Dockerfile:2:9", "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a\nONBUILD ONBUILD RUN x", "Dockerfile:2:9", "Chaining ONBUILD"),
        ("FROM a\nONBUILD RNU x", "Dockerfile:2:9", "unknown instruction: RNU"),
        ("FROM a\nRUN <<EOF\nx\n", "Dockerfile:2:5", "unterminated heredoc"),
        ("FROM a\nRUN --network=hots x", "Dockerfile:2:5", "unknown network: hots (did you mean host?)"),
        ("FROM a\nRUN --security=insecure x", "Dockerfile:2:5", "is not allowed"),
        ("FROM a\nRUN --mount=type=cahce,target=/x y", "Dockerfile:2:5", "(did you mean cache?)"),
        ("FROM a\nRUN --mount=tpye=cache y", "Dockerfile:2:5", "unknown key in --mount: tpye (did you mean type?)"),
        ("FROM a\nRUN --mount=target=/x,bind-propagation=shared y", "Dockerfile:2:5", "unknown key in --mount: bind-"),
        ("FROM a\nRUN --mount=target=/x,relabel=shared y", "Dockerfile:2:5", "unknown key in --mount: relabel"),
        ("FROM a\nRUN --network=container:x y", "Dockerfile:2:5", "unknown network: container:x"),
        ("FROM a\nRUN --device=x y", "Dockerfile:2:5", "--device is not supported"),
        ("FROM a\nCMD --x y", "Dockerfile:2:5", "unknown flag: --x for CMD"),
        ("FROM a\nVOLUME [\"\"]", "Dockerfile:2:8", "can not be an empty string"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_place(text: str, place: str, says: str) -> None:
    """File, line and column, and the nearest right spelling. Among it is what elsewhere reached mount(2), or gave
    rights, unseen: the propagation of a mount (CVE-2024-9407), a step that is not confined (CVE-2024-23653)."""
    with pytest.raises(Misread) as refusal:
        parse(text)
    assert str(refusal.value).startswith(f"{place}: ")
    assert says in str(refusal.value)


@pytest.mark.parametrize("data", [b"", b"  \n", b"\xef\xbb\xbf \n", b"a" * (5 << 20)])
def test_a_file_that_says_nothing_is_refused(data: bytes) -> None:
    """Or one that is no Dockerfile at all."""
    with pytest.raises(InvalidValue):
        decoded(data, "Dockerfile")


def test_a_nul_byte_is_refused_with_its_line() -> None:
    """It would end an argument in the middle."""
    with pytest.raises(Misread, match="Dockerfile:2:1"):
        decoded(b"FROM a\nRUN \0", "Dockerfile")


def test_a_mark_at_the_beginning_is_nothing() -> None:
    """Editors of another system write it."""
    assert parse(decoded(b"\xef\xbb\xbfFROM a\r\n", "x")).instructions[0].text == "FROM a"


@pytest.mark.parametrize(
    ("text", "words", "exec_"),
    [
        ('CMD ["a", "b c"]', ("a", "b c"), True),
        ("CMD a b", ("a b",), False),
        ("CMD ['a']", ("['a']",), False),
        ("CMD [1]", ("[1]",), False),
        ("CMD []", (), True),
        ('CMD ["a"] b', ('["a"] b',), False),
        ('CMD ["\\u0061"]', ("a",), True),
    ],
)
def test_only_a_json_array_of_texts_is_the_exec_form(text: str, words: tuple[str, ...], exec_: bool) -> None:
    """Everything else is for the shell."""
    found = one(text, Cmd)
    assert isinstance(found, Cmd)
    assert found.command == Words(words, exec=exec_)


def test_single_quotes_in_an_array_are_warned_about() -> None:
    """The commonest trap there is."""
    assert any("double quotes" in line for line in parse("FROM a\nCMD ['a']").warnings)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("ENV a=1 b=2", (("a", "1"), ("b", "2"))),
        ('ENV a="b c" d=e\\ f', (("a", '"b c"'), ("d", "e\\ f"))),
        ("ENV a b c", (("a", "b c"),)),
        ("ENV a=", (("a", ""),)),
        ("ENV a=b=c", (("a", "b=c"),)),
    ],
)
def test_pairs_have_two_forms(text: str, pairs: tuple[tuple[str, str], ...]) -> None:
    """The old one takes all the rest of the line."""
    found = one(text, Env)
    assert isinstance(found, Env)
    assert found.pairs == pairs


def test_an_argument_may_have_no_default() -> None:
    """None is not the empty text."""
    found = one("ARG a b= c=d", Arg)
    assert isinstance(found, Arg)
    assert found.pairs == (("a", None), ("b", ""), ("c", "d"))


def test_flags_come_before_everything_else() -> None:
    """What looks like one later on is an argument."""
    found = one("COPY --from=b --chown=1:2 --exclude=*.o --exclude=x --parents a --b c/", Copy)
    assert isinstance(found, Copy)
    assert (found.source, found.chown, found.exclude, found.parents) == ("b", "1:2", ("*.o", "x"), True)
    assert (found.sources, found.destination) == (("a", "--b"), "c/")


def test_copy_takes_an_array_for_names_with_blanks() -> None:
    """Plain words end at every blank."""
    found = one('COPY ["a b", "c d/"]', Copy)
    assert isinstance(found, Copy)
    assert (found.sources, found.destination) == (("a b",), "c d/")


def test_here_documents_are_read_as_they_are() -> None:
    """No comments, continuations or instructions in them."""
    found = one("RUN <<EOF\n# no comment\na \\\nFROM b\nEOF", Run)
    assert isinstance(found, Run)
    assert found.heredocs[0].text == "# no comment\na \\\nFROM b\n"


def test_several_here_documents_stand_one_after_the_other() -> None:
    """In the order of their names on the line."""
    found = one("COPY <<A <<-'B' /d/\none\nA\n\ttwo\n\tB", Copy)
    assert isinstance(found, Copy)
    assert [(h.name, h.content, h.expands) for h in found.heredocs] == [("A", "one\n", True), ("B", "two\n", False)]


def test_here_documents_go_with_the_instruction_they_are_for() -> None:
    """The next line is read as usual."""
    found = parse("FROM a\nRUN cat <<X > /f\nb\nX\nENV c=d")
    assert [type(i) for i in found.instructions] == [From, Run, Env]
    assert isinstance(parse("FROM a\nENV a='<<X'\nENV b=c").instructions[2], Env)


def test_other_shifts_are_no_here_documents() -> None:
    """Arithmetic, and strings that are given to a command."""
    found = one('RUN echo $((1 << 3)) && cat <<< "x"', Run)
    assert isinstance(found, Run)
    assert found.heredocs == ()


def test_a_trigger_is_kept_with_its_here_documents() -> None:
    """It is read again where somebody builds on the image."""
    found = one("ONBUILD RUN <<E\nx\nE", OnBuild)
    assert isinstance(found, OnBuild)
    again = parse_trigger(found.trigger, "base")
    assert isinstance(again, Run)
    assert again.heredocs[0].text == "x\n"


def test_each_instruction_is_read() -> None:
    """All of them once."""
    text = """FROM --platform=linux/amd64 a AS First
MAINTAINER me
LABEL a=b
EXPOSE 80 443/udp
VOLUME /a /b
VOLUME ["/c d"]
USER 1:2
WORKDIR /a b
STOPSIGNAL 9
SHELL ["/bin/bash", "-c"]
ENTRYPOINT ["x"]
HEALTHCHECK --interval=5s --timeout=1m --retries=3 CMD a b
HEALTHCHECK none
ADD --checksum=sha256:1 --keep-git-dir --unpack=false http://x/y /z
RUN --mount=type=cache,dst=/x --mount=target=/y,src=a,from=b --network=none a
"""
    found = parse(text).instructions
    assert isinstance(found[0], From)
    assert (found[0].name, found[0].platform) == ("first", "linux/amd64")
    assert isinstance(found[2], Label)
    assert isinstance(found[3], Expose)
    assert found[3].ports == ("80", "443/udp")
    assert isinstance(found[5], Volume)
    assert found[5].paths == ("/c d",)
    assert isinstance(found[7], Workdir)
    assert found[7].path == "/a b"
    assert isinstance(found[9], Shell)
    assert isinstance(found[10], Entrypoint)
    assert isinstance(found[11], Healthcheck)
    assert found[11].times == {"Interval": 5_000_000_000, "Timeout": 60_000_000_000, "Retries": 3}
    assert isinstance(found[12], Healthcheck)
    assert found[12].command is None
    assert isinstance(found[13], Copy)
    assert (found[13].keep_git_dir, found[13].unpack) == (True, False)
    assert isinstance(found[14], Run)
    assert dict(found[14].mounts[1].options) == {"target": "/y", "source": "a", "from": "b"}


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """A Dockerfile is foreign text."""
    try:
        parse(text)
        parse("FROM a\n" + text)
    except InvalidValue:
        return


@given(st.lists(st.sampled_from(["RUN", "COPY", "a", "--from=b", "<<E", "E", "\\", "\n", '["x"]', "#", "=", '"']),
                max_size=12))
def test_what_looks_like_a_dockerfile_is_read_or_refused(words: list[str]) -> None:
    """Nearer to the real thing than any text."""
    try:
        parse("FROM a\n" + " ".join(words))
    except InvalidValue:
        return
