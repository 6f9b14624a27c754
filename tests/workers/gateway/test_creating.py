"""What clients want of a new container, field by field: honoured, or refused by name, never dropped."""

from typing import Any

import pytest

from domain.errors import InvalidValue, NotFound
from domain.isolation import Isolation
from domain.mounts import Mount
from domain.network.asked import NetworkWish
from domain.resources import DeviceRate, Resources
from domain.spec import Device, LogConfig, RestartPolicy, Ulimit
from tests.workers.console.fakes import FakeEngine
from tests.workers.gateway.client import Client
from workers.gateway import creating
from workers.gateway.call import validated
from workers.gateway.wishes import Create
from workers.mover import Caller
from workers.requests import CreateRequest, HealthRequest


def asked(**fields: Any) -> CreateRequest:
    """The request that this body makes."""
    return creating.request(validated(Create, {"Image": "web:1", **fields}), "shop")


def hosted(**fields: Any) -> CreateRequest:
    """The same for fields of HostConfig."""
    return asked(HostConfig=fields)


def test_an_empty_wish_is_the_engines_own_default() -> None:
    """Also with all the zeros and nulls that clients send for nothing. Only logs are kept as other engines do it, for
    docker-py reads no others."""
    nothing = CreateRequest(image="web:1", name="shop", log=LogConfig(driver="json-file"))
    assert asked() == nothing
    zeros = {
        "Hostname": "", "Env": None, "Cmd": None, "Entrypoint": None, "Labels": {}, "Volumes": None, "OnBuild": None,
        "Healthcheck": None, "StopTimeout": None, "ArgsEscaped": False, "Shell": None, "SomethingNew": 5,
        "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": None, "Links": None, "Aliases": None}}},
        "HostConfig": {
            "Binds": None, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}}, "NetworkMode": "default",
            "PortBindings": {}, "RestartPolicy": {"Name": "", "MaximumRetryCount": 0}, "ConsoleSize": [0, 0],
            "CapAdd": None, "CgroupnsMode": "", "Dns": [], "IpcMode": "", "Links": None, "OomScoreAdj": 0,
            "Privileged": False, "SecurityOpt": None, "ShmSize": 0, "Runtime": "", "Isolation": "", "CpuShares": 0,
            "Memory": 0, "BlkioWeightDevice": [], "Devices": [], "DeviceRequests": None, "MemorySwappiness": -1,
            "OomKillDisable": False, "PidsLimit": None, "Ulimits": [], "CpuCount": 0, "MaskedPaths": None,
            "ReadonlyPaths": None, "Init": None, "VolumeDriver": "", "StorageOpt": {}, "UsernsMode": "",
        },
    }
    assert asked(**zeros) == nothing


def test_the_configuration_is_taken_as_it_is() -> None:
    """Commands may be one text; a variable without a value is one that the container is not to have."""
    request = asked(
        Hostname="box", Domainname="example", User="1:2", Tty=True, OpenStdin=True, StdinOnce=True,
        Env=["A=b", "UNSET"], Cmd="run", Entrypoint=["/e", "x"], WorkingDir="/srv", Labels={"a": "b"},
        StopSignal="SIGINT", StopTimeout=3, ExposedPorts={"80/tcp": None},
        Healthcheck={"Test": ["CMD-SHELL", "true"], "Interval": 10**9, "Retries": 2},
    )
    assert (request.command, request.entrypoint) == (("run",), ("/e", "x"))
    assert (request.env, request.unset) == (("A=b",), ("UNSET",))
    assert (request.tty, request.stdin, request.stdin_once) == (True, True, True)
    assert (request.hostname, request.domainname, request.user, request.workdir) == ("box", "example", "1:2", "/srv")
    assert (request.stop_signal, request.stop_timeout, request.labels) == ("SIGINT", 3, {"a": "b"})
    assert request.health == HealthRequest(test=("CMD-SHELL", "true"), interval=1.0, retries=2)
    assert request.networking.expose == ("80/tcp",)


def test_limits_and_devices() -> None:
    """As `run` would be told."""
    request = hosted(
        Memory=1 << 26, NanoCpus=5 * 10**8, PidsLimit=0, MemorySwappiness=5, CpusetCpus="0",
        BlkioWeightDevice=[{"Path": "/dev/sda", "Weight": 9}], BlkioDeviceReadBps=[{"Path": "/dev/sda", "Rate": 7}],
        Devices=[{"PathOnHost": "/dev/fuse"}], DeviceCgroupRules=["c 1:3 rwm"], OomScoreAdj=5, ShmSize=1 << 20,
        Ulimits=[{"Name": "nofile", "Soft": 10, "Hard": 20}], Sysctls={"net.ipv4.ip_forward": "1"},
    )
    assert request.resources == Resources(
        memory=1 << 26, nano_cpus=5 * 10**8, pids_limit=-1, memory_swappiness=5, cpuset_cpus="0",
        blkio_weight_device=(DeviceRate(path="/dev/sda", rate=9),), read_bps=(DeviceRate(path="/dev/sda", rate=7),))
    assert request.devices == (Device(source="/dev/fuse", target="/dev/fuse"),)
    assert request.ulimits == (Ulimit(name="nofile", soft=10, hard=20),)
    assert (request.oom_score_adj, request.shm_size, request.device_rules) == (5, 1 << 20, ("c 1:3 rwm",))


def test_life_and_logs() -> None:
    """Policies, removal, drivers."""
    request = hosted(RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 3}, Init=True, ReadonlyRootfs=True,
                     LogConfig={"Type": "json-file", "Config": {"max-size": "1m"}}, Annotations={"x": "y"})
    assert request.restart == RestartPolicy(name="on-failure", retries=3)
    assert request.log == LogConfig(driver="json-file", options={"max-size": "1m"})
    assert (request.init, request.read_only, request.annotations) == (True, True, {"x": "y"})
    assert hosted(AutoRemove=True).auto_remove


@pytest.mark.parametrize(("fields", "isolation"), [
    ({"Privileged": True}, Isolation(privileged=True)),
    ({"CapAdd": ["NET_ADMIN"], "CapDrop": "ALL"}, Isolation(cap_add=("NET_ADMIN",), cap_drop=("ALL",))),
    ({"SecurityOpt": ["no-new-privileges:true"]}, Isolation(no_new_privileges=True)),
    ({"SecurityOpt": ["seccomp=unconfined", "label=disable"]}, Isolation(seccomp="unconfined")),
    ({"SecurityOpt": ['seccomp={"defaultAction":"a=b:c"}']}, Isolation(seccomp='{"defaultAction":"a=b:c"}')),
    ({"SecurityOpt": ["apparmor:web"]}, Isolation(apparmor="web")),
    ({"MaskedPaths": [], "ReadonlyPaths": []}, Isolation(open_paths=True)),
    ({"PidMode": "host", "IpcMode": "shareable", "UTSMode": "host", "CgroupnsMode": "private", "UsernsMode": "host"},
     Isolation(pid="host", ipc="shareable", uts="host", cgroupns="private", userns="host")),
    ({"GroupAdd": ["audio"]}, Isolation(group_add=("audio",))),
])
def test_isolation(fields: dict[str, Any], isolation: Isolation) -> None:
    """The text of a profile may hold what elsewhere separates."""
    assert hosted(**fields).isolation == isolation


@pytest.mark.parametrize(("fields", "mount"), [
    ({"HostConfig": {"Binds": ["/srv:/www:ro"]}},
     Mount(type="bind", source="/srv", target="/www", read_only=True, create=True)),
    ({"HostConfig": {"Binds": ["data:/data"]}}, Mount(type="volume", source="data", target="/data")),
    ({"Volumes": {"/data": {}}}, Mount(type="volume", target="/data", anonymous=True)),
    ({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/a/", "Target": "/b", "ReadOnly": True,
                                 "BindOptions": {"Propagation": "rslave", "NonRecursive": True}}]}},
     Mount(type="bind", source="/a", target="/b", read_only=True, propagation="rslave", recursive=False)),
    ({"HostConfig": {"Mounts": [{"Type": "volume", "Source": "v", "Target": "/b", "VolumeOptions": {
        "NoCopy": True, "Subpath": "x", "Labels": {"a": "b"},
        "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs"}}}}]}},
     Mount(type="volume", source="v", target="/b", copy_image=False, subpath="x", volume_labels={"a": "b"},
           driver_options={"type": "tmpfs"})),
    ({"HostConfig": {"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {
        "SizeBytes": 4096, "Mode": 0o1777, "Options": [["noexec"], ["uid", "1"]]}}]}},
     Mount(type="tmpfs", target="/t", options="size=4096,mode=1777,noexec,uid=1")),
])
def test_mounts(fields: dict[str, Any], mount: Mount) -> None:
    """By each of the ways in which clients say them."""
    assert asked(**fields).mounts == (mount,)


def test_a_volume_of_the_configuration_gives_way_to_what_is_mounted_there() -> None:
    """Clients repeat the places of their binds."""
    request = asked(Volumes={"/www": {}, "/t": {}}, HostConfig={"Binds": ["/srv:/www"], "Tmpfs": {"/t": ""}})
    assert [mount.target for mount in request.mounts] == ["/www"]


def test_networks() -> None:
    """The one of the mode first; addresses and names are the endpoint's."""
    endpoint = {"Aliases": ["www"], "IPAMConfig": {"IPv4Address": "192.0.2.9"}, "MacAddress": "02:00:00:00:00:01"}
    request = asked(
        HostConfig={"NetworkMode": "shop", "PortBindings": {
            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "8080"}],
            "53/udp": [], "90/tcp": [{"HostPort": "9000-9010"}]}, "PublishAllPorts": True, "Links": ["db:database"],
            "Dns": ["192.0.2.1"], "ExtraHosts": ["a:192.0.2.2"]},
        NetworkingConfig={"EndpointsConfig": {"other": None, "shop": endpoint}},
    )
    asked_for = request.networking
    assert asked_for.networks == (
        NetworkWish(name="shop", aliases=("www",), ip="192.0.2.9", mac="02:00:00:00:00:01"), NetworkWish(name="other"))
    assert asked_for.publish == ("127.0.0.1:8080:80/tcp", "[::1]:8080:80/tcp", "53/udp", "9000-9010:90/tcp")
    assert (asked_for.publish_all, asked_for.links, asked_for.dns) == (True, ("db:database",), ("192.0.2.1",))


@pytest.mark.parametrize(("fields", "names"), [
    ({"HostConfig": {"NetworkMode": "host"}}, ["host"]),
    ({"HostConfig": {"NetworkMode": "container:web"}}, ["container:web"]),
    ({"NetworkDisabled": True}, ["none"]),
    ({"HostConfig": {"NetworkMode": "shop"}}, ["shop"]),
    ({"NetworkingConfig": {"EndpointsConfig": {"shop": {}}}}, ["shop"]),
    ({"HostConfig": {"NetworkMode": "bridge"}, "NetworkingConfig": {"EndpointsConfig": {"bridge": {}}}}, []),
])
def test_the_network_of_a_mode(fields: dict[str, Any], names: list[str]) -> None:
    """Without any it is the default one, which needs no word."""
    assert [wish.name for wish in asked(**fields).networking.networks] == names


@pytest.mark.parametrize(("field", "value"), [
    ("CgroupParent", "/x"), ("Cgroup", "container:x"), ("CpuRealtimePeriod", 1), ("CpuRealtimeRuntime", 1),
    ("DeviceRequests", [{"Count": -1}]), ("StorageOpt", {"size": "1g"}), ("MaskedPaths", ["/proc/kcore"]),
    ("ReadonlyPaths", ["/proc/sys"]), ("Runtime", "kata"), ("Isolation", "hyperv"),
    ("UsernsMode", "remap"), ("SecurityOpt", ["label=type:x"]), ("SecurityOpt", ["nonsense"]), ("ShmSize", -1),
    ("OomScoreAdj", 5000), ("LogConfig", {"Type": "syslog"}), ("RestartPolicy", {"Name": "sometimes"}),
    ("RestartPolicy", {"Name": "always", "MaximumRetryCount": 2}), ("Binds", ["./here:/x"]), ("Binds", ["a:b:c:d"]),
    ("Mounts", [{"Type": "npipe", "Source": "x", "Target": "/x"}]), ("Mounts", [{"Type": "image", "Target": "/x"}]),
    ("Mounts", [{"Type": "bind", "Source": "x", "Target": "/x"}]), ("Mounts", [{"Type": "volume", "Source": "v"}]),
    ("Mounts", [{"Type": "bind", "Source": "/x", "Target": "/x", "BindOptions": {"ReadOnlyForceRecursive": True}}]),
    ("Mounts", [{"Type": "bind", "Source": "/x", "Target": "/x", "BindOptions": {"Propagation": "up"}}]),
])
def test_what_cannot_be_honoured_is_refused(field: str, value: object) -> None:
    """A container that has less than was asked for would be worse than none."""
    with pytest.raises(InvalidValue):
        hosted(**{field: value})


@pytest.mark.parametrize("fields", [
    {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}}, {"Healthcheck": {"Retries": -1}},
    {"HostConfig": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}}, {"Image": ""},
])
def test_wishes_that_exclude_each_other_are_refused(fields: dict[str, Any]) -> None:
    """Before anything is made."""
    with pytest.raises(InvalidValue):
        asked(**fields)


async def test_what_was_asked_for_is_shown_as_it_was_said(client: Client) -> None:
    """Compose compares."""
    host = {"Binds": ["/srv:/www:ro"], "Memory": 1 << 26, "CapAdd": ["CAP_NET_ADMIN"], "Dns": ["192.0.2.1"],
            "ReadonlyRootfs": True, "Init": True, "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
            "ExtraHosts": ["a:192.0.2.2"], "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}}
    await client.create(HostConfig=host, Env=["A=b"], Labels={"a": "b"}, WorkingDir="/x", User="1")
    shown = (await client.ask("GET", "/containers/web/json")).document
    assert {key: shown["HostConfig"][key] for key in host} == host
    assert (shown["Config"]["Labels"], shown["Config"]["WorkingDir"]) == ({"a": "b"}, "/x")


async def test_a_variable_of_the_image_can_be_taken_away(client: Client) -> None:
    """By its name alone."""
    await client.create(Env=["PATH", "A=b", "NONE", "A"])
    assert (await client.ask("GET", "/containers/web/json")).document["Config"]["Env"] == ["A=b", "PATH", "NONE"]


async def test_other_names_for_the_only_runtime_and_driver_are_kept(client: Client) -> None:
    """A driver that is not here is refused once there is something for it to do."""
    await client.create(Runtime="runc", HostConfig={"VolumeDriver": "nfs"})
    shown = (await client.ask("GET", "/containers/web/json")).document["HostConfig"]
    assert (shown["Runtime"], shown["VolumeDriver"]) == ("runc", "nfs")
    known = (await client.ask("GET", "/info")).document
    assert {"runc", known["DefaultRuntime"]} <= set(known["Runtimes"])
    await client.create("own", HostConfig={"VolumeDriver": "local", "Binds": ["data:/data"]})
    wishes: tuple[dict[str, Any], ...] = ({"HostConfig": {"Binds": ["data:/data"]}}, {"Volumes": {"/data": {}}})
    for fields in wishes:
        body = {"Image": "alpine:3.10", **fields, "HostConfig": {"VolumeDriver": "nfs", **fields.get("HostConfig", {})}}
        answer = await client.ask("POST", "/containers/create", body)
        assert (answer.status, 'plugin "nfs" not found' in answer.message) == (400, True)


async def test_what_is_not_done_of_a_wish_is_told(client: Client) -> None:
    """As a warning, which clients print."""
    body = {"Image": "alpine:3.10", "HostConfig": {"NetworkMode": "host", "PortBindings": {"80/tcp": []}}}
    (warning,) = (await client.ask("POST", "/containers/create", body)).document["Warnings"]
    assert "Published ports are discarded" in warning


async def test_only_a_missing_image_is_missing(engine: FakeEngine, client: Client) -> None:
    """Clients pull an image when they are told 404: for a network that is not there, that would help nobody."""
    body = {"Image": "nope:1"}
    assert (await client.ask("POST", "/containers/create", body)).status == 404

    async def create(request: CreateRequest, who: Caller) -> str:
        raise NotFound("network nope not found")

    engine.create = create  # type: ignore[method-assign]
    answer = await client.ask("POST", "/containers/create", {"Image": "alpine:3.10"})
    assert (answer.status, answer.message) == (400, "network nope not found")


async def test_what_is_wanted_of_an_endpoint_is_shown_again(client: Client) -> None:
    """Options of drivers that are not here, too; what no interface can be called is refused."""
    await client.ask("POST", "/networks/create", {"Name": "shop"})
    wish = {"DriverOpts": {"a": "b"}, "IPAMConfig": {"LinkLocalIPs": ["169.254.8.8"]}}
    await client.create(NetworkingConfig={"EndpointsConfig": {"shop": wish}})
    shown = (await client.ask("GET", "/containers/web/json")).document["NetworkSettings"]["Networks"]["shop"]
    assert {name: shown[name] for name in wish} == wish
    for wrong in ({"IPAMConfig": {"LinkLocalIPs": ["192.0.2.1"]}},
                  {"DriverOpts": {"com.docker.network.endpoint.ifname": "a/b"}}):
        body = {"Image": "alpine:3.10", "NetworkingConfig": {"EndpointsConfig": {"shop": wrong}}}
        assert (await client.ask("POST", "/containers/create", body)).status == 400
