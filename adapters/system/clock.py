"""Time and chance of this machine (domain.ports.Clock)."""

import asyncio
import secrets
import time


class SystemClock:
    """The real ones."""

    def now(self) -> int:
        """Nanoseconds since the epoch; may jump. Order comes from positions, waiting from `sleep`."""
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        """Monotonic."""
        await asyncio.sleep(seconds)

    def new_id(self) -> str:
        """64 random hex digits."""
        return secrets.token_hex(32)

    def choice(self, bound: int) -> int:
        """A random number below `bound`."""
        return secrets.randbelow(bound)
