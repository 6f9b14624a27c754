"""Carry out a commit: freeze, walk the writable layer, thaw; then the image is recorded together with the outcome."""

import contextlib

from domain.container import Container, State
from domain.errors import KernelError, LadingError, NotFound, Refused, Unavailable
from domain.failpoints import failpoint
from domain.lifecycle.commit import CommitFailed, CommitRequested, Committed
from domain.messages import Recorded
from workers.lifecycle.hands import Hands
from workers.wire import LARGEST_OUTCOME, Outcome


async def commit(container: Container, intent: Recorded, hands: Hands) -> Outcome | CommitFailed:
    """Returns Committed, or CommitFailed with nothing half made."""
    assert isinstance(intent.event, CommitRequested)
    failpoint("commit.before-act")
    frozen = intent.event.pause and container.state is State.RUNNING
    try:
        if frozen:
            with contextlib.suppress(NotFound):
                await hands.runtime.freeze(container.id)
        try:
            image = await hands.image_of(container, intent)
            outcome = Outcome(Committed(image_id=image.id, reference=intent.event.reference), image)
            if len(outcome.encode()) > LARGEST_OUTCOME:
                raise Refused("the configuration of the image would be larger than a message may be")
            return outcome
        finally:
            if frozen:
                with contextlib.suppress(NotFound, KernelError):
                    await hands.runtime.thaw(container.id)
    except Unavailable:
        raise
    except LadingError as error:
        return CommitFailed(reason=error.message)
