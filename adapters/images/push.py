"""One push: the blobs of an image, a few at a time, then the manifest that holds them together."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from adapters.images.content import Content
from adapters.images.documents import Document
from domain.errors import Refused, StorageError
from domain.images.manifest import Descriptor
from domain.images.progress import Part, Progress, State
from domain.images.transfer import AT_ONCE
from domain.ports.images import Sent, Target


def push(
    content: Content, document: Document, target: Target, tag: str, progress: Progress, stop: threading.Event
) -> Sent:
    """Returns when the registry has everything. Raises: Refused, Unavailable, StorageError."""
    manifest = document.manifest
    layers = _once([layer for layer in manifest.layers if not layer.foreign])
    progress.parts[:] = [Part(layer.digest, layer.size) for layer in layers]
    with ThreadPoolExecutor(AT_ONCE, "push") as threads:
        going = [
            threads.submit(_send, content, blob, target, part)
            for blob, part in zip(layers, progress.parts, strict=True)
        ]
        try:
            for future in going:
                future.result()
        except BaseException:
            stop.set()
            for future in going:
                future.cancel()
            raise
    _send(content, manifest.config, target, Part(manifest.config.digest, manifest.config.size))
    if stop.is_set():
        raise Refused("cancelled")
    return Sent(target.put_manifest(tag, document.kind, document.data), len(document.data))


def _once(blobs: Sequence[Descriptor]) -> list[Descriptor]:
    return list({blob.digest: blob for blob in blobs}.values())


def _send(content: Content, blob: Descriptor, target: Target, part: Part) -> None:
    def told(offset: int) -> None:
        part.state, part.done = "pushing", offset

    try:
        fd = os.open(content.blob(blob.digest), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise StorageError(f"the blob {blob.digest} is missing", hint="load or pull the image again") from error
    try:
        result = target.upload(blob, fd, told)
    finally:
        os.close(fd)
    part.done, part.state = blob.size, _state(result)
    part.source = result.removeprefix("mounted from ") if part.state == "mounted" else ""


def _state(result: str) -> State:
    if result == "exists":
        return "exists"
    return "mounted" if result.startswith("mounted from ") else "pushed"
