"""Steps that are taken from images."""

from collections.abc import Mapping

import pytest

from domain.build.lenders import RECORD, by_history, by_key, others, record
from domain.build.scope import Execute
from domain.images.model import Image, Layer

LAYERS = tuple(Layer(diff_id=f"d{n}", chain_id=f"c{n}", size=n) for n in range(3))
BASE = {"created": "1", "created_by": "/bin/sh -c #(nop) ADD file:1 in / "}
ENV = {"created": "2", "created_by": "/bin/sh -c #(nop)  ENV A=1", "empty_layer": True}
MAKE = {"created": "3", "created_by": "/bin/sh -c make"}
COPY = {"created": "4", "created_by": "COPY . /src"}


def image(*entries: Mapping[str, object], keys: dict[str, int] | None = None) -> Image:
    """One with these lines of history, and a layer for each that has one."""
    number = sum(not entry.get("empty_layer") for entry in entries)
    config: dict[str, object] = {"history": list(entries), **record(keys or {})}
    return Image(id="sha256:1", config=config, layers=LAYERS[:number])


def run(**other: object) -> Execute:
    """`RUN make`."""
    return Execute(**{"argv": ("/bin/sh", "-c", "make"), "env": (), "arguments": (), "proxies": (), "workdir": "/",
                      "user": "", **other})  # type: ignore[arg-type]  # fmt: skip


def test_a_key_stands_for_layers_on_the_same_ones_only() -> None:
    """A forged number would put a step on something else."""
    lender = image(BASE, ENV, MAKE, keys={"k": 2, "far": 3, "none": 0})
    found = by_key([lender], ["other", "k"], LAYERS[:1])
    assert found is not None
    assert (found.layers, found.layer, found.created) == (LAYERS[:2], LAYERS[1], "3")
    assert by_key([lender], ["k"], ()) is None
    assert by_key([lender], ["far"], LAYERS[:2]) is None
    assert by_key([lender], ["none"], ()) is None
    assert by_key([lender], ["k"], (Layer(diff_id="x", chain_id="x", size=0),)) is None
    assert by_key([image(BASE).model_copy(update={"config": {RECORD: "no map"}})], ["k"], ()) is None


@pytest.mark.parametrize(
    "said", ["/bin/sh -c make", "RUN /bin/sh -c make # buildkit", "/bin/sh -c make # buildkit"]
)
def test_a_history_lends_a_command_after_the_same_words(said: str) -> None:
    """However its builder has written it down."""
    env = {**ENV, "created_by": "ENV A=1 # buildkit"} if "buildkit" in said else ENV
    lender = image(BASE, env, {**MAKE, "created_by": said})
    found = by_history([lender], run(), [BASE, ENV], "/bin/sh -c make", LAYERS[:1])
    assert found is not None
    assert found.layers == LAYERS[:2]


def test_a_history_of_docker_lends_after_files_shells_and_what_no_command_sees() -> None:
    """Both builders of docker write a new shell, ports and copied files in their own ways; files are told by layers."""
    ours: list[Mapping[str, object]] = [
        BASE, {"created_by": '/bin/sh -c #(nop)  SHELL ["sh", "-e"]', "empty_layer": True}, COPY,
        {"created_by": "/bin/sh -c #(nop)  EXPOSE 80", "empty_layer": True},
    ]
    for shell, copied, port in (
        ("sh -e #(nop)  SHELL [sh -e]", "sh -e #(nop) COPY dir:9 in /src ", "sh -e #(nop)  EXPOSE 80/tcp"),
        ("SHELL [sh -e]", "COPY . /src # buildkit", "EXPOSE map[80/tcp:{}]"),
    ):
        theirs: list[Mapping[str, object]] = [
            BASE, {"created_by": shell, "empty_layer": True}, {"created_by": copied},
            {"created_by": port, "empty_layer": True}, {"created_by": "sh -e make # buildkit"},
        ]
        found = by_history([image(*theirs)], run(), ours, "sh -e make", LAYERS[:2])
        assert found is not None
        assert by_history([image(*theirs)], run(), [BASE, *ours[2:]], "sh -e make", LAYERS[:2]) is None
        assert by_history([image(*theirs[:-1], MAKE)], run(), ours, "sh -e make", LAYERS[:2]) is None
        assert [loan.layer for loan in others([image(*theirs)], LAYERS[:1])] == [LAYERS[1]]


@pytest.mark.parametrize(
    ("lender", "entries", "work"),
    [
        (image(BASE, {**ENV, "created_by": "/bin/sh -c #(nop)  ENV A=2"}, MAKE), [BASE, ENV], run()),
        (image(BASE, MAKE), [BASE, ENV], run()),
        (image(BASE, ENV, MAKE), [BASE], run()),
        (image(BASE, ENV, COPY), [BASE, ENV], run()),
        (image(BASE, ENV, {**MAKE, "empty_layer": True}, COPY), [BASE, ENV], run()),
        (image(BASE, ENV, MAKE), [BASE, ENV], run(mounts=({"type": "bind"},))),
        (image(BASE, ENV, MAKE), [BASE, ENV], run(network="none")),
        (image(BASE, ENV, MAKE, keys={"k": 2}), [BASE, ENV], run()),
        *(
            (image(BASE, {**ENV, "created_by": f"/bin/sh -c #(nop)  {one}"}, MAKE), [BASE, ENV], run())
            for one in ('HEALTHCHECK &{["CMD" "/x"] "0s" "0s" "0s" \'\\x00\'}', "ONBUILD RUN /x")
        ),
        (image(BASE, MAKE), [], run()),
        (
            image(BASE, {**ENV, "created_by": "ENV A=$B"}, MAKE),
            [BASE, {**ENV, "created_by": "ENV A=$B"}],
            run(),
        ),
    ],
)
def test_a_history_that_says_less_lends_nothing(
    lender: Image, entries: list[Mapping[str, object]], work: Execute
) -> None:
    """Another environment, other words before, what is mounted, a variable whose value nobody knows; and an image that
    has keys is asked for these alone. Elsewhere some words counted for nothing, and so did the base if there was none
    (CVE-2024-24557)."""
    assert by_history([lender], work, entries, "/bin/sh -c make", LAYERS[:1]) is None
