/* SPDX-License-Identifier: MIT */
/* Parked micro-threads as the garbage collector sees them. */
#ifndef MTPY_GC_H
#define MTPY_GC_H

#include "python/mtpy_state.h"

/* For tp_traverse of what can be waited for: the scheduler's references to those who wait here. */
int
mtpy_gc_visit_waiters(const struct mt_list *waiters, visitproc visit, void *arg);

/* For micro_thread's tp_traverse: what its suspended stack owns, if it can be abandoned. */
int
mtpy_gc_visit_stack(struct mtpy_thread *thread, visitproc visit, void *arg);

/* The collector has found that nobody can wake it: have it leave. */
void
mtpy_gc_wake_abandoned(struct mtpy_thread *thread);

#endif
