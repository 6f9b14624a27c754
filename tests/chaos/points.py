"""Which failpoints there are, found in the code, and what has to be done so that each of them is passed."""

import re

from tests.tutorial.engine import ROOT

_CALL = re.compile(r'failpoint\(f?"([^"]+)"\)')

ACTS = (
    "start.before-act", "start.after-act", "pause.before-act", "pause.after-act", "unpause.before-act",
    "unpause.after-act", "kill.before-act", "kill.after-act", "commit.before-act", "stop.before-act",
    "update.before-act", "update.after-act", "remove.before-act", "leases.before-grant", "leases.before-open",
    "leases.after-open", "connect.before-act", "connect.after-act", "disconnect.before-act", "disconnect.after-act",
    "remove.before-delete", "remove.after-act", "exec.before-act", "exec.after-act",
)
"""Around the acts of the workers: passed once in the life of a container."""

ALWAYS = {
    "mover.before-append": (1, 8),
    "mover.after-append": (1, 2, 8),
    "store.before-begin": (3,),
    "store.after-insert": (4,),
    "store.before-commit": (3, 12),
    "store.after-commit": (3, 4, 12),
    "relay.before-telling": (3, 4, 10),
    "monitor.before-append": (1,),
    "monitor.before-acknowledge": (1,),
}
"""On the way of everything: at which passing (the first two commits are those of the daemon's own start). Then come the
intent of a start and its outcome; the later ones are somewhere in the middle of a life."""

STUBBORN = ("stop.before-kill",)
"""Passed when a container does not heed the signal."""

IMAGES = (
    "images.unpacked", "images.synced", "images.blob-kept", "images.layer-kept", "images.before-record",
    "images.before-sweep", "images.moved-away", "images.sweeping", "images.before-removed",
)
"""Passed when an image comes and goes."""

VOLUMES = ("volumes.before-delete", "volumes.before-removed")
"""Passed when a volume goes; swept with the tests of volumes."""

BUILDS = (
    "build.requested", "build.before-step", "build.before-commit", "build.before-keep", "build.kept",
    "build.before-finish", "build.finished",
)
"""Passed by a build with a command; swept with the tests of builds."""

WARDEN = (
    "warden.before-cgroup", "warden.after-cgroup", "warden.before-clone", "warden.after-clone", "warden.after-hold",
    "warden.before-go", "warden.after-go", "warden.before-answer", "warden.log-rotate", "warden.log-header",
    "warden.log-data", "warden.after-drain", "warden.before-journal", "warden.after-journal", "warden.before-rmdir",
    "warden.after-rmdir", "host.MakeGroup", "host.MakeDirectory", "host.WriteFile",
)
"""In the warden, in the life of a container."""

OUTPUT = ("warden.log-rotate", "warden.log-header", "warden.log-data")
"""Of these: an error here costs output, as a full disk does (the exit says how much); it must not stop a container."""

ROTATION = ("warden.log-drop",)
"""Passed when a container has written more than is kept; swept with the tests of the supervisor."""

EXECS = (
    "warden.before-entering", "warden.before-lend", "child.EnterNamespaces", "child.EnterWorkdir", "child.BindConsole",
    "child.Cross", "warden.before-adoption", "child.ShareNamespace", "child.PrepareLent",
)
"""Passed by execs and terminals; swept with the tests of the supervisor."""

WITH_APPARMOR = ("child.ChangeProfile",)
"""Passed only on a host that has AppArmor; its ways to fail are tried in `tests.adapters.kernel.starter`."""

SCRIBE = ("scribe.before-write", "scribe.after-write", "scribe.rotating", "scribe.renamed", "scribe.rotated")
"""Passed when a container logs to a json-file; swept there as well."""

ZYGOTE = ("zygote.before-clone", "zygote.after-clone")

RECOVERY = {
    "keeper.before-hand-back": "warden",
    "keeper.before-reap": "warden",
    "warden.recover-run": "warden",
    "warden.before-succession": "keeper",
    "warden.in-succession": "keeper",
}
"""Passed after the death of another process."""

CHILD = (
    "zygote.child", "child.Opaque", "child.ResetProcess", "child.JoinGroups", "child.Unshare", "child.LoopbackUp",
    "child.PrivateMounts", "child.PrepareBind", "child.OverlayRoot", "child.PivotRoot", "child.MountAt", "child.Sysctl",
    "child.ReadOnlyMount", "child.Node", "child.Link", "child.AttachBind", "child.AttachDirectory", "child.Mask",
    "child.MakeReadOnly",
    "child.SetHostname", "child.SetDomainname", "child.SetLimits", "child.NewSession", "child.CloseDescriptors",
    "child.NewKeyring", "child.ResolveUser", "child.MakeWorkdir", "child.LoadSeccomp", "child.BecomeUser",
    "child.ChangeDirectory", "child.NoNewPrivileges", "child.WaitForGo",
    "child.Execute", "child.MountTmpfs", "child.AttachTerminals", "child.HostDevice", "child.PrepareMount",
    "child.AttachMount", "child.PrepareFill", "child.FillVolume",
    "child.UserNamespace", "child.MapIds", "child.EnterUserNamespace",
)
"""In the newborn process, before it executes anything."""

REMAPPED = ("child.UserNamespace", "child.MapIds", "child.EnterUserNamespace")
"""Of these: passed with a user namespace only."""


NETWORK = ("child.EnterNetwork",)
"""Passed by a container that enters a network made for it; swept with the tests of the network's driver."""

NETWORKS = ("networks.before-record", "networks.before-removal")
"""Passed by the creation and the removal of a network; swept with the tests of the engine's networks."""


def in_the_code() -> set[str]:
    """Every name that is passed somewhere; `host.{name}` and `child.{name}` stand for each step of a plan."""
    found: set[str] = set()
    for room in ("domain", "adapters", "workers"):
        for path in (ROOT / room).rglob("*.py"):
            if path != ROOT / "domain" / "failpoints.py":
                found |= set(_CALL.findall(path.read_text(encoding="utf-8")))
    return found


def steps_of_plans() -> set[str]:
    """Names of the steps a plan can have, as the two tables of the interpreter list them."""
    from adapters.kernel import apply

    host = {f"host.{name}" for name in ("MakeGroup", *apply._HOST)}
    return host | {f"child.{name}" for name in apply._CHILD}


def swept() -> set[str]:
    """Every name that some test of the sweep kills at."""
    return {*ACTS, *ALWAYS, *STUBBORN, *IMAGES, *VOLUMES, *BUILDS, *WARDEN, *ROTATION, *SCRIBE, *EXECS, *WITH_APPARMOR,
            *ZYGOTE, *RECOVERY, *CHILD, *NETWORK, *NETWORKS}


