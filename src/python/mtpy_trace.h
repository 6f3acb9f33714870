/* SPDX-License-Identifier: MIT */
/* What a trace sees: hooks of the scheduler that take note of who runs, and go on to the usual
   ones. They are in the scheduler's table only while there is a trace, so it costs a switch nothing when
   there is none. All under the GIL. */
#ifndef MTPY_TRACE_H
#define MTPY_TRACE_H

#include "python/mtpy_state.h"

/* The two tables of mtpy_sched.c. */
extern const struct mt_hooks mtpy_sched_hooks;
extern const struct mt_hooks mtpy_sched_tracing_hooks;

/* In place of the hooks of the same names. */
void
mtpy_trace_enter(struct mt_sched *core, struct mt_stack *stack);
void
mtpy_trace_leave(struct mt_sched *core, struct mt_stack *stack);
void
mtpy_trace_resume(struct mt_sched *core, struct mt_stack *stack);
void
mtpy_trace_poll_begin(void *host);
void
mtpy_trace_poll_end(void *host);

/* A micro-thread was made for a scheduler that has a tracer; any OS thread of the interpreter. */
void
mtpy_trace_note_spawn(struct mtpy_sched *sched, const struct mtpy_thread *thread);

/* The running one has ended; the scheduler has a tracer. */
void
mtpy_trace_note_finish(struct mtpy_sched *sched, struct mtpy_thread *thread);

/* A scheduler is there from now on: note what it does, if there is a trace. Returns 0 or -1. */
int
mtpy_trace_sched_begins(struct mtpy_sched *sched);

/* And not any more; may be called for one that has no tracer. */
void
mtpy_trace_sched_ends(struct mtpy_sched *sched);

/* End the interpreter's trace, if there is one: the file is complete after it. Returns 0 or -1. */
int
mtpy_trace_end(struct mtpy_state *state);

/* In the child of a fork, which goes on without a trace. here: the scheduler that is left, or NULL. */
void
mtpy_trace_after_fork(struct mtpy_state *state, struct mtpy_sched *here);

extern PyMethodDef mtpy_trace_functions[];

#endif
