"""Which disks heed the weights of groups: those whose scheduler is BFQ (CFQ of old kernels), and with cgroup v2 those
for which the cost model of the kernel is switched on.

Source: Documentation/block/bfq-iosched.rst, Documentation/admin-guide/cgroup-v2.rst (io.cost.qos).
"""

import os
from collections.abc import Iterator

from adapters.kernel import settings

_SCHEDULERS = frozenset({"[bfq]", "[cfq]"})


def heed_weights(unified: str, blocks: str = "/sys/block") -> bool:
    """Whether any disk of this host does; `unified` is where cgroup v2 is mounted, "" when it is not."""
    return any(_SCHEDULERS.intersection(words) for words in _schedulers(blocks)) or any(
        "enable=1" in line.split() for line in _lines(f"{unified}/io.cost.qos"))


def _schedulers(blocks: str) -> Iterator[list[str]]:
    for disk in os.listdir(blocks) if os.path.isdir(blocks) else ():
        for line in _lines(f"{blocks}/{disk}/queue/scheduler"):
            yield line.split()


def _lines(path: str) -> list[str]:
    try:
        return settings.read(path).splitlines()
    except OSError:
        return []
