"""Images as an attacker would make them: nothing of the host is touched, nothing steers the engine, nothing hangs."""

import json
import os
import re
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.security import prober
from tests.security.archives import file, folder, link, special
from tests.security.conftest import Forge
from tests.tutorial.engine import PROGRAMS
from tests.tutorial.line import Line

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

QUICK = 10.0
ESCAPES = "\x1b]0;title\x07\x1b[31mred\x1b[2J\x9b31m\r\n\u202egnp\x85\u2028"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_an_image_whose_kernel_directory_is_a_link_does_not_start(forge: Forge, canary: Path, name: str) -> None:
    """It would run without masks, or mount on the host's directory.

    CVE-2019-19921, CVE-2023-27561, CVE-2023-28642.
    """
    for target in (str(canary), "/etc", "../../../../.." + str(canary)):
        image = forge.image(link(name, target))
        assert "is a link" in forge.engine.refused("run", "--rm", image, "true", code=125)


@pytest.mark.parametrize("name", ["etc", "run", "sbin"])
def test_a_directory_that_is_a_link_leads_nowhere_but_into_the_image(forge: Forge, canary: Path, name: str) -> None:
    """The engine's own files and its little init are put there.

    CVE-2015-3629, CVE-2019-18837, CVE-2024-45310.
    """
    for target in (str(canary), "../../../../../../.." + str(canary)):
        image = forge.image(link(name, target))
        done = forge.engine.cli("run", "--rm", "--init", image, "sh", "-c", "echo x >/etc/hosts; cat /etc/hostname")
        assert done.code == 0, done.err


@pytest.mark.parametrize("kind", ["link out", "link to itself", "link to proc", "fifo", "device"])
def test_files_of_the_engine_cover_whatever_the_image_has_in_their_place(forge: Forge, canary: Path, kind: str) -> None:
    """Nothing is followed, opened or waited for.

    CVE-2025-24965, CVE-2024-9341.
    """
    entries = {
        "link out": [link("etc/hosts", str(canary / "hosts")), link("etc/hostname", f"../../../..{canary}/hostname")],
        "link to itself": [link("etc/hosts", "hosts")], "link to proc": [link("etc/resolv.conf", "/proc/self/exe")],
        "fifo": [special("etc/hosts", tarfile.FIFOTYPE)],
        "device": [special("etc/hosts", tarfile.CHRTYPE, device=(1, 11))],
    }[kind]
    image = forge.image(*entries)
    done = forge.engine.cli("run", "--rm", image, "sh", "-c", "echo x >>/etc/hosts && cat /etc/hosts", timeout=QUICK)
    assert done.code == 0, done.err
    assert "localhost" in done.out


@pytest.mark.parametrize(("path", "status"), [
    ("/proc/self/fd/4", 125), ("/proc/self/cwd/new", 125), ("/proc/1/root/new", 125), ("/proc/new", 125),
    ("/sys/new", 125), ("/magic/new", 125), ("/out/new", 0),
])
def test_a_working_directory_is_made_inside_or_not_at_all(forge: Forge, canary: Path, path: str, status: int) -> None:
    """Through links of the image, through magic links, in the kernel's file systems.

    CVE-2026-55686.
    """
    image = forge.image(link("out", "inside"), folder("inside"), link("magic", "/proc/self/cwd"),
                        change=f"WORKDIR {path}")
    done = forge.engine.cli("run", "--rm", image, "pwd")
    assert (done.code, done.out) == (status, "" if status else "/inside/new\n"), done.err


@pytest.mark.parametrize("kind", ["fifo", "zero", "memory", "loop", "directory", "huge", "one line"])
def test_users_are_looked_up_in_regular_files_of_reasonable_size(forge: Forge, kind: str) -> None:
    """Within seconds, whatever passwd is; a number needs no file."""
    entry = {
        "fifo": special("etc/passwd", tarfile.FIFOTYPE), "zero": link("etc/passwd", "/dev/zero"),
        "memory": special("etc/passwd", tarfile.CHRTYPE, device=(1, 5)), "loop": link("etc/passwd", "passwd"),
        "directory": folder("etc/passwd"), "huge": file("etc/passwd", b"x:x:5:5::/:/bin/sh\n" * 500_000),
        "one line": file("etc/passwd", b"a" * 8_000_000 + b":x:1:1::/:\nann:x:7:7::/home:/bin/sh\n"),
    }[kind]
    image = forge.image(entry)
    said = forge.engine.cli("run", "--rm", "-u", "ann", image, "true", timeout=QUICK)
    assert said.code == 125
    assert "unable to find user ann" in said.err
    done = forge.engine.cli("run", "--rm", "-u", "7:8", image, "cat", "/proc/self/status", timeout=QUICK)
    assert "Uid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8" in done.out


@pytest.mark.parametrize("user", ["4294967296", "2147483648", "-1", "0x0", "root:", ":", "1:2:3", "ann:nogroup2"])
def test_a_user_that_is_none_does_not_start(forge: Forge, user: str) -> None:
    """Never wrapped to root."""
    assert forge.engine.refused("run", "--rm", "-u", user, "busybox", "true", code=125)


@pytest.mark.parametrize("program", ["/proc/self/exe", "/proc/self/fd/3", "/link", "/proc/1/exe"])
def test_the_engines_interpreter_is_not_executed_by_name(forge: Forge, program: str) -> None:
    """In a container it would be a handle on the host's file."""
    image = forge.image(link("link", "/proc/self/exe"))
    for options in ((), ("--init",)):
        assert "permission denied" in forge.engine.refused("run", "--rm", *options, image, program, code=126)


def test_an_interpreter_line_gets_a_copy_that_it_cannot_harm(forge: Forge, python_image: Path) -> None:
    """`#!/proc/self/exe` is resolved by the kernel; what runs then is sealed, content and mode.

    CVE-2019-5736.
    """
    script = b"""#!/proc/self/exe
import os
for act in (lambda: os.open("/proc/self/exe", os.O_WRONLY), lambda: os.open("/proc/self/exe", os.O_RDWR),
            lambda: os.truncate("/proc/self/exe", 0)):
    try:
        act()
        print("done")
    except OSError as error:
        print("refused")
try:
    os.chmod("/proc/self/exe", 0)
except OSError:
    pass
"""
    host = Path(prober.interpreter())
    before = host.stat()
    image = forge.image(file("run.py", script), base=python_image)
    done = forge.engine.cli("run", "--rm", image, "/run.py")
    assert (done.code, done.out) == (0, "refused\n" * 3), done.err
    after = host.stat()
    assert (after.st_mode, after.st_size, after.st_mtime_ns) == (before.st_mode, before.st_size, before.st_mtime_ns)
    small = forge.engine.processes()
    assert [os.stat(f"/proc/{small[role]}/exe").st_mode & 0o100 for role in ("keeper", "warden")] == [0o100] * 2
    forge.engine.kill("zygote")
    assert forge.engine.ok("run", "--rm", "busybox", "echo", "again") == "again"


@pytest.mark.parametrize("config", [
    {"Entrypoint": ["sh\0x"]}, {"Cmd": [1]}, {"Cmd": [["true"]]}, {"Env": ["A=a\0b"]}, {"Env": ["=x"]},
    {"WorkingDir": "/a\0b"}, {"WorkingDir": 5}, {"StopSignal": "9; rm"}, {"StopSignal": ESCAPES}, {"StopSignal": 9},
    {"User": "a\0b"}, {"User": ESCAPES}, {"ExposedPorts": {"99999/tcp": {}}}, {"Volumes": {"../../..": {}}},
])
def test_a_config_that_means_nothing_is_refused_in_harmless_words(forge: Forge, config: dict[str, Any]) -> None:
    """Before anything can be made from it."""
    done = forge.load({"Cmd": ["true"], **config})
    assert (done.code, done.out) == (1, "")
    assert not UNSAFE.search(done.err)


@pytest.mark.parametrize("manifest", [
    {"Config": "../../../../etc/passwd"}, {"Config": "/etc/passwd"}, {"Layers": []}, {"Layers": ["layer.tar"] * 2},
    {"RepoTags": ["../../x:y"]}, {"RepoTags": [ESCAPES]}, {"RepoTags": [1]},
])
def test_a_manifest_names_only_what_the_archive_holds(forge: Forge, manifest: dict[str, Any]) -> None:
    """A path in it is no path of the host."""
    done = forge.load({"Cmd": ["true"]}, **manifest)
    assert (done.code, done.out) == (1, "")
    assert not UNSAFE.search(done.err)
    assert "root:" not in done.err


def test_the_environment_of_an_image_reaches_its_process_and_nobody_else(forge: Forge) -> None:
    """Not the interpreter that sets the container up, nor its failpoints."""
    wishes = ["LD_PRELOAD=/x.so", "LD_LIBRARY_PATH=/x", "PYTHONHOME=/x", "PYTHONPATH=/x", "GCONV_PATH=/x",
              "LADING_FAILPOINTS=child.Execute=kill", "LADING_DATA_ROOT=/x"]
    assert forge.load({"Cmd": ["env"], "Env": wishes}).code == 0
    before = forge.engine.processes().roles
    assert set(wishes) <= set(forge.engine.ok("run", "--rm", "bad").splitlines())
    assert forge.engine.processes().roles == before


def test_labels_and_unknown_wishes_of_an_image_change_nothing(forge: Forge) -> None:
    """It would like to be privileged, and in the host's network.

    CVE-2014-6408, CVE-2026-53488, CVE-2026-121885.
    """
    forge.load({"Cmd": ["cat", "/proc/self/status"], "Privileged": True, "NetworkMode": "host", "CapAdd": ["ALL"],
                "Labels": {"lading.network": "host", "lading.privileged": "true", "lading.seccomp": "unconfined"}})
    said = forge.engine.ok("run", "--name", "it", "bad")
    assert "CapBnd:\t00000000a80425fb" in said
    assert "Seccomp:\t2" in said
    assert forge.engine.ok("inspect", "-f", "{{.HostConfig.NetworkMode}}", "it") == "bridge"


def test_an_image_that_says_megabytes_about_itself_stops_nobody(forge: Forge) -> None:
    """They are recorded with everything that is made from it, and a message has a limit: the daemon lives on, and what
    cannot be told is refused (CVE-2021-21285)."""
    engine = forge.engine
    before = engine.processes().roles
    with closing(Line(engine.socket)) as listener:
        listener.subscribe("lading.@.ev.>", 1)
        assert forge.load({"Cmd": ["sleep", "1000"], "Labels": {"big": "\u00e9" * 1_000_000}}).code == 0
        engine.ok("run", "-d", "--name", "big", "bad")
        assert engine.cli("commit", "big", "again").code == 1
        heard = [json.loads(listener.hear()[1]) for _ in range(3)]
    assert [event["type"] for event in heard if event["data"] is None]
    assert len(engine.ok("inspect", "big")) > 1_000_000
    for answer in (engine.query("history", container="big"), engine.query("images")):
        assert answer["ok"] or "does not fit" in answer["message"]
    engine.ok("exec", "big", "true")
    engine.ok("rm", "-f", "big")
    engine.ok("rmi", "bad")
    assert engine.processes().roles == before


def test_no_text_of_an_image_or_container_commands_the_terminal(forge: Forge) -> None:
    """In tables, documents, histories and errors: names, labels, commands, variables, process titles."""
    forge.load({"Cmd": ["sleep", ESCAPES], "Labels": {f"a{ESCAPES}": ESCAPES}, "Env": [f"E{ESCAPES}={ESCAPES}"]})
    engine = forge.engine
    engine.ok("run", "-d", "--name", "one", "--label", f"b{ESCAPES}={ESCAPES}", "-e", f"F{ESCAPES}={ESCAPES}", "bad",
              "sh", "-c", f"sleep 100 # {ESCAPES}")
    engine.cli("run", "--name", "two", "bad", f"/none{ESCAPES}")
    shown = [
        ("ps", "-a"), ("ps", "-a", "--no-trunc"), ("ps", "-a", "--format", "{{.Command}} {{.Labels}}"),
        ("ps", "-a", "--format", "json"), ("inspect", "one", "two", "bad"), ("images",), ("top", "one"),
        ("inspect", "-f", "{{.Config.Labels}} {{.Config.Env}} {{.State.Error}}", "one", "two"), ("why", "one"),
        ("why", "two"), ("audit", "one"), ("audit", "--format", "{{json .}}", "two"), ("rm", ESCAPES),
        ("events", "--since", "0", "--until", "0s"), ("start", "two"), ("run", ESCAPES), ("stop", "-s", ESCAPES, "one"),
        ("ps", "--filter", ESCAPES), ("load", "-i", f"/{ESCAPES}"), ("import", f"/{ESCAPES}"), (ESCAPES,),
    ]
    for words in shown:
        done = subprocess.run([str(PROGRAMS / "lading"), *words], env=engine.environment, capture_output=True,
                              timeout=30, check=False)
        text = (done.stdout + done.stderr).decode()
        assert text, words
        assert not UNSAFE.search(text), (words, text)
    assert len(engine.ok("ps", "-a").splitlines()) == 3
