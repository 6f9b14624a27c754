"""What the engine says about itself, in the API's words. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.images.credentials import DOCKER_KEY
from domain.images.reference import DEFAULT_HOST
from domain.projections.fold import Row
from domain.spec import RUNTIME, RUNTIMES
from domain.text.times import rfc3339, rfc3339_fixed
from workers.gateway.wishes import DEFAULT_LOG

_DRIVERS = {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Authorization": None,
            "Log": ["json-file", "local", "none"]}
_SWARM = {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": "",
          "RemoteManagers": None}


def info_document(facts: Mapping[str, object], *, now: int, listeners: int, descriptors: int) -> dict[str, Any]:
    """`GET /info`: what `info` prints, and what clients of the API expect besides; `listeners` to events."""
    return {
        **facts,
        "LoggingDriver": DEFAULT_LOG,
        "DriverStatus": [["Backing Filesystem", "overlayfs"]],
        "Plugins": _DRIVERS,
        "MemoryLimit": True,
        "SwapLimit": True,
        "CpuCfsPeriod": True,
        "CpuCfsQuota": True,
        "CPUShares": True,
        "CPUSet": True,
        "PidsLimit": True,
        "IPv4Forwarding": True,
        # Old clients warn where these are false; networks are kept apart here whatever the host has set.
        "BridgeNfIptables": True,
        "BridgeNfIp6tables": True,
        "OomKillDisable": facts.get("CgroupVersion") == "1",
        "Debug": False,
        "NFd": descriptors,
        "NGoroutines": 0,
        "NEventsListener": listeners,
        "SystemTime": rfc3339_fixed(now),
        "OSVersion": "",
        "IndexServerAddress": DOCKER_KEY,
        "RegistryConfig": _registries(),
        "GenericResources": None,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Labels": [],
        "ExperimentalBuild": False,
        "Runtimes": {name: {"path": RUNTIME} for name in RUNTIMES if name},
        "DefaultRuntime": RUNTIME,
        "Swarm": _SWARM,
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "lading",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "Warnings": [str(facts["Warning"])] if facts.get("Warning") else None,
    }


def _registries() -> dict[str, Any]:
    index = {"Name": DEFAULT_HOST, "Mirrors": [], "Secure": True, "Official": True}
    return {"InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {DEFAULT_HOST: index}, "Mirrors": []}


def cache_documents(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows of the cache of builds."""
    return [
        {
            "ID": str(row["key"]),
            "Parents": None,
            "Type": "regular",
            "Description": str(row["text"]),
            "InUse": False,
            "Shared": False,
            "Size": int(str(row["size"])),
            "CreatedAt": rfc3339(int(str(row["created"]))),
            "LastUsedAt": rfc3339(int(str(row["used"]))),
            "UsageCount": int(str(row["uses"])),
        }
        for row in rows
    ]
