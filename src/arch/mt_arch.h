/* SPDX-License-Identifier: MIT */
/* The stack switch: two calls, one folder for each architecture; the core sees no #if.
   A parked context is one pointer, its stack pointer. Only the registers that the calling
   convention lets a callee keep are saved; signal masks and floating-point modes are shared. */
#ifndef MT_ARCH_H
#define MT_ARCH_H

#include "base/mt_base.h"

/* Make a context on a fresh stack. top: one past the highest usable byte, 16-aligned.
   The first switch to it calls entry(argument), which must never return.
   Returns the context to hand to mt_arch_switch(). */
void *
mt_arch_prepare(void *top, void (*entry)(void *argument), void *argument);

/* Save the caller's context in *save and go on with `to`; returns when somebody switches back. */
void
mt_arch_switch(void **save, void *to);

#endif
