"""Control groups of every kind: what exists here, one group for each run, freezing, killing, device rules.

    tree = cgroups.detect("lading-1a2b3c4d")    # looks, changes nothing
    tree.prepare()                              # once per supervisor: parent groups, controllers, device rules
    group = tree.create(container_id, attempt, {"pids": 4096})    # FileExistsError: this attempt was already acted on
"""

from adapters.kernel.cgroups.tree import Group, Tree, detect

__all__ = ["Group", "Tree", "detect"]
