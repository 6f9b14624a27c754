"""The volume commands, and what others say about volumes."""

import json

import pytest

from tests.workers.console.fakes import FakeCall, FakeEngine, Prompt


async def test_a_volume_is_made_listed_shown_and_removed(prompt: Prompt) -> None:
    """Its name is all that create and rm print."""
    assert (await prompt.ok("volume", "create", "--label", "a=b", "--label", "c", "data")).out == "data\n"
    assert (await prompt.ok("volume", "create", "data")).out == "data\n"
    assert (await prompt.ok("volume", "ls")).lines == ["DRIVER    VOLUME NAME", "local     data"]
    (document,) = json.loads((await prompt.ok("volume", "inspect", "data")).out)
    assert document == {
        "CreatedAt": document["CreatedAt"], "Driver": "local", "Labels": {"a": "b", "c": ""},
        "Mountpoint": "/volumes/data/_data", "Name": "data", "Options": None, "Scope": "local"}
    assert (await prompt.ok("inspect", "-f", "{{.Name}}", "data")).out == "data\n"
    assert (await prompt.ok("volume", "rm", "data")).out == "data\n"
    assert (await prompt.ok("volume", "ls", "-q")).out == ""


async def test_a_volume_without_a_name_gets_one(prompt: Prompt) -> None:
    """64 digits, and a label by which it is found."""
    name = (await prompt.ok("volume", "create")).out.strip()
    assert len(name) == 64
    assert (await prompt.ok("volume", "ls", "-q", "-f", "label=com.docker.volume.anonymous")).out.strip() == name


@pytest.mark.parametrize(("words", "told"), [
    (("create", "a/b"), "invalid characters"),
    (("create", "-d", "rexray", "data"), 'plugin "rexray" not found'),
    (("create", "-o", "size=3", "data"), 'invalid option: "size"'),
    (("create", "-o", "size", "data"), "KEY=VALUE"),
    (("create", "--scope", "single", "data"), "not supported"),
    (("rm", "nobody"), "get nobody: no such volume"),
    (("inspect", "nobody"), "No such volume: nobody"),
    (("ls", "-f", "color=red"), "invalid filter 'color'"),
    (("ls", "-f", "dangling=maybe"), "invalid filter 'dangling=maybe'"),
    (("prune", "-f", "--filter", "until=3h"), "invalid filter 'until'"),
    (("frobnicate",), "unknown command: lading volume frobnicate"),
])
async def test_what_cannot_be_done_is_refused_in_one_line(prompt: Prompt, words: tuple[str, ...], told: str) -> None:
    """With the value."""
    answer = await prompt("volume", *words)
    assert answer.status != 0
    assert told in answer.err


async def test_filters_choose_by_name_label_driver_and_use(prompt: Prompt) -> None:
    """The same key is or-ed, different ones are and-ed."""
    for name, label in (("alpha", "x=1"), ("beta", "x=2"), ("gamma", "y")):
        await prompt.ok("volume", "create", "--label", label, name)
    await prompt.ok("create", "-v", "gamma:/x", "alpine:3.10", "sh")

    async def listed(*filters: str) -> list[str]:
        options = [word for text in filters for word in ("-f", text)]
        return (await prompt.ok("volume", "ls", "-q", *options)).out.split()

    assert await listed("name=a") == ["alpha", "beta", "gamma"]
    assert await listed("name=alp", "name=bet") == ["alpha", "beta"]
    assert await listed("label=x", "name=bet") == ["beta"]
    assert await listed("label=x=1") == ["alpha"]
    assert await listed("dangling=true") == ["alpha", "beta"]
    assert await listed("driver=nfs") == []


async def test_prune_asks_and_takes_nameless_ones_or_all(prompt: Prompt, engine: FakeEngine) -> None:
    """Never one that a container uses; what it would do is told without doing it."""
    await prompt.ok("volume", "create", "named")
    nameless = (await prompt.ok("volume", "create")).out.strip()
    await prompt.ok("create", "-v", "used:/x", "alpine:3.10", "sh")
    engine.contents.sizes[nameless] = 1000
    asked = await prompt.ok("volume", "prune")
    assert "Are you sure" in asked.out
    assert len((await prompt.ok("volume", "ls", "-q")).out.split()) == 3
    dry = await prompt.ok("volume", "prune", "--dry-run", "-a")
    assert dry.lines == ["Volumes that would be deleted:", nameless, "named", "", "Space that would be reclaimed: 1kB"]
    done = await prompt.ok("volume", "prune", "-f")
    assert done.lines == ["Deleted Volumes:", nameless, "", "Total reclaimed space: 1kB"]
    await prompt.ok("volume", "prune", "-af", "--filter", "label!=keep")
    assert (await prompt.ok("volume", "ls", "-q")).out.split() == ["used"]


async def test_who_answers_yes_is_heard(prompt: Prompt) -> None:
    """The answer is one word on the client's input."""
    await prompt.ok("volume", "create")
    assert "Deleted Volumes:" in (await prompt(call=FakeCall(["volume", "prune"], input=b"y\n"))).out


async def test_ps_counts_volumes_and_shortens_long_names(prompt: Prompt) -> None:
    """Directories of the host are no volumes."""
    await prompt.ok("create", "--name", "it", "-v", "data:/a", "-v", "/b", "-v", "/srv:/c", "alpine:3.10", "sh")
    shown = (await prompt.ok("ps", "-a", "--format", "{{.LocalVolumes}} {{.Mounts}}")).out.split()
    assert shown[0] == "2"
    assert {len(name) <= 15 for name in shown[1].split(",")} == {True}
    full = (await prompt.ok("ps", "-a", "--no-trunc", "--format", "{{.Mounts}}")).out.strip()
    assert {len(name) for name in full.split(",")} == {4, 64}
