"""What has gone wrong in other engines, tried on this one: docs/advisories.md says which test stands for which
advisory, and here are those that fit nowhere else."""

import gzip
import json
import lzma
import os
import stat
import time
from pathlib import Path

import pytest
import zstandard

from tests.security import archives
from tests.security.archives import file, folder, link, special
from tests.security.conftest import Forge
from tests.tutorial.engine import SMALL, Engine, readable, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

QUICK = 10.0
MASKED = ("for f in kcore keys timer_list interrupts; do head -c 1 /proc/$f; done; "
          "for d in /proc/acpi /sys/firmware; do ls -A $d; done")
TRAP = "#!/bin/sh\necho ran >>/marks\n"
FILES_OF_DEV = ("null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "core", "shm",
                "mqueue")


def status_of(text: str) -> dict[str, str]:
    """A /proc/N/status as a table."""
    return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in text.splitlines())}


@pytest.mark.parametrize(("user", "ids"), [("1", ("1 1 1 1", "0 0 0 0")), ("1:1", ("1 1 1 1", "1 1 1 1")),
                                           ("0001", ("1 1 1 1", "0 0 0 0")), ("5", ("5 5 5 5", "5 5 5 5"))])
def test_a_number_is_that_number_for_the_first_process_and_for_one_more(forge: Forge, user: str,
                                                                         ids: tuple[str, str]) -> None:
    """Whatever names passwd gives to root: elsewhere a number was taken for the name of root (CVE-2016-3697), one too
    large for a name (CVE-2026-46680) or wrapped (CVE-2024-40635), and 1 was read as 0 (CVE-2026-30892)."""
    names = b"".join(b"%b:x:0:0:root:/root:/bin/sh\n" % name for name in (b"1", b"0001", b"4294967296", b"2147483648"))
    image = forge.image(file("etc/passwd", names + b"five:x:5:5::/:/bin/sh\n"))
    said = forge.engine.ok("run", "--name", "first", "-u", user, image, "cat", "/proc/self/status")
    forge.engine.ok("run", "-d", "--name", "host", image, "sleep", "1000")
    more = forge.engine.ok("exec", "-u", user, "host", "cat", "/proc/self/status")
    for found in map(status_of, (said, more)):
        assert (found["Uid"], found["Gid"], found["CapEff"]) == (*ids, "0" * 16)
    for wrong in ("4294967296", "2147483648", "-1"):
        assert forge.engine.cli("run", "--rm", "-u", wrong, image, "true").code == 125
        assert forge.engine.cli("exec", "-u", wrong, "host", "true").code != 0


def test_a_group_file_without_an_end_costs_neither_time_nor_memory(forge: Forge) -> None:
    """Elsewhere it is read and parsed as a whole, until the daemon is out of memory (CVE-2026-47262,
    GHSA-72x6-4j93-7w86)."""
    one = b"g:x:%d:" + b"ann," * 2000 + b"ann\n"
    content = b"".join(one % number for number in range(5000))
    image = forge.image(file("etc/passwd", b"ann:x:7:7::/:/bin/sh\n"), file("etc/group", content))
    small = [forge.engine.processes()[role] for role in ("daemon", *SMALL)]
    before = [_peak(pid) for pid in small]
    begun = time.monotonic()
    found = status_of(forge.engine.ok("run", "--rm", "-u", "ann", image, "cat", "/proc/self/status", timeout=QUICK))
    assert time.monotonic() - begun < QUICK
    assert 0 < len(found["Groups"].split()) <= 65536
    assert max(now - then for now, then in zip(map(_peak, small), before, strict=True)) < 32 << 10


def _peak(pid: int) -> int:
    """The most memory that a process has had, in KiB."""
    return int(status_of(Path(f"/proc/{pid}/status").read_text())["VmHWM"].split()[0])


@pytest.mark.parametrize("target", ["{}/passwd", "../../../../../../../..{}/passwd", "/proc/1/root{}/passwd"])
def test_users_of_the_host_are_no_users_of_a_container(forge: Forge, tmp_path: Path, target: str) -> None:
    """Through a link in the image: elsewhere the host's file was read instead, in the engine's view (CVE-2024-9676)."""
    (tmp_path / "passwd").write_text("hostuser:x:7:7::/:/bin/sh\n")
    image = forge.image(link("etc/passwd", target.format(tmp_path)))
    assert "unable to find user" in forge.engine.refused("run", "--rm", "-u", "hostuser", image, "true", code=125)


@pytest.mark.parametrize("env", [["LADING_DATA_ROOT"], ["*"], ["LADING*"], ["PATH", "HOME"]])
def test_a_variable_without_a_value_does_not_bring_the_hosts(forge: Forge, env: list[str]) -> None:
    """An image that names one, or asks for all of them by a star, elsewhere gets the values that the client has
    (CVE-2026-57231)."""
    forge.engine.ok("run", "--rm", "busybox", "true")
    loaded = forge.load({"Cmd": ["env"], "Env": env})
    done = forge.engine.cli("run", "--rm", "bad", "env", env={"LADING_SECRET": "x"}) if loaded.code == 0 else loaded
    assert str(forge.engine.data) not in done.out + done.err
    assert "LADING" not in done.out


def test_a_container_sees_nothing_of_the_environment_of_another_of_the_same_image(engine: Engine) -> None:
    """Elsewhere a later one got what an earlier one had been given (CVE-2021-21334, CVE-2020-14370)."""
    engine.ok("run", "--name", "one", "-e", "SECRET=1", "busybox", "true")
    engine.ok("exec", "-e", "OTHER=2", engine.ok("run", "-d", "--name", "two", "busybox", "sleep", "100"), "true")
    for said in (engine.ok("run", "--rm", "busybox", "env"), engine.ok("exec", "two", "env")):
        assert {line.partition("=")[0] for line in said.splitlines()} == {"PATH", "HOSTNAME", "HOME"}


def test_top_runs_no_program_of_the_container(engine: Engine) -> None:
    """Elsewhere it enters the container's namespaces and executes what it finds there (CVE-2022-1227)."""
    script = ('printf %s "$TRAP" >/trap; chmod 755 /trap; '
              "for f in ps nsenter top sh cat ls; do rm -f /bin/$f /usr/bin/$f; cp /trap /bin/$f; done; "
              "echo ready; exec sleep 1000")
    engine.shell(script, "-e", f"TRAP={TRAP}", name="it")
    engine.written("it", "ready")
    assert "sleep" in engine.ok("top", "it")
    engine.ok("stats", "--no-stream", "it")
    assert "/marks" not in engine.ok("diff", "it")


def test_archives_are_unpacked_by_the_engine_itself(base_image: Path, tmp_path: Path) -> None:
    """No gzip, xz, unpigz, zstd or tar is looked up in PATH; elsewhere one was run, and even one of the archive's own
    (CVE-2014-9357, CVE-2019-14271, CVE-2026-41567)."""
    traps = tmp_path / "traps"
    traps.mkdir()
    marks = tmp_path / "marks"
    for name in ("gzip", "gunzip", "unpigz", "igzip", "xz", "unxz", "zstd", "bzip2", "tar", "docker-untar", "nsenter"):
        (traps / name).write_text(f"#!/bin/sh\necho {name} >>{marks}\n")
        (traps / name).chmod(0o755)
    data = archives.small(tmp_path / "small.tar", base_image).read_bytes()
    packed = {"gz": gzip.compress(data), "xz": lzma.compress(data), "zst": zstandard.compress(data), "tar": data}
    engine = Engine()
    engine.environment["PATH"] = f"{traps}:{engine.environment['PATH']}"
    try:
        engine.start()
        for kind, content in packed.items():
            (tmp_path / kind).write_bytes(content)
            engine.ok("import", str(tmp_path / kind), kind)
            engine.ok("run", "--name", kind, kind, "true")
        engine.ok("cp", "gz:/bin", str(tmp_path / "out"))
        engine.ok("cp", str(tmp_path / "gz"), "gz:/")
        engine.ok("export", "-o", str(tmp_path / "exported"), "xz")
        engine.ok("commit", "zst", "again")
        assert not marks.exists()
    finally:
        left = engine.close()
    assert not left, left


@pytest.mark.parametrize("options", [(), ("-t",), ("-t", "--init")], ids=" ".join)
@pytest.mark.parametrize("trap", ["null is a link", "null is a device", "console is a link", "everything", "pts"])
def test_what_the_image_has_in_dev_is_no_source_of_a_mask_and_no_target_of_a_console(
    forge: Forge, canary: Path, trap: str, options: tuple[str, ...]
) -> None:
    """A mask made of a file that the image chose uncovers what it should hide, or covers a file of the host
    (CVE-2025-31133); a console that is put on a link lands where the link leads (CVE-2025-52565); links that replace
    what is set up in /dev are made or deleted on the host (CVE-2026-41579, CVE-2026-47766).

    CVE-2026-88264, CVE-2026-88265.
    """
    entries = {
        "null is a link": [folder("dev"), link("dev/null", f"{canary}/hosts")],
        "null is a device": [folder("dev"), special("dev/null", b"3", device=(1, 5))],
        "console is a link": [folder("dev"), link("dev/console", f"{canary}/passwd"), link("dev/ptmx", f"{canary}/x")],
        "everything": [folder("dev"), *(link(f"dev/{name}", str(canary)) for name in FILES_OF_DEV)],
        "pts": [folder("dev"), link("dev/pts", str(canary)), link("dev/shm", "/proc")],
    }[trap]
    image = forge.image(*entries)
    done = forge.engine.cli("run", "--rm", *options, image, "sh", "-c", f"({MASKED}) 2>/dev/null | wc -c; "
                            "stat -c %t:%T /dev/null; ls -ld /dev/pts /dev/shm | cut -c1", timeout=QUICK)
    assert done.code == 0, done
    assert done.out.split() == ["0", "1:3", "d", "d"], done


def test_the_masks_hold_whatever_the_image_has_under_their_names(forge: Forge) -> None:
    """Directories and links called like the kernel's files, below where they will be mounted.

    CVE-2025-52881.
    """
    image = forge.image(folder("proc"), link("proc/kcore", "/etc/passwd"), link("proc/keys", "/etc/passwd"),
                        folder("sys"), folder("sys/firmware"), file("sys/firmware/x", b"x"))
    said = forge.engine.ok("run", "--rm", image, "sh", "-c", "cat /proc/kcore /proc/keys 2>/dev/null | wc -c; "
                           "ls -A /sys/firmware | wc -l; echo 1 2>/dev/null >/proc/sys/kernel/panic || echo refused")
    assert said.split() == ["0", "0", "refused"]


def test_what_is_kept_in_shared_memory_is_limited(engine: Engine) -> None:
    """It is memory that no process owns: elsewhere a container could fill the host's with it, and it stayed when the
    container was killed (CVE-2024-3056)."""
    script = "head -c 100000000 /dev/zero >/dev/shm/x 2>/dev/null || wc -c </dev/shm/x"
    assert int(engine.ok("run", "--rm", "busybox", "sh", "-c", script)) == 64 << 20


@pytest.mark.parametrize("size", [100, 120_000])
def test_long_requests_arrive_whole_or_not_at_all(engine: Engine, size: int) -> None:
    """Between the processes of the engine, messages say how long they are; elsewhere such a length has wrapped and the
    rest was read as other wishes (CVE-2021-43784)."""
    variables = [f"V{number}={str(number) * size}"[:size + 4] for number in range(7)]
    words = [word for variable in variables for word in ("-e", variable)]
    done = engine.cli("run", "--rm", *words, "busybox", "env")
    if done.code == 0:
        assert set(variables) <= set(done.out.splitlines())
    else:
        assert (done.code, done.out) == (125 if done.code == 125 else 126, "")
    assert engine.ok("run", "--rm", "busybox", "echo", "alive") == "alive"
    answer = engine.ask("create", request={"image": "busybox", "command": ["x" * 700_000]})
    assert isinstance(answer["ok"], bool)
    assert engine.ok("run", "--rm", "busybox", "echo", "alive") == "alive"


def test_execs_and_attached_clients_that_vanish_leave_nothing(engine: Engine) -> None:
    """Killed in the middle, with a terminal and without: no memory, thread, descriptor or process of the engine stays
    (CVE-2022-23471, CVE-2022-31030, CVE-2025-64329)."""
    engine.ok("run", "-d", "--name", "it", "busybox", "sh", "-c", "while :; do echo line; sleep 0.1; done")

    def round_of_clients(count: int) -> None:
        talk = "echo line; exec sleep 1000"
        for number in range(count):
            words = [("attach", "it"), ("exec", "it", "sh", "-c", talk), ("logs", "-f", "it"),
                     ("exec", "-i", "it", "sh", "-c", talk)][number % 4]
            client = engine.begin(*words)
            assert readable(client.stdout, QUICK), words
            client.kill()
            client.communicate()
        engine.cli("exec", "it", "killall", "sleep")

    round_of_clients(12)
    before = _figures_at_rest(engine)
    round_of_clients(60)

    def as_before() -> bool:
        """A process whose client was quick to die may only now be called sleep."""
        engine.cli("exec", "it", "killall", "sleep")
        return all(now <= then + 4 for now, then in zip(_figures(engine), before, strict=True))

    until(as_before, "descriptors and threads are those from before", pause=0.2)


def _figures_at_rest(engine: Engine) -> list[int]:
    """Those of two looks that agree, further apart than the daemon waits before it has spare connections to the bus
    again: right after some quick clients it has fewer than it keeps."""
    looks: list[list[int]] = [[]]

    def agree() -> list[int]:
        looks.append(_figures(engine))
        return looks[-1] if looks[-1] == looks[-2] else []

    return list(until(agree, "descriptors and threads are the same twice", pause=0.7))


def _figures(engine: Engine) -> list[int]:
    """Descriptors and threads of each of the engine's processes."""
    processes = engine.processes()
    return [len(os.listdir(f"/proc/{processes[role]}/{what}"))
            for role in ("daemon", *SMALL) for what in ("fd", "task")]


def test_files_that_the_engine_makes_for_a_container_are_nobody_elses(engine: Engine) -> None:
    """Neither in /tmp, where others could wait for them, nor writable for others (CVE-2014-0047, CVE-2021-41091)."""
    before = set(os.listdir("/tmp"))
    engine.ok("run", "-d", "--name", "it", "--init", "-t", "busybox", "sleep", "1000")
    opened = {os.readlink(f"/proc/{pid}/fd/{number}") for pid in engine.processes().roles.values()
              for number in os.listdir(f"/proc/{pid}/fd") if os.path.islink(f"/proc/{pid}/fd/{number}")}
    assert not [path for path in opened if path.startswith(("/tmp/", "/dev/shm/"))]
    made = set(os.listdir("/tmp")) - before
    assert not [name for name in made if "lading" in name]
    modes = {stat.S_IMODE(path.lstat().st_mode) & 0o022 for path in (engine.data / "containers").glob("*")}
    assert modes == {0}


def test_a_name_in_an_archive_that_is_no_name_reaches_no_list(forge: Forge) -> None:
    """Names, and labels that others might read as names, in documents that are valid JSON (CVE-2014-5282,
    CVE-2014-9358)."""
    for names in (["../../../etc:x"], ["a:../b"], ["A:b"], ["sha256:" + "0" * 64], ["a@sha256:" + "0" * 64], ["-x:y"]):
        done = forge.load({"Cmd": ["true"]}, RepoTags=names)
        listed = json.loads(forge.engine.ok("inspect", names[0])) if done.code == 0 else []
        assert done.code == 1 or listed, (names, done)
