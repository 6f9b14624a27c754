# Runs a list of system calls on x86-64, without a stack, without memory but the list:  crossing(FIRST)
#
# A record is eight words: number, five arguments, what to do with the result, the result. What to do: 0 go on; 1 go on
# unless it is an error, which ends the process with 125; any other is the record to go on with if the result is zero
# (which then is not stored: a child has not got the list of its parent).
#
#   as crossing_x86_64.s -o crossing.o && objcopy -O binary -j .text crossing.o crossing.bin

        .text
        .globl  _start
_start: mov     %rdi, %rbx
next:   mov     (%rbx), %rax
        mov     8(%rbx), %rdi
        mov     16(%rbx), %rsi
        mov     24(%rbx), %rdx
        mov     32(%rbx), %r10
        mov     40(%rbx), %r8
        mov     48(%rbx), %r12          # before the call: a child has not got this record
        syscall
        test    %rax, %rax
        jnz     store
        cmp     $1, %r12
        jbe     store
        mov     %r12, %rbx
        jmp     next
store:  mov     %rax, 56(%rbx)
        cmp     $1, %r12
        jne     step
        test    %rax, %rax
        js      quit
step:   add     $64, %rbx
        jmp     next
quit:   mov     $231, %eax              # exit_group(125)
        mov     $125, %edi
        syscall
