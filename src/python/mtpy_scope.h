/* SPDX-License-Identifier: MIT */
/* Blocks that bound a micro-thread's waits: timeout, move_on_after, shield, and the block of a Group.
   Each micro-thread has a chain of those it is in, the innermost first. */
#ifndef MTPY_SCOPE_H
#define MTPY_SCOPE_H

#include "python/mtpy_state.h"

enum mtpy_scope_kind { MTPY_TIMEOUT, MTPY_MOVE_ON, MTPY_SHIELD, MTPY_GROUP };

struct mtpy_scope {
    PyObject_HEAD
    struct mtpy_state *state;   /* borrowed: the type keeps the module */
    struct mtpy_thread *thread; /* the one inside; NULL outside. Borrowed: it lets go when it ends */
    struct mtpy_scope *outer;   /* the block around it; owned */
    const PyObject *handled;    /* the Cancelled that was handled at entry, by identity only */
    mt_time span;               /* the limit in ns, or MT_FOREVER */
    mt_time deadline;           /* when it ends the block, while it may; else MT_FOREVER */
    uint8_t kind;               /* enum mtpy_scope_kind */
    bool is_expired;            /* the time was up inside the block; a Group: it was cancelled */
    bool is_manual;             /* not only its timer may expire it: a Group, parallel_map's reading */
};

extern PyType_Spec mtpy_timeout_spec;
extern PyType_Spec mtpy_move_on_after_spec;
extern PyType_Spec mtpy_shield_spec;

/* The types' vectorcalls. New, or NULL. */
PyObject *
mtpy_timeout_make(PyObject *type, PyObject *const *args, size_t nargsf, PyObject *kwnames);
PyObject *
mtpy_move_on_after_make(PyObject *type, PyObject *const *args, size_t nargsf, PyObject *kwnames);

/* The running micro-thread enters the block. Returns 0, or -1 with an exception. */
int
mtpy_scope_enter(struct mtpy_scope *self, struct mtpy_sched *sched);

/* The block has been left. The caller has a reference to the scope. */
void
mtpy_scope_leave(struct mtpy_scope *self);

/* From now on each wait in the block raises Cancelled. */
void
mtpy_scope_expire(struct mtpy_scope *self);

/* Whether Cancelled is to be raised in it at a wait, now that it handles `handled` (the innermost
   Cancelled being handled, or NULL): a block's time is up or the micro-thread is cancelled, no shield
   is in between, and no clean-up of just that is under way. */
bool
mtpy_scope_demands(const struct mtpy_thread *thread, const PyObject *handled);

/* The same, for one that runs, is parked or is about to park. */
bool
mtpy_scope_demands_now(const struct mtpy_thread *thread);

/* Whether an exception is of this type, MicroThreadExit or Cancelled, or a group of nothing else: what is
   raised within except* comes out in a group. */
bool
mtpy_scope_matches(PyObject *exception, PyObject *type);

/* Note again whether there may be something to raise in it at its next wait. */
void
mtpy_scope_refresh_pending(struct mtpy_thread *thread);

/* Whether a block it is in may still expire: by its limit, or by the hand of others. */
bool
mtpy_scope_may_expire(const struct mtpy_thread *thread);

/* The earliest deadline of a micro-thread's blocks has come. */
void
mtpy_scope_ring(struct mt_alarm *alarm);

/* It is done, or its process was forked away: the blocks that it never left have no limit any more. */
void
mtpy_scope_unset_all(struct mtpy_thread *thread);

#endif
