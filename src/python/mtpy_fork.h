/* SPDX-License-Identifier: MIT */
#ifndef MTPY_FORK_H
#define MTPY_FORK_H

#include "python/mtpy_state.h"

/* Before the current one waits or gives way while sched->forking is set: in the child of a fork
   the others are dropped first. */
void
mtpy_fork_check(struct mtpy_sched *sched);

/* The forked micro-thread's function has returned or raised: end the process. */
_Noreturn void
mtpy_fork_end_child(struct mtpy_sched *sched, PyObject *result);

/* Handlers for os.register_at_fork(). */
extern PyMethodDef mtpy_fork_functions[];

#endif
