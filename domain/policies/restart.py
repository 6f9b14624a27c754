"""The restart policy: whether and when a container that ended is started again."""

from domain.container import Container

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
STEADY_AFTER = 10_000_000_000
"""A run of ten seconds (ns) counts as healthy: the waiting time begins anew."""


def next_delay(container: Container, code: int, now: int) -> float | None:
    """Seconds until the next start, doubling from 0.1 to 60; None when the policy does not want one."""
    policy = container.settled.restart
    if container.manual or policy.name == "no":
        return None
    if policy.name == "on-failure" and (code == 0 or (policy.retries and container.restarts >= policy.retries)):
        return None
    steady = now - container.started_at >= STEADY_AFTER
    streak = 0 if steady else container.streak
    return float(min(FIRST_DELAY * 2 ** min(streak, 20), LONGEST_DELAY))


def wanted_after_boot(container: Container) -> bool:
    """Whether a container that has ended is started when the host was rebooted: one that the reboot has ended, unless a
    user was about to; `always` also means one that a user had stopped before."""
    policy = container.settled.restart
    if policy.name == "always":
        return True
    return policy.name in {"unless-stopped", "on-failure"} and not container.manual and container.how == "reboot"
