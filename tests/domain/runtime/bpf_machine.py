"""A classic BPF machine for the instructions that our compiler makes: what the kernel would answer."""

from collections.abc import Sequence

from domain.runtime import bpf
from domain.runtime.bpf import Instruction


def run(code: Sequence[Instruction], number: int, architecture: int, first_argument: int = 0) -> int:
    """The value that the filter returns; jumps out of the code or past its end raise IndexError."""
    data = {bpf.NUMBER: number, bpf.ARCHITECTURE: architecture, bpf.FIRST_ARGUMENT: first_argument & 0xFFFFFFFF}
    accumulator = position = 0
    while True:
        instruction = code[position]
        position += 1
        match instruction.code:
            case bpf.LOAD:
                accumulator = data[instruction.value]
            case bpf.RETURN:
                return instruction.value
            case bpf.JUMP:
                position += instruction.value
            case test:
                holds = {
                    bpf.JUMP_EQUAL: accumulator == instruction.value,
                    bpf.JUMP_AT_LEAST: accumulator >= instruction.value,
                    bpf.JUMP_ANY_BIT: bool(accumulator & instruction.value),
                }[test]
                position += instruction.if_true if holds else instruction.if_false
