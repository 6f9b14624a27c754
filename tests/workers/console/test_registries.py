"""pull, push, login, logout, save: what people type and read; credentials are found where their tools keep them."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from domain.images.credentials import ANONYMOUS, DOCKER_KEY, Credentials
from domain.images.registries import Registries
from tests.workers.console.fakes import FakeCall, FakeEngine, Prompt, Terminal

ANN = Credentials("ann", "right")
HOME = {"HOME": "/ann"}
CONFIG = "/ann/.docker/config.json"


def file(entries: Mapping[str, str], **more: Any) -> bytes:
    """A config.json with these `user:password`."""
    auths = {key: {"auth": base64.b64encode(text.encode()).decode()} for key, text in entries.items()}
    return json.dumps({"auths": auths, **more}).encode()


@pytest.fixture(autouse=True)
def remote(engine: FakeEngine) -> None:
    """What registries have."""
    engine.images.remote |= {"reg:5000/team/app:v1": "5", "reg:5000/team/app:v2": "6"}
    engine.images.remote["docker.io/library/tools:latest"] = "7"


async def test_a_pull_tells_each_step_and_ends_with_the_name(prompt: Prompt) -> None:
    """As docker writes it where nobody watches."""
    assert (await prompt.ok("pull", "reg:5000/team/app:v1")).lines == [
        "v1: Pulling from team/app",
        "111111111111: Pulling fs layer",
        "222222222222: Pulling fs layer",
        "111111111111: Already exists",
        "222222222222: Download complete",
        "222222222222: Pull complete",
        f"Digest: sha256:{'9' * 64}",
        "Status: Downloaded newer image for reg:5000/team/app:v1",
        "reg:5000/team/app:v1",
    ]


async def test_a_second_pull_says_that_it_is_up_to_date(prompt: Prompt) -> None:
    """The same words as everywhere."""
    await prompt.ok("pull", "tools")
    lines = (await prompt.ok("pull", "tools")).lines
    assert lines[0] == "Using default tag: latest"
    assert lines[-2:] == ["Status: Image is up to date for tools:latest", "docker.io/library/tools:latest"]


async def test_a_quiet_pull_says_one_line(prompt: Prompt) -> None:
    """The full name, for scripts."""
    assert (await prompt.ok("pull", "-q", "tools")).lines == ["docker.io/library/tools:latest"]


async def test_all_tags_are_pulled_one_after_the_other(prompt: Prompt, engine: FakeEngine) -> None:
    """-a; a tag beside it is refused."""
    await prompt.ok("pull", "-aq", "reg:5000/team/app")
    assert [done[1] for done in engine.images.done] == ["reg:5000/team/app:v1", "reg:5000/team/app:v2"]
    assert (await prompt("pull", "-a", "reg:5000/team/app:v1")).status == 1


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["pull", "reg:5000/team/app:v9"], "manifest unknown"),
        (["pull", "reg:5000/team/APP"], "must be lowercase"),
        (["pull", "--platform", "windows/amd64", "tools"], "only linux"),
        (["push", "nothing"], "An image does not exist locally with the tag: nothing"),
        (["push", f"alpine@sha256:{'1' * 64}"], "cannot push a digest reference"),
        (["push", "-a", "alpine:3.10"], "tag can't be used with --all-tags"),
        (["push", "-a", "nothing"], "An image does not exist locally"),
        (["save", "nothing"], "No such image"),
    ],
)
async def test_what_cannot_be_done_is_one_clear_line(prompt: Prompt, argv: list[str], told: str) -> None:
    """Status 1."""
    answer = await prompt(*argv)
    assert answer.status == 1
    assert told in answer.err


async def test_a_push_tells_what_became_of_each_layer(prompt: Prompt, engine: FakeEngine) -> None:
    """Sent, there before, or mounted."""
    engine.images.add("5", "reg:5000/team/app:v1")
    assert (await prompt.ok("push", "reg:5000/team/app:v1")).lines == [
        "The push refers to repository [reg:5000/team/app]",
        "111111111111: Layer already exists",
        "222222222222: Preparing",
        "222222222222: Pushed",
        "333333333333: Mounted from team/other",
        f"v1: digest: sha256:{'9' * 64} size: 735",
    ]
    assert (await prompt.ok("push", "-q", "reg:5000/team/app:v1")).lines == ["reg:5000/team/app:v1"]


async def test_all_local_tags_are_pushed(prompt: Prompt, engine: FakeEngine) -> None:
    """-a."""
    engine.images.add("5", "reg:5000/team/app:v1", "reg:5000/team/app:v2")
    await prompt.ok("push", "-aq", "reg:5000/team/app")
    assert [done[1] for done in engine.images.done] == ["reg:5000/team/app:v1", "reg:5000/team/app:v2"]


async def test_a_terminal_sees_one_line_for_each_layer_and_a_total(prompt: Prompt, engine: FakeEngine) -> None:
    """Repainted in place."""
    engine.images.slow = 0.15
    call = FakeCall(["pull", "reg:5000/team/app:v1"], terminal=Terminal(stdout_tty=True))
    out = (await prompt(*call.argv, call=call)).out
    assert "222222222222: Downloading  500kB/1MB\x1b[K\ntotal: 500kB/1MB\x1b[K\n" in out
    assert "\x1b[3A111111111111: Already exists" in out


async def test_ctrl_c_stops_the_pull_and_says_what_is_kept(prompt: Prompt, engine: FakeEngine) -> None:
    """The next one goes on there."""
    engine.images.slow = 60
    call = FakeCall(["pull", "reg:5000/team/app:v1"])
    task = asyncio.create_task(prompt(*call.argv, call=call))
    async with asyncio.timeout(20):
        while b"222222222222: Pulling" not in call.stdout:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.stderr == b"stopped: the 500kB that have come are kept for the next pull\n"


# Credentials


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        (HOME, CONFIG),
        (HOME | {"DOCKER_CONFIG": "/d"}, "/d/config.json"),
        (HOME, "/ann/.config/containers/auth.json"),
        (HOME | {"XDG_CONFIG_HOME": "/x"}, "/x/containers/auth.json"),
        (HOME | {"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/containers/auth.json"),
        (HOME, "/run/containers/0/auth.json"),
        ({"REGISTRY_AUTH_FILE": "/a.json"}, "/a.json"),
    ],
)
async def test_credentials_are_found_where_tools_keep_them(
    prompt: Prompt, engine: FakeEngine, environment: dict[str, str], place: str
) -> None:
    """docker's and podman's places, for who is root here."""
    call = FakeCall(
        ["pull", "-q", "reg:5000/team/app:v1"], files={place: file({"reg:5000": "ann:right"})}, environment=environment
    )
    assert (await prompt(*call.argv, call=call)).status == 0
    assert engine.images.done[0][2] == {"reg:5000": ANN}


async def test_the_first_file_with_an_entry_wins(prompt: Prompt, engine: FakeEngine) -> None:
    """A file without one is passed over."""
    files = {
        "/run/containers/0/auth.json": file({"other:1": "bob:x"}),
        "/ann/.config/containers/auth.json": file({"reg:5000/team": "ann:right"}),
        CONFIG: file({"reg:5000": "bob:x"}),
    }
    call = FakeCall(["pull", "-q", "reg:5000/team/app:v1"], files=files, environment=HOME)
    await prompt(*call.argv, call=call)
    assert engine.images.done[0][2] == {"reg:5000": ANN}


async def test_mirrors_get_their_own_credentials(prompt: Prompt, engine: FakeEngine) -> None:
    """Nobody's for who has none there."""
    engine.images.registries = Registries(mirrors={"reg:5000": ("mirror.example",)})
    call = FakeCall(
        ["pull", "-q", "reg:5000/team/app:v1"], files={CONFIG: file({"reg:5000": "ann:right"})}, environment=HOME
    )
    await prompt(*call.argv, call=call)
    assert engine.images.done[0][2] == {"mirror.example": ANONYMOUS, "reg:5000": ANN}


async def test_a_helper_of_the_clients_is_asked(prompt: Prompt, engine: FakeEngine) -> None:
    """And one that knows nothing is no error."""
    secret = json.dumps({"ServerURL": "reg:5000", "Username": "ann", "Secret": "right"}).encode()
    for helpers, found in (({"pass get": secret}, ANN), ({}, ANONYMOUS)):
        call = FakeCall(
            ["pull", "-q", "reg:5000/team/app:v1"], files={CONFIG: b'{"credsStore": "pass"}'}, environment=HOME,
            helpers=helpers,
        )  # fmt: skip
        assert (await prompt(*call.argv, call=call)).status == 0
        assert call.helped == [("pass", "get", "reg:5000")]
        assert engine.images.done[-1][2] == {"reg:5000": found}


async def test_a_broken_file_is_named_and_not_quoted(prompt: Prompt) -> None:
    """It holds secrets."""
    call = FakeCall(["pull", "tools"], files={CONFIG: b'{"auths": {"x": "secret"}}'}, environment=HOME)
    answer = await prompt(*call.argv, call=call)
    assert answer.status == 1
    assert CONFIG in answer.err
    assert "secret" not in answer.err


async def test_a_login_is_tried_and_then_kept(prompt: Prompt) -> None:
    """With the rights of the owner alone; what else is in the file stays."""
    call = FakeCall(
        ["login", "-u", "ann", "--password-stdin", "reg:5000"], input=b"right\n", environment=HOME,
        files={CONFIG: file({}, HttpHeaders={"X": "y"})},
    )  # fmt: skip
    answer = await prompt(*call.argv, call=call)
    assert (answer.status, answer.lines) == (0, ["Login Succeeded"])
    mode, written = call.side.written[CONFIG]
    assert mode == 0o600
    assert json.loads(written) == json.loads(file({"reg:5000": "ann:right"}, HttpHeaders={"X": "y"}))


async def test_a_wrong_password_is_kept_nowhere(prompt: Prompt) -> None:
    """Status 1, and the file as it was."""
    call = FakeCall(["login", "-u", "ann", "-p", "wrong", "reg:5000"], environment=HOME)
    answer = await prompt(*call.argv, call=call)
    assert answer.status == 1
    assert "unauthorized" in answer.err
    assert "wrong" not in answer.err
    assert call.side.written == {}


async def test_a_person_is_asked_and_the_password_is_not_shown(prompt: Prompt) -> None:
    """For the default registry, under docker's own name for it."""
    call = FakeCall(["login"], terminal=Terminal(stdin_tty=True), environment=HOME, answers=["ann", "right"])
    assert (await prompt(*call.argv, call=call)).status == 0
    assert call.asked == [("Username: ", False), ("Password: ", True)]
    assert list(json.loads(call.side.written[CONFIG][1])["auths"]) == [DOCKER_KEY]


async def test_a_login_goes_to_the_helper_that_the_file_names(prompt: Prompt) -> None:
    """No secret is written to the disk."""
    call = FakeCall(
        ["login", "-u", "ann", "-p", "right", "reg:5000"], environment=HOME,
        files={CONFIG: b'{"credsStore": "pass"}'}, helpers={"pass store": b""},
    )  # fmt: skip
    answer = await prompt(*call.argv, call=call)
    assert (answer.status, answer.err) == (0, "")
    ((helper, verb, text),) = call.helped
    assert (helper, verb, json.loads(text)["Secret"]) == ("pass", "store", "right")
    assert call.side.written == {}


@pytest.mark.parametrize("config", [b'{"credsStore": "gone"}', b'{"credHelpers": {"reg:5000": "gone"}}'])
async def test_a_helper_that_is_not_there_sends_a_login_nowhere_else(
    engine: FakeEngine, prompt: Prompt, config: bytes
) -> None:
    """Elsewhere the password then went to the default registry (CVE-2021-41092). Here it goes to the one that was named
    and is not kept; who gave none is told so, and nobody is asked."""
    for words, tried in ((["-u", "ann", "-p", "right"], [("login", "reg:5000", "ann")]), ([], [])):
        call = FakeCall(["login", *words, "reg:5000"], environment=HOME, files={CONFIG: config})
        engine.images.done.clear()
        answer = await prompt(*call.argv, call=call)
        assert (answer.status, answer.lines, call.side.written) == (1, [], {})
        assert engine.images.done == tried


@pytest.mark.parametrize(
    ("argv", "data", "told"),
    [
        (["login", "reg:5000"], b"", "Cannot perform an interactive login from a non TTY device"),
        (["login", "--password-stdin", "reg:5000"], b"x", "Must provide --username"),
        (["login", "-p", "x", "reg:5000"], b"", "Must provide --username"),
        (["login", "-u", "a", "--password-stdin", "reg:5000"], b"\n", "empty"),
        (["login", "-u", "a", "--password-stdin", "reg:5000"], b"\xff", "UTF-8"),
        (["login", "-u", "a", "--password-stdin", "reg:5000"], b"x" * 70_000, "too long"),
        (["login", "-u", "a", "-p", "b", "--password-stdin", "reg:5000"], b"x", "mutually exclusive"),
        (["login", "-u", "a", "-p", "right", "not a host"], b"", "not a host"),
        (["login", "-u", "a", "-p", "right", "reg:5000"], b"", "HOME is not set"),
    ],
)
async def test_a_login_that_cannot_be_meant_is_refused(prompt: Prompt, argv: list[str], data: bytes, told: str) -> None:
    """Status 1, one line."""
    call = FakeCall(argv, input=data)
    answer = await prompt(*argv, call=call)
    assert answer.status == 1
    assert told in answer.err


async def test_known_credentials_are_used_again(prompt: Prompt, engine: FakeEngine) -> None:
    """Said before they are tried."""
    call = FakeCall(["login", "reg:5000"], files={CONFIG: file({"reg:5000": "ann:right"})}, environment=HOME)
    answer = await prompt(*call.argv, call=call)
    assert answer.lines == ["Authenticating with existing credentials...", "Login Succeeded"]
    assert engine.images.done == [("login", "reg:5000", "ann")]


async def test_a_logout_forgets_everywhere(prompt: Prompt) -> None:
    """Files and helpers; who was not logged in is told so, and it is no error."""
    call = FakeCall(
        ["logout", "reg:5000"], files={CONFIG: file({"reg:5000": "ann:right", "x": "a:b"})}, environment=HOME
    )
    assert (await prompt(*call.argv, call=call)).lines == ["Removing login credentials for reg:5000"]
    assert json.loads(call.side.written[CONFIG][1]) == json.loads(file({"x": "a:b"}))
    call = FakeCall(["logout"], environment=HOME)
    answer = await prompt(*call.argv, call=call)
    assert (answer.status, answer.lines) == (0, ["Not logged in to docker.io"])


async def test_an_archive_goes_to_a_file_or_a_pipe_and_never_to_a_terminal(prompt: Prompt) -> None:
    """With the mode of a private file."""
    assert (await prompt.ok("save", "alpine:3.10")).out == "alpine:3.10"
    call = FakeCall(["save", "-o", "/ann/a.tar", "alpine:3.10"])
    assert (await prompt(*call.argv, call=call)).out == ""
    assert call.side.written == {"/ann/a.tar": (0o600, b"alpine:3.10")}
    call = FakeCall(["save", "alpine:3.10"], terminal=Terminal(stdout_tty=True))
    answer = await prompt(*call.argv, call=call)
    assert (answer.status, answer.out) == (1, "")
    assert "cowardly" in answer.err
