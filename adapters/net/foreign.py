"""Other firewalls on this host whose rules drop what is forwarded: Docker's and ufw's. Ours cannot overrule a drop.

They are asked in their own language, with the host's own iptables, at the place that each keeps for others:

    -A DOCKER-USER -o ldg+ -m comment --comment lading -j ACCEPT
    -A DOCKER-USER -i ldg+ -o docker0 -m comment --comment lading -j RETURN
    -A DOCKER-USER -i ldg+ -m comment --comment lading -j ACCEPT

Our own table goes on keeping networks apart behind that. Where there is no iptables, or nothing drops, nothing is done.
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Sequence

log = logging.getLogger(__name__)
_TOOLS = "iptables", "ip6tables"
_WHERE = "/usr/sbin:/sbin:/usr/bin:/bin"
_SECONDS = 20
_LINKS = "ldg+"  # every bridge of every engine of ours
_RULES = (
    ("-o", _LINKS, "ACCEPT"),
    ("-i", _LINKS, "-o", "docker0", "RETURN"),
    ("-i", _LINKS, "-o", "br-+", "RETURN"),
    ("-i", _LINKS, "ACCEPT"),
)
_DOCKERS, _FORWARD = "DOCKER-USER", "FORWARD"
CHAINS = _DOCKERS, _FORWARD
"""Where the rules may be; who makes one of these may be in our way."""


def admit() -> None:
    """Let our bridges through, where somebody would not. Twice is fine; what goes wrong is logged."""
    for tool in _tools():
        chain = _place(tool)
        if not chain:
            continue
        for rule in reversed(_RULES):
            if _run(tool, "-C", chain, *_spelled(rule)).returncode:
                done = _run(tool, "-I", chain, "1", *_spelled(rule))
                if done.returncode:
                    log.warning("%s does not let our networks through: %s", tool, done.stderr.strip())


def forget() -> None:
    """Take the rules away, wherever they are."""
    for tool in _tools():
        for chain in CHAINS:
            for rule in _RULES:
                while not _run(tool, "-D", chain, *_spelled(rule)).returncode:
                    continue


def _tools() -> list[str]:
    return [found for tool in _TOOLS if (found := shutil.which(tool, path=_WHERE))]


def _place(tool: str) -> str:
    """The chain to write to; empty if nothing drops, or this tool has no tables."""
    if not _run(tool, "-S", _DOCKERS).returncode:
        return _DOCKERS
    listed = _run(tool, "-S", _FORWARD)
    drops = "-P FORWARD DROP" in listed.stdout or "-j ufw-" in listed.stdout
    return _FORWARD if drops else ""


def _spelled(rule: Sequence[str]) -> tuple[str, ...]:
    *matches, verdict = rule
    return (*matches, "-m", "comment", "--comment", "lading", "-j", verdict)


def _run(tool: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`-w` waits for whoever else changes the rules."""
    try:
        return subprocess.run((tool, "-w", "5", *arguments), capture_output=True, text=True, timeout=_SECONDS,
                              stdin=subprocess.DEVNULL, env={"PATH": os.environ.get("PATH", _WHERE)})
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess((tool,), 1, "", str(error))
