"""history, search, prune, df, check and the tree of layers: what takes space, who holds it, and how it goes."""

import json

import pytest

from domain.images.events import Tagged
from domain.messages import Meta, StreamId
from tests.workers.console.fakes import EPOCH, SECOND, FakeCall, FakeEngine, Prompt, Terminal
from workers.build.builder import Kept

DAY = 86_400 * SECOND


@pytest.fixture(autouse=True)
def many(engine: FakeEngine) -> None:
    """One image with a name and one without, beside the one that every engine here has."""
    engine.images.add("b", "web:1", created=EPOCH - DAY, size=2_000_000, Labels={"tier": "front"}, Cmd=["sh"])
    engine.images.add("d", created=EPOCH - 3 * DAY, size=1_000_000)


async def test_an_image_prune_takes_what_nothing_names(prompt: Prompt, engine: FakeEngine) -> None:
    """After a question; -f asks nobody."""
    assert (await prompt.ok("image", "prune", "-f")).lines == [
        "Deleted Images:", f"deleted: sha256:{'d' * 64}", "", "Total reclaimed space: 1MB",
    ]  # fmt: skip
    assert (await prompt.ok("image", "prune", "-f")).lines == ["Total reclaimed space: 0B"]


@pytest.mark.parametrize(("answer", "gone"), [(b"y\n", True), (b"YES\n", True), (b"n\n", False), (b"", False)])
async def test_a_prune_asks_and_only_yes_is_yes(prompt: Prompt, engine: FakeEngine, answer: bytes, gone: bool) -> None:
    """Status 0 either way, as scripts know it."""
    for words in (["image", "prune"], ["container", "prune"], ["system", "prune"]):
        call = FakeCall(words, input=answer)
        done = await prompt(*words, call=call)
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("WARNING! This will remove")
        assert ("Total reclaimed space" in done.out) is gone


async def test_a_prune_of_all_leaves_what_containers_use(prompt: Prompt, engine: FakeEngine) -> None:
    """And filters leave what does not fit."""
    await prompt.ok("create", "--name", "holds", "alpine:3.10")
    assert "web:1" not in (await prompt.ok("image", "prune", "-af", "--filter", "label!=tier")).out
    assert "web:1" not in (await prompt.ok("image", "prune", "-af", "--filter", "until=2020-01-01")).out
    lines = (await prompt.ok("image", "prune", "-af", "--filter", "label=tier=front")).lines
    assert lines[1:3] == ["untagged: web:1", f"deleted: sha256:{'b' * 64}"]
    assert list(engine.images.entries) == [f"sha256:{'a' * 64}"]


async def test_a_dry_run_says_the_same_and_does_nothing(prompt: Prompt, engine: FakeEngine) -> None:
    """Without a question."""
    before = dict(engine.images.entries)
    await prompt.ok("create", "--name", "holds", "web:1")
    lines = (await prompt.ok("system", "prune", "-a", "--dry-run")).lines
    assert lines[0] == "Containers that would be deleted:"
    assert f"deleted: sha256:{'b' * 64}" in lines, "the container that holds it would be gone"
    assert lines[-1].startswith("Space that would be reclaimed: ")
    assert engine.images.entries == before
    assert len((await prompt.ok("ps", "-aq")).lines) == 1
    told = (await prompt.ok("rmi", "--dry-run", "alpine:3.10")).lines
    assert told == ["Untagged: alpine:3.10", f"Deleted: sha256:{'a' * 64}"]
    assert engine.images.entries == before


async def test_a_system_prune_takes_stopped_containers_first(prompt: Prompt, engine: FakeEngine) -> None:
    """So that their images go with them; sections in the order that is known."""
    await prompt.ok("create", "--name", "one", "web:1")
    lines = (await prompt.ok("system", "prune", "-af")).lines
    assert lines[0] == "Deleted Containers:"
    assert lines.index("Deleted Images:") > 0
    assert engine.images.entries == {}


async def test_a_container_prune_leaves_what_runs(prompt: Prompt, engine: FakeEngine) -> None:
    """And what has the label that stays."""
    await prompt.ok("run", "-d", "--name", "up", "alpine:3.10", "sleep", "9")
    await prompt.ok("create", "--name", "kept", "--label", "keep", "alpine:3.10")
    await prompt.ok("create", "--name", "gone", "alpine:3.10")
    lines = (await prompt.ok("container", "prune", "-f", "--filter", "label!=keep")).lines
    assert (lines[0], len(lines)) == ("Deleted Containers:", 4)
    assert lines[-1] == "Total reclaimed space: 5B"
    assert sorted((await prompt.ok("ps", "-a", "--format", "{{.Names}}")).lines) == ["kept", "up"]


@pytest.mark.parametrize(
    "words",
    [["image", "prune", "--filter", "size=3"], ["system", "prune", "--volumes", "--filter", "until=1h"],
     ["container", "prune", "--filter", "x"]],
)  # fmt: skip
async def test_filters_that_cannot_be_meant_delete_nothing(
    prompt: Prompt, engine: FakeEngine, words: list[str]
) -> None:
    """Before anybody is asked."""
    before = dict(engine.images.entries)
    answer = await prompt(*words)
    assert answer.status != 0
    assert "Are you sure" not in answer.out
    assert engine.images.entries == before


async def test_df_sums_up(prompt: Prompt) -> None:
    """Four rows, as scripts know them."""
    await prompt.ok("create", "--name", "holds", "alpine:3.10")
    lines = (await prompt.ok("system", "df")).lines
    assert lines[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert [line.split("  ")[0] for line in lines[1:]] == ["Images", "Containers", "Local Volumes", "Build Cache"]
    assert lines[1].split() == ["Images", "3", "1", "12MB", "3MB", "(25%)"]
    assert lines[2].split() == ["Containers", "1", "0", "5B", "5B", "(100%)"]
    assert (await prompt.ok("system", "df", "--format", "{{.Type}}: {{.Size}}")).lines[0] == "Images: 12MB"


async def test_df_tells_who_holds_what(prompt: Prompt, engine: FakeEngine) -> None:
    """By name; and what nobody can account for, if there is anything."""
    await prompt.ok("create", "--name", "holds", "alpine:3.10")
    out = (await prompt.ok("system", "df", "-v")).out
    for title in ("Images space usage:", "Containers space usage:", "Local Volumes space usage:", "Image store:"):
        assert title in out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("alpine")]
    assert row[-4:] == ["0B", "1.99MB", "1", "holds"]
    assert "unknown" not in out
    engine.images.unknown = 5_000
    assert "unknown                    5kB" in (await prompt.ok("system", "df", "-v")).out


async def test_a_check_names_each_fault(prompt: Prompt, engine: FakeEngine) -> None:
    """Status 1, and what helps."""
    assert (await prompt.ok("system", "check")).lines == ["3 images checked: the store is whole"]
    engine.images.faults = ["layer sha256:x is missing", "the blob \x1b[2J is damaged"]
    answer = await prompt("system", "check")
    assert answer.status == 1
    assert answer.lines == ["layer sha256:x is missing", "the blob \\x1b[2J is damaged"]
    assert "pull or load" in answer.err


async def test_the_history_of_an_image_is_told_from_its_end(prompt: Prompt, engine: FakeEngine) -> None:
    """Steps without a layer have no size; only the last one has an id."""
    image = engine.images.add("e", "made:1", size=7_000)
    steps = [
        {"created": "2025-11-25T16:00:00Z", "created_by": "/bin/sh -c #(nop) ADD file"},
        {"created": "2025-11-25T16:10:00Z", "created_by": "x" * 60, "empty_layer": True, "comment": "last"},
    ]
    entry = engine.images.entries[image.id]
    config = {**entry.image.config, "history": steps}
    engine.images.entries[image.id] = entry.model_copy(update={"image": image.model_copy(update={"config": config})})
    lines = (await prompt.ok("history", "made:1")).lines
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert lines[1].startswith("eeeeeeeeeeee   ")
    assert f"{'x' * 44}…   0B        last" in lines[1]
    assert lines[2].startswith("<missing>      ")
    assert "7kB" in lines[2]
    assert (await prompt.ok("history", "-q", "made:1")).lines == ["e" * 12, "<missing>"]
    exact = (await prompt.ok("history", "-H=false", "--no-trunc", "made:1")).lines
    assert exact[1].split()[1] == "2025-11-25T16:10:00Z"
    assert (await prompt("history", "nothing")).status == 1


async def test_a_search_shows_what_a_terminal_can_bear(prompt: Prompt, engine: FakeEngine) -> None:
    """In the default registry, or in one that is named."""
    answer = await prompt.ok("search", "nginx")
    assert "\x1b" not in answer.out
    assert answer.lines[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert (await prompt.ok("search", "-f", "is-official=true", "--format", "{{.Name}}", "nginx")).lines == ["alpine"]
    assert (await prompt.ok("search", "-f", "stars=4", "--format", "{{.Name}}", "nginx")).lines == ["alpine"]
    await prompt.ok("search", "--limit", "1", "reg:5000/web")
    hosts = [done[1:] for done in engine.images.done if done[0] == "search"]
    assert (hosts[0], hosts[-1]) == (("docker.io", "nginx", 25), ("reg:5000", "web", 1))


@pytest.mark.parametrize("words", [["--limit", "0", "x"], ["-f", "size=1", "x"], ["reg:5000/"]])
async def test_a_search_that_cannot_be_meant_asks_nobody(prompt: Prompt, engine: FakeEngine, words: list[str]) -> None:
    """Status 1 or 125, one line."""
    assert (await prompt("search", *words)).status in (1, 125)
    assert engine.images.done == []


async def test_images_as_trees(prompt: Prompt) -> None:
    """One line for each layer, and what names the image that ends there."""
    lines = (await prompt.ok("images", "--tree")).lines
    assert lines[1:] == [f"{'b' * 12}  2MB     web:1", f"{'d' * 12}  1MB     {'d' * 12}"]


async def test_sizes_that_are_shared_and_unique_are_told_when_they_are_asked_for(prompt: Prompt) -> None:
    """They cost a look at all layers."""
    answer = await prompt.ok("images", "--format", "{{.Tag}} {{.SharedSize}} {{.UniqueSize}}", "web")
    assert answer.lines == ["1 0B 2MB"]
    row = json.loads((await prompt.ok("images", "--format", "json", "web")).lines[0])
    assert row["UniqueSize"] == "2MB"


async def test_ps_marks_a_container_whose_tag_has_moved(prompt: Prompt, engine: FakeEngine) -> None:
    """In the table; a format keeps to the id, as scripts expect it."""
    await prompt.ok("create", "--name", "old", "web:1")
    engine.store.add(
        StreamId("ref", "web:1"), Tagged(image_id=f"sha256:{'d' * 64}", previous=f"sha256:{'b' * 64}"), Meta()
    )
    assert "bbbbbbbbbbbb (web:1 moved)" in (await prompt.ok("ps", "-a")).out
    assert (await prompt.ok("ps", "-a", "--format", "{{.Image}}")).lines == ["b" * 12]


async def test_the_story_of_a_name_and_of_an_image(prompt: Prompt, engine: FakeEngine) -> None:
    """What the name pointed to, and what became of the image."""
    engine.store.add(
        StreamId("ref", "web:1"), Tagged(image_id=f"sha256:{'d' * 64}", previous=f"sha256:{'b' * 64}"), Meta()
    )
    lines = (await prompt.ok("audit", "image", "web:1", "--format", "{{.Event}} {{.State}} {{.Detail}}")).lines
    assert lines == [f"tagged {'b' * 12} image={'b' * 12}", f"tagged {'d' * 12} image={'d' * 12} previous={'b' * 12}"]
    assert (await prompt.ok("audit", "image", "d" * 12, "--format", "{{.Event}}")).lines == ["image-registered"]
    answer = await prompt("audit", "image", "nothing:1")
    assert (answer.status, "No such image, now or then" in answer.err) == (1, True)


async def test_a_narrow_terminal_gets_the_same_df(prompt: Prompt) -> None:
    """Nothing wraps into nonsense."""
    call = FakeCall(["system", "df"], terminal=Terminal(cols=60, stdout_tty=True))
    assert len((await prompt("system", "df", call=call)).lines) == 5


@pytest.fixture
def cached(engine: FakeEngine) -> None:
    """Two steps of builds: an old one that an image is made of, and one that only the cache has."""
    engine.cache.kept = [
        Kept("1" * 64, "COPY . /src", 4_000, EPOCH - 2 * DAY, EPOCH - 2 * DAY, 1, shared=True),
        Kept("2" * 64, "RUN make all", 700_000, EPOCH - DAY, EPOCH - SECOND, 3, shared=False),
    ]


@pytest.mark.usefixtures("cached")
async def test_df_counts_what_only_builds_need(prompt: Prompt, engine: FakeEngine) -> None:
    """In its own row, and in no other one; directories of cache mounts are in it."""
    engine.images.build = 50_000
    lines = (await prompt.ok("system", "df")).lines
    assert lines[4].split() == ["Build", "Cache", "3", "1", "750kB", "750kB", "(100%)"]
    assert lines[1].split()[3] == "11.3MB"
    out = (await prompt.ok("system", "df", "-v")).out
    assert "Build cache usage: 750kB" in out
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("2" * 12)] == [["2" * 12, "RUN", "make"]]
    assert "caches of builds" in out


@pytest.mark.usefixtures("cached")
async def test_a_system_prune_takes_networks_and_steps_of_builds_along(prompt: Prompt, engine: FakeEngine) -> None:
    """In the known order; the network of a stopped container goes with it, and a dry run knows that."""
    for name in ("shop", "vault"):
        await prompt.ok("network", "create", name)
    await prompt.ok("run", "-d", "--name", "up", "--network", "vault", "alpine:3.10", "sleep", "9")
    await prompt.ok("create", "--name", "one", "--network", "shop", "web:1")
    dry = (await prompt.ok("system", "prune", "--dry-run")).lines
    titles = [line.removesuffix(" that would be deleted:") for line in dry if line.endswith("deleted:")]
    assert titles == ["Containers", "Networks", "Images", "Build cache objects"]
    assert "shop" in dry
    assert "vault" not in dry
    assert len(engine.cache.kept) == 2
    lines = (await prompt.ok("system", "prune", "-f")).lines
    assert [line for line in lines if line.startswith("Deleted")] == [
        "Deleted Containers:", "Deleted Networks:", "Deleted Images:", "Deleted build cache objects:",
    ]  # fmt: skip
    assert [entry.shared for entry in engine.cache.kept] == [True]
    assert "shop" not in (await prompt.ok("network", "ls", "--format", "{{.Name}}")).lines
    await prompt.ok("system", "prune", "-af", "--filter", "until=1h")
    assert engine.cache.kept == []


@pytest.mark.usefixtures("cached")
async def test_a_prune_of_the_cache_can_be_looked_at_first(prompt: Prompt, engine: FakeEngine) -> None:
    """Labels leave it alone: steps have none."""
    lines = (await prompt.ok("builder", "prune", "--dry-run")).lines
    assert lines == ["Build cache objects that would be deleted:", "2" * 25, "", "Space that would be reclaimed: 700kB"]
    await prompt.ok("system", "prune", "-af", "--filter", "label=x")
    assert len(engine.cache.kept) == 2
    assert (await prompt.ok("builder", "prune", "-af")).lines[0] == "Deleted build cache objects:"
    assert engine.cache.kept == []
