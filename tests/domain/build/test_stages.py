"""Stages, arguments, and what each instruction makes of the configuration."""

from collections.abc import Mapping

import pytest

from domain.build.dockerfile import parse
from domain.build.places import Misread
from domain.build.scope import DEFAULT_PATH, Bring, Done, Enter, Execute, Scope, begin
from domain.build.stages import Arguments, Plan, plan, platform_arguments, unused
from domain.errors import InvalidValue, NotFound
from domain.images.config import Settings


def planned(text: str, target: str = "", **given: str) -> Plan:
    """The plan of a Dockerfile with these --build-arg."""
    return plan(parse(text), Arguments(given, platform_arguments("linux/amd64", "linux/amd64")), target)


def carried(body: str, settings: Settings | None = None, **given: str) -> tuple[Scope, list[Done]]:
    """The scope after all instructions of one stage, and each of them."""
    whole = planned(f"FROM a\n{body}", **given)
    scope, done = begin(settings or Settings()), []
    arguments = Arguments(given, platform_arguments("linux/amd64", "linux/amd64"))
    for instruction in whole.stages[0].body:
        done.append(scope.after(instruction, whole, arguments))
        scope = done[-1].scope
    return scope, done


def test_an_image_without_a_path_gets_one() -> None:
    """So that it can be extended; the image's own is left alone."""
    assert begin(Settings()).settings.env == (DEFAULT_PATH,)
    assert begin(Settings(env=("A=1", "PATH=/own"))).settings.env == ("A=1", "PATH=/own")
    assert carried("ENV PATH=$PATH:/opt")[0].settings.env == (f"{DEFAULT_PATH}:/opt",)


def run_of(body: str, **given: str) -> Execute:
    """The last RUN."""
    work = carried(body, None, **given)[1][-1].work
    assert isinstance(work, Execute)
    return work


def variables(body: str, **given: str) -> Mapping[str, str]:
    """The environment of the last RUN, without the path."""
    env = dict(item.partition("=")[::2] for item in run_of(body, **given).env)
    env.pop("PATH")
    return env


def test_what_a_file_says_about_its_own_reader_is_neither_pulled_nor_run() -> None:
    """Elsewhere that is a program from an image, and what it asks the builder for was believed (CVE-2026-33747)."""
    found = planned("# syntax=evil.example/frontend\nFROM a\nRUN x", BUILDKIT_SYNTAX="evil.example/other")
    assert [image.name for image in found.images] == ["a"]


THREE = "FROM a AS one\nRUN x\nFROM b AS two\nCOPY --from=one /x /y\nFROM c AS three\nCOPY --from=0 /x /y\nFROM d"


@pytest.mark.parametrize(
    ("target", "needed"), [("", (3,)), ("one", (0,)), ("TWO", (0, 1)), ("three", (0, 2)), ("2", (0, 2))]
)
def test_only_what_the_target_needs_is_built(target: str, needed: tuple[int, ...]) -> None:
    """By name in any case, or by number."""
    assert planned(THREE, target).needed == needed


def test_stages_know_what_has_to_be_done_before_them() -> None:
    """Through their base, their files and their mounts; what is independent may be done at the same time."""
    text = "FROM a AS x\nFROM a AS y\nFROM x AS z\nRUN --mount=from=y,target=/m c\n"
    found = planned(text)
    assert found.before == {0: (), 1: (), 2: (0, 1)}


def test_a_stage_wins_over_an_image_and_the_last_of_a_name_over_earlier_ones() -> None:
    """`FROM x` after two stages called x is the second one."""
    found = planned("FROM a AS x\nFROM b AS x\nFROM x")
    assert found.stages[2].base.stage == 1
    assert found.needed == (1, 2)
    assert planned("FROM a\nCOPY --from=busybox /x /y").before == {0: ()}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("RUN x", "no build stage in current context"),
        ("ARG a", "no build stage in current context"),
        ("FROM a AS x\nCOPY --from=y /a /b\nFROM b AS y", "comes later"),
        ("FROM a AS x\nCOPY --from=x /a /b", "comes later"),
        ("FROM a\nCOPY --from=3 /a /b", "there is no stage 3"),
        ("FROM $nothing", "should not be blank"),
        ("FROM ${a", "Dockerfile:1:1"),
    ],
)
def test_what_cannot_be_built_is_refused(text: str, says: str) -> None:
    """Before anything is done."""
    with pytest.raises(InvalidValue, match=says.replace("$", r"\$")):
        planned(text)


def test_a_target_that_is_not_there_is_refused_with_the_nearest() -> None:
    """A typo of a name is easy to mend."""
    with pytest.raises(NotFound, match=r'target stage "tow" could not be found \(did you mean two\?\)'):
        planned(THREE, "tow")


def test_arguments_before_the_first_stage_are_for_from_alone() -> None:
    """Unless a stage asks for them."""
    assert planned("ARG v=1\nARG w=$v.2\nFROM a:$w").stages[0].base.image == "a:1.2"
    assert planned("ARG v=1\nFROM a:$v", v="9").stages[0].base.image == "a:9"
    whole = planned("ARG v=1\nFROM a\nENV x=$v\nARG v\nENV y=$v\nARG v=own\nENV z=$v")
    scope = begin(Settings())
    for instruction in whole.stages[0].body:
        scope = scope.after(instruction, whole, Arguments()).scope
    assert scope.settings.env == (DEFAULT_PATH, "x=", "y=1", "z=own")


@pytest.mark.parametrize(
    ("body", "given", "found"),
    [
        ("ARG a=1\nRUN x", {}, {"a": "1"}),
        ("ARG a=1\nRUN x", {"a": "2"}, {"a": "2"}),
        ("ARG a\nRUN x", {}, {}),
        ("ARG a=\nRUN x", {}, {"a": ""}),
        ("RUN x", {"a": "2"}, {}),
        ("ARG a=1\nARG b=$a$a\nRUN x", {}, {"a": "1", "b": "11"}),
        ("ARG a=1\nENV a=env\nRUN x", {"a": "2"}, {"a": "env"}),
        ("ENV a=env\nARG a=1\nRUN x", {"a": "2"}, {"a": "env"}),
        ("ENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\nRUN x", {}, {"abc": "bye", "def": "hello", "ghi": "bye"}),
        ("ARG TARGETARCH\nARG BUILDPLATFORM\nRUN x", {}, {"TARGETARCH": "amd64", "BUILDPLATFORM": "linux/amd64"}),
        ("RUN x", {"HTTP_PROXY": "p"}, {"HTTP_PROXY": "p"}),
        ("ENV a='$x' b=\"$x\" c=\\$x\nRUN x", {}, {"a": "$x", "b": "", "c": "$x"}),
    ],
)
def test_who_gives_a_variable_its_value(body: str, given: dict[str, str], found: dict[str, str]) -> None:
    """ENV beats the command line, that beats a default, and what nobody declares is not there."""
    assert variables(body, **given) == found


def test_arguments_go_on_in_a_stage_on_this_one() -> None:
    """They end with the stage for all others."""
    scope, _ = carried("ARG a=1")
    assert begin(scope.settings, scope.arguments).values["a"] == "1"
    assert "a" not in begin(scope.settings).values


def test_proxies_reach_commands_but_neither_history_nor_keys() -> None:
    """They are about this place, not about the image."""
    scope, done = carried("RUN x", None, HTTPS_PROXY="p")
    assert isinstance(done[0].work, Execute)
    assert done[0].work.proxies == ("HTTPS_PROXY",)
    assert "p" not in done[0].created_by.split()
    assert scope.settings.env == (DEFAULT_PATH,)


def test_arguments_stand_in_the_history_of_a_command() -> None:
    """As the industry writes them."""
    assert carried("ARG v=1\nRUN make")[1][1].created_by == "|1 v=1 /bin/sh -c make"


def test_arguments_that_nothing_asks_for_are_told() -> None:
    """A typo there has no other sign."""
    found = planned("ARG a\nFROM x\nARG b", a="1", b="2", c="3", HTTP_PROXY="4")
    assert unused(found, Arguments({"a": "1", "b": "2", "c": "3", "HTTP_PROXY": "4"})) == ("c",)


@pytest.mark.parametrize(
    ("body", "key", "value"),
    [
        ("WORKDIR /a\nWORKDIR b\nWORKDIR ../c", "WorkingDir", "/a/c"),
        ("ENV d=/x\nWORKDIR $d/y", "WorkingDir", "/x/y"),
        ("USER $u\nUSER 5:6", "User", "5:6"),
        ("LABEL a=1 b=\"two words\"\nLABEL a=3", "Labels", {"a": "3", "b": "two words"}),
        ("EXPOSE 80\nENV p='90 91/udp'\nEXPOSE $p 100-102", "ExposedPorts", {
            f"{p}": {} for p in ("80/tcp", "90/tcp", "91/udp", "100/tcp", "101/tcp", "102/tcp")}),
        ("VOLUME /a /b/../c\nVOLUME [\"/d e\"]", "Volumes", {"/a": {}, "/c": {}, "/d e": {}}),
        ("STOPSIGNAL $s\nSTOPSIGNAL SIGINT", "StopSignal", "SIGINT"),
        ("CMD a $b", "Cmd", ["/bin/sh", "-c", "a $b"]),
        ('CMD ["a", "$b"]', "Cmd", ["a", "$b"]),
        ('SHELL ["/bin/bash", "-ec"]\nCMD a', "Cmd", ["/bin/bash", "-ec", "a"]),
        ("ENTRYPOINT a", "Entrypoint", ["/bin/sh", "-c", "a"]),
        ("HEALTHCHECK CMD a b", "Healthcheck", {"Test": ["CMD-SHELL", "a b"]}),
        ('HEALTHCHECK --retries=2 CMD ["a"]', "Healthcheck", {"Test": ["CMD", "a"], "Retries": 2}),
        ("HEALTHCHECK CMD a\nHEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}),
        ("ONBUILD COPY . /x\nONBUILD RUN y", "OnBuild", ["COPY . /x", "RUN y"]),
        ("ENV PATH=/x:$PATH", "Env", ["PATH=/x:/bin"]),
    ],
)
def test_the_configuration_after_instructions(body: str, key: str, value: object) -> None:
    """One key of what the image's document says."""
    settings = Settings(env=("PATH=/bin",))
    assert carried(body, settings)[0].settings.document()[key] == value


def test_an_entrypoint_takes_away_a_command_that_was_meant_for_another() -> None:
    """But not one of the same file."""
    inherited = Settings(command=("old",))
    assert carried("ENTRYPOINT a", inherited)[0].settings.command is None
    assert carried('CMD ["b"]\nENTRYPOINT a', inherited)[0].settings.command == ("b",)
    assert carried('ENTRYPOINT a\nCMD ["b"]', inherited)[0].settings.command == ("b",)


def test_a_working_directory_is_made_and_belongs_to_the_user() -> None:
    """Whoever is the user at that moment."""
    work = carried("USER 5\nWORKDIR /a/b")[1][-1].work
    assert work == Enter("/a/b", "5")


@pytest.mark.parametrize(
    ("body", "argv", "script"),
    [
        ("RUN a b", ("/bin/sh", "-c", "a b"), ""),
        ('RUN ["a", "b"]', ("a", "b"), ""),
        ('SHELL ["x"]\nRUN a', ("x", "a"), ""),
        ("RUN $HOME ${x}", ("/bin/sh", "-c", "$HOME ${x}"), ""),
        ("RUN <<E\na\nb\nE", ("/bin/sh", "-c", "a\nb\n"), ""),
        ("RUN <<E\n#!/usr/bin/env x\nb\nE", (), "#!/usr/bin/env x\nb\n"),
        ("RUN cat <<E >/f\na\nE", ("/bin/sh", "-c", "cat <<E >/f\na\nE\n"), ""),
        ("RUN <<-E\n\ta\n\tE", ("/bin/sh", "-c", "a\n"), ""),
        ("RUN python3 <<A && cat <<B\n1\nA\n2\nB", ("/bin/sh", "-c", "python3 <<A && cat <<B\n1\nA\n2\nB\n"), ""),
    ],
)
def test_what_a_command_executes(body: str, argv: tuple[str, ...], script: str) -> None:
    """A here-document alone is the script; beside a command it is that command's input."""
    work = run_of(body)
    assert (work.argv, work.script) == (argv, script)


def bring(body: str) -> Bring:
    """The last COPY or ADD."""
    work = carried(body)[1][-1].work
    assert isinstance(work, Bring)
    return work


@pytest.mark.parametrize(
    ("body", "sources", "destination"),
    [
        ("COPY a /b", ("a",), "/b"),
        ("COPY a b/", ("a",), "/b/"),
        ("WORKDIR /w\nCOPY a .", ("a",), "/w/"),
        ("WORKDIR /w\nCOPY a ./x", ("a",), "/w/x"),
        ("WORKDIR /w\nCOPY a ../x/", ("a",), "/x/"),
        ("ENV d=/z s=q\nCOPY $s.txt ${d}/", ("q.txt",), "/z/"),
        ("COPY a /", ("a",), "/"),
    ],
)
def test_where_files_come_from_and_go_to(body: str, sources: tuple[str, ...], destination: str) -> None:
    """Relative to the working directory; a slash at the end is kept, it means a directory."""
    found = bring(body)
    assert (found.sources, found.destination) == (sources, destination)


def test_here_documents_of_copy_have_their_variables_replaced() -> None:
    """Unless their name is quoted."""
    assert bring("ENV n=web\nCOPY <<A <<'B' /d/\n$n\nA\n$n\nB").inline == (("A", "web\n"), ("B", "$n\n"))


@pytest.mark.parametrize(
    "body", ["COPY $no /x", "COPY a $no", "WORKDIR $no", "EXPOSE 99999", "STOPSIGNAL SIGNOPE",
             "VOLUME /", "ENV ${no:?set it}=1", "ENV $no=1"]
)
def test_a_value_that_cannot_be_meant_is_refused_with_its_place(body: str) -> None:
    """The line says which one."""
    with pytest.raises(Misread, match="Dockerfile:2:"):
        carried(body)
