"""References: every spelling of one name is one name, and what cannot be one is refused with the value in the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.images.reference import parse, parse_target, split_key

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "shown"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/team/app:v1", "localhost:5000/team/app:v1", "localhost:5000/team/app:v1"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("UPPER.io/x", "UPPER.io/x:latest", "UPPER.io/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("[fe80::1]/x:y", "[fe80::1]/x:y", "[fe80::1]/x:y"),
        ("a__b/c-----d.e_f", "docker.io/a__b/c-----d.e_f:latest", "a__b/c-----d.e_f:latest"),
        ("docker.io/localhost/x", "docker.io/localhost/x:latest", "docker.io/localhost/x:latest"),
        ("docker.io/library/x/y", "docker.io/library/x/y:latest", "library/x/y:latest"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}", f"app@{DIGEST}"),
        ("app:" + "t" * 128, "docker.io/library/app:" + "t" * 128, "app:" + "t" * 128),
    ],
)
def test_every_spelling_has_one_full_and_one_shown_form(text: str, full: str, shown: str) -> None:
    """Host, path and tag are completed; what is shown leaves out what goes without saying."""
    reference = parse(text)
    assert (reference.full, reference.key, str(reference)) == (full, shown, shown)


def test_a_digest_decides_and_a_tag_beside_it_is_only_shown() -> None:
    """There is no default tag then."""
    reference = parse(f"app:v1@{DIGEST}")
    assert (reference.key, str(reference), reference.tag) == (f"app@{DIGEST}", f"app:v1@{DIGEST}", "v1")
    assert parse(f"app@{DIGEST}").tag == ""


def test_the_default_tag_can_be_left_out() -> None:
    """Archives must name their tags."""
    assert parse("app", default_tag=False).tag == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":t",
        "a:",
        "/x",
        "x/",
        "a//b",
        "a..b",
        "a___b",
        "-a",
        "a-",
        "a b",
        "a\n",
        "a:t\n",
        "a:-t",
        "a:" + "t" * 129,
        "a@",
        "a@sha256:1",
        f"a@{DIGEST}0",
        "a@md5:" + "a" * 32,
        f"@{DIGEST}",
        "ho_st.io/x",
        "[::1/x",
        "host:port/x",
        "x" * 300,
        "a/" * 5000 + "b",
        "ä",
    ],
)
def test_what_cannot_be_a_reference_is_refused(text: str) -> None:
    """In one line."""
    with pytest.raises(InvalidValue, match=r"^invalid (reference format|digest)") as caught:
        parse(text)
    assert "\n" not in caught.value.message


def test_upper_case_is_for_hosts() -> None:
    """Everybody tries it once."""
    with pytest.raises(InvalidValue, match=r"repository name \(UPPER/x\) must be lowercase"):
        parse("UPPER/x")


def test_64_hex_digits_are_an_id_and_no_name() -> None:
    """Else nobody could tell them apart."""
    with pytest.raises(InvalidValue, match="cannot specify 64-byte hexadecimal strings"):
        parse("a" * 64)


def test_a_target_has_a_tag_and_no_digest() -> None:
    """One gives names, not contents."""
    assert parse_target("app").key == "app:latest"
    with pytest.raises(InvalidValue, match="cannot give a digest"):
        parse_target(f"app@{DIGEST}")


@pytest.mark.parametrize("key", ["app:v1", "localhost:5000/a/b:c", f"app@{DIGEST}", f"[::1]/x@{DIGEST}", "[::1]:5/x:y"])
def test_a_key_can_be_taken_apart(key: str) -> None:
    """As the list of images does."""
    repository, tag, digest = split_key(key)
    assert key == repository + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    assert parse(key).repository == repository


@given(st.text(alphabet="ab./:@_-A[]0", max_size=20))
def test_a_kept_form_is_its_own_kept_form(text: str) -> None:
    """Whatever is accepted is accepted again, and means the same."""
    try:
        reference = parse(text)
    except InvalidValue:
        return
    assert parse(reference.key) == parse(reference.full)
    assert parse(reference.key).key == reference.key
