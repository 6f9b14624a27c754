"""Volumes: what containers keep in them outlives the containers; nothing else does, and everything is told."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SHARED = ("-v", "data:/data")
SITE = "mkdir -p /www/a; echo hello > /www/a/page; ln -s a/page /www/link; ln /www/a/page /www/same; "


@pytest.fixture
def site(engine: Engine) -> str:
    """An image with files of all kinds and owners below /www."""
    script = (f"{SITE} mkfifo /www/pipe; chown -R 33:44 /www; chmod 2750 /www; chmod 4755 /www/a/page; touch -d @1000 "
              "/www/a; truncate -s 64M /www/sparse; touch -d @2000 /www/sparse")
    engine.ok("run", "--name", "made", "busybox", "sh", "-c", script)
    engine.ok("commit", "-c", "VOLUME /www", "made", "site")
    engine.ok("rm", "made")
    return "site"


def volumes(engine: Engine, *options: str) -> list[str]:
    """Names of all volumes."""
    return engine.ok("volume", "ls", "-q", *options).split()


def contents(engine: Engine, name: str) -> Path:
    """Where they lie on the host."""
    return Path(engine.ok("volume", "inspect", "-f", "{{.Mountpoint}}", name))


def test_a_volume_keeps_what_is_in_it_when_its_containers_are_gone(engine: Engine) -> None:
    """Seen by several at once, by an exec, and by the next one; made without being asked for."""
    engine.ok("run", "-d", "--name", "one", *SHARED, "busybox", "sleep", "600")
    engine.ok("exec", "one", "sh", "-c", "echo kept > /data/file")
    assert engine.ok("run", "--rm", *SHARED, "busybox", "cat", "/data/file") == "kept"
    engine.ok("rm", "-f", "one")
    assert engine.ok("run", "--rm", "--mount", "src=data,dst=/elsewhere", "busybox", "cat", "/elsewhere/file") == "kept"
    assert volumes(engine) == ["data"]


def test_a_new_volume_begins_with_what_the_image_has(engine: Engine, site: str) -> None:
    """With kinds, owners, modes, times, links and holes as they are; only an empty one, and not with nocopy."""
    look = ("sh", "-c", "cd /www; stat -c '%n %F %u:%g %a %h' . a a/page link same pipe; cat link; "
            "stat -c %Y a sparse; stat -c '%s' sparse; test $(stat -c %b sparse) -lt 100")
    told = engine.ok("run", "--rm", "-v", "www:/www", site, *look).splitlines()
    assert told == [
        ". directory 33:44 2750 3", "a directory 33:44 755 2", "a/page regular file 33:44 4755 2",
        "link symbolic link 33:44 777 1", "same regular file 33:44 4755 2", "pipe fifo 33:44 644 1",
        "hello", "1000", "2000", f"{64 << 20}",
    ]
    engine.ok("run", "--rm", "-v", "www:/www", site, "sh", "-c", "rm -r /www/a; echo mine > /www/own")
    assert engine.ok("run", "--rm", "-v", "www:/www", site, "ls", "-A", "/www").split() == [
        "link", "own", "pipe", "same", "sparse"]
    assert engine.ok("run", "--rm", "-v", "bare:/www:nocopy", site, "ls", "-A", "/www") == ""
    assert engine.ok("run", "--rm", "-v", "ro:/www:ro", site, "cat", "/www/a/page") == "hello"


def test_who_empties_a_volume_finds_it_empty_at_the_next_start(engine: Engine, site: str) -> None:
    """It begins with the image's files once for each container, not at each start."""
    engine.ok("run", "--name", "it", "-v", "www:/www", site, "sh", "-c", "rm -rf /www/*; sleep 0.1")
    engine.ok("start", "-a", "it")
    assert os.listdir(contents(engine, "www")) == []


def test_declared_and_nameless_volumes_go_with_the_last_container_that_was_to_take_them(
    engine: Engine, site: str
) -> None:
    """By --rm and by rm -v; without they stay, and rm says so; named ones stay always."""
    engine.ok("run", "--rm", "-v", "/more", *SHARED, site, "true")
    assert volumes(engine) == ["data"]
    engine.ok("run", "--name", "one", "-v", "/more", site, "true")
    nameless = volumes(engine, "-f", "label=com.docker.volume.anonymous")
    assert len(nameless) == 2
    engine.ok("run", "--name", "two", "--volumes-from", "one", "busybox", "true")
    assert engine.cli("rm", "-v", "one").err == ""
    assert set(nameless) < set(volumes(engine))
    told = engine.cli("rm", "two")
    assert (told.code, told.out) == (0, "two\n")
    assert all(name in told.err for name in nameless)
    assert "data" not in told.err
    engine.ok("volume", "prune", "-f")
    assert volumes(engine) == ["data"]
    engine.ok("run", "--name", "three", "-v", "/more", site, "true")
    engine.ok("rm", "-v", "three")
    assert volumes(engine) == ["data"]


def test_volumes_of_other_containers_are_taken_over(engine: Engine, tmp_path: Path) -> None:
    """At the same places, whether those run or not; for reading only if asked for; the own wish counts more."""
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("host\n")
    engine.ok("create", "--name", "store", *SHARED, "-v", f"{tmp_path}:/host:ro", "-v", "/scratch", "busybox", "sh")
    script = "echo x > /data/x; echo x > /scratch/x; cat /host/file /data/x"
    assert engine.ok("run", "--rm", "--volumes-from", "store", "busybox", "sh", "-c", script).split() == ["host", "x"]
    script = "echo > /data/y || ls /scratch"
    done = engine.cli("run", "--rm", "--volumes-from", "store:ro", "busybox", "sh", "-c", script)
    assert done.out == "x\n"
    own = ("--volumes-from", "store", "-v", "other:/data")
    assert engine.ok("run", "--rm", *own, "busybox", "ls", "/data") == ""
    assert "No such container: nobody" in engine.refused("run", "--volumes-from", "nobody", "busybox", code=125)
    assert "invalid mode" in engine.refused("run", "--volumes-from", "store:up", "busybox", code=125)


def test_a_volume_in_use_cannot_be_removed_and_says_by_whom(engine: Engine) -> None:
    """Also by a container that does not run; a dry run says the same and changes nothing."""
    engine.ok("create", "--name", "it", *SHARED, "busybox", "sh")
    for options in ((), ("--dry-run",), ("-f",)):
        error = engine.refused("volume", "rm", *options, "data")
        assert "volume is in use" in error
        assert "it (" in error
    assert engine.ok("volume", "prune", "-af") == "Total reclaimed space: 0B"
    engine.ok("rm", "it")
    place = contents(engine, "data")
    assert engine.ok("volume", "rm", "--dry-run", "data") == "data"
    assert place.is_dir()
    assert engine.ok("volume", "rm", "data") == "data"
    assert not place.parent.exists()
    assert "no such volume" in engine.refused("volume", "rm", "data")
    assert engine.ok("volume", "rm", "-f", "data") == "data"


def test_everything_that_happens_to_a_volume_is_history(engine: Engine) -> None:
    """Who made, used and removed it, also when it is gone."""
    engine.ok("volume", "create", "--label", "a=b", "data")
    engine.ok("run", "--rm", "--name", "it", *SHARED, "busybox", "true")
    engine.ok("volume", "rm", "data")
    rows = [json.loads(line) for line in engine.ok("audit", "--json", "volume", "data").splitlines()][-5:]
    assert [row["event"] for row in rows] == [
        "volume-created", "volume-claimed", "volume-released", "volume-remove-requested", "volume-removed"]
    assert rows[0]["actor"]["command"] == "lading volume create --label a=b data"
    assert (rows[1]["data"]["name"], rows[1]["data"]["targets"]) == ("it", ["/data"])
    told = engine.ok("events", "--since", "0", "--until", "0s", "-f", "volume=data", "--format", "{{.Action}}")
    assert told.split()[-4:] == ["create", "mount", "unmount", "destroy"]
    assert "no such volume" in engine.refused("audit", "volume", "nobody")


def test_lists_and_documents_show_what_a_container_has(engine: Engine, tmp_path: Path) -> None:
    """ps, inspect, and the filters by name and by place."""
    engine.ok("create", "--name", "it", *SHARED, "-v", f"{tmp_path}:/host", "-v", "/own", "busybox", "sh")
    assert engine.ok("ps", "-a", "--format", "{{.LocalVolumes}}") == "2"
    (document,) = json.loads(engine.ok("inspect", "it"))
    mounts = {mount["Destination"]: mount for mount in document["Mounts"]}
    assert mounts["/data"] == {
        "Type": "volume", "Name": "data", "Source": str(contents(engine, "data")), "Destination": "/data",
        "Driver": "local", "Mode": "", "RW": True, "Propagation": ""}
    assert set(document["HostConfig"]["Binds"]) == {"data:/data", f"{tmp_path}:/host"}
    assert document["Config"]["Volumes"] == {"/own": {}}
    for wanted in ("volume=data", "volume=/data", "volume=/own"):
        assert engine.ok("ps", "-aq", "--filter", wanted) == engine.ok("ps", "-aq")
    assert engine.ok("volume", "ls", "--format", "{{.Name}} {{.Links}} {{.Size}}", "-f", "name=data") == "data 1 0B"
    assert len(volumes(engine, "-f", "dangling=false")) == 2
    assert volumes(engine, "-f", "dangling=true") == []


def test_copies_see_volumes_and_images_do_not(engine: Engine, site: str, tmp_path: Path) -> None:
    """cp in both directions while the container runs, rests, or has never run; commit says what is missing."""
    engine.ok("create", "--name", "it", "-v", "www:/www", site, "sleep", "600")
    engine.ok("cp", "it:/www/a/page", str(tmp_path / "page"))
    assert (tmp_path / "page").read_text() == "hello\n"
    (tmp_path / "own").write_text("own")
    engine.ok("cp", str(tmp_path / "own"), "it:/www/own")
    engine.ok("start", "it")
    assert engine.ok("exec", "it", "cat", "/www/own", "/www/link").split() == ["ownhello"]
    engine.ok("cp", str(tmp_path / "own"), "it:/www/second")
    engine.ok("stop", "-t", "0", "it")
    assert engine.ok("cp", "it:/www/second", "-")
    engine.ok("cp", str(tmp_path / "own"), "it:/www/third")
    assert (contents(engine, "www") / "third").read_text() == "own"
    assert not [line for line in engine.ok("diff", "it").splitlines() if "third" in line or "second" in line]
    done = engine.cli("commit", "it", "made")
    assert done.code == 0
    assert "/www" in done.err
    assert "third" not in engine.ok("run", "--rm", "-v", "new:/www", "made", "ls", "/www")


def test_volumes_with_options_are_mounted_while_somebody_runs_with_them(engine: Engine, tmp_path: Path) -> None:
    """Memory is shared by all who run, and gone after the last one; a directory of the host stays."""
    tmp_path.chmod(0o755)
    memory = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=1777")
    engine.ok("volume", "create", *memory, "memory")
    engine.ok("volume", "create", "-o", "type=none", "-o", f"device={tmp_path}", "-o", "o=bind,ro", "host")
    use = ("-v", "memory:/m", "-v", "host:/h")
    engine.ok("run", "-d", "--name", "one", *use, "busybox", "sh", "-c", "echo x > /m/x; sleep 600")
    engine.ok("run", "-d", "--name", "two", *use, "busybox", "sleep", "600")
    look = "cat /m/x; df -k /m | tail -1 | awk '{print $2}'"
    assert engine.ok("exec", "two", "sh", "-c", look).split() == ["x", "1024"]
    assert "Read-only" in engine.cli("exec", "two", "touch", "/h/x").err
    engine.ok("stop", "-t", "0", "one")
    engine.kill("daemon")
    engine.restart()
    assert engine.ok("exec", "two", "cat", "/m/x") == "x"
    engine.ok("stop", "-t", "0", "two")
    place = str(contents(engine, "memory"))
    until(lambda: place not in Path("/proc/self/mounts").read_text(), "unmounted")
    assert engine.ok("run", "--rm", *use, "busybox", "ls", "/m") == ""
    engine.ok("rm", "one", "two")
    engine.ok("volume", "rm", "memory", "host")


def test_a_volume_is_of_one_kind(engine: Engine) -> None:
    """Who wants another one under the same name is told what it is, and waits for nobody."""
    engine.ok("volume", "create", "data")
    memory = "type=volume,src=data,dst=/b,volume-opt=type=tmpfs,volume-opt=device=tmpfs"
    assert "other options: none" in engine.refused("run", "--mount", memory, "busybox", "true", code=125)
    assert "other options: none" in engine.refused("volume", "create", "-o", "type=tmpfs", "-o", "device=m", "data")
    assert engine.ok("volume", "create", "data") == "data"
    assert engine.ok("ps", "-aq") == ""


def test_a_start_that_dies_while_it_fills_a_volume_is_made_good(engine: Engine, site: str) -> None:
    """What was half copied is copied again at the next start, of this container or of another one."""
    engine.ok("create", "--name", "it", "-v", "www:/www", site, "cat", "/www/a/page")
    place = contents(engine, "www")
    (place.parent / "filling").touch()
    (place / "same").write_text("half")
    assert engine.ok("start", "-a", "it") == "hello"
    assert (place / "same").read_text() == "hello\n"
    assert not (place.parent / "filling").exists()


def test_a_full_disk_while_a_volume_is_filled_is_told_and_made_good(engine: Engine, site: str) -> None:
    """The start fails with the reason; with more room it begins anew."""
    small = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=nr_inodes=3")
    engine.ok("volume", "create", *small, "www")
    error = engine.refused("run", "--name", "it", "-v", "www:/www", site, "true", code=125)
    assert "No space left on device" in error
    assert "/www" in error
    assert engine.ok("ps", "-aq", "--filter", "name=it")


def test_many_who_start_at_once_with_one_new_volume_find_it_whole(engine: Engine, site: str) -> None:
    """One of them fills it, the others wait."""
    started = [engine.begin("run", "--rm", "-v", "www:/www", "-v", "other:/more", site, "cat", "/www/a/page")
               for _ in range(8)]
    assert [process.communicate(timeout=60)[0] for process in started] == ["hello\n"] * 8


def test_ids_in_volumes_are_those_that_are_seen_inside(engine: Engine, site: str) -> None:
    """With a user namespace of the container's own as well: filled, written, and read by one without."""
    remap = ("--userns", "remap")
    look = ("stat", "-c", "%u:%g", "/www", "/www/a/page", "/www/link")
    assert engine.ok("run", "--rm", *remap, "-v", "www:/www", site, *look).split() == ["33:44"] * 3
    engine.ok("run", "--rm", *remap, "-v", "www:/www", "busybox", "sh", "-c", "echo x > /www/new; chown 7:8 /www/new")
    found = (contents(engine, "www") / "new").stat()
    assert (found.st_uid, found.st_gid) == (7, 8)
    assert engine.ok("run", "--rm", "-v", "www:/www", "busybox", "stat", "-c", "%u:%g", "/www/new", "/www") == (
        "7:8\n33:44")


def test_a_part_of_a_volume_can_be_mounted(engine: Engine) -> None:
    """Which must be there."""
    engine.ok("run", "--rm", *SHARED, "busybox", "sh", "-c", "mkdir -p /data/a/b; echo x > /data/a/b/file")
    part = "type=volume,src=data,dst=/part,volume-subpath="
    assert engine.ok("run", "--rm", "--mount", f"{part}a/b", "busybox", "cat", "/part/file") == "x"
    assert engine.ok("run", "--rm", "--mount", f"{part}a/b/file,ro", "busybox", "cat", "/part") == "x"
    missing = engine.refused("run", "--rm", "--mount", f"{part}none", "busybox", "true", code=127)
    assert "no such file" in missing.lower()
    assert "invalid subpath" in engine.refused("run", "--rm", "--mount", f"{part}../x", "busybox", "true", code=125)


def test_a_mount_for_the_host_reaches_the_host_only_where_it_is_shared(engine: Engine, tmp_path: Path) -> None:
    """rshared, by somebody who may mount; else the wish is refused with the way to mend it."""
    tmp_path.chmod(0o755)
    wish = ("-v", f"{tmp_path}:/x:rshared", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
    subprocess.run(["mount", "--bind", str(tmp_path), str(tmp_path)], check=True)
    try:
        subprocess.run(["mount", "--make-private", str(tmp_path)], check=True)
        error = engine.refused("run", "--rm", *wish, "busybox", "true", code=125)
        assert "not a shared mount" in error
        assert f"mount --make-rshared {tmp_path}" in error
        subprocess.run(["mount", "--make-shared", str(tmp_path)], check=True)
        engine.ok("run", "-d", "--name", "it", *wish, "busybox", "sh", "-c",
                  "mkdir /x/inner; mount -t tmpfs t /x/inner; echo seen > /x/inner/file; sleep 600")
        until(lambda: (tmp_path / "inner/file").exists(), "the host sees it")
        engine.ok("rm", "-f", "it")
        subprocess.run(["umount", str(tmp_path / "inner")], check=True)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_removal_that_a_crash_has_cut_is_carried_on(engine: Engine) -> None:
    """Of a volume, and of one that goes with its container."""
    engine.ok("volume", "create", "data")
    place = contents(engine, "data")
    engine.restart("volumes.before-delete=kill")
    engine.cli("volume", "rm", "data")
    engine.died()
    engine.restart()
    until(lambda: not place.parent.exists(), "deleted")
    assert volumes(engine) == []
    engine.restart("volumes.before-removed=kill")
    engine.cli("run", "--rm", "-v", "/own", "busybox", "true")
    engine.died()
    engine.restart()
    until(lambda: volumes(engine) == [], "gone with its container")
    assert engine.ok("audit", "verify")
