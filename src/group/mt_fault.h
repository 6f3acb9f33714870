/* SPDX-License-Identifier: MIT */
/* A C stack that overflows into its guard, told in words before the process dies of it. There is one
   handler of SIGSEGV for the process. It speaks when the host of the OS thread knows the address;
   whoever handled the signal before then has the same fault again, so that core dumps and other
   handlers are what they were. What the host does not know goes there at once. */
#ifndef MT_FAULT_H
#define MT_FAULT_H

#include "base/mt_base.h"

/* An OS thread's alternate signal stack: on the one that overflowed no handler can run. */
struct mt_fault_home;

/* If it knows the address, write what has happened into text; returns the length, else 0. Called in a
   signal handler, in the OS thread that opened the home: async-signal-safe calls only, no
   thread-local variables. */
typedef size_t (*mt_fault_explain)(const void *argument, const void *address, char *text,
                                   size_t room);

/* Make the calling OS thread able to explain. NULL when there is no memory: then nothing is said.
   Opened again in one OS thread, it is the same home, with the argument of before. */
struct mt_fault_home *
mt_fault_open(mt_fault_explain explain, const void *argument);

/* Undo one mt_fault_open() of this OS thread; NULL is allowed. */
void
mt_fault_close(struct mt_fault_home *home);

#endif
