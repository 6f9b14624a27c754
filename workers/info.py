"""What `info` says about the engine and its host."""

import os
from collections.abc import Mapping
from pathlib import Path

from adapters.sqlite.driver import SQLITE
from adapters.system import facts
from domain.ports.events import Views
from workers.settings import Settings
from workers.version import VERSION


class Info:
    """Counts from the projections, facts from the machine."""

    def __init__(self, settings: Settings, views: Views) -> None:
        self._settings, self._views = settings, views
        self.health: dict[str, str] = {}

    async def facts(self) -> Mapping[str, object]:
        """Keys as scripts know them."""
        states = [str(row["state"]) for row in await self._views.select("containers")]
        paused = states.count("paused")
        running = sum(state in {"running", "pausing", "unpausing", "stopping"} for state in states)
        return {
            "ID": facts.boot_id(),
            "Name": self._settings.host,
            "ServerVersion": VERSION,
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
            "Images": len(await self._views.select("images", where={"state": "present"})),
            "Driver": "overlay2",
            "LoggingDriver": "local",
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": cgroup_version(),
            "SecurityOptions": security_options(remapped=self._settings.userns == "remap"),
            "KernelVersion": facts.kernel(),
            "OperatingSystem": facts.operating_system(),
            "OSType": "linux",
            "Architecture": os.uname().machine,
            "NCPU": facts.cpus(),
            "MemTotal": facts.memory_total(),
            "DockerRootDir": str(self._settings.data_root),
            "RunDir": str(self._settings.run_dir),
            "SQLiteVersion": SQLITE,
            **self.health,
        }


def security_options(*, remapped: bool = False) -> list[str]:
    """What keeps containers apart here unless somebody wishes otherwise: AppArmor where the host has it, a user
    namespace where the configuration says so."""
    also = [*(["name=apparmor"] if facts.apparmor() else []), *(["name=userns"] if remapped else [])]
    return [*also, "name=seccomp,profile=builtin", "name=cgroupns"]


def cgroup_version() -> str:
    """`2` where nothing but the unified hierarchy is mounted. See cgroups(7)."""
    return "2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "1"
