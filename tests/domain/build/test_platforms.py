"""What images are for, and what this host executes."""

import pytest

from domain.build.platforms import executes, of_document, same

ARM = """enabled
interpreter /usr/bin/qemu-aarch64-static
flags: OCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.mark.parametrize(
    ("wanted", "here", "is_same"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("amd64", "linux/amd64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm64", "linux/amd64", False),
    ],
)
def test_a_variant_counts_if_both_sides_say_it(wanted: str, here: str, is_same: bool) -> None:
    """Images and users leave it out as they like."""
    assert same(wanted, here) == is_same


def test_an_image_says_what_it_is_for_or_nothing() -> None:
    """What has no architecture is for anything."""
    assert of_document({"os": "linux", "architecture": "arm", "variant": "v7"}) == "linux/arm/v7"
    assert of_document({"os": "linux", "architecture": "amd64", "variant": ""}) == "linux/amd64"
    assert of_document({"os": "linux"}) == ""


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        (ARM, True),
        (ARM.replace("enabled", "disabled"), False),
        (ARM.replace("OCF", "OC"), False),
        (ARM.replace("b700", "f300"), False),
        (ARM.replace("offset 0", "offset 4"), False),
        (ARM.replace("magic 7f", "magic zz"), False),
        ("enabled\ninterpreter /usr/bin/java\nflags: F\nextension .jar\n", False),
        ("", False),
    ],
)
def test_a_rule_of_the_kernel_stands_for_a_processor(rule: str, fits: bool) -> None:
    """If it is switched on, fits such programs, and needs nothing from the image."""
    assert executes("linux/arm64", "linux/amd64", [rule]) == fits


def test_what_is_native_needs_no_rule() -> None:
    """Also programs of the processor's smaller brother."""
    assert executes("linux/amd64", "linux/amd64", [])
    assert executes("linux/386", "linux/amd64", [])
    assert executes("linux/arm/v7", "linux/arm64", [])
    assert not executes("linux/amd64", "linux/386", [])
    assert not executes("linux/unheard-of", "linux/amd64", [ARM])
