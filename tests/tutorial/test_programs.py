"""Programs speak JSON on the bus: through the engine's socket, or with credentials of their own."""

import json
from contextlib import closing
from typing import Any

import nats
import nats.errors
import pytest

from tests.tutorial.engine import HOST, Engine, until
from tests.tutorial.line import Line, Refusal

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def _request(*command: str, **more: Any) -> dict[str, Any]:
    return {"image": "busybox", "command": list(command), **more}


def test_a_whole_life_as_json(engine: Engine) -> None:
    """Every verb answers ok with the container; refusals name their kind."""
    answer = engine.ask("run", request=_request("sleep", "600", name="it", init=True))
    assert answer["ok"], answer
    id = answer["container"]
    assert engine.rows()[id]["state"] == "running"
    assert engine.ask("pause", container="it") == {"ok": True, "container": id, "state": "paused"}
    assert engine.ask("unpause", container="it")["state"] == "running"
    assert engine.ask("rename", container="it", name="that")["ok"]
    commit = engine.ask("commit", container="that", reference="web:snap")
    assert commit["ok"]
    assert commit["image"].startswith("sha256:")
    assert engine.ask("stop", container="that", timeout=20)["state"] == "exited"
    assert engine.ask("wait", container=id)["status"] == 143
    refusal = engine.ask("kill", container="that")
    assert (refusal["ok"], refusal["error"]) == (False, "Refused")
    assert engine.ask("rm", container="that")["ok"]
    assert engine.ask("rm", container="that")["error"] == "NotFound"
    assert [event["type"] for event in engine.history(id)][:4] == [
        "created.v1", "start-requested.v1", "network-granted.v1", "started.v1"]
    engine.ok("rmi", "web:snap")


def test_a_program_executes_updates_and_waits(engine: Engine) -> None:
    """With the output of the command; a container that is gone still answers `wait`."""
    id = engine.ask("run", request=_request("sleep", "600", name="asked"))["container"]
    answer = engine.ask("exec", container="asked", exec={"command": ["sh", "-c", "echo $A; echo no >&2; exit 3"],
                                                      "env": ["A=yes"]})  # fmt: skip
    assert answer.pop("exec") in {event["data"].get("exec_id") for event in engine.history(id)}
    assert answer == {"ok": True, "container": id, "status": 3, "stdout": "yes\n", "stderr": "no\n",
                      "truncated": False}  # fmt: skip
    much = engine.ask("exec", container="asked", exec={"command": ["sh", "-c", "yes | head -c 1000000"]})
    assert (len(much["stdout"]), much["truncated"], much["status"]) == (131072, True, 0)
    missing = engine.ask("exec", container="asked", exec={"command": ["nonesuch"]})
    assert (missing["ok"], missing["error"]) == (False, "CommandFailed")
    assert set(engine.ask("exec", container="asked", exec={"command": ["sleep", "600"]}, detach=True)) == {
        "ok", "container", "exec"}  # fmt: skip
    assert engine.ask("update", container="asked", restart={"name": "on-failure", "retries": 2})["ok"]
    assert engine.ok("inspect", "-f", "{{.HostConfig.RestartPolicy.MaximumRetryCount}}", "asked") == "2"
    assert engine.ask("rm", container="asked", force=True)["ok"]
    assert engine.ask("wait", container="asked") == {"ok": True, "container": id, "status": 137}


def test_a_program_makes_networks_and_connects(engine: Engine) -> None:
    """As the command line does; an unknown network makes nothing."""
    made = engine.ask("network-create", network={"name": "shop", "labels": {"of": "ann"}})
    assert (made["ok"], len(made["network"])) == (True, 64)
    lost = engine.ask("run", request=_request("sleep", "600", network="nosuch"))
    assert (lost["error"], lost["message"]) == ("NotFound", "network nosuch not found")
    id = engine.ask("run", request=_request("sleep", "600", name="web"))["container"]
    assert engine.ask("connect", container="web", endpoint={"name": "shop", "aliases": ["www"]})["container"] == id
    assert engine.ask("connect", container="web", endpoint={"name": "shop"})["error"] == "Refused"
    assert engine.ask("network-rm", name="shop")["error"] == "InUse"
    assert engine.ask("disconnect", container="web", endpoint={"name": "shop"})["ok"]
    assert engine.ask("network-rm", name="shop") == {"ok": True, "network": "shop"}
    assert engine.ask("rm", container="web", force=True)["ok"]
    assert {row["id"] for row in engine.rows().values()} == set()


def test_a_request_told_twice_is_carried_out_once(engine: Engine) -> None:
    """Also when the daemon has died in between: the answer is in the log."""
    with closing(Line(engine.socket)) as line:
        wish = {"id": "7c1", "request": _request("sleep", "600")}
        first = line.ask("lading.@.cmd.@.run", wish)
        assert first["ok"], first
        assert line.ask("lading.@.cmd.@.run", wish) == first
    assert engine.everything() == [first["container"]]


@pytest.mark.parametrize(
    ("verb", "payload", "error"),
    [
        ("run", {}, "InvalidValue"),
        ("run", {"request": {"image": ""}}, "InvalidValue"),
        ("run", {"request": {"image": "busybox", "surprise": 1}}, "InvalidValue"),
        ("run", {"request": {"image": "nonesuch:1"}}, "NotFound"),
        ("run", {"actor": {"user": "ann"}, "request": {"image": "busybox"}}, "InvalidValue"),
        ("stop", {"container": "nonesuch"}, "NotFound"),
        ("kill", {"container": "nonesuch", "signal": "KILL"}, "NotFound"),
        ("explode", {"container": ""}, None),
        ("stop", b"not json", "InvalidValue"),
        ("stop", b"[1, 2]", "InvalidValue"),
        ("stop", b"\xff\xfe", "InvalidValue"),
    ],
)
def test_a_wrong_payload_is_refused(engine: Engine, verb: str, payload: Any, error: str | None) -> None:
    """With the kind of error, and nothing was made; who asks cannot be claimed."""
    with closing(Line(engine.socket)) as line:
        answer = line.ask(f"lading.@.cmd.@.{verb}", payload)
    assert answer["ok"] is False
    assert answer["message"]
    if error is not None:
        assert answer["error"] == error
    assert engine.everything() == []


@pytest.mark.parametrize("subject", ["lading.@.cmd.c1.run", "lading.box.cmd.root.run", "lading.@.work.start-requested",
                                     "lading.@.done.1", "lading.@.ev.container.x.created", "_INBOX.local.c1.x"])
def test_nobody_speaks_for_another(engine: Engine, subject: str) -> None:
    """The identity in a subject is put there by the engine; everything else is refused."""
    with closing(Line(engine.socket)) as line, pytest.raises((Refusal, ConnectionError, TimeoutError)):
        line.ask(subject, {"request": _request("true")}, 1.0)
    assert engine.everything() == []


def test_who_asked_through_the_socket_is_the_kernels_word(engine: Engine) -> None:
    """Uid and pid come from the kernel."""
    id = engine.ask("run", request=_request("true"))["container"]
    actor = engine.history(id)[0]["actor"]
    assert (actor["user"], actor["uid"]) == ("root", 0)


async def test_a_reader_asks_and_hears_but_changes_nothing(engine: Engine) -> None:
    """With the credentials in the run directory."""
    access = json.loads((engine.run_dir / "nats" / "reader.json").read_text())
    bus = await nats.connect(access["url"], user=access["user"], password=access["password"],
                             inbox_prefix=f"_INBOX.{access['user']}", allow_reconnect=False)
    heard: list[str] = []

    async def hear(message: Any) -> None:
        heard.append(message.subject)

    try:
        await bus.subscribe(f"lading.{HOST}.ev.container.>", cb=hear)
        await bus.flush()
        id = engine.ask("run", request=_request("true", name="heard"))["container"]
        engine.ask("wait", container=id)
        answer = json.loads((await bus.request(f"lading.{HOST}.q.reader.containers", b"{}", timeout=10)).data)
        assert [row["name"] for row in answer["rows"]] == ["heard"]
        with pytest.raises((nats.errors.Error, TimeoutError)):
            await bus.request(f"lading.{HOST}.cmd.reader.rm", json.dumps({"container": id}).encode(), timeout=1)
        await bus.flush()
    finally:
        await bus.close()
    assert engine.everything() == [id]
    assert [subject.rpartition(".")[2] for subject in heard][:4] == [
        "created", "start-requested", "network-granted", "started"]


def test_events_are_told_after_they_are_stored(engine: Engine) -> None:
    """Whoever hears of something finds it in the log."""
    with closing(Line(engine.socket)) as line:
        line.subscribe("lading.@.ev.container.*.created", 7)
        assert line.ask("lading.@.q.@.containers", {})["ok"]  # by now the subscription before it is known, too
        id = engine.ask("create", request=_request("true"))["container"]
        _, data = line.hear(10)
        assert json.loads(data)["subject"] == f"container/{id}"
    assert [event["type"] for event in engine.history(id)] == ["created.v1"]
    until(lambda: engine.open_intents() == 0, "nothing is to be done")
