"""Saved images in one file: what is in a docker-archive or an OCI archive, and where.

    docker save (before 25)    manifest.json, <hex>.json, <hex>/layer.tar (also a link to another one)
    docker save (25 and later) manifest.json, and an OCI layout: oci-layout, index.json, blobs/sha256/<hex>
    podman, skopeo             the same two, manifest.json last; or `dir:`: manifest.json as an object, blobs as <hex>
    crane                      layers compressed inside

Nothing is unpacked: the file is indexed once, names and links are looked up in that index alone, and bytes are read
where they are. A compressed archive is written to a plain file first.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters.images.compression import inflated, sniffed
from adapters.images.names import clean
from adapters.images.unpack import write
from adapters.tar.reader import FILE, LINK, SYMLINK, Damaged, Reader, Source
from domain.errors import Refused
from domain.images.config import Parsed, parse_config
from domain.images.layer import digest_of, hex_of
from domain.images.manifest import (
    IMAGE_NAME,
    LARGEST_CONFIG,
    LARGEST_MANIFEST,
    REF_NAME,
    Descriptor,
    Manifest,
    Platform,
    Saved,
    choose,
    parse_document,
    parse_saved,
    suits,
)
from domain.images.reference import parse
from domain.text.safe import safe

_PIECE = 1 << 20
_MOST_ENTRIES = 200_000
_LARGEST_TOGETHER = 32 << 20
"""Bytes of documents that are read from one archive: each of a thousand names may lead to the same large one."""
_MOST_LINKS = 16
_DEEPEST_INDEX = 4


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the archive: where its bytes are, or which name it stands for."""

    offset: int = 0
    size: int = 0
    target: str = ""


@dataclass(frozen=True, slots=True)
class LayerSource:
    """Where the bytes of a layer are and what was promised about them (as received; empty and -1 for nothing)."""

    name: str
    digest: str = ""
    size: int = -1


@dataclass(frozen=True, slots=True)
class SavedImage:
    """One image of the archive, its config validated; `references` as they are kept."""

    config: bytes
    parsed: Parsed
    layers: tuple[LayerSource, ...]
    references: tuple[str, ...]

    @property
    def name(self) -> str:
        """How errors call it."""
        return self.references[0] if self.references else digest_of(self.config)[:19]


class Archive:
    """An index over a plain tar file; the caller owns the descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._members: dict[str, Member] = {}
        self._read = 0
        try:
            self._index()
        except Damaged as error:
            reason = error.reason if self._members else f"it is not a tar archive ({error.reason})"
            raise Refused(f"the archive cannot be read: {reason}") from error

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str, limit: int, expected: Descriptor | None = None) -> bytes:
        """A whole document, verified if something was promised. Raises: Refused."""
        member = self._resolve(name)
        if member.size > limit:
            raise Refused(f"{safe(name)} in the archive is too large: {member.size} bytes, at most {limit} are read")
        self._read += member.size
        if self._read > _LARGEST_TOGETHER:
            raise Refused(f"the documents in the archive are too large together: {_LARGEST_TOGETHER} bytes are read")
        data = b"".join(self._pieces(member))
        if expected is not None and (len(data) != expected.size or digest_of(data) != expected.digest):
            raise Refused(
                f"{safe(name)} in the archive is damaged: it is {digest_of(data)}, but should be {expected.digest}"
            )
        return data

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of an entry, piece by piece. Raises: Refused."""
        return self._pieces(self._resolve(name))

    def _index(self) -> None:
        os.lseek(self._fd, 0, os.SEEK_SET)
        for count, entry in enumerate(Reader(Source(self._fd, seekable=True))):
            if count >= _MOST_ENTRIES:
                raise Damaged(f"it has more than {_MOST_ENTRIES} entries")
            name = _path(entry.name)
            if entry.kind == FILE and entry.sparse is None:
                member = Member(entry.offset, entry.size)
            elif entry.kind == SYMLINK:
                member = Member(target=_path(entry.name.rpartition(b"/")[0] + b"/" + entry.target))
            elif entry.kind == LINK:
                member = Member(target=_path(entry.target))
            else:
                continue
            if self._members.get(name, member) != member:
                raise Damaged(f"it holds {safe(name)[:200]} twice")
            self._members[name] = member

    def _resolve(self, name: str) -> Member:
        wanted = name
        for _ in range(_MOST_LINKS):
            member = self._members.get(wanted)
            if member is None:
                raise Refused(f"the archive is incomplete: {safe(name)[:200]} is missing")
            if not member.target:
                return member
            wanted = member.target
        raise Refused(f"{safe(name)[:200]} in the archive is a link that leads nowhere")

    def _pieces(self, member: Member) -> Iterator[bytes]:
        offset, end = member.offset, member.offset + member.size
        while offset < end:
            piece = os.pread(self._fd, min(_PIECE, end - offset), offset)
            if not piece:
                raise Refused("the archive is truncated")
            offset += len(piece)
            yield piece


def open_plain(path: Path, spool: Path, limit: int) -> int:
    """A descriptor of the archive as a plain tar; a compressed one is written to `spool` first.

    Raises: Refused, OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Refused(f"{safe(str(path))} is not a regular file")
        kind, pieces = sniffed(file_pieces(fd))
        if kind == "plain":
            return os.dup(fd)
        return _spooled(inflated(kind, pieces, "the archive"), spool, limit)
    finally:
        os.close(fd)


def file_pieces(fd: int) -> Iterator[bytes]:
    """The bytes of a file from where it stands."""
    while piece := os.read(fd, _PIECE):
        yield piece


def images_of(archive: Archive, platform: Platform, *, forced: bool = False) -> tuple[SavedImage, ...]:
    """Every image in the archive for this platform; if that was asked for (`forced`), one that only exists for another
    is none. Raises: Refused, saying what is wrong with it."""
    images = _images_of(archive, platform)
    for image in images if forced else ():
        if not suits(image.parsed.platform, platform):
            raise Refused(f"{image.name} is in the archive, but not for {platform}. It offers: {image.parsed.platform}")
    return images


def _images_of(archive: Archive, platform: Platform) -> tuple[SavedImage, ...]:
    if "manifest.json" in archive:
        data = archive.read("manifest.json", LARGEST_MANIFEST)
        if data.lstrip().startswith(b"{"):
            return (_of_document(archive, data, "manifest.json", _by_hex, (), platform),)
        return tuple(_of_saved(archive, saved) for saved in parse_saved(data))
    if "index.json" in archive:
        return _of_layout(archive, platform)
    if "repositories" in archive:
        raise Refused(
            "the archive was saved by a docker before 1.10 and is too old",
            hint="load it with an older docker and save it again with a newer one",
        )
    raise Refused(
        "the archive holds no image: it has neither manifest.json nor index.json",
        hint="for the files of a root file system use import",
    )


def _spooled(pieces: Iterator[bytes], spool: Path, limit: int) -> int:
    fd = os.open(spool, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > limit:
                raise Refused(f"the archive unpacks to more than {limit} bytes")
            write(fd, piece)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _path(name: bytes) -> str:
    return os.fsdecode(b"/".join(clean(name)))


def _of_saved(archive: Archive, saved: Saved) -> SavedImage:
    name = _inside(saved.config)
    config = archive.read(name, LARGEST_CONFIG)
    # Older names were never checked by anybody, and are wrong at times.
    promised = _promised(name) if name.startswith("blobs/") else ""
    if promised and promised != digest_of(config):
        raise Refused(f"{safe(name)} in the archive is damaged: it is {digest_of(config)}")
    layers = tuple(
        LayerSource(path, _promised(path) if path.startswith("blobs/") else "") for path in map(_inside, saved.layers)
    )
    return _image(config, layers, tuple(_tag(tag) for tag in saved.tags))


def _inside(name: str) -> str:
    try:
        return _path(os.fsencode(name))
    except Damaged as error:
        raise Refused(f"the archive names {safe(name)[:200]}: {error.reason}") from error


def _promised(name: str) -> str:
    """The digest that a file name claims, if it does."""
    digits = name.rpartition("/")[2].removeprefix("sha256:")
    is_hex = len(digits) == 64 and all(c in "0123456789abcdef" for c in digits)
    return f"sha256:{digits}" if is_hex else ""


def _tag(text: str) -> str:
    reference = parse(text, default_tag=False)
    if not reference.tag and not reference.digest:
        raise Refused(f'the archive names an image "{safe(text)[:200]}", which has no tag')
    return reference.key


def _of_layout(archive: Archive, platform: Platform) -> tuple[SavedImage, ...]:
    index = parse_document(archive.read("index.json", LARGEST_MANIFEST), "index.json")
    if isinstance(index, Manifest):
        raise Refused("index.json is a manifest, not an index")
    groups: dict[tuple[str, ...], list[Descriptor]] = {}
    for entry in index.manifests:
        if entry.platform is None or entry.platform.os != "unknown":
            groups.setdefault(_names(entry), []).append(entry)
    if not groups:
        raise Refused("the archive holds no image: its index.json is empty")
    return tuple(image for names, entries in groups.items() for image in _of_group(archive, names, entries, platform))


def _of_group(
    archive: Archive, names: tuple[str, ...], entries: list[Descriptor], platform: Platform
) -> Iterator[SavedImage]:
    """Several entries of one name are one image for several platforms."""
    if len(entries) > 1 and all(entry.platform for entry in entries):
        entries = [choose(entries, platform, names[0] if names else "the image in the archive")]
    for entry in entries:
        path = _by_digest(entry.digest)
        yield _of_document(archive, archive.read(path, LARGEST_MANIFEST, entry), path, _by_digest, names, platform)


def _names(entry: Descriptor) -> tuple[str, ...]:
    """A full name, or nothing: a bare word is a tag of something that only the saver knew."""
    for key in (IMAGE_NAME, REF_NAME):
        text = entry.annotations.get(key, "")
        if (key == IMAGE_NAME and text) or "/" in text or ":" in text:
            return (parse(text).key,)
    return ()


def _of_document(
    archive: Archive,
    data: bytes,
    what: str,
    locate: Callable[[str], str],
    names: tuple[str, ...],
    platform: Platform,
    depth: int = 0,
) -> SavedImage:
    document = parse_document(data, f"{what} in the archive")
    if isinstance(document, Manifest):
        config = archive.read(locate(document.config.digest), LARGEST_CONFIG, document.config)
        layers = tuple(LayerSource(locate(layer.digest), layer.digest, layer.size) for layer in document.layers)
        return _image(config, layers, names)
    if depth >= _DEEPEST_INDEX:
        raise Refused("the indexes in the archive are nested too deeply")
    chosen = choose(document.manifests, platform, names[0] if names else "the image in the archive")
    path = locate(chosen.digest)
    path = path if path in archive else f"{path}.manifest.json"
    inner = archive.read(path, LARGEST_MANIFEST, chosen)
    return _of_document(archive, inner, path, locate, names, platform, depth + 1)


def _by_digest(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _by_hex(digest: str) -> str:
    return hex_of(digest)


def _image(config: bytes, layers: tuple[LayerSource, ...], references: tuple[str, ...]) -> SavedImage:
    image = SavedImage(config, parse_config(config), layers, tuple(dict.fromkeys(references)))
    if len(layers) != len(image.parsed.diff_ids):
        raise Refused(f"{image.name} has {len(layers)} layers, but its config speaks of {len(image.parsed.diff_ids)}")
    return image
