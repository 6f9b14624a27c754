"""Cache keys: what a step depends on, what it does not, and how a miss is told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.build import keys
from domain.build.keys import File, Parts
from domain.build.scope import Bring, Enter, Execute

RUN = Execute(
    argv=("/bin/sh", "-c", "make"), env=("PATH=/bin", "A=1", "V=2", "http_proxy=p"), arguments=("V",),
    proxies=("http_proxy",), workdir="/w", user="5",
)
COPY = Bring("COPY", ("a",), (), "/d/")
FILES = (File("d/x", "1"), File("d/y", "2"))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"env": ("PATH=/bin", "A=1", "V=2", "http_proxy=other")}, True),
        ({"env": ("A=1", "V=2", "PATH=/bin", "http_proxy=p")}, True),
        ({"env": ("PATH=/bin", "A=1", "V=3", "http_proxy=p")}, False),
        ({"env": ("PATH=/bin", "A=2", "V=2", "http_proxy=p")}, False),
        ({"argv": ("/bin/sh", "-c", "make ")}, False),
        ({"workdir": "/"}, False),
        ({"user": ""}, False),
        ({"network": "none"}, False),
        ({"script": "#!/x\n"}, False),
        ({"mounts": ({"type": "cache", "target": "/c"},)}, False),
    ],
)
def test_what_a_command_depends_on(change: dict[str, object], same: bool) -> None:
    """Its own text, place and environment; not proxies, and not the order of variables."""
    other = replace(RUN, **change)  # type: ignore[arg-type]
    assert (keys.of_run(RUN, "b", "p").digest == keys.of_run(other, "b", "p").digest) == same


def test_what_a_command_runs_on_and_what_is_mounted_count() -> None:
    """A source that is mounted counts by its content, whichever stage it comes from."""
    one = keys.of_run(RUN, "b", "p")
    assert one.digest != keys.of_run(RUN, "c", "p").digest
    assert one.digest != keys.of_run(RUN, "b", "q").digest
    assert one.digest != keys.of_run(RUN, "b", "p", [("/m", "1")]).digest
    assert one.digest != keys.of_run(RUN, "b", "p", hosts=["a:1.2.3.4"]).digest
    first, second = (
        replace(RUN, mounts=({"type": "bind", "from": name, "target": "/m"},)) for name in ("x", "y")
    )
    assert keys.of_run(first, "b", "p", [("/m", "1")]) == keys.of_run(second, "b", "p", [("/m", "1")])


def test_what_a_copy_depends_on() -> None:
    """Where its files go and what they are; not what their sources were called, nor their order."""
    one = keys.of_copy(COPY, "b", FILES, "0:0")
    assert one.digest == keys.of_copy(replace(COPY, sources=("z",)), "b", FILES[::-1], "0:0").digest
    for other in (
        keys.of_copy(COPY, "c", FILES, "0:0"),
        keys.of_copy(COPY, "b", FILES[:1], "0:0"),
        keys.of_copy(COPY, "b", (File("d/x", "9"), FILES[1]), "0:0"),
        keys.of_copy(COPY, "b", FILES, "1:1"),
        keys.of_copy(replace(COPY, destination="/e/"), "b", FILES, "0:0"),
        keys.of_copy(replace(COPY, chmod="755"), "b", FILES, "0:0"),
    ):
        assert other.digest != one.digest


def test_a_directory_depends_on_its_path_owner_and_base() -> None:
    """Nothing else can make a difference."""
    one, other = (keys.of_directory(Enter("/a", ""), "b", owner).digest for owner in ("0:0", "1:1"))
    assert one != other


@given(st.dictionaries(st.text(alphabet="ab/", min_size=1, max_size=6), st.sampled_from("12"), max_size=8),
       st.dictionaries(st.text(alphabet="ab/", min_size=1, max_size=6), st.sampled_from("12"), max_size=8))
def test_keys_are_the_same_exactly_when_all_parts_are(one: dict[str, str], two: dict[str, str]) -> None:
    """No pair of different inputs may look alike because of how they are joined."""
    assert (keys.key(sorted(one.items())).digest == keys.key(sorted(two.items())).digest) == (one == two)


def test_many_files_are_told_by_their_directories() -> None:
    """An event must not grow with the size of a context, and a change in any file must still be seen."""
    files = [File(f"src/p{n % 50}/f{n}", str(n)) for n in range(5000)]
    named = keys.condensed(files)
    assert len(named) <= keys.MOST_FILES
    changed = keys.condensed([*files[:-1], File(files[-1].path, "other")])
    assert [one[0] for one, two in zip(named, changed, strict=True) if one != two] == ["src/p49/…"]
    flat = [File(f"f{n}", str(n)) for n in range(1000)]
    assert [name for name, _ in keys.condensed(flat)] == ["…"]


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (None, (("base", "1"),), "it was not built before"),
        ((("base", "1"),), (("base", "2"),), "base changed"),
        ((("command", "1"), ("ARG V", "1")), (("command", "1"), ("ARG V", "2")), "ARG V changed"),
        ((), (("ARG V", "1"), ("ARG W", "1")), "ARG V is new (and 1 more)"),
        ((("ENV A", "1"),), (), "ENV A is gone"),
        ((("file a/x", "1"), ("file b", "1")), (("file a/x", "2"), ("file b", "2")), "a/x changed (and 1 more)"),
        ((("file a", "1"),), (), "a is gone"),
        ((("base", "1"), ("file a", "1")), (("base", "2"), ("file a", "2")), "base changed"),
        ((("base", "1"),), (("base", "1"),), "it is not kept any more"),
    ],
)
def test_a_miss_names_its_cause(before: Parts | None, now: Parts, told: str) -> None:
    """The first thing that is different, in the user's words."""
    assert keys.cause(before, now) == told


def test_values_are_kept_as_digests_only() -> None:
    """One of them may be a secret."""
    assert "hunter2" not in repr(keys.key([("ARG PASSWORD", "hunter2")]))
