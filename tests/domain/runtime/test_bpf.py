"""The compiler of filters: whatever is decided for a number is what the filter answers."""

from struct import unpack

from hypothesis import given
from hypothesis import strategies as st

from domain.runtime import bpf
from domain.runtime.bpf import Check, Return
from tests.domain.runtime.bpf_machine import run

VALUES = st.sampled_from([bpf.ALLOW, bpf.ERRNO | 1, bpf.ERRNO | 38])
RETURNS = VALUES.map(Return)
CHECKS = st.builds(Check, VALUES, VALUES, st.lists(st.integers(0, 50), max_size=4).map(tuple), st.integers(0, 255))
DECISIONS = st.one_of(RETURNS, CHECKS)
TABLES = st.dictionaries(st.integers(0, 400), DECISIONS, max_size=80)


def expected(decision: Return | Check, argument: int) -> int:
    """What a decision means."""
    if isinstance(decision, Return):
        return decision.value
    return decision.then if argument in decision.values or argument & decision.bits else decision.otherwise


@given(table=TABLES, unknown=RETURNS, number=st.integers(0, 500), argument=st.integers(0, 300))
def test_a_search_answers_every_number_as_decided(
    table: dict[int, Return | Check], unknown: Return, number: int, argument: int
) -> None:
    """A tree that sends one number astray opens a call that nobody meant to open."""
    code = bpf.search(table, unknown)
    assert run(code, number, 1, argument) == expected(table.get(number, unknown), argument)


@given(unknown=RETURNS)
def test_trees_too_large_for_short_jumps_are_right_too(unknown: Return) -> None:
    """Jumps of 8 bits reach 255 instructions; beyond that the compiler has to take the long way."""
    table: dict[int, Return | Check] = {
        number: Check(bpf.ALLOW, bpf.ERRNO | number % 90 + 1, values=(number,))
        if number % 3
        else Return(bpf.ERRNO | number % 90 + 1)
        for number in range(600)
    }
    code = bpf.search(table, unknown)
    for number in range(610):
        for argument in (number, 7):
            assert run(code, number, 1, argument) == expected(table.get(number, unknown), argument)
    assert all(instruction.if_true <= 255 and instruction.if_false <= 255 for instruction in code)


@given(first=st.integers(0, 2**32 - 1), second=st.integers(0, 2**32 - 1), asked=st.integers(0, 2**32 - 1))
def test_each_architecture_gets_its_own_code(first: int, second: int, asked: int) -> None:
    """A number means another call on another architecture."""
    code = bpf.filter_for([(first, [bpf.answer(1)]), (second, [bpf.answer(2)] * 300)], 3)
    assert run(code, 0, asked) == (1 if asked == first else 2 if asked == second else 3)
    assert run(code, 0, second) == (1 if second == first else 2)


def test_an_instruction_is_eight_bytes_as_the_kernel_reads_them() -> None:
    """`struct sock_filter`: u16 code, u8 jt, u8 jf, u32 k."""
    raw = bpf.assemble([bpf.Instruction(bpf.JUMP_EQUAL, 3, 4, 0xC000003E)])
    assert unpack("<HBBI", raw) == (0x15, 3, 4, 0xC000003E)
