"""One repository as one user sees it: manifests, blobs, uploads. Faults that may pass are waited out here.

Nothing that comes is believed: sizes are bounded before anything is kept, and manifests are checked against the digest
they were asked for by. The bytes of blobs go into a `domain.ports.Sink`, whose owner checks what they add up to.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from adapters.registry.session import Session, Wish
from adapters.registry.web import PIECE, Answer, now
from domain.errors import NotFound, Refused
from domain.images.challenge import pull_scope, push_scope
from domain.images.denials import LARGEST_ERROR, Asked, RegistryDenied, RegistryFailed, denial, limited
from domain.images.layer import digest_of, is_digest
from domain.images.manifest import ACCEPTED, LARGEST_MANIFEST, Descriptor, parse_json
from domain.images.transfer import (
    FIRST_TRIES,
    LONGEST_WAIT,
    TRIES,
    asked_pause,
    next_page,
    pause,
    resumed,
    uploaded,
    with_digest,
)
from domain.ports.bus import Stop
from domain.ports.images import Sink
from domain.text.safe import safe

_SMALL = 1 << 20
"""Blobs up to this size go up in one request."""
_CHUNK = 8 << 20
"""For registries, or what stands before them, that take no whole layer at once (413)."""
_MOST_TAGS = 10_000
_MOST_PAGES = 100

_T = TypeVar("_T")


class Repository:
    """Used by several threads. `note` is told when we wait, and with nothing when we go on."""

    def __init__(
        self,
        sessions: Sequence[Session],
        path: str,
        asked: Asked,
        stop: Stop,
        note: Callable[[str], None] = lambda text: None,
        *,
        mounts: Sequence[str] = (),
    ) -> None:
        """`sessions`: whom to ask, in order, the registry itself last. `mounts` are repositories of the same registry
        that blobs may be mounted from."""
        self._sessions, self._path, self._asked, self._stop, self._note = sessions, path, asked, stop, note
        self._mounts = mounts
        self._at = 0
        self._chunk = 0
        self._reached = False

    # Getting

    def manifest(self, which: str) -> bytes:
        """The manifest or index called `which`, a tag or a digest, exactly as it came.

        Raises: NotFound, RegistryDenied, RegistryFailed, Refused (what came is something else, or too large).
        """
        def once() -> bytes:
            with self._get(f"manifests/{which}", {"Accept": ACCEPTED}) as answer:
                data = answer.read(LARGEST_MANIFEST, f"the manifest of {self._asked.name}")
                self._check(data, which, answer.header("docker-content-digest"))
                return data

        return self._patiently(lambda: self._somewhere(once))

    def digest(self, which: str) -> str:
        """The digest that a tag has at the moment, without getting anything; empty when the registry does not say."""
        def once() -> str:
            with self._ask("HEAD", f"manifests/{which}", headers={"Accept": ACCEPTED}) as answer:
                found = answer.header("docker-content-digest")
                return found if answer.status == 200 and is_digest(found) else ""

        return self._patiently(lambda: self._somewhere(once))

    def download(self, blob: Descriptor, sink: Sink) -> None:
        """Everything of the blob that the sink does not have yet; it may stand at any byte when this raises.

        Raises: NotFound, RegistryDenied, RegistryFailed, Refused.
        """
        failures = 0
        while sink.offset < blob.size:
            before = sink.offset
            try:
                self._somewhere(lambda: self._some_of(blob, sink))
                if sink.offset < blob.size:
                    raise RegistryFailed(f"{self._asked.host} sent only {sink.offset} of {blob.size} bytes")
            except RegistryFailed as error:
                failures = 1 if sink.offset > before else failures + 1
                self._wait(error, failures)

    def tags(self) -> tuple[str, ...]:
        """All tags. Raises: NotFound, RegistryDenied, RegistryFailed, Refused."""
        found: list[str] = []
        path = "tags/list?n=1000"
        for _ in range(_MOST_PAGES):
            document, path = self._patiently(partial(self._page, path))
            names = document.get("tags") if isinstance(document, dict) else None
            found += [name for name in names or () if isinstance(name, str)]
            if not path or len(found) > _MOST_TAGS:
                break
        return tuple(dict.fromkeys(found[:_MOST_TAGS]))

    # Putting

    def has(self, digest: str) -> bool:
        """Whether the repository has the blob."""
        def once() -> bool:
            with self._ask("HEAD", f"blobs/{digest}") as answer:
                if answer.status in (200, 404):
                    return answer.status == 200
                raise self._failed(answer)

        return self._patiently(once)

    def upload(self, blob: Descriptor, fd: int, told: Callable[[int], None]) -> str:
        """Bring a blob there from a file; `told` hears how many bytes have gone. What became of it: `exists`,
        `mounted from REPOSITORY` or `pushed`.

        Raises: RegistryDenied, RegistryFailed, Refused.
        """
        if self.has(blob.digest):
            return "exists"
        for source in self._mounts:
            if source != self._path and self._patiently(partial(self._mount, blob.digest, source)):
                return f"mounted from {source}"
        failures, reached = 0, 0
        while True:
            body = _Body(fd, blob.size, told, self._stop)
            try:
                self._upload(blob, body)
                return "pushed"
            except RegistryFailed as error:
                failures = 1 if body.furthest > reached else failures + 1
                reached = max(reached, body.furthest)
                self._wait(error, failures)

    def put_manifest(self, which: str, kind: str, data: bytes) -> str:
        """Let the tag (or digest) mean this manifest; its digest. Raises: RegistryDenied, RegistryFailed, Refused."""
        def once() -> str:
            with self._ask("PUT", f"manifests/{which}", headers={"Content-Type": kind}, body=data) as answer:
                if answer.status not in (201, 202):
                    raise self._failed(answer)
                return digest_of(data)

        return self._patiently(once)

    # Requests

    def _ask(
        self, method: str, place: str, *, headers: dict[str, str] | None = None, body: "bytes | _Part | None" = None,
        more: tuple[str, ...] = (),
    ) -> Answer:
        session = self._sessions[self._at]
        path = session.endpoint.path(self._path)
        whole = place.startswith(("http://", "https://", "/"))
        scope = (push_scope if self._asked.doing == "push" else pull_scope)(path)
        wish = Wish(method, place if whole else f"v2/{path}/{place}", (scope, *more), headers or {}, body)
        answer = session.ask(wish, self._asked)
        self._reached = True
        if answer.status in (429, 500, 502, 503, 504):
            raise self._later(answer)
        return answer

    def _get(self, place: str, headers: dict[str, str] | None = None) -> Answer:
        answer = self._ask("GET", place, headers=headers)
        if answer.status not in (200, 206):
            raise self._failed(answer)
        return answer

    def _some_of(self, blob: Descriptor, sink: Sink) -> None:
        offset = sink.offset
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._ask("GET", f"blobs/{blob.digest}", headers=headers) as answer:
            if answer.status == 416:
                raise Refused(f"{self._asked.host} has less of {blob.digest} than {blob.size} bytes")
            if answer.status not in (200, 206):
                raise self._failed(answer)
            part = resumed(answer.status, answer.header("content-range"), offset, blob.digest)
            if part.total not in (-1, blob.size):
                raise Refused(f"{blob.digest} has {part.total} bytes there, but should have {blob.size}")
            self._pour(answer, part.skip, blob, sink)

    def _pour(self, answer: Answer, skip: int, blob: Descriptor, sink: Sink) -> None:
        for piece in answer.pieces():
            if self._stop.is_set():
                raise Refused("cancelled")
            if skip:
                dropped = min(skip, len(piece))
                skip, piece = skip - dropped, piece[dropped:]
            if sink.offset + len(piece) > blob.size:
                raise Refused(f"{blob.digest} is larger than the {blob.size} bytes it should have")
            if piece:
                sink.take(piece)

    def _page(self, path: str) -> tuple[object, str]:
        with self._get(path) as answer:
            after = next_page(answer.header("link"))
            data = answer.read(LARGEST_MANIFEST, f"the list of tags of {self._asked.name}")
        if after and not after.startswith(("http://", "https://", "/")):
            after = f"tags/{after}" if after.startswith("list") else ""
        return parse_json(data, "the list of tags"), after

    def _check(self, data: bytes, which: str, claimed: str) -> None:
        found = digest_of(data)
        wanted = which if is_digest(which) else claimed if is_digest(claimed) else found
        if found != wanted:
            raise Refused(f"the manifest of {self._asked.name} arrived damaged: it is {found}, but should be {wanted}")

    def _mount(self, digest: str, source: str) -> bool:
        """A registry that cannot, or will not, opens an ordinary session instead; that one is left to run out."""
        more = (pull_scope(source),)
        try:
            with self._ask("POST", f"blobs/uploads/?mount={digest}&from={source}", body=b"", more=more) as answer:
                return answer.status == 201
        except RegistryDenied:
            return False  # of the source only: whether we may push here is found out by pushing

    def _upload(self, blob: Descriptor, body: "_Body") -> None:
        with self._ask("POST", "blobs/uploads/", body=b"") as answer:
            if answer.status != 202:
                raise self._failed(answer)
            location = _location(answer)
        if blob.size <= _SMALL:
            self._finish(location, blob.digest, body.rest(0))
            return
        at = 0
        while at < blob.size:
            location, at = self._patch(location, at, body)
        self._finish(location, blob.digest, None)

    def _patch(self, location: str, at: int, body: "_Body") -> tuple[str, int]:
        """One piece, which may be all the rest: where to go on, and from which byte."""
        part = body.rest(at, self._chunk)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(part.size)}
        if at or self._chunk:
            headers["Content-Range"] = f"{at}-{at + part.size - 1}"
        with self._ask("PATCH", location, headers=headers, body=part) as answer:
            if answer.status == 413 and not self._chunk:
                self._chunk = _CHUNK
                raise RegistryFailed(f"{self._asked.host} takes no layer in one piece")
            if answer.status not in (202, 204):
                raise self._failed(answer)
            reached = uploaded(answer.header("range")) or at + part.size
            # Registries accept pieces out of order without a word: what they have must be what we have sent.
            if reached > at + part.size:
                raise Refused(f"{self._asked.host} says it has {reached} bytes, but {at + part.size} were sent")
            return _location(answer) or location, reached

    def _finish(self, location: str, digest: str, part: "_Part | None") -> None:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(part.size if part else 0)}
        with self._ask("PUT", with_digest(location, digest), headers=headers, body=part or b"") as answer:
            if answer.status not in (201, 204):
                raise self._failed(answer)

    # Patience

    def _patiently(self, work: Callable[[], _T]) -> _T:
        failures = 0
        while True:
            try:
                return work()
            except RegistryFailed as error:
                failures += 1
                self._wait(error, failures)

    def _somewhere(self, work: Callable[[], _T]) -> _T:
        """At the first place that can: a mirror that does not have it, or does not work, is passed over for good."""
        while True:
            try:
                return work()
            except (NotFound, RegistryDenied, RegistryFailed, Refused):
                if self._stop.is_set() or self._at + 1 >= len(self._sessions):
                    raise
                self._at += 1

    def _wait(self, error: RegistryFailed, failures: int) -> None:
        """Returns when it may be tried again. Raises: the error when it is of no use, Refused when nobody waits."""
        seconds = pause(failures, TRIES if self._reached else FIRST_TRIES)
        if error.after is not None and seconds is not None:
            if error.after > LONGEST_WAIT:
                raise error
            seconds = max(error.after, seconds)
            self._note(f"{self._asked.host} limits pulls: waiting {round(seconds)} s as it asked")
        if seconds is None:
            raise error
        if self._stop.is_set() or (seconds and self._stop.wait(seconds)):
            raise Refused("cancelled")
        self._note("")

    def _later(self, answer: Answer) -> RegistryFailed:
        after = asked_pause(answer.headers, now())
        body = answer.some(LARGEST_ERROR)
        error = limited(self._asked, after) if answer.status == 429 else denial(answer.status, body, self._asked)
        assert isinstance(error, RegistryFailed)
        error.after = after
        return error

    def _failed(self, answer: Answer) -> Exception:
        return denial(answer.status, answer.some(LARGEST_ERROR), self._asked)


class _Body:
    """A file that is sent, whole or from somewhere on, as often as it must be."""

    def __init__(self, fd: int, size: int, told: Callable[[int], None], stop: Stop) -> None:
        self._fd, self._size, self._told, self._stop = fd, size, told, stop
        self.furthest = 0

    def rest(self, offset: int, most: int = 0) -> "_Part":
        """What comes from `offset` on, `most` bytes of it (0: all)."""
        left = self._size - offset
        return _Part(self, offset, min(left, most) if most else left)

    def pieces(self, offset: int, size: int) -> Iterator[bytes]:
        """The bytes."""
        end = offset + size
        while offset < end:
            piece = os.pread(self._fd, min(PIECE, end - offset), offset)
            if not piece:
                raise Refused("a blob in the image store is shorter than its record says")
            if self._stop.is_set():
                raise Refused("cancelled")
            yield piece
            offset += len(piece)
            self.furthest = max(self.furthest, offset)
            self._told(offset)


class _Part:
    """An iterable of known size; it begins anew with every `iter`."""

    def __init__(self, body: _Body, offset: int, size: int) -> None:
        self._body, self._offset, self.size = body, offset, size

    def __iter__(self) -> Iterator[bytes]:
        return self._body.pieces(self._offset, self.size)


def _location(answer: Answer) -> str:
    """Where to go on, complete: it may be relative to what was asked."""
    from urllib.parse import urljoin

    location = answer.header("location")
    if not location:
        raise Refused(f"the registry opened an upload and does not say where ({safe(answer.url)[:100]})")
    return urljoin(answer.url, location)
