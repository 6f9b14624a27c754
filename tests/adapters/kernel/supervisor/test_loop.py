"""Timers of the small processes' loop."""

import weakref
from functools import partial

from adapters.kernel.supervisor.loop import Loop


class Burden:
    """Something that a timer would need."""


def test_timers_come_in_their_order_and_cancelled_ones_not_at_all() -> None:
    """Those of one moment in the order in which they were asked for."""
    loop, called = Loop(), list[str]()
    loop.later(0.002, lambda: called.append("last"))
    void = loop.later(0.001, lambda: called.append("void"))
    for name in ("first", "second"):
        loop.later(0, lambda name=name: called.append(name))  # type: ignore[misc]
    loop.cancel(void)
    loop.cancel(None)
    while "last" not in called:
        loop.turn()
    assert called == ["first", "second", "last"]


def test_a_cancelled_timer_lets_go_of_what_it_would_have_needed() -> None:
    """It may have been asked for minutes ahead, by each of many short runs."""
    loop, burden = Loop(), Burden()
    reference = weakref.ref(burden)

    def ask(needed: Burden) -> None:
        loop.cancel(loop.later(600, partial(setattr, needed, "done", True)))

    ask(burden)
    del burden
    assert reference() is None
