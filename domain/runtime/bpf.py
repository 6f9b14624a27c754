"""Classic BPF for seccomp: instructions, and a compiler from decisions by system call number to a search tree.

An instruction is 8 bytes: code, jump if true, jump if false, value (`struct sock_filter`). The data a filter looks
at is `struct seccomp_data`: number at 0, architecture at 4, then the arguments as 64-bit words from 16 on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import Literal, NamedTuple, TypeAlias

LOAD, JUMP, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
JUMP_ABOVE, AND = 0x25, 0x54
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
_FARTHEST = 255
_WORD, _ALL_BITS = (1 << 32) - 1, (1 << 64) - 1


class Instruction(NamedTuple):
    """One line of a filter; jumps count the instructions to leave out."""

    code: int
    if_true: int
    if_false: int
    value: int


@dataclass(frozen=True, slots=True)
class Return:
    """The same answer whatever the arguments are."""

    value: int


@dataclass(frozen=True, slots=True)
class Check:
    """Look at the first argument: `then` if it is one of `values`, or has a bit of `bits`; else `otherwise`.

    Only its low 32 bits: the calls that are checked take an int there, so the kernel does not see the rest either.
    """

    then: int
    otherwise: int
    values: tuple[int, ...] = ()
    bits: int = 0


Comparison: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Condition:
    """Compare all 64 bits of an argument (0 to 5), of which `mask` leaves some, with `value`."""

    argument: int
    comparison: Comparison
    value: int
    mask: int = _ALL_BITS


@dataclass(frozen=True, slots=True)
class Rules:
    """The answer of the first rule whose conditions all hold; `otherwise` if there is none."""

    rules: tuple[tuple[tuple[Condition, ...], int], ...]
    otherwise: int


Decision: TypeAlias = Return | Check | Rules
Code: TypeAlias = list[Instruction]


def assemble(code: Sequence[Instruction]) -> bytes:
    """The bytes that seccomp(2) takes on a little-endian machine."""
    return b"".join(pack("<HBBI", *instruction) for instruction in code)


def answer(value: int) -> Instruction:
    """End with `value`."""
    return Instruction(RETURN, 0, 0, value)


def filter_for(architectures: Sequence[tuple[int, Code]], otherwise: int) -> Code:
    """Dispatch on the architecture (AUDIT_ARCH_*): its own code for each, `otherwise` for all others."""
    code = [answer(otherwise)]
    for number, body in reversed(architectures):
        code = [*_branch(JUMP_EQUAL, number, body, code)]
    return [Instruction(LOAD, 0, 0, ARCHITECTURE), *code]


def search(decisions: Mapping[int, Decision], unknown: Decision) -> Code:
    """Load the number and find its decision in a balanced tree; gaps and what lies above the highest are `unknown`.

    Plain answers stand once at the end, and the tree jumps right there where 8 bits reach: a short filter loads faster.
    """
    runs = _intervals(decisions, unknown)
    values = sorted({decision.value for _, decision in runs if isinstance(decision, Return)})
    answers = {value: position for position, value in enumerate(values)}
    return [Instruction(LOAD, 0, 0, NUMBER), *_tree(runs, answers, 0), *map(answer, values)]


def _intervals(decisions: Mapping[int, Decision], unknown: Decision) -> list[tuple[int, Decision]]:
    """(first number, decision) of the longest runs with one decision."""
    runs: list[tuple[int, Decision]] = []
    for number in range(max(decisions, default=-1) + 2):
        decision = decisions.get(number, unknown)
        if not runs or runs[-1][1] != decision:
            runs.append((number, decision))
    return runs


def _tree(runs: Sequence[tuple[int, Decision]], answers: Mapping[int, int], distance: int) -> Code:
    """The code for `runs`, which stands `distance` instructions before the block of `answers`."""
    if len(runs) == 1:
        return _decide(runs[0][1])
    middle = len(runs) // 2
    low, high = runs[:middle], runs[middle:]
    far = _shared(high, answers, distance)
    high_code = [] if far is not None else _tree(high, answers, distance)
    near = _shared(low, answers, distance + len(high_code))
    low_code = [] if near is not None else _tree(low, answers, distance + len(high_code))
    if far is not None and len(low_code) + far > _FARTHEST:
        return _branch(JUMP_AT_LEAST, high[0][0], _decide(high[0][1]), _tree(low, answers, distance + 1))
    if far is None and near is None:
        return _branch(JUMP_AT_LEAST, high[0][0], high_code, low_code)
    if_true = len(low_code) + (far or 0)
    return [Instruction(JUMP_AT_LEAST, if_true, near or 0, high[0][0]), *low_code, *high_code]


def _shared(runs: Sequence[tuple[int, Decision]], answers: Mapping[int, int], distance: int) -> int | None:
    """How far the shared answer of a single run is from the end of its code; None when none is in reach."""
    if len(runs) > 1 or not isinstance(runs[0][1], Return):
        return None
    offset = distance + answers[runs[0][1].value]
    return offset if offset <= _FARTHEST else None


def _branch(test: int, value: int, if_true: Code, if_false: Code) -> Code:
    """The false side follows; where the true side is out of reach of 8 bits, over a long jump."""
    if len(if_false) <= _FARTHEST:
        return [Instruction(test, len(if_false), 0, value), *if_false, *if_true]
    return [Instruction(test, 0, 1, value), Instruction(JUMP, 0, 0, len(if_false)), *if_false, *if_true]


def _decide(decision: Decision) -> Code:
    if isinstance(decision, Return):
        return [answer(decision.value)]
    if isinstance(decision, Rules):
        return [*(line for rule in decision.rules for line in _rule(*rule)), answer(decision.otherwise)]
    tests = [(JUMP_EQUAL, value) for value in decision.values]
    tests += [(JUMP_ANY_BIT, decision.bits)] if decision.bits else []
    jumps = [Instruction(test, len(tests) - index, 0, value) for index, (test, value) in enumerate(tests)]
    return [Instruction(LOAD, 0, 0, FIRST_ARGUMENT), *jumps, answer(decision.otherwise), answer(decision.then)]


def _rule(conditions: Sequence[Condition], value: int) -> Code:
    """Falls out at the end when a condition does not hold. Made from the end, where the jumps lead to."""
    code = [answer(value)]
    for condition in reversed(conditions):
        code[:0] = _compare(condition, len(code))
    return code


def _compare(condition: Condition, rest: int) -> Code:
    """Go on with what follows if it holds, else behind the next `rest` instructions. The halves are compared like the
    digits of a number: the low one counts only where the high ones are equal."""
    negated = condition.comparison in ("!=", "<", "<=")
    test = {"==": JUMP_EQUAL, "!=": JUMP_EQUAL, ">": JUMP_ABOVE, "<=": JUMP_ABOVE}.get(
        condition.comparison, JUMP_AT_LEAST)
    high, low = (_half(condition, shift) for shift in (32, 0))
    ordered = test != JUMP_EQUAL
    length = len(high[0]) + ordered + 1 + len(low[0]) + 1

    def jump(code: int, value: int, position: int, *, true: bool | None, false: bool | None) -> Instruction:
        """None goes on with the next instruction, a truth to where that leads."""
        there = {None: 0, negated: length + rest - position - 1, not negated: length - position - 1}
        return Instruction(code, there[true], there[false], value)

    code = list(high[0])
    if ordered:
        code.append(jump(JUMP_ABOVE, high[1], len(code), true=True, false=None))
    code.append(jump(JUMP_EQUAL, high[1], len(code), true=None, false=False))
    code += low[0]
    code.append(jump(test, low[1], len(code), true=True, false=False))
    return code


def _half(condition: Condition, shift: int) -> tuple[Code, int]:
    """The code that loads one half, and what to compare it with."""
    offset = FIRST_ARGUMENT + 8 * condition.argument + shift // 8
    mask = condition.mask >> shift & _WORD
    code = [Instruction(LOAD, 0, 0, offset), *([Instruction(AND, 0, 0, mask)] if mask != _WORD else [])]
    return code, condition.value >> shift & _WORD
