/* SPDX-License-Identifier: MIT */
/* The portable fallback: ucontext(3). It makes two system calls a switch to keep the signal mask,
   so it is an order of magnitude slower; use it where no assembly stands. */
#include "arch/mt_arch.h"

#include <ucontext.h>

/* A fresh context lies at the top of its own stack. */
struct fresh {
    ucontext_t context;
    void (*entry)(void *argument);
    void *argument;
};

/* makecontext passes ints only, so the pointer travels in two halves. */
static void
begin(unsigned high, unsigned low)
{
    struct fresh *fresh = (struct fresh *)(((uintptr_t)high << 16 << 16) | (uintptr_t)low);
    fresh->entry(fresh->argument);
    __builtin_trap();
}

void *
mt_arch_prepare(void *top, void (*entry)(void *argument), void *argument)
{
    enum { LEAST_STACK = 4096 }; /* what makecontext is told; the guard is the core's business */
    uintptr_t place = ((uintptr_t)top - sizeof(struct fresh)) & ~(uintptr_t)63;
    struct fresh *fresh = (struct fresh *)place;
    getcontext(&fresh->context);
    fresh->entry = entry;
    fresh->argument = argument;
    fresh->context.uc_link = NULL;
    fresh->context.uc_stack.ss_sp = (void *)(place - LEAST_STACK);
    fresh->context.uc_stack.ss_size = LEAST_STACK;
    makecontext(&fresh->context, (void (*)(void))begin, 2, (unsigned)((uint64_t)place >> 32),
                (unsigned)place);
    return &fresh->context;
}

void
mt_arch_switch(void **save, void *to)
{
    ucontext_t here;
    *save = &here;
    swapcontext(&here, to);
}
