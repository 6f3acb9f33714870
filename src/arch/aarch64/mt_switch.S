/* SPDX-License-Identifier: MIT */
/* The switch for 64-bit ARM under AAPCS64: x19-x30, d8-d15 and the stack pointer. */

        .text
        .globl  mt_arch_switch
        .hidden mt_arch_switch
        .type   mt_arch_switch, %function
        .p2align 4
mt_arch_switch:                         /* x0: void **save, x1: void *to */
        .cfi_startproc
        sub     sp, sp, #160
        .cfi_adjust_cfa_offset 160
        stp     x19, x20, [sp, #0]
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        add     sp, sp, #160
        .cfi_adjust_cfa_offset -160
        ret
        .cfi_endproc
        .size   mt_arch_switch, .-mt_arch_switch

/* Where a fresh context begins: x19 holds the entry, x20 its argument. */
        .globl  mt_arch_begin
        .hidden mt_arch_begin
        .type   mt_arch_begin, %function
        .p2align 4
mt_arch_begin:
        .cfi_startproc
        .cfi_undefined x30
        mov     x29, xzr
        mov     x0, x20
        blr     x19
        brk     #1
        .cfi_endproc
        .size   mt_arch_begin, .-mt_arch_begin

/* void *mt_arch_prepare(void *top, void (*entry)(void *), void *argument) */
        .globl  mt_arch_prepare
        .hidden mt_arch_prepare
        .type   mt_arch_prepare, %function
        .p2align 4
mt_arch_prepare:                        /* x0: top, x1: entry, x2: argument */
        .cfi_startproc
        sub     x0, x0, #160
        stp     x1, x2, [x0, #0]        /* x19, x20 */
        stp     xzr, xzr, [x0, #16]
        stp     xzr, xzr, [x0, #32]
        stp     xzr, xzr, [x0, #48]
        stp     xzr, xzr, [x0, #64]
        adrp    x9, mt_arch_begin
        add     x9, x9, :lo12:mt_arch_begin
        stp     xzr, x9, [x0, #80]      /* x29, x30 */
        stp     xzr, xzr, [x0, #96]
        stp     xzr, xzr, [x0, #112]
        stp     xzr, xzr, [x0, #128]
        stp     xzr, xzr, [x0, #144]
        ret
        .cfi_endproc
        .size   mt_arch_prepare, .-mt_arch_prepare

        .section .note.GNU-stack,"",%progbits
