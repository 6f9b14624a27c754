"""Builds of what somebody hostile has written: Dockerfiles, contexts, archives, images. docs/advisories.md says which
advisories these are."""

import os
import tarfile
from pathlib import Path

import pytest

from tests.security import archives
from tests.security.archives import file, folder, link, special
from tests.security.conftest import Forge
from tests.security.test_advisories import status_of
from tests.tutorial.engine import Done, Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

QUICK = 30.0


def build(engine: Engine, place: Path, dockerfile: str, *options: str, **env: str) -> Done:
    """Build `built` of this Dockerfile and what else is in the directory."""
    (place / "Dockerfile").write_text(dockerfile)
    return engine.cli("build", "-t", "built", *options, str(place), timeout=QUICK, env=env)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """An own directory for what is sent."""
    place = tmp_path / "context"
    place.mkdir()
    return place


def test_a_step_is_confined_as_a_container_is(engine: Engine, context: Path) -> None:
    """Elsewhere it saw the environment of the builder (CVE-2021-3602), its capabilities could be inherited
    (CVE-2022-27651), and the group of its user was no supplementary one, so that a file that is closed to the group
    could be opened (CVE-2022-2990)."""
    text = 'FROM busybox\nUSER 7:8\nRUN ["cat", "/proc/self/status"]\nRUN ["env"]\n'
    done = build(engine, context, text, "--no-cache", LADING_SECRET="hunter2", HTTP_PROXY="http://u:p@proxy")
    assert done.code == 0, done.err
    found = status_of(done.out)
    assert (found["Uid"], found["Gid"], found["Groups"]) == ("7 7 7 7", "8 8 8 8", "8")
    assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert (found["CapBnd"], found["Seccomp"]) == ("00000000a80425fb", "2")
    names = {line.partition("=")[0] for line in done.lines if line[:1].isupper() and "=" in line and " " not in line}
    assert names == {"PATH", "HOSTNAME", "HOME"}


def test_what_is_mounted_beside_a_step_is_never_the_hosts(
    forge: Forge, context: Path, canary: Path, tmp_path: Path
) -> None:
    """Through a link of an image that leads to the root (CVE-2024-1753); under an id that leads out of where such
    directories are kept (CVE-2024-9675). What is written into files of the context is gone afterwards, and nothing of
    it was ever in the directory of whoever builds (CVE-2025-4953); a link that a step leaves in the place of a mount is
    not followed when that place is taken out of the layer (CVE-2024-23652)."""
    forge.image(link("rootdir", "/"), link("host", str(canary)))
    (context / "a").write_text("a")
    places = tmp_path / "places"
    (places / "b").mkdir(parents=True)
    (places / "t").touch()
    text = f"""FROM bad AS bad
FROM busybox
RUN --mount=type=bind,from=bad,source=/rootdir,target=/x,rw touch /x/ESCAPED && ls -d /x/etc /x/ESCAPED
RUN --mount=type=cache,id=../../../../../..{canary},target=/x touch /x/ESCAPED && ls -A /x
RUN --mount=target=/x,rw echo b >/x/a && echo c >/x/ESCAPED
RUN --mount=target=/x test $(cat /x/a) = a && ! test -e /x/ESCAPED
RUN --mount=type=tmpfs,target=/p/b --mount=type=secret,id=s,target=/q/t mv /p /o; mv /q /r; ln -s {places} /p; \
    ln -s {places} /q; ls -ld /p /q
"""
    before = sorted(os.listdir("/"))
    done = build(forge.engine, context, text, "--secret", "id=s,env=LADING_SECRET", LADING_SECRET="x")
    assert done.code == 0, done.err
    assert all(f"{name} -> {places}" in done.out for name in ("/p", "/q"))
    assert {path.name for path in places.iterdir()} == {"b", "t"}
    assert {path.name for path in context.iterdir()} == {"Dockerfile", "a"}
    assert (context / "a").read_text() == "a"
    assert sorted(os.listdir("/")) == before
    assert list((forge.engine.data / "tmp").iterdir()) == []
    refused = (
        ("--mount=type=bind,from=bad,source=/host,target=/x", "file not found in bad"),
        (f"--mount=type=bind,source=../..{canary},target=/x", "forbidden path outside the build context"),
        ("--mount=type=cache,target=/x,source=../../..", "from and source are not supported"),
        ("--mount=type=tmpfs,target=/proc/x", "/proc/x cannot be replaced by a mount"),
        ("--mount=type=tmpfs,target=/", "the destination cannot be '/'"),
    )
    for options, says in refused:
        done = build(forge.engine, context, f"FROM bad AS bad\nFROM busybox\nRUN {options} ls /x\n")
        assert (done.code, says in done.err) == (1, True), done
        assert "hosts" not in done.out


def test_the_network_of_the_host_is_given_by_who_builds(forge: Forge, context: Path) -> None:
    """Neither a Dockerfile nor a trigger of an image takes it: elsewhere there was a way past whoever had to be asked
    (CVE-2024-23653)."""
    own = "RUN readlink /proc/self/ns/net"
    here = os.readlink("/proc/self/ns/net")
    assert here not in build(forge.engine, context, f"FROM busybox\n{own}").out
    asking = own.replace("RUN", "RUN --network=host")
    forge.image(change=f"ONBUILD {asking}")
    for text in (f"FROM busybox\n{asking}", "FROM bad"):
        done = build(forge.engine, context, text)
        assert (done.code, "RUN --network=host is not allowed" in done.err, here in done.out) == (1, True, False), done
        assert here in build(forge.engine, context, text, "--allow", "network.host").out
    assert here in build(forge.engine, context, f"FROM busybox\n{own}", "--network", "host", "--no-cache").out
    refused = build(forge.engine, context, "FROM busybox", "--allow", "security.insecure")
    assert "'security.insecure' cannot be allowed" in refused.err


def test_who_swaps_links_in_a_shared_cache_while_another_stage_mounts_there_gets_nothing_of_the_host(
    engine: Engine, context: Path, canary: Path
) -> None:
    """Two stages at the same time, one directory in both: elsewhere a link that comes and goes in it led a mount to the
    host's files (CVE-2024-11218), or a part of the directory that was to be mounted (CVE-2024-23651)."""
    swap = "n=0; while [ $n -lt 500 ]; do rm -rf /c/d; ln -s {0} /c/d; rm /c/d; mkdir /c/d; n=$((n+1)); done"
    cache = "--mount=type=cache,id=shared,target=/c"
    mounts = "".join(
        f"RUN {cache} --mount=target=/c/d/new{n},rw ls -A /c/d/new{n} | grep -v Dockerfile; :\n" for n in range(4)
    )
    text = (f"FROM busybox AS one\nRUN {cache} {swap.format(canary)}\nFROM busybox AS two\n{mounts}"
            "FROM busybox\nCOPY --from=one /etc/os-release /1\nCOPY --from=two /etc/os-release /2\n")
    done = build(engine, context, text)
    assert "passwd" not in done.out + done.err
    assert done.code in (0, 1), done  # a place that is away at the wrong moment may be missed


def test_an_image_is_no_cache_for_who_did_not_name_it(engine: Engine, context: Path) -> None:
    """Not by what its history says, and not by the keys in it: elsewhere whoever could make somebody load an image
    could choose what a step of his builds had done (CVE-2024-24557)."""
    text = "FROM busybox\nRUN echo made here > /x\nHEALTHCHECK CMD true\nCMD cat /x\n"
    assert build(engine, context, text).code == 0
    archive = context.parent / "saved.tar"
    engine.ok("save", "-o", str(archive), "built")
    engine.ok("rmi", "built")
    engine.ok("builder", "prune", "-af")
    engine.ok("load", "-i", str(archive))
    engine.ok("tag", "built", "theirs")
    done = build(engine, context, text)
    assert (done.code, "Using cache" in done.out) == (0, False)
    engine.ok("builder", "prune", "-af")
    assert "Using cache" in build(engine, context, text, "--cache-from", "theirs").out


def test_files_that_steer_a_build_are_those_of_its_context(engine: Engine, context: Path, tmp_path: Path) -> None:
    """The ignore file is a link to a file of the host, which is told when it is none (CVE-2022-4122); the Dockerfile
    has a name that leads out (CVE-2022-4123). The same in an archive that is sent, whose links lead nowhere but into it
    (CVE-2026-44517)."""
    hidden = tmp_path / "hidden"
    hidden.write_text("[of the host")
    (context / ".dockerignore").symlink_to(hidden)
    done = build(engine, context, "FROM scratch\nCOPY . /\n")
    assert (done.code, "is a link that leads out of the context" in done.err, "[" in done.err) == (1, True, False)
    packed = archives.write(tmp_path / "sent.tar", [
        link("link", str(hidden)), link("out", str(tmp_path)), link(".dockerignore", str(hidden)),
    ])
    for name in (f"../../../../../..{hidden}", str(hidden), "link", "out/hidden"):
        done = engine.cli("build", "-f", name, "-", stdin=packed.read_text())
        assert (done.code, "of the host" in done.out + done.err) == (1, False), done


@pytest.mark.parametrize("entries", [
    [link("l", "{}"), file("l/passwd", b"changed")],
    [link("l", "../../../../../../../..{}"), folder("l"), file("l/new", b"new")],
    [special("h", tarfile.LNKTYPE, "..{}/passwd"), file("h", b"changed")],
], ids=["link", "upwards", "hard link"])
def test_an_archive_that_is_added_changes_nothing_of_the_host(
    engine: Engine, context: Path, canary: Path, entries: list[archives.Entry]
) -> None:
    """Elsewhere it wrote through its own links (CVE-2020-10696, CVE-2026-44517)."""
    for member, _ in entries:
        member.linkname = member.linkname.format(canary)
    archives.write(context / "a.tar", entries)
    done = build(engine, context, "FROM busybox\nADD a.tar /d/\nRUN cat /d/l/* /d/h 2>/dev/null; :\n")
    assert "intact" not in done.out + done.err
