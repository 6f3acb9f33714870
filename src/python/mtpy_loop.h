/* SPDX-License-Identifier: MIT */
/* asyncio's running event loop, which to asyncio is that of the OS thread: each micro-thread has its
   own. Its functions are known once asyncio is there; until then these calls cost a look. */
#ifndef MTPY_LOOP_H
#define MTPY_LOOP_H

#include "python/mtpy_state.h"

/* _keep_running_loop(get, set, task, swap): asyncio's _get_running_loop(), _set_running_loop(loop),
   current_task(loop) and _swap_current_task(loop, task). */
PyObject *
mtpy_loop_keep(PyObject *module, PyObject *args);

/* Note the loop of the running micro-thread, which is about to be left. */
void
mtpy_loop_note(struct mtpy_sched *sched);

/* Make the loop of the micro-thread that begins or goes on the running one, or none. */
void
mtpy_loop_restore(struct mtpy_sched *sched);

static inline void
mtpy_loop_leave(struct mtpy_sched *sched)
{
    if (MT_UNLIKELY(sched->state->loop_get != NULL))
        mtpy_loop_note(sched);
}

static inline void
mtpy_loop_resume(struct mtpy_sched *sched)
{
    if (MT_UNLIKELY(sched->state->loop_get != NULL))
        mtpy_loop_restore(sched);
}

#endif
