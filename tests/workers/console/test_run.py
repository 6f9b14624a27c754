"""run and create: from the words to the request, and what the person sees."""

import asyncio

import pytest

from domain.lifecycle.start import StartFailed
from domain.spec import Device, Ulimit
from tests.workers.console.fakes import FakeCall, FakeEngine, Prompt

ID = "1" * 64


def ends(engine: FakeEngine, status: int, *output: tuple[int, bytes]) -> None:
    """What the container does as soon as it runs."""

    def act(id: str) -> None:
        for stream, data in output:
            engine.write(id, data, stream)
        engine.exit(id, status)

    engine.after_start = act


async def test_detached_prints_only_the_id(prompt: Prompt) -> None:
    """The one line that scripts keep."""
    assert (await prompt.ok("run", "-d", "alpine:3.10")).out == f"{ID}\n"


async def test_in_the_foreground_both_streams_stay_apart_and_the_status_is_the_commands(
    engine: FakeEngine, prompt: Prompt
) -> None:
    """Bytes are untouched, also those that are not UTF-8 and a last line without its end."""
    ends(engine, 7, (1, b"out\xff\x1b[0m"), (2, b"err"))
    call = FakeCall(["run", "alpine:3.10", "sh", "-c", "x"])
    assert await prompt_status(prompt, call) == 7
    assert (call.stdout, call.stderr) == (b"out\xff\x1b[0m", b"err")


async def prompt_status(prompt: Prompt, call: FakeCall) -> int:
    """The status of a call whose output is not text."""
    from workers.console.dispatch import dispatch

    return await dispatch(call, prompt.engine, prompt.engine.now)


@pytest.mark.parametrize(
    ("streams", "out", "err"), [(["stdout"], "o", ""), (["STDERR"], "", "e"), (["stdout", "stderr"], "o", "e")]
)
async def test_only_attached_streams_are_shown(
    engine: FakeEngine, prompt: Prompt, streams: list[str], out: str, err: str
) -> None:
    """-a chooses."""
    ends(engine, 0, (1, b"o"), (2, b"e"))
    answer = await prompt("run", *(word for name in streams for word in ("-a", name)), "alpine:3.10")
    assert (answer.status, answer.out, answer.err) == (0, out, err)


async def test_rm_leaves_nothing_when_it_returns(engine: FakeEngine, prompt: Prompt) -> None:
    """And the status is still told."""
    ends(engine, 3)
    assert (await prompt("run", "--rm", "--name", "once", "alpine:3.10")).status == 3
    assert (await prompt.ok("ps", "-aq")).out == ""


async def test_everything_that_was_typed_is_in_the_request(engine: FakeEngine, prompt: Prompt) -> None:
    """One container with all of it."""
    line = (
        "run -d --name web -e A=1 -e EMPTY= -e MINE -e NOT_SET --env-file vars -w /srv -u 1000:1000 -h box "
        "--entrypoint /bin/app -l a=1 -l b --label-file labels --init --read-only --tmpfs /run:size=1m --tmpfs /tmp "
        "--stop-signal INT --stop-timeout -1 --restart on-failure:3 --network host --domainname lan "
        "--shm-size 8m --oom-score-adj -5 --group-add wheel --group-add 7 --ulimit core=0 --ulimit core=1:2 "
        "--device /dev/a:r --sysctl kernel.msgmax=9 --annotation t/k=v=w --annotation e= alpine:3.10 -x --rm"
    )
    call = FakeCall(
        line.split(),
        environment={"MINE": "m=y", "FROM_FILE": "f"},
        files={"vars": b"# note\n\n  B=two words \nFROM_FILE\nABSENT\nA=0\n", "labels": b"c=3\nd\n#e\n"},
    )
    answer = await prompt(call=call)
    assert (answer.status, answer.out, answer.err) == (0, f"{ID}\n", "")
    container = await engine.container(ID)
    spec = container.settled
    assert container.name == "web"
    assert container.env == ("PATH=/bin", "B=two words ", "FROM_FILE=f", "A=1", "EMPTY=", "MINE=m=y")
    assert (spec.workdir, spec.user, spec.hostname) == ("/srv", "1000:1000", "box")
    assert (spec.entrypoint, spec.command) == (("/bin/app",), ("-x", "--rm"))
    assert spec.labels == {"a": "1", "b": "", "c": "3", "d": ""}
    assert spec.annotations == {"t/k": "v=w", "e": ""}
    assert (spec.init, spec.read_only, spec.tmpfs) == (True, True, {"/run": "size=1m", "/tmp": ""})
    assert (spec.stop_signal, spec.stop_timeout) == ("INT", -1)
    assert (spec.restart.name, spec.restart.retries, spec.network, spec.auto_remove) == ("on-failure", 3, "host", False)
    assert (spec.domainname, spec.shm_size, spec.oom_score_adj) == ("lan", 8 << 20, -5)
    assert spec.confinement.group_add == ("wheel", "7")
    assert spec.ulimits == (Ulimit(name="core", soft=1, hard=2),)
    assert spec.devices == (Device(source="/dev/a", target="/dev/a", access="r"),)
    assert spec.sysctls == {"kernel.msgmax": "9"}


async def test_a_limit_of_kernel_memory_is_accepted_and_said_to_be_none(engine: FakeEngine, prompt: Prompt) -> None:
    """As it is in the industry; and nothing is dropped without a word."""
    answer = await prompt("run", "-d", "--kernel-memory", "50m", "alpine:3.10")
    assert answer.status == 0
    assert "WARNING: --kernel-memory has no effect" in answer.err
    assert (await engine.container(ID)).settled.limits.kernel_memory == 50 << 20


async def test_an_empty_entrypoint_clears_that_of_the_image(engine: FakeEngine, prompt: Prompt) -> None:
    """As on the standard CLI."""
    engine.images.add("b", "tool:latest", Entrypoint=["/tool"], Cmd=["run"])
    await prompt.ok("run", "-d", "--entrypoint", "", "tool", "sh")
    assert (await engine.container(ID)).settled.argv == ("sh",)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-w", "srv"], "the working directory 'srv' is invalid, it needs to be an absolute path"),
        (["--stop-signal", "NOPE"], "invalid signal: NOPE"),
        (["--stop-timeout", "-2"], "invalid stop timeout: -2"),
        (["--restart", "often"], "invalid restart policy: unknown policy 'often'"),
        (["--restart", "always:3"], "maximum retry count cannot be used with restart policy 'always'"),
        (["--restart", "on-failure:-1"], "'-1' is not a number of retries"),
        (["--restart", "always", "--rm"], "cannot specify both --restart and --rm"),
        (["--pull", "sometimes"], 'invalid pull option: "sometimes"'),
        (["--tmpfs", "run"], "the path must be absolute"),
        (["--tmpfs", "/"], "the path must be absolute"),
        (["-e", "=x"], 'invalid argument "=x" for "-e, --env" flag'),
        (["-l", "=x"], 'invalid argument "=x" for "-l, --label" flag'),
        (["--annotation", "key"], 'invalid argument "key" for "--annotation" flag: write it as KEY=VALUE'),
        (["--annotation", "=x"], 'invalid argument "=x" for "--annotation" flag: write it as KEY=VALUE'),
        (["--kernel-memory", "much"], "invalid size: 'much'"),
        (["--storage-opt", "size=1G"], "not supported by this version of lading: writable layers have no bound"),
        (["--cgroup-parent", "/x"], "not supported by this version of lading: the engine finds, counts and kills"),
        (["--pid", "container:"], "--pid: invalid PID mode: 'container:'"),
        (["--uts", "container:x"], "--uts: invalid UTS mode: 'container:x'"),
        (["--env-file", "missing"], "open missing: no such file or directory"),
        (["--env-file", "bad"], "variable 'a b' contains whitespaces"),
        (["--env-file", "nameless"], "no variable name on line '=x'"),
        (["-a", "both"], "valid streams are STDIN, STDOUT and STDERR"),
        (["--name", "x"], "Invalid container name"),
        (["--sysctl", "kernel.core_pattern=x"], "sysctl 'kernel.core_pattern' is not allowed"),
        (["--sysctl", "net.a"], "invalid sysctl 'net.a'"),
        (["--device", "a"], "invalid device path: 'a'"),
        (["--device", "/dev/a:/dev/b:x"], "invalid device mode: x"),
        (["--device-cgroup-rule", "c 1:3"], "invalid device cgroup format 'c 1:3'"),
        (["--ulimit", "nofile"], "invalid ulimit argument: nofile"),
        (["--shm-size", "much"], "invalid size: 'much'"),
        (["--oom-score-adj", "1001"], "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        (["--network", "host", "--net", "mine"], "host networking cannot be combined with other networks"),
        (["--network", "mine", "--network", "mine"], 'network "mine" is specified multiple times'),
        (["--network", "name=mine,colour=red"], "invalid field colour"),
        (["--ip", "10.1.2.3"], "user specified IP address is supported on user defined networks only"),
        (["--net-alias", "www"], "network-scoped alias is supported only for containers in user defined networks"),
        (["--network", "mine", "--ip", "10.1.2.300"], "10.1.2.300 is not an ip address"),
        (["--network", "mine", "--mac-address", "01:00:00:00:00:00"], "not that of one interface"),
        (["--network", "container:web", "-p", "80:80"], "port publishing and the container type network mode"),
        (["--network", "container:web", "-h", "www"], "hostname and the container type network mode"),
        (["--network", "host", "--link", "db"], "host type networking can't be used with links"),
        (["-p", "80:80/icmp"], "invalid proto: icmp"),
        (["-p", "70000:80"], "invalid port '70000'"),
        (["-p", "1-3:1-2"], "are not of one length"),
        (["-p", "10.0.0.300:80:80"], "invalid IP address '10.0.0.300'"),
        (["--expose", "x"], "invalid port 'x'"),
        (["--add-host", "db"], 'bad format for add-host: "db"'),
        (["--add-host", "db:nowhere"], 'invalid IP address in add-host: "nowhere"'),
        (["--dns", "here"], "here is not an ip address"),
    ],
)
async def test_what_cannot_be_meant_is_125_and_creates_nothing(prompt: Prompt, options: list[str], told: str) -> None:
    """The line names the value."""
    files = {"bad": b"a b=1\n", "nameless": b"=x\n"}
    for verb in ("run", "create"):
        if verb == "create" and options[0] in ("-a", "--name"):
            continue
        answer = await prompt(call=FakeCall([verb, *options, "alpine:3.10"], files=files))
        assert (answer.status, answer.out) == (125, "")
        assert told in answer.err
        assert (await prompt.ok("ps", "-aq")).out == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--sysctl", "net.a=1", "--network", "host"], "not allowed in host network namespace"),
        (["--domainname", "a b"], "invalid domainname: 'a b'"),
        (["--group-add", ""], "invalid group: ''"),
    ],
)
async def test_what_the_engine_refuses_creates_nothing(prompt: Prompt, options: list[str], told: str) -> None:
    """Programs hear the same: it is not the console that knows."""
    for verb, status in (("run", 125), ("create", 1)):
        answer = await prompt(verb, *options, "alpine:3.10")
        assert (answer.status, answer.out) == (status, "")
        assert told in answer.err
    assert (await prompt.ok("ps", "-aq")).out == ""


async def test_detached_and_attached_exclude_each_other(prompt: Prompt) -> None:
    """Exit status 1: the console itself refuses."""
    answer = await prompt("run", "-d", "-a", "stdout", "alpine:3.10")
    assert (answer.status, answer.out) == (1, "")
    assert "conflicting options" in answer.err


async def test_a_missing_image_is_pulled_and_what_was_pulled_is_run(prompt: Prompt) -> None:
    """Standard output stays clean: the id is the only line there."""
    prompt.engine.images.remote["docker.io/library/site:latest"] = "5"
    for verb in (["create"], ["run", "-d"]):
        answer = await prompt(*verb, "site")
        assert answer.status == 0
        assert len(answer.lines) == 1
        assert len(answer.lines[0]) == 64
    first = (await prompt("create", "--pull", "always", "site")).err.splitlines()
    assert first[0] == "latest: Pulling from library/site"
    assert first[-1] == "Status: Image is up to date for site:latest"
    assert [done[1] for done in prompt.engine.images.done] == ["site:latest", "site:latest"]


async def test_the_pull_of_a_run_is_told_on_stderr_or_not_at_all(prompt: Prompt) -> None:
    """As scripts expect it."""
    prompt.engine.images.remote |= {"docker.io/library/one:latest": "5", "docker.io/library/two:latest": "6"}
    told = (await prompt("create", "one")).err.splitlines()
    assert told[:2] == ["Unable to find image 'one:latest' locally", "latest: Pulling from library/one"]
    assert told[-1] == "Status: Downloaded newer image for one:latest"
    assert (await prompt("create", "-q", "two")).err == ""


async def test_an_image_that_is_nowhere_is_named_with_a_way_out(prompt: Prompt) -> None:
    """run 125, create 1; with --pull never nobody is asked."""
    for verb, status in (("run", 125), ("create", 1)):
        answer = await prompt(verb, "nothing")
        assert (answer.status, answer.out) == (status, "")
        assert "Unable to find image 'nothing:latest' locally\n" in answer.err
        assert "manifest unknown" in answer.err
        answer = await prompt(verb, "--pull", "never", "nothing")
        assert (answer.status, answer.out) == (status, "")
        assert "No such image: nothing:latest" in answer.err
        assert "Unable to find" not in answer.err
    assert "Unable to find" not in (await prompt("run", "-q", "nothing")).err
    asked = len(prompt.engine.images.done)
    assert (await prompt("run", f"sha256:{'7' * 64}")).status == 125
    assert len(prompt.engine.images.done) == asked, "an id is in no registry"


async def test_a_taken_name_is_told_with_its_holder_and_the_way_to_free_it(prompt: Prompt) -> None:
    """run 125, create 1."""
    await prompt.ok("create", "--name", "web", "alpine:3.10")
    answer = await prompt("run", "--name", "web", "alpine:3.10")
    assert answer.status == 125
    assert answer.err.startswith(
        'lading: Error response from daemon: Conflict. The container name "/web" is already in use'
    )
    assert answer.err.splitlines()[1:] == [
        f"try: lading rm {ID[:12]}",
        "",
        "Run 'lading run --help' for more information",
    ]
    assert (await prompt("create", "--name", "web", "alpine:3.10")).status == 1


@pytest.mark.parametrize("code", [125, 126, 127])
async def test_a_command_that_cannot_be_executed_has_its_own_status(
    engine: FakeEngine, prompt: Prompt, code: int
) -> None:
    """126 and 127 for run; the container stays as created, with the reason."""
    engine.start_error = StartFailed(
        attempt=1, reason='exec: "nope": executable file not found in $PATH', exit_code=code
    )
    answer = await prompt("run", "--name", "web", "alpine:3.10", "nope")
    assert (answer.status, answer.out) == (code, "")
    assert answer.err.startswith(
        'lading: Error response from daemon: exec: "nope": executable file not found in $PATH\n'
    )
    assert (await prompt.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web")).out == f"created {code}\n"


async def test_what_removes_itself_is_gone_when_its_start_has_failed(engine: FakeEngine, prompt: Prompt) -> None:
    """The name is free again at once."""
    engine.start_error = StartFailed(attempt=1, reason="no", exit_code=127)
    assert (await prompt("run", "--rm", "--name", "web", "alpine:3.10", "nope")).status == 127
    assert (await prompt.ok("ps", "-aq")).out == ""


async def test_the_cidfile_holds_the_bare_id(engine: FakeEngine, prompt: Prompt) -> None:
    """No line feed; also when the command could not be started."""
    answer = await prompt("run", "-d", "--cidfile", "cid", "alpine:3.10")
    assert answer.call.files == {"cid": ID.encode()}
    engine.start_error = StartFailed(attempt=1, reason="no", exit_code=127)
    answer = await prompt("run", "--cidfile", "cid", "alpine:3.10", "nope")
    assert (answer.status, answer.call.files) == (127, {"cid": b"2" * 64})


async def test_an_existing_cidfile_refuses_before_anything_is_created(prompt: Prompt) -> None:
    """Two containers never share one."""
    answer = await prompt(call=FakeCall(["run", "--cidfile", "cid", "alpine:3.10"], files={"cid": b"old"}))
    assert (answer.status, answer.call.files) == (125, {"cid": b"old"})
    assert (await prompt.ok("ps", "-aq")).out == ""


async def test_the_cidfile_goes_away_when_nothing_was_created(prompt: Prompt) -> None:
    """A file that names nothing is a trap."""
    answer = await prompt("create", "--cidfile", "cid", "nothing")
    assert (answer.status, answer.call.files) == (1, {})


async def test_an_empty_cidfile_is_none(engine: FakeEngine, prompt: Prompt) -> None:
    """Scripts pass on a variable that may be empty."""
    answer = await prompt("run", "-d", "--cidfile", "", "alpine:3.10")
    assert (answer.status, answer.call.files) == (0, {})


NOT_UTF8 = b"caf\xe9".decode("utf-8", "surrogateescape")
LEGIBLE = "caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "words",
    [
        ["alpine:3.10", "echo", NOT_UTF8],
        ["-e", f"A={NOT_UTF8}", "alpine:3.10"],
        ["-e", "A", "alpine:3.10"],
        ["-l", f"{NOT_UTF8}={NOT_UTF8}", "alpine:3.10"],
        ["-w", f"/{NOT_UTF8}", "alpine:3.10"],
        ["-u", NOT_UTF8, "alpine:3.10"],
        ["--entrypoint", NOT_UTF8, "alpine:3.10"],
        ["--tmpfs", f"/{NOT_UTF8}", "alpine:3.10"],
    ],
)
async def test_bytes_that_are_not_utf8_are_stored_as_the_sign_for_them(
    engine: FakeEngine, prompt: Prompt, words: list[str]
) -> None:
    """An event is JSON: nothing else can be kept in it, and a command line must not fail for that."""
    answer = await prompt(call=FakeCall(["create", *words], environment={"A": NOT_UTF8}))
    assert (answer.status, answer.err) == (0, "")
    assert LEGIBLE in engine.store.records[-1].event.model_dump_json()


@pytest.mark.parametrize("verb", ["inspect", "rm", "start", "logs", "why", "rmi"])
async def test_a_name_that_is_not_utf8_is_just_unknown(prompt: Prompt, verb: str) -> None:
    """Not an error of ours."""
    answer = await prompt(verb, NOT_UTF8)
    assert answer.status == 1
    assert "internal error" not in answer.err
    assert LEGIBLE in answer.err


async def test_the_names_of_the_clients_files_are_taken_byte_for_byte(prompt: Prompt) -> None:
    """There the bytes are the name."""
    call = FakeCall(["create", "--env-file", NOT_UTF8, "--cidfile", f"{NOT_UTF8}2", "alpine:3.10"])
    call.files[NOT_UTF8] = b"A=1"
    assert (await prompt(call=call)).status == 0
    assert f"{NOT_UTF8}2" in call.files
    answer = await prompt(call=FakeCall(["import", NOT_UTF8, "base"], files={NOT_UTF8: b"tar"}))
    assert (answer.status, answer.err) == (0, "")


async def test_a_file_of_variables_must_be_utf8(prompt: Prompt) -> None:
    """Its line is named."""
    answer = await prompt(call=FakeCall(["run", "--env-file", "f", "alpine:3.10"], files={"f": b"A=1\nB=\xe9\n"}))
    assert (answer.status, answer.err.splitlines()[0]) == (125, "lading: invalid file f: invalid utf8 bytes at line 2")


async def started(call: FakeCall, engine: FakeEngine) -> None:
    """Wait until the container of the call runs."""
    while not any(row["pid"] for row in engine.store.rows["containers"].values()):
        await asyncio.sleep(0)
    while call.on_signal is None:
        await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_signals_go_to_the_container_and_the_client_stays_until_its_end(
    engine: FakeEngine, prompt: Prompt
) -> None:
    """TERM to the client is TERM to the first process; the status says so."""
    call = FakeCall(["run", "alpine:3.10", "sleep", "9"])
    running = asyncio.ensure_future(prompt(call=call))
    await started(call, engine)
    assert call.on_signal is not None
    await call.on_signal(1)
    assert not running.done()
    await call.on_signal(15)
    assert (await running).status == 143
    assert engine.signals == [1, 15]
    await call.on_signal(15)  # it has ended: nobody is hit
    assert engine.signals == [1, 15]


async def test_without_sig_proxy_signals_go_nowhere(engine: FakeEngine, prompt: Prompt) -> None:
    """Neither to the container nor do they end the client."""
    call = FakeCall(["run", "--sig-proxy=false", "alpine:3.10", "sleep", "9"])
    running = asyncio.ensure_future(prompt(call=call))
    await started(call, engine)
    assert call.on_signal is not None
    await call.on_signal(15)
    await asyncio.sleep(0)
    assert not running.done()
    engine.exit(ID, 0)
    assert (await running).status == 0
    assert engine.signals == []


async def test_a_client_that_goes_away_leaves_the_container_running(engine: FakeEngine, prompt: Prompt) -> None:
    """A closed terminal stops nothing."""
    call = FakeCall(["run", "--rm", "alpine:3.10", "sleep", "9"])
    running = asyncio.ensure_future(prompt(call=call))
    await started(call, engine)
    call.closed.set()
    await running
    assert (await engine.container(ID)).pid


async def test_create_prints_the_id_and_starts_nothing(engine: FakeEngine, prompt: Prompt) -> None:
    """start does that."""
    assert (await prompt.ok("create", "--name", "job", "alpine:3.10", "true")).out == f"{ID}\n"
    assert (await engine.container(ID)).state == "created"


async def test_the_short_spelling_of_network_is_known(engine: FakeEngine, prompt: Prompt) -> None:
    """Fingers type --net."""
    await prompt.ok("run", "-d", "--net=host", "alpine:3.10")
    assert (await engine.container(ID)).settled.network == "host"


@pytest.mark.parametrize("words", [["run", "alpine:3.10", "x"], ["run", "--rm", "alpine:3.10", "x"]])
async def test_a_status_that_nobody_knows_is_not_made_up(
    engine: FakeEngine, prompt: Prompt, words: list[str]
) -> None:
    """The supervisor was lost with it: that is a failure of the engine, and one line says so."""
    engine.after_start = lambda id: engine.exit(id, -1, how="unknown")
    done = await prompt(*words)
    assert done.status == 125
    told = f"the exit status of {ID[:12]} is not known, for the supervisor was lost: see lading why {ID[:12]}\n"
    assert done.err == told
