"""A classic BPF machine for the instructions that our compiler makes: what the kernel would answer."""

from collections.abc import Sequence

from domain.runtime import bpf
from domain.runtime.bpf import Instruction


def run(code: Sequence[Instruction], number: int, architecture: int, *arguments: int) -> int:
    """The value that the filter returns; jumps out of the code or past its end raise IndexError."""
    data = {bpf.NUMBER: number, bpf.ARCHITECTURE: architecture}
    for index in range(6):
        argument = arguments[index] if index < len(arguments) else 0
        data[bpf.FIRST_ARGUMENT + 8 * index] = argument & 0xFFFFFFFF
        data[bpf.FIRST_ARGUMENT + 8 * index + 4] = argument >> 32 & 0xFFFFFFFF
    accumulator = position = 0
    while True:
        instruction = code[position]
        position += 1
        match instruction.code:
            case bpf.LOAD:
                accumulator = data[instruction.value]
            case bpf.AND:
                accumulator &= instruction.value
            case bpf.RETURN:
                return instruction.value
            case bpf.JUMP:
                position += instruction.value
            case test:
                holds = {
                    bpf.JUMP_EQUAL: accumulator == instruction.value,
                    bpf.JUMP_AT_LEAST: accumulator >= instruction.value,
                    bpf.JUMP_ABOVE: accumulator > instruction.value,
                    bpf.JUMP_ANY_BIT: bool(accumulator & instruction.value),
                }[test]
                position += instruction.if_true if holds else instruction.if_false
