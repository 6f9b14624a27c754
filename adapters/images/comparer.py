"""What a container has changed, by name; the comparer is a process of its own (`adapters.images.compare`)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from adapters.images import programs

_PIECE = 1 << 16
_WHAT = "the list of changes"


async def changed(upper: Path, layer_root: Path, layers: Sequence[str]) -> AsyncIterator[tuple[str, str]]:
    """(`A`, `C` or `D`, path) of everything in an overlay's upper directory that differs from the layers (lowest
    first). Raises: Refused, StorageError."""
    if not upper.exists():
        return  # it was never started
    argv = programs.command("compare", [str(layer_root), str(upper), *reversed(layers)])
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe,
                                                   env={}, cwd="/", limit=_PIECE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        rest = b""
        while piece := await process.stdout.read(_PIECE):
            *records, rest = (rest + piece).split(b"\0")
            for record in records:
                yield record[:1].decode(), record[1:].decode("utf-8", "surrogateescape")
        words = await process.stderr.read()
        programs.judged(await process.wait(), words, _WHAT, words)
    finally:
        if process.returncode is None:
            process.kill()
            while await process.stdout.read(_PIECE):
                pass
            await process.wait()
