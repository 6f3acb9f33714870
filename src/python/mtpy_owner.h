/* SPDX-License-Identifier: MIT */
/* What an interpreter has lent to others and gets back: buffers, and deferreds that C code in any
   OS thread fires. It comes home in a micro-thread, under the GIL. */
#ifndef MTPY_OWNER_H
#define MTPY_OWNER_H

#include "python/mtpy_state.h"

#include "group/mt_owner.h"

/* The interpreter's owner, made if need be; also the calling OS thread's scheduler is. Borrowed, or
   NULL with an exception. */
struct mt_owner *
mtpy_owner_get(struct mtpy_state *state);

/* A scheduler of this interpreter begins, under the GIL; or is about to end. */
void
mtpy_owner_sched_begins(struct mtpy_state *state, struct mt_sched *sched);
void
mtpy_owner_sched_ends(struct mtpy_state *state, struct mt_sched *sched);

/* In the child of a fork, whose only scheduler this is, or NULL. */
void
mtpy_owner_after_fork(struct mtpy_state *state, struct mt_sched *sched);

/* In a destructor that may have dropped the last reference to what this interpreter has lent: let
   go of that at once, if this OS thread can. May run any code. */
void
mtpy_owner_collect_here(void);

/* The interpreter ends: what was given back comes home late, the rest never. Twice is allowed. */
void
mtpy_owner_fini(struct mtpy_state *state);

#endif
