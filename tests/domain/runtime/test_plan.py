"""Plans: the order that keeps a container inside, and the wire that carries it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.network.setup import Place
from domain.runtime import capabilities, devices
from domain.runtime import steps as s
from domain.runtime.plan import NEWNET, NEWNS, NEWPID, Plan, environment, exec_plan, from_wire, plan, to_wire
from domain.runtime.request import DEFAULT_IDS, INIT_TARGET, DeviceNode, ExecRequest, IdRange, RunRequest

REQUEST = RunRequest(
    id="a" * 64,
    attempt=3,
    argv=("sh", "-c", "x"),
    env=("A=1", "PATH=/bin"),
    directory="/data/c",
    layer_root="/data/layers",
    layers=("low", "high"),
    hostname="box",
    files={"/etc/hosts": "h\n"},
)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
REQUESTS = st.builds(
    replace,
    st.just(REQUEST),
    argv=st.lists(TEXT.filter(bool), min_size=1, max_size=3).map(tuple),
    env=st.lists(st.builds("{}={}".format, TEXT.filter(lambda t: t and "=" not in t), TEXT), max_size=4).map(tuple),
    network=st.sampled_from(["none", "host"]),
    place=st.sampled_from([None, Place("/proc/1/fd/3", 4026532000)]),
    read_only=st.booleans(),
    init=st.booleans(),
    seccomp=st.sampled_from(["", "unconfined"]),
    no_new_privileges=st.booleans(),
    cgroup_v2=st.booleans(),
    cgroup_v1=st.sampled_from([(), ("memory",), ("cpu,cpuacct", "pids")]),
    user=TEXT,
    workdir=TEXT.map("/{}".format),
    tmpfs=st.sampled_from([{}, {"/run": "", "/run/a": "size=1m,exec"}]),
    stdin=st.booleans(),
    tty=st.booleans(),
    domainname=st.sampled_from(["", "example.org"]),
    groups=st.sampled_from([(), ("audio", "7")]),
    ulimits=st.sampled_from([(), (("nofile", 7, 10, -1), ("core", 4, 0, 0))]),
    oom_score_adj=st.integers(-1000, 1000),
    sysctls=st.sampled_from([{}, {"net/ipv4/ip_forward": "1"}]),
    devices=st.sampled_from([(), (DeviceNode("/dev/x", "b", 7, 9, 0o640, 0, 6, "rw"),)]),
    device_rules=st.sampled_from([(), ("a 10:* r",)]),
    remap=st.sampled_from([None, DEFAULT_IDS]),
    pid=st.sampled_from(["", "host", "container:0a"]),
    ipc=st.sampled_from(["", "none", "host", "container:0b"]),
)
EXECS = st.builds(
    ExecRequest,
    argv=st.lists(TEXT.filter(bool), min_size=1, max_size=3).map(tuple),
    env=st.just(("A=1",)),
    workdir=TEXT.map("/{}".format),
    user=TEXT,
    stdin=st.booleans(),
    tty=st.booleans(),
    seccomp=st.sampled_from(["", "unconfined"]),
    no_new_privileges=st.booleans(),
    cgroup_v1=st.sampled_from([(), ("memory",)]),
    capabilities=st.sampled_from([capabilities.DEFAULT, capabilities.ALL]),
    groups=st.sampled_from([(), ("audio", "7")]),
    ulimits=st.sampled_from([(), (("nofile", 7, 10, -1),)]),
    remap=st.sampled_from([None, DEFAULT_IDS]),
)


def launch(request: RunRequest | ExecRequest) -> list[str]:
    """A filter is loaded while CAP_SYS_ADMIN is there; where nobody can get new rights, last."""
    user = ["BecomeUser", "ChangeDirectory"]
    return [*user, "NoNewPrivileges", "LoadSeccomp"] if request.no_new_privileges else ["LoadSeccomp", *user]


def order(made: Plan) -> list[str]:
    """The names of the child's steps."""
    return [type(step).__name__ for step in made.child]


@given(request=REQUESTS)
def test_a_plan_survives_the_wire(request: RunRequest) -> None:
    """It is compiled in one process and carried out in another."""
    made = plan(request)
    again = json.loads(json.dumps(made.wire()))
    assert from_wire(again["child"]) == made.child
    assert to_wire(from_wire(again["host"])) == to_wire(made.host)


@given(request=REQUESTS)
def test_the_order_keeps_the_container_inside(request: RunRequest) -> None:
    """Each pair is a hole if turned round; see the module's docstring for why."""
    names = order(plan(request))
    chain = [
        "Opaque",
        "ResetProcess",
        "JoinGroups",
        "Unshare",
        "ShareNamespace",
        "UserNamespace",
        "PrivateMounts",
        "MapIds",
        "PrepareLent",
        "OverlayRoot",
        "PivotRoot",
        "MountAt",
        "Mask",
        "MakeReadOnly",
        "NewSession",
        "SetLimits",
        "EnterUserNamespace",
        "CloseDescriptors",
        "ResolveUser",
        "MakeWorkdir",
        *launch(request),
        "WaitForGo",
        "Cross",
        "Execute",
    ]
    places = [names.index(name) for name in chain if name in names]
    assert places == sorted(places)
    assert names[0] == "Opaque"
    assert names[-2:] == ["WaitForGo", "Cross" if request.pid == "container:0a" else "Execute"]
    assert all(
        names.index("PivotRoot") < place for place, name in enumerate(names) if name in ("MountTmpfs", "AttachBind")
    )
    prepared = [place for place, name in enumerate(names) if name in ("PrepareBind", "PrepareLent")]
    assert all(place < names.index("PivotRoot") for place in prepared)
    assert max(
        (place for place, name in enumerate(names) if name in ("MountAt", "MountTmpfs", "AttachBind"))
    ) < names.index("Mask")


@given(request=REQUESTS)
def test_after_the_pivot_no_step_names_a_host_path(request: RunRequest) -> None:
    """From there on nothing of the host can be reached by name."""
    made = plan(replace(request, argv=("true",), env=(), workdir="/"))
    after = made.child[order(made).index("PivotRoot") + 1 :]
    assert "/data" not in json.dumps(to_wire(after))


@given(request=REQUESTS)
def test_the_fence_is_the_first_thing_made(request: RunRequest) -> None:
    """Whoever finds it must not have touched anything."""
    made = plan(request)
    assert isinstance(made.host[0], s.MakeGroup)
    assert (made.host[0].id, made.host[0].attempt) == (request.id, request.attempt)
    assert sum(isinstance(step, s.MakeGroup) for step in made.host) == 1


@given(request=REQUESTS)
def test_namespaces_of_others_are_neither_made_nor_seen_into_from_outside(request: RunRequest) -> None:
    """Who shares one is not born with one of his own, takes along what is mounted of it, and is born into it last."""
    made = plan(request)
    guest = {kind for kind in ("pid", "ipc") if getattr(request, kind).startswith("container:")}
    assert {step.kind for step in made.child if isinstance(step, s.ShareNamespace)} == guest
    lent = {step.kind: step.path for step in made.child if isinstance(step, s.PrepareLent)}
    assert lent == {kind: path for kind, path in (("pid", "/proc"), ("ipc", "/dev/shm")) if kind in guest}
    for path in lent.values():
        assert s.AttachDirectory(path, path) in made.child
        assert not [step for step in made.child if isinstance(step, s.MountAt) and step.target == path]
    assert bool(made.flags & NEWPID) == (request.pid == "")
    assert isinstance(made.child[-1], s.Cross) == ("pid" in guest)
    (session,) = [step for step in made.child if isinstance(step, s.NewSession)]
    assert session.terminal == (request.tty and "pid" not in guest)


def test_every_bind_that_is_attached_was_prepared() -> None:
    """Under the same name."""
    made = plan(replace(REQUEST, init=True, init_program="/data/init"))
    prepared = [step.name for step in made.child if isinstance(step, s.PrepareBind)]
    attached = [step.name for step in made.child if isinstance(step, s.AttachBind)]
    assert prepared == attached == ["/etc/hosts", INIT_TARGET]
    read_only = [step.read_only for step in made.child if isinstance(step, s.PrepareBind)]
    assert read_only == [False, True]


def test_wishes_become_steps() -> None:
    """Each option has its step, and without the option the step is not there."""
    quiet = plan(REQUEST)
    loud = plan(replace(REQUEST, network="host", read_only=True, seccomp="unconfined", cgroup_v1=("memory",)))
    assert quiet.flags & NEWNET
    assert not loud.flags & NEWNET
    assert ("LoopbackUp" in order(quiet), "LoopbackUp" in order(loud)) == (True, False)
    assert ("LoadSeccomp" in order(quiet), "LoadSeccomp" in order(loud)) == (True, False)
    assert s.ReadOnlyMount("/") in loud.child
    assert s.ReadOnlyMount("/") not in quiet.child
    assert ("JoinGroups" in order(quiet), "JoinGroups" in order(loud)) == (False, True)


def test_limits_names_and_parameters_become_steps() -> None:
    """A parameter that was asked for comes after the engine's own, and must be there."""
    limits = (("core", 4, 0, 0),)
    made = plan(replace(REQUEST, domainname="d", ulimits=limits, sysctls={"net/a": "1"}, oom_score_adj=7))
    assert s.SetLimits(limits) in made.child
    assert s.SetDomainname("d") in made.child
    assert s.ResetProcess(0o022, 7) in made.child
    assert [step for step in made.child if isinstance(step, s.Sysctl)][-1] == s.Sysctl("net/a", "1", required=True)
    assert not {"SetLimits", "SetDomainname"}.intersection(order(plan(REQUEST)))


def test_a_device_is_a_node_and_a_rule_of_its_group() -> None:
    """Right after the group, before anything could be in it; all others share the rules of their parent."""
    node = DeviceNode("/dev/x", "b", 7, 9, 0o640, 0, 6, "r")
    made = plan(replace(REQUEST, devices=(node,), device_rules=("a 10:* r",)))
    rules = (*devices.DEFAULT, "b 7:9 r", "b 10:* r", "c 10:* r")
    assert made.host[1] == s.AllowDevices(rules, devices.ebpf(rules).hex())
    assert s.HostDevice("/dev/x", True, 7, 9, 0o640, 0, 6) in made.child
    assert not any(isinstance(step, s.AllowDevices) for step in plan(REQUEST).host)


def test_with_a_user_namespace_all_but_mounts_and_pids_belongs_to_it() -> None:
    """They are made in it; ids in options of mounts and of nodes are those of the host."""
    node = DeviceNode("/dev/x", "c", 1, 3, 0o666, 0, 70000, "r")
    made = plan(replace(REQUEST, remap=IdRange(1000000, 65536), tmpfs={"/t": "uid=5,gid=6,size=1m"}, devices=(node,)))
    assert made.flags == NEWNS | NEWPID
    assert s.UserNamespace(1000000, 65536, plan(REQUEST).flags & ~(NEWNS | NEWPID)) in made.child
    assert s.MapIds(("/data", "/data/c")) in made.child
    assert s.HostDevice("/dev/x", False, 1, 3, 0o666, 1000000, 1000000) in made.child
    mount = next(step for step in made.child if isinstance(step, s.MountTmpfs))
    assert mount.data == f"uid=1000005,gid=1000006,size={1 << 20}"


def test_every_control_group_view_is_read_only() -> None:
    """A writable one is a way out (release_agent, CVE-2022-0492)."""
    for v2, v1 in ((True, ()), (True, ("memory", "cpu,cpuacct")), (False, ("memory",))):
        made = plan(replace(REQUEST, cgroup_v2=v2, cgroup_v1=v1))
        mounts = [step for step in made.child if isinstance(step, s.MountAt) and step.fstype in ("cgroup", "cgroup2")]
        assert mounts
        assert all(step.flags & 1 for step in mounts)
        assert bool(v1) == (s.ReadOnlyMount("/sys/fs/cgroup") in made.child)


def test_parents_are_mounted_before_their_children() -> None:
    """Else the parent would hide them."""
    made = plan(replace(REQUEST, tmpfs={"/a/b": "", "/a": "", "/a/b/c": "", "/a.b": ""}))
    targets = [step.target for step in made.child if isinstance(step, s.MountTmpfs)]
    assert sorted(targets) == ["/a", "/a.b", "/a/b", "/a/b/c"]
    for one in targets:
        assert all(targets.index(one) < targets.index(other) for other in targets if other.startswith(one + "/"))


def test_the_environment_has_path_and_hostname_first_and_the_last_of_doubles() -> None:
    """In the place of the first."""
    assert environment(("A=1", "B=x=y", "A=2", "E="), "box") == (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=box",
        "A=2",
        "B=x=y",
        "E=",
    )
    assert environment(("Z=1", "HOSTNAME=mine", "PATH=/x"), "box") == ("PATH=/x", "HOSTNAME=mine", "Z=1")


@given(env=st.lists(st.builds("{}={}".format, TEXT.filter(lambda t: t and "=" not in t), TEXT), max_size=8).map(tuple))
def test_the_environment_loses_no_name_and_no_value(env: tuple[str, ...]) -> None:
    """Newlines and all."""
    made = environment(env, "h")
    wanted = dict(entry.partition("=")[::2] for entry in env)
    assert wanted.items() <= dict(entry.partition("=")[::2] for entry in made).items()
    assert len(made) == len(wanted.keys() | {"PATH", "HOSTNAME"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"argv": ()},
        {"argv": ("",)},
        {"layers": ()},
        {"argv": ("a\0b",)},
        {"env": ("=x",)},
        {"env": ("x",)},
        {"env": ("a=\0",)},
        {"hostname": "a b"},
        {"hostname": "a\nb"},
        {"hostname": "x" * 65},
        {"domainname": "a b"},
        {"groups": ("a\0",)},
        {"workdir": "rel"},
        {"workdir": ""},
        {"layers": ("a:b",)},
        {"layers": ("/abs",)},
        {"tmpfs": {"/proc/x": ""}},
        {"tmpfs": {"/": ""}},
        {"tmpfs": {"/a/..": ""}},
        {"tmpfs": {"/a": "bogus"}},
        {"tmpfs": {"/sys": ""}},
        {"tmpfs": {"/dev": ""}},
        {"tmpfs": {"rel": ""}},
        {"user": "a\0"},
        {"machine": "pdp11"},
    ],
)
def test_what_cannot_be_started_is_refused_before_anything_is_done(wrong: dict[str, object]) -> None:
    """A plan is all or nothing."""
    with pytest.raises(InvalidValue):
        plan(replace(REQUEST, **wrong))  # type: ignore[arg-type]  # the table mixes types


def test_steps_do_not_share_names() -> None:
    """The name is all that the wire has."""
    classes = s.Step.__subclasses__() + s.HostStep.__subclasses__()
    assert {kind.__name__ for kind in classes} - {"HostStep"} == set(s.STEPS)


@given(request=EXECS)
def test_a_plan_of_an_exec_goes_inside_before_anything_of_the_image_is_used(request: ExecRequest) -> None:
    """Opaque first, groups while their descriptors are there, then the namespaces; no mount is made, and after the
    entry comes what comes after the pivot of a first process."""
    names = order(exec_plan(request))
    chain = ["Opaque", "ResetProcess", "JoinGroups", "ChangeProfile", "EnterNamespaces", "NewSession", "SetLimits",
             "EnterUserNamespace", "CloseDescriptors", "NewKeyring", "ResolveUser", "EnterWorkdir", *launch(request),
             "WaitForGo", "Cross"]
    assert names == [name for name in chain if name in names]
    assert ("LoadSeccomp" in names, "JoinGroups" in names) == (not request.seccomp, bool(request.cgroup_v1))


@given(request=EXECS)
def test_a_plan_of_an_exec_survives_the_wire(request: ExecRequest) -> None:
    """Like that of a start; and there is nothing to do on the host."""
    made = exec_plan(request)
    assert from_wire(json.loads(json.dumps(made.wire()))["child"]) == made.child
    assert (made.flags, made.host) == (0, ())


def test_the_confinement_of_an_exec_is_that_of_a_start() -> None:
    """The last steps are the same ones, and are done before the process is born that the container can see."""
    request = ExecRequest(argv=REQUEST.argv, env=REQUEST.env, hostname=REQUEST.hostname)
    *more, born = exec_plan(request).child[-5:]
    *first, execute = plan(REQUEST).child[-5:]
    assert more == first
    assert isinstance(execute, s.Execute)
    assert born == s.Cross(execute.argv, execute.env, execute.init, terminal=False)


def test_an_input_and_a_terminal_become_steps() -> None:
    """Without both, standard input is the null device."""
    quiet, piped, screen = (plan(replace(REQUEST, stdin=stdin, tty=tty)).child
                            for stdin, tty in ((False, False), (True, False), (False, True)))
    assert s.CloseDescriptors(False) in quiet
    assert s.CloseDescriptors(True) in piped
    for step in (s.CloseDescriptors(True), s.NewSession(True), s.BindConsole("/dev/console")):
        assert step in screen
    assert not any(isinstance(step, s.BindConsole) for step in (*quiet, *piped))


def test_a_terminal_has_a_name_unless_another_is_given() -> None:
    """TERM stands behind PATH and HOSTNAME."""
    assert environment(("A=1",), "box", tty=True)[1:] == ("HOSTNAME=box", "TERM=xterm", "A=1")
    assert environment(("TERM=vt100",), "box", tty=True)[2:] == ("TERM=vt100",)


@pytest.mark.parametrize("wrong", [{"argv": ()}, {"argv": ("a\0",)}, {"env": ("x",)}, {"workdir": "rel"}])
def test_an_exec_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    """Before anything is done."""
    with pytest.raises(InvalidValue):
        exec_plan(replace(ExecRequest(argv=("true",), env=()), **wrong))  # type: ignore[arg-type]  # the table mixes types


def test_a_network_that_waits_is_entered_instead_of_made() -> None:
    """Before sysfs, which shows the network of whoever mounts it, and while the host's /proc can be seen."""
    made = plan(replace(REQUEST, place=Place("/proc/1/fd/3", 4026532000)))
    assert not made.flags & NEWNET
    names = order(made)
    assert "LoopbackUp" not in names
    assert names.index("EnterNetwork") < names.index("PrivateMounts") < names.index("PivotRoot")
