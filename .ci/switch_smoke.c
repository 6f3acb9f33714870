/* SPDX-License-Identifier: MIT */
/* The stack switch alone, for architectures that CI can only emulate: two stacks hand a count to
   and fro, each with values in registers that a switch must keep. Prints automake's summary. */
#include "arch/mt_arch.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 1000, STACK = 64 * 1024 };

static void *here;  /* main's context */
static void *there; /* the other one's */
static int count;
static int wrong;

/* Enough live values to fill the registers that belong to the callee, floating point included. */
static void
play(void **mine, void **other, int salt)
{
    volatile int source = salt;
    int a = source + 1, b = source + 2, c = source + 3, d = source + 4, e = source + 5;
    double f = source + 6, g = source + 7, h = source + 8, i = source + 9;
    for (int round = 0; round < ROUNDS; round++) {
        count++;
        mt_arch_switch(mine, *other);
        if (a != salt + 1 || b != salt + 2 || c != salt + 3 || d != salt + 4 || e != salt + 5)
            wrong++;
        if (f != salt + 6 || g != salt + 7 || h != salt + 8 || i != salt + 9)
            wrong++;
        a += salt, b += salt, c += salt, d += salt, e += salt;
        f += salt, g += salt, h += salt, i += salt;
        a -= salt, b -= salt, c -= salt, d -= salt, e -= salt;
        f -= salt, g -= salt, h -= salt, i -= salt;
    }
}

static void
entry(void *argument)
{
    if (argument != &count || ((uintptr_t)__builtin_frame_address(0) & 15) != 0)
        wrong++;
    for (;;)
        play(&there, &here, 1000);
}

int
main(void)
{
    char *stack = aligned_alloc(64, STACK);
    there = mt_arch_prepare(stack + STACK, entry, &count);
    play(&here, &there, 10);
    free(stack);
    bool good = wrong == 0 && count == 2 * ROUNDS;
    printf("# PASS: %d\n# FAIL: %d\n", good, !good);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
