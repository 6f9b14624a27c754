# The first process of `--init` on x86-64:  lading-init PATH -- ARGV...
#
# It runs PATH with ARGV as its child, forwards every signal to it, reaps whatever is left to it, and ends when the
# child ends, with the child's status or 128 + signal. A program that cannot be executed gives 126 or 127.
# No data, no stack but what the kernel made: r12 argv, r13 envp, r14 child's pid, r15 its wait status.
#
#   as --64 init_x86_64.s -o init.o && objcopy -O binary -j .text init.o init.bin

        .intel_syntax noprefix
        .text
        .globl  _start
_start: mov     rax, [rsp]              # argc
        lea     r12, [rsp + 8]          # argv
        lea     r13, [r12 + rax*8 + 8]  # envp
        cmp     rax, 4
        jl      usage
        sub     rsp, 256                # siginfo at rsp, the set of all signals at rsp + 128, wait status at rsp + 136
        mov     qword ptr [rsp + 128], -1
        mov     eax, 14                 # rt_sigprocmask(SIG_SETMASK, all, NULL, 8): from now on they are waited for
        mov     edi, 2
        lea     rsi, [rsp + 128]
        xor     edx, edx
        mov     r10d, 8
        syscall
        mov     eax, 56                 # clone(SIGCHLD, 0, ...): a fork
        mov     edi, 17
        xor     esi, esi
        xor     edx, edx
        xor     r10d, r10d
        xor     r8d, r8d
        syscall
        test    rax, rax
        js      usage
        jz      child
        mov     r14, rax
next:   mov     eax, 128                # rt_sigtimedwait(all, info, NULL, 8)
        lea     rdi, [rsp + 128]
        mov     rsi, rsp
        xor     edx, edx
        mov     r10d, 8
        syscall
        test    rax, rax
        js      next                    # EINTR after a stop
        cmp     eax, 17
        je      reap
        mov     rsi, rax                # kill(child, signal)
        mov     eax, 62
        mov     rdi, r14
        syscall
        jmp     next
reap:   mov     eax, 61                 # wait4(-1, &status, WNOHANG, NULL)
        mov     rdi, -1
        lea     rsi, [rsp + 136]
        mov     edx, 1
        xor     r10d, r10d
        syscall
        test    rax, rax
        jle     next                    # nobody is dead (any more)
        cmp     rax, r14
        jne     reap
        mov     r15d, [rsp + 136]
        mov     edi, r15d
        and     edi, 127
        jz      exited
        add     edi, 128                # by a signal
        jmp     finish
exited: mov     edi, r15d
        shr     edi, 8
        and     edi, 255
finish: mov     eax, 231                # exit_group: the kernel kills who is left in the pid namespace
        syscall
child:  mov     qword ptr [rsp + 128], 0
        mov     eax, 14                 # an empty mask
        mov     edi, 2
        lea     rsi, [rsp + 128]
        xor     edx, edx
        mov     r10d, 8
        syscall
        mov     eax, 59                 # execve(argv[1], &argv[3], envp)
        mov     rdi, [r12 + 8]
        lea     rsi, [r12 + 24]
        mov     rdx, r13
        syscall
        mov     edi, 127
        cmp     eax, -2                 # ENOENT
        je      finish
usage:  mov     edi, 126
        jmp     finish
