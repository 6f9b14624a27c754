// Runs a list of system calls on aarch64, without a stack, without memory but the list:  crossing(FIRST)
//
// The same program as crossing_x86_64.s, line by line: x19 the record, x20 what to do with its result.
//
//   aarch64-linux-gnu-as crossing_aarch64.s -o crossing.o
//   aarch64-linux-gnu-objcopy -O binary -j .text crossing.o crossing.bin

        .text
        .globl  _start
_start: mov     x19, x0
next:   ldp     x8, x0, [x19]
        ldp     x1, x2, [x19, #16]
        ldp     x3, x4, [x19, #32]
        ldr     x20, [x19, #48]
        svc     #0
        cbnz    x0, store
        cmp     x20, #1
        b.ls    store
        mov     x19, x20
        b       next
store:  str     x0, [x19, #56]
        cmp     x20, #1
        b.ne    step
        tbnz    x0, #63, quit
step:   add     x19, x19, #64
        b       next
quit:   mov     x8, #94                 // exit_group(125)
        mov     x0, #125
        svc     #0
