/* SPDX-License-Identifier: MIT */
/* Signals: how one wakes the loop, and whether its handler can wake a micro-thread. */
#ifndef MTPY_SIGNAL_H
#define MTPY_SIGNAL_H

#include "python/mtpy_state.h"

/* Once for each module. Returns 0, or -1 with an exception. */
int
mtpy_signal_prepare(struct mtpy_state *state);

/* Have signals wake the loop, if this OS thread is the one that handles them. Returns 0 or an error,
   MT_EHOST with an exception. */
int
mtpy_signal_open(struct mtpy_sched *sched);

/* Whether a signal that comes to this OS thread has a handler in Python that may wake somebody. Makes no
   object. */
bool
mtpy_signal_may_wake(const struct mtpy_sched *sched);

extern PyMethodDef mtpy_signal_functions[];

#endif
