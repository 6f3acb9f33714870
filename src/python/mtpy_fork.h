/* SPDX-License-Identifier: MIT */
#ifndef MTPY_FORK_H
#define MTPY_FORK_H

#include "python/mtpy_state.h"

/* Once for each module. Returns 0, or -1 with an exception. */
int
mtpy_fork_prepare(void);

/* The forked micro-thread's function has returned or raised: end the process. */
_Noreturn void
mtpy_fork_end_child(struct mtpy_sched *sched, PyObject *result);

/* Handlers for os.register_at_fork(). */
extern PyMethodDef mtpy_fork_functions[];

#endif
