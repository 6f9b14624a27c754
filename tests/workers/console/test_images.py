"""images, tag, rmi, commit, import, load."""

import json

import pytest

from tests.workers.console.fakes import EPOCH, SECOND, FakeCall, FakeEngine, Prompt, Terminal

DAY = 86_400 * SECOND


@pytest.fixture(autouse=True)
def many(engine: FakeEngine) -> None:
    """Four images: with two names, with one, with a digest, without any."""
    engine.images.add("b", "web:1", "web:2", created=EPOCH - DAY, size=683_111, Labels={"tier": "front"})
    engine.images.add("c", "host:5000/team/db:latest", created=EPOCH - 2 * DAY)
    engine.images.add("d", created=EPOCH - 3 * DAY)


async def test_there_is_one_row_for_each_name_newest_first(prompt: Prompt) -> None:
    """What nothing names is <none>."""
    lines = (await prompt.ok("images")).lines
    assert lines[0] == "REPOSITORY          TAG       IMAGE ID       CREATED         SIZE"
    assert lines[2] == "web                 1         bbbbbbbbbbbb   24 hours ago    683kB"
    assert [line.split()[:3] for line in lines[1:]] == [
        ["alpine", "3.10", "a" * 12],
        ["web", "1", "b" * 12],
        ["web", "2", "b" * 12],
        ["host:5000/team/db", "latest", "c" * 12],
        ["<none>", "<none>", "d" * 12],
    ]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["web"], ["web:1", "web:2"]),
        (["web:2"], ["web:2"]),
        (["w*"], ["web:1", "web:2"]),
        (["nothing"], []),
        (["host:5000/team/db"], ["host:5000/team/db:latest"]),
        (["*:3.*"], ["alpine:3.10"]),
        (["-f", "dangling=true"], ["<none>:<none>"]),
        (["-f", "reference=web:*"], ["web:1", "web:2"]),
        (["-f", "label=tier=front"], ["web:1", "web:2"]),
        (["-f", "label=tier", "-f", "dangling=true"], []),
        (["-f", "before=web:1"], ["host:5000/team/db:latest", "<none>:<none>"]),
        (["-f", "since=web:1"], ["alpine:3.10"]),
        (["-f", "until=60h"], ["<none>:<none>"]),
        (["-f", "dangling=false", "alpine"], ["alpine:3.10"]),
    ],
)
async def test_rows_can_be_chosen(prompt: Prompt, options: list[str], names: list[str]) -> None:
    """By name, pattern and filter."""
    assert (await prompt.ok("images", *options, "--format", "{{.Repository}}:{{.Tag}}")).lines == names


@pytest.mark.parametrize(
    ("value", "status"), [("nope=x", 1), ("dangling=maybe", 1), ("dangling", 125), ("before=zz", 1)]
)
async def test_a_filter_that_cannot_be_meant_is_refused(prompt: Prompt, value: str, status: int) -> None:
    """As everywhere."""
    answer = await prompt("images", "-f", value)
    assert (answer.status, answer.out) == (status, "")


async def test_ids_digests_and_formats(engine: FakeEngine, prompt: Prompt) -> None:
    """An id repeats once for each name."""
    assert (await prompt.ok("images", "-q", "web")).lines == ["b" * 12] * 2
    assert (await prompt.ok("images", "-q", "--no-trunc", "alpine")).out == f"sha256:{'a' * 64}\n"
    engine.images.add("f", "app:1", f"app@sha256:{'9' * 64}")
    assert (await prompt.ok("images", "--digests", "app")).lines[1].split()[:3] == ["app", "1", f"sha256:{'9' * 64}"]
    document = json.loads((await prompt.ok("images", "--format", "json", "alpine")).out)
    assert document["Repository"] == "alpine"
    assert set(document) >= {
        "ID",
        "Tag",
        "Digest",
        "CreatedSince",
        "CreatedAt",
        "Size",
        "Containers",
        "SharedSize",
        "UniqueSize",
    }
    await prompt.ok("create", "alpine:3.10")
    assert (
        await prompt.ok("images", "--format", "{{.Containers}} {{.CreatedAt}}", "alpine")
    ).out == "1 2025-11-25 16:16:02 +0000 UTC\n"


async def test_tag_prints_nothing(engine: FakeEngine, prompt: Prompt) -> None:
    """Names or ids."""
    assert (await prompt.ok("tag", "bbbbbb", "web:latest")).out == ""
    assert engine.images.done == [("tag", f"sha256:{'b' * 64}", "web:latest")]
    assert "No such image: x:latest" in (await prompt("tag", "x", "y")).err


async def test_rmi_tells_what_it_did(engine: FakeEngine, prompt: Prompt) -> None:
    """For each argument; a missing one with -f is no failure."""
    answer = await prompt("rmi", "-f", "alpine:3.10", "x")
    assert (answer.status, answer.lines) == (0, ["Untagged: alpine:3.10", f"Deleted: sha256:{'a' * 64}"])
    assert answer.err == "Error response from daemon: No such image: x:latest\n"
    assert engine.images.done == [("remove", "alpine:3.10", True, True)]
    assert (await prompt("rmi", "--no-prune", "x")).status == 1


async def test_commit_prints_the_new_id(engine: FakeEngine, prompt: Prompt) -> None:
    """And everything that was typed is in the wish."""
    await prompt.ok("run", "-d", "--name", "web", "alpine:3.10")
    answer = await prompt.ok(
        "commit", "-a", "Ann", "-m", "note", "-c", 'CMD ["x"]', "-c", "ENV A=1", "-p=false", "web", "site:1"
    )
    assert answer.out == f"sha256:{'c' * 64}\n"
    wish = next(r.event for r in engine.store.records if r.event.stored_as == "commit-requested.v1").model_dump()
    assert wish == {
        "reference": "site:1",
        "author": "Ann",
        "message": "note",
        "changes": ('CMD ["x"]', "ENV A=1"),
        "pause": False,
    }


async def test_import_takes_a_file_or_a_pipe(engine: FakeEngine, prompt: Prompt) -> None:
    """An address is for a later version; a terminal is a mistake."""
    call = FakeCall(["import", "-c", "CMD x", "root.tar", "base:1"], files={"root.tar": b"content"})
    assert (await prompt(call=call)).out == f"sha256:{'e' * 64}\n"
    call = FakeCall(["import", "-m", "mine", "-"], input=b"piped")
    assert (await prompt(call=call)).status == 0
    assert engine.images.done == [
        ("import", b"content", "base:1", "Imported from root.tar", ("CMD x",), ""),
        ("import", b"piped", "", "mine", (), ""),
    ]
    for call in (
        FakeCall(["import", "http://x/y"]),
        FakeCall(["import", "missing"]),
        FakeCall(["import", "-"], terminal=Terminal(stdin_tty=True)),
    ):
        answer = await prompt(call=call)
        assert (answer.status, answer.out) == (1, "")
        assert answer.err


async def test_load_names_what_came(engine: FakeEngine, prompt: Prompt) -> None:
    """One line for each."""
    answer = await prompt(call=FakeCall(["load", "-i", "x.tar"], files={"x.tar": b"tar"}))
    names = ["alpine:3.10", "web:1", "web:2", "host:5000/team/db:latest"]
    assert answer.lines == [f"Loaded image: {name}" for name in names]
    assert engine.images.done == [("load", b"tar", "")]
    answer = await prompt(call=FakeCall(["load"], terminal=Terminal(stdin_tty=True)))
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("requested load from stdin, but stdin is empty\n")


async def test_a_platform_that_is_asked_for_is_made_sure_of(prompt: Prompt, engine: FakeEngine) -> None:
    """A name leads to one image: where others choose, here it is looked at."""
    for words in (["history", "web:1"], ["rmi", "web:1"], ["save", "web:1"], ["push", "host:5000/team/db"]):
        verb, *names = words
        assert (await prompt(verb, "--platform", "linux/amd64", *names)).status == 0
        answer = await prompt(verb, "--platform", "arm64", *names)
        assert answer.status == 1
        assert answer.err.splitlines()[0].endswith(" for linux/arm64")
        assert (await prompt(verb, "--platform", "plan9/mips", *names)).status == 1
    assert [done[0] for done in engine.images.done] == ["remove", "push"]


async def test_load_and_import_take_a_platform_along(prompt: Prompt, engine: FakeEngine) -> None:
    """As the engine understands it."""
    for verb, *words in (["load"], ["import", "-", "base:1"]):
        call = FakeCall([verb, "--platform", "aarch64", *words], input=b"x")
        assert (await prompt(call=call)).status == 0
        assert engine.images.done[-1][-1] == "linux/arm64"


@pytest.mark.parametrize("verb", ["run", "create"])
async def test_an_image_of_another_platform_is_pulled_before_it_is_used(
    prompt: Prompt, engine: FakeEngine, verb: str
) -> None:
    """And refused where nobody has it."""
    answer = await prompt(verb, "--platform", "arm64", "web:1", "true")
    assert answer.status == (125 if verb == "run" else 1)
    assert "Unable to find image 'web:1' locally for linux/arm64" in answer.err
    assert engine.images.done[-1][-1] == "linux/arm64"
    answer = await prompt(verb, "--pull", "never", "--platform", "arm64", "web:1", "true")
    assert "No such image: web:1 for linux/arm64" in answer.err
    detached = ["-d"] if verb == "run" else []
    assert (await prompt(verb, *detached, "--platform", "linux/amd64", "web:1", "true")).status == 0
    assert (await prompt(verb, "--platform", "beos/x", "web:1", "true")).status == 125
