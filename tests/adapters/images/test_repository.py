"""Repositories of somebody hostile: git is given nothing of theirs to obey, and nothing of this host gets out."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.images.building import BuildFiles
from adapters.images.repository import Repository, Ssh
from adapters.images.store import LocalImageStore
from domain.errors import LadingError, Refused

PROGRAM = shutil.which("git")


@pytest.mark.parametrize("text", [
    "https://h/a.git#--upload-pack=touch /x;true", "https://h/a.git#-x", "https://h/a.git#a b", "https://h/a.git#a\nb",
    "git://h/a\0b.git", "https://h/a b.git",
])  # fmt: skip
def test_no_part_of_an_address_is_an_option_of_git(text: str) -> None:
    """Elsewhere the branch was one, and named a program to be run (CVE-2019-13139)."""
    with pytest.raises(Refused, match="cannot be the name of a repository"):
        Repository.of(text)


@pytest.mark.parametrize("address", [
    "git@-oProxyCommand=touch ran:x", "git@-oProxyCommand=touch${IFS}ran:x", "ssh://-oProxyCommand=touch${IFS}ran/x",
    "git://--upload-pack=touch${IFS}ran/x",
])  # fmt: skip
async def test_no_host_in_an_address_is_an_option_of_what_git_runs(tmp_path: Path, address: str) -> None:
    """Git and ssh are started, and refuse it.

    CVE-2019-13139.
    """
    with pytest.raises(LadingError):
        await Repository.of(address).fetch(tmp_path, Ssh(tmp_path / "agent", tmp_path / "hosts"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("directory", ["..", "a/../..", "a/../../x"])
def test_a_directory_that_leads_out_is_refused(directory: str) -> None:
    """By its name.

    CVE-2026-33748.
    """
    with pytest.raises(Refused, match="would lead out of the repository"):
        Repository.of(f"https://h/a.git#main:{directory}")


@pytest.mark.parametrize("directory", ["link", "a/link", "link/etc", "a/link/."])
def test_a_directory_that_is_a_link_is_none(tmp_path: Path, directory: str) -> None:
    """Elsewhere it was followed, and what lies behind it was the context (CVE-2026-33748, CVE-2026-44517)."""
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "link").symlink_to(tmp_path)
    (tree / "a" / "link").symlink_to("/")
    packed: list[bytes] = []
    with pytest.raises(Refused, match="has no directory"):
        Repository.of(f"https://h/a.git#main:{directory}").pack(tree, packed.append, keep=False)
    assert packed == []


def git(folder: Path, *words: str) -> None:
    """As ann."""
    who = {f"GIT_{one}_{what}": "ann" for one in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", **who}
    subprocess.run([str(PROGRAM), *words], cwd=folder, env=environment, check=True, timeout=60, capture_output=True)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[str]:
    """A repository with a part that lies on this host, settings that name programs, and links that lead out."""
    if PROGRAM is None:
        pytest.skip("needs git")
    secret, folder = tmp_path / "secret", tmp_path / "served" / "app.git"
    for place in (secret, folder):
        place.mkdir(parents=True)
        git(place, "init", "-q", "-b", "main", ".")
    (secret / "private").write_text("of this host\n")
    git(secret, "add", "-A")
    git(secret, "commit", "-q", "-m", "one")
    git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(secret), "part")
    settings = f'[filter "x"]\n smudge = touch {tmp_path}/ran\n[core]\n hooksPath = hooks\n fsmonitor = hooks/x\n'
    (folder / "hooks").mkdir()
    for name in ("hooks/post-checkout", "hooks/x"):
        (folder / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (folder / name).chmod(0o755)
    for name, text in ((".gitconfig", settings), (".gitattributes", "* filter=x\n"), ("a", "a\n")):
        (folder / name).write_text(text)
    (folder / "out").symlink_to(secret / "private")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [str(PROGRAM), "daemon", "--export-all", "--reuseaddr", f"--base-path={folder.parent}",
            "--listen=127.0.0.1", f"--port={port}", "--verbose"]  # fmt: skip
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert server.stderr is not None
    try:
        assert b"Ready" in server.stderr.readline()
        yield f"git://127.0.0.1:{port}/app.git"
    finally:
        server.terminate()
        server.communicate()


@pytest.mark.slow
async def test_what_a_repository_says_about_git_is_only_data(tmp_path: Path, hostile: str) -> None:
    """Its parts are not fetched, least of all from this host (GHSA-vp35-85q5-9f25, which is CVE-2022-39253 of git); its
    settings, filters and hooks are files, and its links are links."""
    store = LocalImageStore(tmp_path / "store")
    (tmp_path / "spool").mkdir()
    try:
        async with BuildFiles(store, tmp_path / "spool", tmp_path).repository(hostile) as context:
            assert context.read("a", 10) == b"a\n"
            assert list(context.names("part")) == []
            out = context.look("out")
            assert out is not None
            assert (out.kind, out.target) == ("link", str(tmp_path / "secret" / "private"))
            assert context.read(".gitconfig", 9) == b'[filter "'
    finally:
        store.close()
    assert not (tmp_path / "ran").exists()
    assert list((tmp_path / "spool").iterdir()) == []
