"""Other firewalls on this host whose rules drop what is forwarded: Docker's, ufw's and firewalld. Ours cannot overrule
a drop.

They are asked in their own language, with the host's own iptables, at the place that each keeps for others:

    -A DOCKER-USER -o ldg+ -m comment --comment lading -j ACCEPT
    -A DOCKER-USER -i ldg+ -o docker0 -m comment --comment lading -j RETURN
    -A DOCKER-USER -i ldg+ -m comment --comment lading -j ACCEPT

Our own table goes on keeping networks apart behind that. Where there is no iptables, or nothing drops, nothing is done.

Whoever wants the host's firewall to decide who reaches published ports (`respect`) gets only answers let in:

    -A FORWARD -o ldg+ -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment lading -j ACCEPT

firewalld knows zones instead of places: our bridges belong to `trusted`, now and after its next reload. Under `respect`
nothing is asked of it, for it has no zone that lets out alone.
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)
_TOOLS = "iptables", "ip6tables"
_WHERE = "/usr/sbin:/sbin:/usr/bin:/bin"
_SECONDS = 20
_LINKS = "ldg+"  # every bridge of every engine of ours, but for those that users have given a name
OPEN, RESPECT = "open", "respect"
_DOCKERS, _FORWARD = "DOCKER-USER", "FORWARD"
_PLACES = _DOCKERS, _FORWARD
CHAINS = *_PLACES, "filter_FORWARD"
"""Who makes one of these may be in our way; the last one is firewalld's."""
_FIREWALLD = "firewall-cmd"
_YES, _NO = 0, 1  # its answers to a question, firewall-cmd(1); others say that nobody is there to answer


def admit(mode: str, links: Sequence[str] = ()) -> None:
    """Let our bridges through, where somebody would not, and those `links` that are called otherwise. Twice is fine;
    what goes wrong is logged."""
    for link in (_LINKS, *links):
        _admit(mode, link)


def _admit(mode: str, link: str) -> None:
    ways = _ways_in(link)
    for tool in _tools():
        chain = _place(tool)
        if not chain:
            continue
        for other in ways.keys() - {mode}:
            _delete(tool, chain, ways[other])
        for rule in reversed((ways[mode], *_out(link))):
            if _run(tool, "-C", chain, *_spelled(rule)).returncode:
                done = _run(tool, "-I", chain, "1", *_spelled(rule))
                if done.returncode:
                    log.warning("%s does not let our networks through: %s", tool, done.stderr.strip())
    _zoned("--add-interface" if mode == OPEN else "--remove-interface", link)


def forget(links: Sequence[str] = (_LINKS,)) -> None:
    """Take the rules for these away, wherever they are."""
    for link in links:
        for tool in _tools():
            for chain in _PLACES:
                for rule in (*_ways_in(link).values(), *_out(link)):
                    _delete(tool, chain, rule)
        _zoned("--remove-interface", link)


def _ways_in(link: str) -> Mapping[str, Sequence[str]]:
    """What lets in, for each mode."""
    answers = ("-o", link, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "ACCEPT")
    return {OPEN: ("-o", link, "ACCEPT"), RESPECT: answers}


def _out(link: str) -> Sequence[Sequence[str]]:
    """What lets out, but not to Docker's networks."""
    return (
        ("-i", link, "-o", "docker0", "RETURN"),
        ("-i", link, "-o", "br-+", "RETURN"),
        ("-i", link, "ACCEPT"),
    )


def _zoned(what: str, link: str) -> None:
    """Let firewalld do it: what is not written down is gone with its next reload. It leaves no file while it runs, as
    its unit starts it: whether it does, its program says."""
    tool = shutil.which(_FIREWALLD, path=_WHERE)
    if tool is None:
        return
    for kept in ((), ("--permanent",)):
        asked = _execute(tool, *kept, "--zone=trusted", f"--query-interface={link}")
        if asked.returncode not in (_YES, _NO):
            return
        if asked.returncode == (_YES if what == "--add-interface" else _NO):
            continue
        done = _execute(tool, *kept, "--zone=trusted", f"{what}={link}")
        if done.returncode:
            log.warning("%s %s: %s", tool, what, done.stderr.strip())


def _delete(tool: str, chain: str, rule: Sequence[str]) -> None:
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
    return _execute(tool, "-w", "5", *arguments)


def _execute(tool: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run((tool, *arguments), capture_output=True, text=True, timeout=_SECONDS,
                              stdin=subprocess.DEVNULL, env={"PATH": os.environ.get("PATH", _WHERE)})
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess((tool,), 1, "", str(error))
