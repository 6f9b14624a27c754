"""How many examples a law is tried with, and whether they are the same ones each time.

An ordinary run takes the same examples every time, so that a build that fails fails again for whoever looks into it.
`make fuzz` looks further: many times as many, other ones each time; LADING_TEST_EXAMPLES is how many times.
"""

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("LADING_TEST_EXAMPLES", "1"))
EXPLORING = TIMES > 1
USUAL = 150
"""Where a test says nothing else."""


def load() -> None:
    """Make it so for every test; how long one example takes says only how busy the machine is."""
    chosen = settings(
        settings.get_profile("default"), max_examples=USUAL * TIMES, deadline=None, derandomize=not EXPLORING,
        print_blob=True,
    )  # fmt: skip
    settings.register_profile("lading", chosen)
    settings.load_profile("lading")


def examples(count: int, *, steps: int = 50, unchecked: bool = False) -> settings:
    """Settings of a test that is dearer or cheaper than most. `unchecked`: its inputs may be large and slow to make,
    or its fixtures may be shared by all examples."""
    return settings(
        max_examples=count * TIMES, stateful_step_count=steps,
        suppress_health_check=list(HealthCheck) if unchecked else (),
    )  # fmt: skip
