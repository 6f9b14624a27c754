"""What containers use, as the API tells it. Times of processors in ns; the clients make percents of two looks."""

from domain.documents import Document
from domain.ports.files import Usage
from domain.text.times import ZERO, rfc3339

_NOTHING = {"usage_in_kernelmode": 0, "usage_in_usermode": 0}


def figures(
    id: str, name: str, usage: Usage | None, system: int, before: Document | None, *, now: int, memory: int,
    processors: int, networks: Document,
) -> Document:
    """One look; `before` is the document of the look before, `system` what all processors have done (ns), `now` in ns
    since the epoch. Without usage the container does not run."""
    cpu = _cpu(usage, system, processors) if usage is not None else _cpu(None, 0, 0)
    return {
        "name": f"/{name}",
        "id": id,
        "read": rfc3339(now) if usage is not None else ZERO,
        "preread": before["read"] if before else ZERO,
        "pids_stats": {"current": usage.processes} if usage is not None else {},
        "blkio_stats": _blocks(usage),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu,
        "precpu_stats": before["cpu_stats"] if before else _cpu(None, 0, 0),
        "memory_stats": _memory(usage, memory),
        **({"networks": networks} if networks else {}),
    }


def _cpu(usage: Usage | None, system: int, processors: int) -> Document:
    found: Document = {"cpu_usage": {"total_usage": usage.cpu if usage is not None else 0, **_NOTHING}}
    if usage is not None:
        found |= {"system_cpu_usage": system, "online_cpus": processors}
    return found | {"throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0}}


def _memory(usage: Usage | None, host: int) -> Document:
    """Without the part of the page cache that is given back first: nothing is left for the clients to subtract."""
    if usage is None:
        return {}
    limit = min(usage.limit, host) if usage.limit else host
    return {"usage": usage.memory, "limit": limit, "stats": {"inactive_file": 0, "total_inactive_file": 0}}


def _blocks(usage: Usage | None) -> Document:
    sums = () if usage is None else (("read", usage.read), ("write", usage.written))
    found: Document = {
        "io_service_bytes_recursive": [{"major": 0, "minor": 0, "op": op, "value": value} for op, value in sums] or None
    }
    names = ("io_serviced", "io_queue", "io_service_time", "io_wait_time", "io_merged", "io_time", "sectors")
    return found | {f"{name}_recursive" if name != "sectors" else "sectors_recursive": None for name in names}


def traffic(text: str) -> Document:
    """What interfaces have carried, of the text of /proc/PID/net/dev (proc_pid_net(5)); without the loopback device."""
    found: Document = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        if name.strip() == "lo" or len(fields) < 12:
            continue
        numbers = list(map(int, fields))
        found[name.strip()] = {
            "rx_bytes": numbers[0], "rx_packets": numbers[1], "rx_errors": numbers[2], "rx_dropped": numbers[3],
            "tx_bytes": numbers[8], "tx_packets": numbers[9], "tx_errors": numbers[10], "tx_dropped": numbers[11],
        }
    return found
