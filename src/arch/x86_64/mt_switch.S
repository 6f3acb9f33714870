/* SPDX-License-Identifier: MIT */
/* The switch for x86-64 under the System V ABI: six registers and the stack pointer.
   It ends with `ret` at one place, so that the return predictor stays in step. */

        .text
        .globl  mt_arch_switch
        .hidden mt_arch_switch
        .type   mt_arch_switch, @function
        .p2align 4
mt_arch_switch:                         /* rdi: void **save, rsi: void *to */
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        popq    %r15
        .cfi_adjust_cfa_offset -8
        popq    %r14
        .cfi_adjust_cfa_offset -8
        popq    %r13
        .cfi_adjust_cfa_offset -8
        popq    %r12
        .cfi_adjust_cfa_offset -8
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   mt_arch_switch, .-mt_arch_switch

/* Where a fresh context begins: r12 holds the entry, r13 its argument. The undefined return
   address tells unwinders that the stack ends here. */
        .globl  mt_arch_begin
        .hidden mt_arch_begin
        .type   mt_arch_begin, @function
        .p2align 4
mt_arch_begin:
        .cfi_startproc
        .cfi_undefined rip
        xorl    %ebp, %ebp
        movq    %r13, %rdi
        callq   *%r12
        ud2
        .cfi_endproc
        .size   mt_arch_begin, .-mt_arch_begin

/* void *mt_arch_prepare(void *top, void (*entry)(void *), void *argument) */
        .globl  mt_arch_prepare
        .hidden mt_arch_prepare
        .type   mt_arch_prepare, @function
        .p2align 4
mt_arch_prepare:                        /* rdi: top, rsi: entry, rdx: argument */
        .cfi_startproc
        leaq    -72(%rdi), %rax         /* leaves the stack 16-aligned at the call */
        leaq    mt_arch_begin(%rip), %rcx
        movq    $0, 0(%rax)             /* r15 */
        movq    $0, 8(%rax)             /* r14 */
        movq    %rdx, 16(%rax)          /* r13 */
        movq    %rsi, 24(%rax)          /* r12 */
        movq    $0, 32(%rax)            /* rbx */
        movq    $0, 40(%rax)            /* rbp */
        movq    %rcx, 48(%rax)          /* the return address */
        ret
        .cfi_endproc
        .size   mt_arch_prepare, .-mt_arch_prepare

        .section .note.GNU-stack,"",@progbits
