"""Foreign configs are data: taken when they can be meant, refused with the value when not."""

import json
from typing import Any

import pytest

from domain.errors import InvalidValue, Refused
from domain.images.authoring import Step, committed, imported
from domain.images.changes import apply_changes
from domain.images.config import Settings, merged_env, of_container, parse_config, parse_settings, rfc3339, timestamp
from domain.images.layer import chain_ids, digest_of
from domain.images.manifest import Platform
from domain.images.model import Image

DIGEST = "sha256:" + "a" * 64


def document(**parts: Any) -> bytes:
    """A config."""
    return json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [DIGEST]}, **parts}).encode()


def test_a_whole_config_is_read() -> None:
    """All fields that mean something, in clean form."""
    parsed = parse_config(
        document(
            created="2026-01-01T00:00:00.5+01:00",
            config={
                "Env": ["A=1", "NOVALUE", "A=2", "B="],
                "Cmd": ["sh"],
                "Entrypoint": None,
                "User": "1000:1000",
                "WorkingDir": "w/../x",
                "Volumes": {"/data/": {}},
                "ExposedPorts": {"80": {}, "9000-9001/udp": {}},
                "StopSignal": "SIGUSR1",
                "Labels": {"a": "b"},
                "Healthcheck": {"Test": ["NONE"]},
                "OnBuild": ["RUN x"],
                "Shell": ["/bin/bash", "-c"],
                "ArgsEscaped": True,
                "Tty": False,
            },
        )
    )
    assert parsed.settings == Settings(
        env=("A=2", "B="),
        command=("sh",),
        user="1000:1000",
        workdir="/x",
        volumes=("/data",),
        ports=("80/tcp", "9000/udp", "9001/udp"),
        labels={"a": "b"},
        stop_signal="SIGUSR1",
        healthcheck={"Test": ["NONE"]},
        on_build=("RUN x",),
        shell=("/bin/bash", "-c"),
        other={"ArgsEscaped": True},
    )
    assert (parsed.created, parsed.diff_ids) == (1767222000500000000, (DIGEST,))
    assert parsed.document["config"] == parsed.settings.document()
    assert parse_settings(parsed.settings.document()) == parsed.settings


@pytest.mark.parametrize("inner", [None, {}, {"Env": None, "Cmd": [], "Labels": None, "Volumes": None}])
def test_an_empty_config_sets_nothing(inner: object) -> None:
    """null, nothing and empty are the same."""
    assert parse_config(document(config=inner)).settings.document() == {}


@pytest.mark.parametrize(
    "inner",
    [
        {"Env": ["A=\0"]},
        {"Env": ["=x"]},
        {"Env": [1]},
        {"Env": {"A": "b"}},
        {"Cmd": [["x"]]},
        {"Cmd": 5},
        {"User": "a\nb"},
        {"User": "u" * 300},
        {"User": 0},
        {"WorkingDir": "/a\0"},
        {"WorkingDir": "/" + "x" * 5000},
        {"Volumes": {"/": {}}},
        {"Volumes": {"/a/..": {}}},
        {"Volumes": 3},
        {"ExposedPorts": {"70000": {}}},
        {"ExposedPorts": {"5-3": {}}},
        {"ExposedPorts": {"80/icmp": {}}},
        {"ExposedPorts": {"0": {}}},
        {"StopSignal": "SIGNOPE"},
        {"StopSignal": "99"},
        {"Labels": {"a": 1}},
        {"Labels": ["a"]},
        {"Healthcheck": "x"},
        [],
        "text",
    ],
)
def test_values_that_cannot_be_meant_are_refused(inner: object) -> None:
    """In one line, before anything runs."""
    with pytest.raises(InvalidValue) as caught:
        parse_config(document(config=inner))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b'{"rootfs": []}',
        document(rootfs={"diff_ids": "x"}),
        document(rootfs={"diff_ids": ["sha256:../../x"]}),
        document(rootfs={"diff_ids": [DIGEST] * 501}),
        document(os="windows"),
        b'{"os":"linux","os":"linux","rootfs":{}}',
        b'{"rootfs": {}, "author": "\\ud800"}',
        b'{"rootfs": {}, "x": ' + b"[" * 200 + b"]" * 200 + b"}",
        b"[" * 100_000,
        b'{"rootfs": {}, "n": NaN}',
        b" " * (9 << 20),
    ],
)
def test_what_is_no_config_is_refused(data: bytes) -> None:
    """Whatever it is."""
    with pytest.raises(Refused):
        parse_config(data)


def test_a_containers_settings_lie_over_its_images() -> None:
    """Environment by name, labels by key; the rest of the image stays, but for its build triggers."""
    image = Settings(
        env=("PATH=/bin", "A=1"),
        command=("old",),
        labels={"a": "1", "b": "1"},
        volumes=("/v",),
        stop_signal="SIGINT",
        on_build=("RUN x",),
        healthcheck={"Test": ["NONE"]},
    )
    settings = of_container(
        image, entrypoint=("e",), command=(), env=["A=2", "C=3"], workdir="/w", user="u", labels={"b": "2"}
    )
    assert settings == Settings(
        env=("PATH=/bin", "A=2", "C=3"),
        entrypoint=("e",),
        workdir="/w",
        user="u",
        labels={"a": "1", "b": "2"},
        volumes=("/v",),
        stop_signal="SIGINT",
        healthcheck={"Test": ["NONE"]},
    )


def test_a_later_variable_replaces_an_earlier_one_in_its_place() -> None:
    """As docker does."""
    assert merged_env(["A=1", "B=2"], ["A=3", "C=4"]) == ("A=3", "B=2", "C=4")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('CMD ["a", "b"]', {"Cmd": ["a", "b"]}),
        ("CMD a b", {"Cmd": ["/bin/sh", "-c", "a b"]}),
        ("CMD ['a']", {"Cmd": ["/bin/sh", "-c", "['a']"]}),
        ('cmd ["a"]', {"Cmd": ["a"]}),
        ('ENTRYPOINT ["e"]', {"Entrypoint": ["e"]}),
        ("ENTRYPOINT []", {}),
        ("ENV A=b", {"Env": ["X=y", "A=b"]}),
        ('ENV A="b c" X=$X:z', {"Env": ["X=y:z", "A=b c"]}),
        ("ENV A b  c", {"Env": ["X=y", "A=b  c"]}),
        ("ENV A='$X' B=\\$X", {"Env": ["X=y", "A=$X", "B=$X"]}),
        ("ENV A=${X}${Y:-d}${X:+e}", {"Env": ["X=y", "A=yde"]}),
        ("EXPOSE 80 53/udp", {"ExposedPorts": {"53/udp": {}, "80/tcp": {}}}),
        ("LABEL a=b 'c d'=e", {"Labels": {"a": "b", "c d": "e"}}),
        ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
        ("USER 5:6", {"User": "5:6"}),
        ('VOLUME ["/a"]', {"Volumes": {"/a": {}}}),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
        ("WORKDIR /a/../b", {"WorkingDir": "/b"}),
        ("STOPSIGNAL 9", {"StopSignal": "9"}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            'HEALTHCHECK --interval=1m30s --retries=3 CMD ["t"]',
            {"Healthcheck": {"Test": ["CMD", "t"], "Interval": 90 * 10**9, "Retries": 3}},
        ),
        ("HEALTHCHECK CMD t x", {"Healthcheck": {"Test": ["CMD-SHELL", "t x"]}}),
    ],
)
def test_changes_are_applied(change: str, expected: dict[str, Any]) -> None:
    """One instruction each, to an image with X=y."""
    found = apply_changes(Settings(env=("X=y",)), [change]).document()
    assert {key: value for key, value in found.items() if key in expected} == expected


def test_a_working_directory_is_relative_to_the_one_before() -> None:
    """In order."""
    assert apply_changes(Settings(), ["WORKDIR /a", "WORKDIR b", "ENV D=/c", "WORKDIR $D"]).workdir == "/c"


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        (['ENTRYPOINT ["e"]'], ()),
        (['CMD ["c"]', 'ENTRYPOINT ["e"]'], ("c",)),
        (['cmd ["c"]', "USER 5", 'entrypoint ["e"]', 'ENTRYPOINT ["f"]'], ("c",)),
        (['ENTRYPOINT ["e"]', 'CMD ["c"]'], ("c",)),
    ],
)
def test_an_entrypoint_drops_the_command_that_was_not_given_with_it(changes: list[str], command: tuple[str]) -> None:
    """That of the parent was meant for another program; the order of the two changes does not matter."""
    assert (apply_changes(Settings(command=("old",)), changes).command or ()) == command


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("RUN x", "RUN is not a valid change command"),
        ("nonsense", "nonsense is not a valid change command"),
        ("", " is not a valid change command"),
        ("FROM x", "FROM is not a valid change command"),
        ("CMD", "CMD requires at least one argument"),
        ("ENV A", "A must have two arguments"),
        ("ENV =x", "ENV names can not be blank"),
        ("ENV A=b C", "can't find = in C"),
        ("ENV A='b", "matching quote"),
        ("EXPOSE x", "invalid port"),
        ("STOPSIGNAL x", "invalid signal"),
        ("VOLUME /", "invalid volume path"),
        ("ONBUILD ONBUILD x", "Chaining ONBUILD"),
        ("ONBUILD FROM x", "isn't allowed"),
        ("HEALTHCHECK x", 'Unknown type "X"'),
        ("HEALTHCHECK --retries=0 CMD x", "at least 1"),
        ("HEALTHCHECK --foo=1 CMD x", "Unknown flag: --foo=1"),
        ("HEALTHCHECK --interval=x CMD y", "invalid duration|duration"),
    ],
)
def test_changes_that_cannot_be_meant_are_refused(change: str, text: str) -> None:
    """With the industry's texts."""
    with pytest.raises(InvalidValue, match=text):
        apply_changes(Settings(), [change])


def test_times_are_read_and_written_to_the_nanosecond() -> None:
    """Zero stands for the unknown."""
    assert rfc3339(timestamp("2026-01-01T00:00:00.123456789Z")) == "2026-01-01T00:00:00.123456789Z"
    assert timestamp("2026-01-01t01:00:00+01:00") == timestamp("2026-01-01T00:00:00Z")
    for nonsense in (
        None,
        5,
        "",
        "yesterday",
        "0001-01-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "1969-12-31T23:59:59.9Z",
    ):
        assert timestamp(nonsense) == 0


def test_what_we_write_is_what_we_read() -> None:
    """And the same input has the same digest."""
    now, platform = timestamp("2026-01-01T00:00:00Z"), Platform(os="linux", architecture="arm64", variant="v8")
    data = imported(["CMD x"], DIGEST, now, "", platform)
    parsed = parse_config(data)
    assert (parsed.created, parsed.platform, parsed.diff_ids) == (now, platform, (DIGEST,))
    assert parsed.document["history"] == [{"created": rfc3339(now), "comment": "Imported from -"}]
    parent = Image(id=digest_of(data), config=parsed.document)
    child = parse_config(committed(parent, {"User": "5"}, DIGEST, now, Step("a", "m", "c"), Platform()))
    assert (child.platform, child.settings.user, len(child.document["history"])) == (platform, "5", 2)
    assert committed(parent, {}, DIGEST, now, Step(), platform) == committed(parent, {}, DIGEST, now, Step(), platform)


def test_chain_ids_are_as_the_specification_says() -> None:
    """The lowest is its diff id, the next the digest of both with a blank between."""
    other = "sha256:" + "b" * 64
    assert chain_ids([DIGEST, other]) == (DIGEST, digest_of(f"{DIGEST} {other}".encode()))
    with pytest.raises(InvalidValue):
        chain_ids(["sha256:../../../etc"])
