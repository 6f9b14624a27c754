"""runc by itself: no image, no log, no history; one bundle that is run again and again."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench.engines.lading import PATH
from bench.process import Command

CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT", "CAP_AUDIT_WRITE",
)


class Runc:
    """A bundle from `runc spec` with the usual capabilities, an own network namespace, without terminal and seccomp."""

    name = "runc"

    def __init__(self, folder: Path, program: str) -> None:
        self._folder, self._program = folder, program
        self._env = {"PATH": PATH}
        self.root = folder / "bundle/rootfs"
        (folder / "bundle").mkdir(parents=True)

    def prepare(self) -> None:
        """Write the bundle's config; the root file system is put into `root` by the caller."""
        bundle = self._folder / "bundle"
        subprocess.run([self._program, "spec"], cwd=bundle, check=True, env=self._env)
        config = bundle / "config.json"
        document = for_bench(json.loads(config.read_text(encoding="utf-8")), self.cgroup())
        config.write_text(json.dumps(document), encoding="utf-8")

    def run(self) -> Command:
        """Run the bundle once, in the foreground."""
        state, bundle = str(self._folder / "state"), str(self._folder / "bundle")
        return Command([self._program, "--root", state, "run", "--bundle", bundle, "bench"], self._env)

    def version(self) -> str:
        """The first line of `runc --version`."""
        text = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=True).stdout
        return text.splitlines()[0].removeprefix("runc version ")

    def cgroup(self) -> str:
        """The name of its control groups."""
        return f"{self._folder.parent.name}-runc"


def for_bench(document: dict[str, Any], cgroup: str) -> dict[str, Any]:
    """What `runc spec` wrote, made to run `true` like the other engines do."""
    process = document["process"]
    process["terminal"] = False
    process["args"] = ["true"]
    process["capabilities"] = {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")}
    document["root"] = {"path": "rootfs", "readonly": False}
    document["linux"]["cgroupsPath"] = f"/{cgroup}/bench"
    return document


def find() -> str | None:
    """The path of runc, if it is installed."""
    return shutil.which("runc")
