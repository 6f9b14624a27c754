"""The reader understands every dialect of tar and refuses what is none."""

import io
import os
import struct
import tarfile
from pathlib import Path

import pytest

from adapters.tar.reader import Damaged, Entry, Reader, Source, parse_pax
from tests.adapters.images.tars import END, archive, directory, file, hardlink, header, member, padded, symlink


def read(data: bytes, tmp_path: Path, *, seekable: bool = False) -> list[tuple[Entry, bytes]]:
    """All entries with their stored bytes (left out when skipping is to be tried)."""
    path = tmp_path / "archive.tar"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        reader = Reader(Source(fd, seekable=seekable))
        return [(entry, b"" if seekable else b"".join(reader.data())) for entry in reader]
    finally:
        os.close(fd)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_entries_of_every_format_are_the_same(format: int, tmp_path: Path) -> None:
    """The dialect is the writer's business."""
    data = archive(
        directory("a", mode=0o1777),
        file("a/b", b"x" * 700, uid=5, gid=6),
        symlink("a/l", "b"),
        hardlink("a/h", "a/b"),
        format=format,
    )
    found = [
        (e.name, e.kind, e.mode, e.uid, e.gid, e.size, e.mtime, e.target, content)
        for e, content in read(data, tmp_path)
    ]
    time = 1_000_000 * 10**9
    assert found[1] == (b"a/b", b"0", 0o644, 5, 6, 700, time, b"", b"x" * 700)
    assert [(row[0].rstrip(b"/"), row[1], row[7]) for row in found] == [
        (b"a", b"5", b""),
        (b"a/b", b"0", b""),
        (b"a/l", b"2", b"b"),
        (b"a/h", b"1", b"a/b"),
    ]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_targets_are_whole(format: int, tmp_path: Path) -> None:
    """GNU and PAX have their own ways past 100 bytes."""
    name, target = "d/" * 60 + "n" * 200, "t" * 300
    ((entry, _),) = read(archive(symlink(name, target), format=format), tmp_path)
    assert (entry.name, entry.target) == (name.encode(), target.encode())


def test_a_ustar_prefix_is_the_front_of_the_name(tmp_path: Path) -> None:
    """The standard library splits long names there."""
    name = "p" * 90 + "/" + "n" * 90
    ((entry, _),) = read(archive(file(name), format=tarfile.USTAR_FORMAT), tmp_path)
    assert entry.name == name.encode()


def test_names_stay_bytes_whatever_their_encoding(tmp_path: Path) -> None:
    """A name need not be text."""
    name = os.fsdecode(b"caf\xe9")
    for format in (tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        ((entry, _),) = read(archive(file(name), format=format), tmp_path)
        assert entry.name == b"caf\xe9"


def test_a_binary_header_charset_changes_nothing(tmp_path: Path) -> None:
    """`hdrcharset=BINARY` only says that the bytes are not UTF-8."""
    records = b"21 hdrcharset=BINARY\n" + b"15 path=caf\xe9/x\n"
    data = header(b"pax", b"x", size=len(records)) + padded(records) + header(b"short") + END
    ((entry, _),) = read(data, tmp_path)
    assert entry.name == b"caf\xe9/x"


def test_base_256_numbers_are_numbers(tmp_path: Path) -> None:
    """GNU tar writes owners above 2097151 and negative times so."""
    uid = b"\x80" + (4_000_000).to_bytes(7, "big")
    mtime = b"\xff" + (-5).to_bytes(11, "big", signed=True)
    ((entry, _),) = read(header(b"f", uid=uid, mtime=mtime) + END, tmp_path)
    assert (entry.uid, entry.mtime) == (4_000_000, -5 * 10**9)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1.5", 1_500_000_000),
        ("-1.5", -1_500_000_000),
        ("12.123456789123", 12_123_456_789),
        ("0", 0),
        ("-0.25", -250_000_000),
    ],
)
def test_fractions_of_seconds_are_exact(text: str, time: int, tmp_path: Path) -> None:
    """A float would lose nanoseconds."""
    ((entry, _),) = read(archive(file("f", pax={"mtime": text})), tmp_path)
    assert entry.mtime == time


def test_a_global_header_holds_for_all_that_follow(tmp_path: Path) -> None:
    """`git archive` writes one; names and sizes in it are nonsense and are left out."""
    records = b"11 uid=123\n" + b"13 path=evil\n" + b"18 comment=abcdef\n"
    data = header(b"pax_global_header", b"g", size=len(records)) + padded(records) + archive(file("a"), file("b"))
    assert [(entry.name, entry.uid) for entry, _ in read(data, tmp_path)] == [(b"a", 123), (b"b", 123)]


def test_an_old_name_with_a_slash_is_a_directory(tmp_path: Path) -> None:
    """V7 tar had no type for directories; `7` is a file that once had to be contiguous."""
    data = header(b"d/", b"\0", magic=b"") + header(b"f", b"7", size=1) + padded(b"x") + END
    assert [(entry.name, entry.kind) for entry, _ in read(data, tmp_path)] == [(b"d/", b"5"), (b"f", b"0")]


def test_unknown_types_are_skipped_with_their_data(tmp_path: Path) -> None:
    """Dump directories, volume labels and what comes after us."""
    data = header(b"odd", b"D", size=600) + padded(b"z" * 600) + header(b"f", size=1) + padded(b"y") + END
    assert [(entry.name, entry.kind) for entry, _ in read(data, tmp_path)] == [(b"odd", b"D"), (b"f", b"0")]


def test_extended_attributes_come_from_both_spellings(tmp_path: Path) -> None:
    """Schily writes raw values, libarchive base64 without padding and percent-encoded names."""
    ((entry, _),) = read(
        archive(file("f", pax={"SCHILY.xattr.user.a": "raw", "LIBARCHIVE.xattr.user.b%3Dc": "aGk"})), tmp_path
    )
    assert dict(entry.xattrs) == {b"user.a": b"raw", b"user.b=c": b"hi"}


SPARSE = b"A" * 512 + b"B" * 100


def pax_sparse(records: bytes, stored: bytes) -> bytes:
    """A file with PAX records before it."""
    return (
        header(b"pax", b"x", size=len(records))
        + padded(records)
        + header(b"f", size=len(stored))
        + padded(stored)
        + END
    )


def record(key: bytes, value: bytes) -> bytes:
    """One PAX record."""
    for length in range(len(key) + len(value) + 3, len(key) + len(value) + 9):
        line = b"%d %s=%s\n" % (length, key, value)
        if len(line) == length:
            return line
    raise AssertionError


def test_every_form_of_sparse_file_gives_the_same_pieces(tmp_path: Path) -> None:
    """Four ways to say: 512 bytes at 0, 100 bytes at 8192, 9000 in all."""
    old = b"".join(b"%011o\0" % n for n in (0, 512, 8192, 100)).ljust(96, b"\0") + b"\0" + b"%011o\0" % 9000
    forms = [
        header(b"f", b"S", size=612, magic=b"ustar  \0", rest=bytes(386 - 265) + old) + padded(SPARSE) + END,
        pax_sparse(
            record(b"GNU.sparse.size", b"9000")
            + record(b"GNU.sparse.numblocks", b"2")
            + b"".join(
                record(b"GNU.sparse.offset", a) + record(b"GNU.sparse.numbytes", b)
                for a, b in ((b"0", b"512"), (b"8192", b"100"))
            ),
            SPARSE,
        ),
        pax_sparse(record(b"GNU.sparse.size", b"9000") + record(b"GNU.sparse.map", b"0,512,8192,100"), SPARSE),
        pax_sparse(
            record(b"GNU.sparse.major", b"1")
            + record(b"GNU.sparse.minor", b"0")
            + record(b"GNU.sparse.name", b"f")
            + record(b"GNU.sparse.realsize", b"9000"),
            padded(b"2\n0\n512\n8192\n100\n") + SPARSE,
        ),
    ]
    for data in forms:
        ((entry, content),) = read(data, tmp_path)
        assert (entry.name, entry.kind, entry.size, entry.sparse, content) == (
            b"f",
            b"0",
            9000,
            [(0, 512), (8192, 100)],
            SPARSE,
        )


def test_an_old_sparse_map_goes_on_in_further_blocks(tmp_path: Path) -> None:
    """Four pieces fit into the header, 21 into each block after it."""
    holes = [(n * 1024, 1) for n in range(10)]
    first = b"".join(b"%011o\0%011o\0" % hole for hole in holes[:4]) + b"\1" + b"%011o\0" % 10240
    more = b"".join(b"%011o\0%011o\0" % hole for hole in holes[4:]).ljust(504, b"\0") + b"\0"
    data = (
        header(b"f", b"S", size=10, magic=b"ustar  \0", rest=bytes(386 - 265) + first)
        + padded(more)
        + padded(b"x" * 10)
        + END
    )
    ((entry, content),) = read(data, tmp_path)
    assert (entry.sparse, entry.size, content) == (holes, 10240, b"x" * 10)


@pytest.mark.parametrize(
    "records",
    [
        record(b"GNU.sparse.size", b"10") + record(b"GNU.sparse.map", b"0,512,600,100"),
        record(b"GNU.sparse.size", b"9000") + record(b"GNU.sparse.map", b"512,512,0,100"),
        record(b"GNU.sparse.size", b"9000") + record(b"GNU.sparse.map", b"0,512"),
        record(b"GNU.sparse.size", b"9000") + record(b"GNU.sparse.map", b"0,x"),
        record(b"GNU.sparse.map", b"0,612"),
        record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.realsize", b"9000"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(records: bytes, tmp_path: Path) -> None:
    """Pieces outside the file, out of order, or not all of the data."""
    with pytest.raises(Damaged):
        read(pax_sparse(records, SPARSE), tmp_path)


LISTED_BEFORE = record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.realsize", b"9000")
FULL = (b"%011o\0%011o\0" % (1, 1)) * 21 + b"\1".ljust(8, b"\0")


@pytest.mark.parametrize(("kind", "beginning", "again"), [
    (b"0", b"1" * 512, b""), (b"0", b"131072\n".ljust(512, b"1"), b""), (b"0", b"131072\n", b"1" * 400 + b"\n"),
    (b"S", b"", FULL),
], ids=["a count without an end", "a number without an end", "long numbers", "old"])
def test_a_map_without_an_end_costs_little(tmp_path: Path, kind: bytes, beginning: bytes, again: bytes) -> None:
    """However large the file is that it stands in: elsewhere the whole of it is read into memory (CVE-2025-58183,
    CVE-2026-32288)."""
    head = header(b"pax", b"x", size=len(LISTED_BEFORE)) + padded(LISTED_BEFORE) if kind == b"0" else b""
    rest = b"" if kind == b"0" else bytes(386 - 265) + FULL[:96] + b"\1" + b"%011o\0" % 9000
    path = tmp_path / "archive.tar"
    path.write_bytes(head + header(b"f", kind, size=1 << 30, magic=b"ustar  \0", rest=rest) + beginning
                     + again * ((8 << 20) // max(len(again), 1)))
    os.truncate(path, 1 << 30)
    fd = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(Damaged, match="list of holes"):
            next(iter(Reader(Source(fd))))
        assert os.lseek(fd, 0, os.SEEK_CUR) < 12 << 20
    finally:
        os.close(fd)


def test_an_archive_may_end_without_its_marker(tmp_path: Path) -> None:
    """umoci writes neither marker nor the padding of the last file, and every engine takes it."""
    whole = header(b"a", size=3) + padded(b"abc") + header(b"b", size=3) + b"abc"
    for data in (
        whole,
        whole + bytes(100),
        whole + bytes(509),
        whole + bytes(509 + 512),
        whole + bytes(509) + END + b"junk",
    ):
        assert [entry.name for entry, _ in read(data, tmp_path)] == [b"a", b"b"]
    for data in (b"", bytes(512), bytes(1024), bytes(700)):
        assert read(data, tmp_path) == []


@pytest.mark.parametrize("seekable", [False, True])
def test_an_archive_that_ends_inside_something_is_damaged(seekable: bool, tmp_path: Path) -> None:
    """Wherever it is cut, it is not silently shorter."""
    whole = header(b"a", size=700) + padded(b"x" * 700) + header(b"b", size=1) + padded(b"y")
    for cut in (1, 100, 511, 513, 1000, 1211, 1537, 2047, 2048):
        with pytest.raises(Damaged):
            read(whole[:cut], tmp_path, seekable=seekable)


def test_long_name_headers_need_their_entry(tmp_path: Path) -> None:
    """A name without anything that has it."""
    with pytest.raises(Damaged):
        read(header(b"././@LongLink", b"L", size=5) + padded(b"name\0") + END, tmp_path)


@pytest.mark.parametrize(
    "data", [b"hello world" * 100, b"\x7fELF" + bytes(2000), header(b"a")[:148] + b"0000000\0" + bytes(356)]
)
def test_what_is_not_tar_is_refused(data: bytes, tmp_path: Path) -> None:
    """A checksum stands in every header."""
    with pytest.raises(Damaged):
        read(data, tmp_path)


def test_signed_checksums_of_old_writers_are_taken(tmp_path: Path) -> None:
    """Sun's tar summed signed characters."""
    block = header(b"caf\xe9")
    signed = sum(struct.unpack("512b", block[:148] + b" " * 8 + block[156:]))
    block = block[:148] + b"%06o\0 " % signed + block[156:]
    ((entry, _),) = read(block + END, tmp_path)
    assert entry.name == b"caf\xe9"


def test_a_lone_block_of_zeros_between_entries_is_damage(tmp_path: Path) -> None:
    """Two readers would see two archives."""
    with pytest.raises(Damaged):
        read(header(b"a") + bytes(512) + header(b"b") + END, tmp_path)


@pytest.mark.parametrize(
    "data", [b"5 a=b\n", b"x a=b\n", b"6 a=b", b"6 a-b\n", b"999 a=b\n", b"6 =ab\n", b" a=b\n", b"0 a=b\n"]
)
def test_broken_extended_headers_are_refused(data: bytes) -> None:
    """The length must lead exactly behind the line."""
    with pytest.raises(Damaged):
        parse_pax(data)


def test_values_of_extended_headers_may_hold_anything() -> None:
    """A line feed and an equals sign are data: the length decides."""
    assert parse_pax(b"13 a=b=c\nd e\n" + b"6 f=g\n") == [(b"a", b"b=c\nd e"), (b"f", b"g")]


@pytest.mark.parametrize("pax", [{"uid": "x"}, {"size": "1e3"}, {"mtime": "now"}, {"mtime": "1" * 30}, {"gid": ""}])
def test_extended_numbers_are_numbers(pax: dict[str, str], tmp_path: Path) -> None:
    """An empty value takes the attribute back; anything else must be a number."""
    data = archive(file("f", pax=pax))
    if "" in pax.values():
        assert len(read(data, tmp_path)) == 1
    else:
        with pytest.raises(Damaged):
            read(data, tmp_path)


def test_skipping_finds_the_same_entries_as_reading(tmp_path: Path) -> None:
    """A regular file is skipped through by seeking."""
    data = archive(file("a", b"x" * 3_000_000), directory("d"), file("d/b", b"y"), member("z", data=b"q" * 1000))
    assert [e.name for e, _ in read(data, tmp_path)] == [e.name for e, _ in read(data, tmp_path, seekable=True)]


def test_a_huge_extended_header_is_refused(tmp_path: Path) -> None:
    """A header is read into memory as a whole."""
    with pytest.raises(Damaged):
        read(header(b"pax", b"x", size=1 << 31) + END, tmp_path)


def test_the_standard_library_agrees_about_what_it_writes(tmp_path: Path) -> None:
    """An independent reader as the judge."""
    data = archive(directory("d"), file("d/f", b"x" * 513), symlink("d/s", "f"), file("ü" * 80, b""))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        theirs = [(info.name, info.size, info.linkname) for info in tar]
    ours = [(os.fsdecode(e.name).rstrip("/"), e.size, os.fsdecode(e.target)) for e, _ in read(data, tmp_path)]
    assert ours == theirs
