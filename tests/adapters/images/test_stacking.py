"""The layers of an image made side by side: whoever needs what is below waits for it, and the lowest failure counts."""

import os
import threading
from concurrent.futures import Future

import pytest

from adapters.images.content import Blob, Content, LayerRecord
from adapters.images.gate import Gate
from adapters.images.stacking import Chain, layers_of, stacked
from adapters.images.unpack import Expected, Limits, Place, unpack
from domain.errors import Refused
from domain.images.layer import chain_id
from tests.adapters.images.conftest import Layers
from tests.adapters.images.tars import archive, directory, file, hardlink, pieces, symlink, tree

RECORD = LayerRecord(diff_id="", size=1, tar_size=1, entries=1, blob=Blob(digest="", size=1, compression="gzip"))


def test_a_layer_may_begin_before_the_one_below_it_has_ended() -> None:
    """Two are made at the same time, whatever the machine is; what comes back is in their order."""
    upper = threading.Event()

    def make(number: int, below: Future[LayerRecord] | None) -> LayerRecord:
        assert (below is None) == (number == 0)
        if number == 0:
            assert upper.wait(10), "the second never began"
        elif number == 1:
            upper.set()
        return RECORD.model_copy(update={"size": number})

    assert [record.size for record in stacked(5, make, threading.Event())] == [0, 1, 2, 3, 4]
    assert stacked(0, make, threading.Event()) == []


def test_the_failure_of_the_lowest_layer_is_told_and_the_others_are_stopped() -> None:
    """What a layer above says then is only a consequence."""
    stop, failed = threading.Event(), threading.Event()

    def make(number: int, below: Future[LayerRecord] | None) -> LayerRecord:
        if number == 0:
            assert failed.wait(10)
            raise Refused("the lowest")
        failed.set()
        raise Refused("a layer above")

    with pytest.raises(Refused, match="the lowest"):
        stacked(2, make, stop)
    assert stop.is_set()


def test_a_gate_opens_once_the_work_is_done_and_ends_when_it_has_failed() -> None:
    """Whoever waits is never left waiting; and work that ends after the gate has gone writes nowhere."""
    for outcome, expected in ((RECORD, b"1"), (Refused("no"), b"")):
        work: Future[LayerRecord] = Future()
        with Gate() as gate:
            work.add_done_callback(gate.open_after)
            work.set_exception(outcome) if isinstance(outcome, Refused) else work.set_result(outcome)
            assert os.read(gate.fd, 1) == expected
    late: Future[LayerRecord] = Future()
    with Gate() as gate:
        late.add_done_callback(gate.open_after)
    late.set_result(RECORD)


def test_layers_have_the_chain_ids_of_what_is_below_them() -> None:
    """An image's record of them."""
    ids = [f"sha256:{digit * 64}" for digit in "ab"]
    first, second = layers_of(ids, [RECORD, RECORD])
    assert (first.chain_id, second.chain_id) == (ids[0], chain_id(ids[0], ids[1]))
    assert Chain((first.chain_id,)).coming is None


@pytest.mark.kernel
def test_a_layer_that_began_too_early_is_the_same_as_one_that_waited(layers: Layers) -> None:
    """Implied directories and hard links come from below, also if that was not there at first."""
    data = archive(file("p/f", b"x" * 200_000), hardlink("also", "below"))
    content, work = layers.content, layers.content.tmp / "early"
    work.mkdir()
    lower = archive(directory("p", mode=0o700, uid=5, mtime=7), file("below", b"low"))
    coming: Future[LayerRecord] = Future()
    chain = chain_id("", Layers(Content(content.root.parent / "other"), layers.limits).added(lower))

    def finish() -> None:
        layers.add(lower)
        coming.set_result(layers.record)

    place = Place(work, content.layers, (chain,), coming)
    below = threading.Timer(0.1, finish)
    below.start()
    unpack(pieces(data), place, Expected("the layer"), Limits(reserve=0))
    below.join()
    assert coming.done()
    assert tree(work / "fs") == tree(layers.add(data))
    assert tree(work / "fs", times=True)["p"] == f"d 700 5:0 @{7 * 10**9}"


@pytest.mark.kernel
def test_what_replaced_an_implied_directory_is_not_given_its_attributes(layers: Layers) -> None:
    """Neither the link that has its name, nor what the link leads to."""
    layers.add(archive(directory("d", mode=0o700, uid=5), directory("d/e", mode=0o711, uid=6)))
    fs = layers.add(archive(file("d/e/f"), directory("other/e", mode=0o750), symlink("d", "other")))
    found = tree(fs)
    assert found["d"].startswith("l 777 0:0")
    assert found["other/e"].startswith("d 750 0:0")
    fs = layers.add(archive(file("d2/f"), directory("d2", mode=0o705, uid=9)))
    assert tree(fs)["d2"].startswith("d 705 9:0")
