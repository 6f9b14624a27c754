"""Inspect documents: the industry's keys, and what each state of ours is in them."""

from dataclasses import replace

import pytest

from domain.container import Container, State
from domain.documents import container_document, image_document, status_name
from domain.images.model import Image, Layer
from domain.isolation import Isolation
from domain.spec import ContainerSpec, Device, RestartPolicy, Ulimit

SPEC = ContainerSpec(
    image="alpine:3.10",
    image_id="sha256:a",
    entrypoint=("/bin/sh", "-c"),
    command=("sleep 9",),
    user="1000",
    workdir="/srv",
    hostname="box",
    labels={"b": "2", "a": "1"},
    init=True,
    read_only=True,
    tmpfs={"/run": "size=1m"},
    stop_signal="SIGINT",
    stop_timeout=3,
    restart=RestartPolicy(name="on-failure", retries=5),
    network="host",
    auto_remove=True,
)


def container(state: State = State.RUNNING, **more: object) -> Container:
    """A container in a state."""
    times = {"created_at": 1_764_087_362_000_000_000, "started_at": 1_764_087_363_500_000_000}
    return Container(id="1" * 64, state=state, name="web", spec=SPEC, env=("A=1",), pid=42, **times, **more)  # type: ignore[arg-type]


def test_what_of_the_kernels_it_gets_is_shown() -> None:
    """In HostConfig, and the domain in Config."""
    more = {"domainname": "lan", "shm_size": 1 << 20, "oom_score_adj": 5, "sysctls": {"kernel.msgmax": "9"},
            "ulimits": (Ulimit(name="core", soft=1, hard=-1),), "isolation": Isolation(group_add=("audio",)),
            "devices": (Device(source="/dev/a", target="/dev/b", access="r"),), "device_rules": ("c 1:3 r",)}
    document = container_document(replace(container(), spec=SPEC.model_copy(update=more)))
    host = document["HostConfig"]
    assert document["Config"]["Domainname"] == "lan"
    assert (host["ShmSize"], host["OomScoreAdj"], host["GroupAdd"]) == (1 << 20, 5, ["audio"])
    assert host["Devices"] == [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}]
    assert host["DeviceCgroupRules"] == ["c 1:3 r"]
    assert (host["Sysctls"], host["Ulimits"]) == ({"kernel.msgmax": "9"}, [{"Name": "core", "Soft": 1, "Hard": -1}])


def test_a_container_has_the_keys_that_scripts_read() -> None:
    """Spelled as the standard CLI spells them."""
    document = container_document(container(restarts=2))
    assert {key: document[key] for key in ("Id", "Created", "Path", "Args", "Image", "Name", "RestartCount")} == {
        "Id": "1" * 64,
        "Created": "2025-11-25T16:16:02Z",
        "Path": "/bin/sh",
        "Args": ["-c", "sleep 9"],
        "Image": "sha256:a",
        "Name": "/web",
        "RestartCount": 2,
    }
    config, host = document["Config"], document["HostConfig"]
    assert (config["Cmd"], config["Entrypoint"], config["Env"]) == (["sleep 9"], ["/bin/sh", "-c"], ["A=1"])
    assert (config["User"], config["WorkingDir"], config["Hostname"], config["Image"]) == (
        "1000",
        "/srv",
        "box",
        "alpine:3.10",
    )
    assert list(config["Labels"].items()) == [("a", "1"), ("b", "2")]
    assert (config["StopSignal"], config["StopTimeout"]) == ("SIGINT", 3)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 5}
    assert (host["AutoRemove"], host["NetworkMode"], host["ReadonlyRootfs"], host["Init"]) == (True, "host", True, True)
    assert host["Tmpfs"] == {"/run": "size=1m"}
    assert list(document["NetworkSettings"]["Networks"]) == ["host"]
    assert "SizeRw" not in document
    assert container_document(container(), size=(5, 10))["SizeRootFs"] == 10


@pytest.mark.parametrize(
    ("state", "status", "running", "paused"),
    [
        (State.CREATED, "created", False, False),
        (State.STARTING, "created", False, False),
        (State.RUNNING, "running", True, False),
        (State.PAUSING, "running", True, False),
        (State.PAUSED, "paused", True, True),
        (State.UNPAUSING, "paused", True, True),
        (State.STOPPING, "running", True, False),
        (State.EXITED, "exited", False, False),
        (State.RESTARTING, "restarting", True, False),
        (State.REMOVING, "removing", False, False),
        (State.DEAD, "dead", False, False),
    ],
)
def test_every_state_is_one_that_clients_know(state: State, status: str, running: bool, paused: bool) -> None:
    """Transient states look like where they come from."""
    found = container_document(container(state))["State"]
    assert (found["Status"], found["Running"], found["Paused"]) == (status, running, paused)
    assert found["Restarting"] is (status == "restarting")
    assert (found["Pid"] != 0) is (running and status != "restarting")


def test_a_start_after_an_exit_is_not_created_again() -> None:
    """What has run once is never `created`."""
    assert status_name(container(State.STARTING, rest=State.EXITED)) == "exited"
    assert status_name(container(State.STARTING, rest=State.EXITED, restarts=1)) == "restarting"


def test_times_that_were_never_are_the_zero_time() -> None:
    """As clients expect."""
    document = container_document(Container(id="1" * 64, state=State.CREATED, name="web", spec=SPEC))
    assert (document["State"]["StartedAt"], document["State"]["FinishedAt"]) == ("0001-01-01T00:00:00Z",) * 2


def test_an_image_has_the_keys_that_scripts_read() -> None:
    """Names with a tag and names with a digest apart."""
    config: dict[str, object] = {
        "architecture": "arm64",
        "os": "linux",
        "created": "2025-11-25T16:16:02.5Z",
        "author": "Ann",
        "config": {"Cmd": ["sh"]},
        "history": [{"comment": "first"}, {"comment": "last"}],
    }
    image = Image(id="sha256:a", config=config, layers=(Layer(diff_id="sha256:d", chain_id="c", size=5),), size=5)
    document = image_document(image, ["a:1", "a@sha256:9"])
    assert (document["RepoTags"], document["RepoDigests"]) == (["a:1"], ["a@sha256:9"])
    assert document["Created"] == "2025-11-25T16:16:02.5Z"
    assert (document["Architecture"], document["Author"], document["Comment"]) == ("arm64", "Ann", "last")
    assert document["RootFS"] == {"Type": "layers", "Layers": ["sha256:d"]}
    assert {key: value for key, value in document["Config"].items() if value} == {"Cmd": ["sh"]}
    bare = image_document(Image(id="sha256:a"), [])
    assert (bare["Created"], bare["Comment"], bare["Os"]) == ("0001-01-01T00:00:00Z", "", "linux")
    wanted = {"Cmd", "Entrypoint", "Env", "ExposedPorts", "Labels", "User", "Volumes", "WorkingDir", "Healthcheck"}
    assert wanted <= bare["Config"].keys()
    assert not any(bare["Config"].values())
