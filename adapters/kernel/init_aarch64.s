// The first process of `--init` on aarch64:  lading-init PATH -- ARGV...
//
// The same program as init_x86_64.s, line by line: x20 argv, x21 envp, x22 child's pid.
//
//   aarch64-linux-gnu-as init_aarch64.s -o init.o && aarch64-linux-gnu-objcopy -O binary -j .text init.o init.bin

        .text
        .globl  _start
_start: ldr     x9, [sp]                // argc
        add     x20, sp, #8             // argv
        add     x21, x20, x9, lsl #3
        add     x21, x21, #8            // envp
        cmp     x9, #4
        b.lt    usage
        sub     sp, sp, #256            // siginfo at sp, the set of all signals at sp + 128, wait status at sp + 136
        mov     x9, #-1
        str     x9, [sp, #128]
        mov     x8, #135                // rt_sigprocmask(SIG_SETMASK, all, NULL, 8): from now on they are waited for
        mov     x0, #2
        add     x1, sp, #128
        mov     x2, #0
        mov     x3, #8
        svc     #0
        mov     x8, #220                // clone(SIGCHLD, 0, ...): a fork
        mov     x0, #17
        mov     x1, #0
        mov     x2, #0
        mov     x3, #0
        mov     x4, #0
        svc     #0
        cmp     x0, #0
        b.lt    usage
        b.eq    child
        mov     x22, x0
next:   mov     x8, #137                // rt_sigtimedwait(all, info, NULL, 8)
        add     x0, sp, #128
        mov     x1, sp
        mov     x2, #0
        mov     x3, #8
        svc     #0
        cmp     x0, #0
        b.lt    next                    // EINTR after a stop
        cmp     x0, #17
        b.eq    reap
        mov     x1, x0                  // kill(child, signal)
        mov     x0, x22
        mov     x8, #129
        svc     #0
        b       next
reap:   mov     x8, #260                // wait4(-1, &status, WNOHANG, NULL)
        mov     x0, #-1
        add     x1, sp, #136
        mov     x2, #1
        mov     x3, #0
        svc     #0
        cmp     x0, #0
        b.le    next                    // nobody is dead (any more)
        cmp     x0, x22
        b.ne    reap
        ldr     w9, [sp, #136]
        ands    w0, w9, #127
        b.eq    exited
        add     w0, w0, #128            // by a signal
        b       finish
exited: lsr     w0, w9, #8
        and     w0, w0, #255
finish: mov     x8, #94                 // exit_group: the kernel kills who is left in the pid namespace
        svc     #0
child:  str     xzr, [sp, #128]
        mov     x8, #135                // an empty mask
        mov     x0, #2
        add     x1, sp, #128
        mov     x2, #0
        mov     x3, #8
        svc     #0
        mov     x8, #221                // execve(argv[1], &argv[3], envp)
        ldr     x0, [x20, #8]
        add     x1, x20, #24
        mov     x2, x21
        svc     #0
        mov     x9, x0
        mov     x0, #127
        cmn     x9, #2                  // ENOENT
        b.eq    finish
usage:  mov     x0, #126
        b       finish
