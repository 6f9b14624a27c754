"""Where the last lines begin, found from the end of the output on. Pure."""

from contextlib import suppress

from domain import logs

Place = tuple[int, int, int]
"""(base and attempt of a segment, offset in it): places compare as the output was written."""

_FURTHER = 1 << 25
_STREAMS = (logs.STDOUT, logs.STDERR)


class Tail:
    """Counts ends of lines from `end` on, of both streams together, until there are `lines`; then looks for where the
    earliest of each stream begins, as far up as `_FURTHER` bytes (else it is taken to begin with its frame).

    `first` is the frame that they begin in; of each stream in `cut` they begin at that place.
    """

    def __init__(self, end: Place, lines: int) -> None:
        self._missing = lines
        self._further = _FURTHER
        self.first = end
        self.cut = dict.fromkeys(_STREAMS, end)
        self._open = dict.fromkeys(_STREAMS, False)
        self._seen = dict.fromkeys(_STREAMS, False)

    @property
    def full(self) -> bool:
        """Whether nothing further up is needed."""
        return self._missing <= 0 and (self._further <= 0 or not any(self._open.values()))

    @property
    def lacking(self) -> bool:
        """Whether there were fewer lines."""
        return self._missing > 0

    def add(self, place: Place, block: bytes, until: int | None) -> None:
        """The frames in front of those that were added before; the block lies at `place`."""
        frames: list[logs.Frame] = []
        with suppress(logs.Damaged):  # what lies behind the damage is not readable
            frames.extend(logs.frames(block))
        base, attempt, offset = place
        for frame in reversed(frames):
            if self.full:
                return
            if until is None or frame.time <= until:
                self._add((base, attempt, offset + frame.start), frame.stream, block[frame.start:frame.stop])

    def _add(self, place: Place, stream: int, data: bytes) -> None:
        if not data:
            return  # only the header is written yet: that is no line
        if self._missing <= 0:
            self._further -= len(data)
        if not self._seen[stream] and not data.endswith(b"\n"):
            self._ended(stream)
        self._seen[stream] = True
        newline = data.rfind(b"\n")
        while newline >= 0:
            if self._open[stream]:
                self._begins(stream, place, newline + 1)
                self._open[stream] = False
            if self._missing <= 0:
                return
            self._ended(stream)
            newline = data.rfind(b"\n", 0, newline)
        if self._open[stream]:
            self._begins(stream, place, 0)  # or further up

    def _ended(self, stream: int) -> None:
        """Here ends a line, going up."""
        if self._missing > 0:
            self._missing -= 1
            self._open[stream] = True

    def _begins(self, stream: int, place: Place, distance: int) -> None:
        base, attempt, offset = place
        self.cut[stream] = (base, attempt, offset + distance)
        self.first = (base, attempt, offset - logs.HEADER_SIZE)
