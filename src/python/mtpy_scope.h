/* SPDX-License-Identifier: MIT */
/* Blocks that bound a micro-thread's waits: timeout, move_on_after, shield. Each micro-thread has a
   chain of those it is in, the innermost first. */
#ifndef MTPY_SCOPE_H
#define MTPY_SCOPE_H

#include "python/mtpy_state.h"

extern PyType_Spec mtpy_timeout_spec;
extern PyType_Spec mtpy_move_on_after_spec;
extern PyType_Spec mtpy_shield_spec;

/* The types' vectorcalls. New, or NULL. */
PyObject *
mtpy_timeout_make(PyObject *type, PyObject *const *args, size_t nargsf, PyObject *kwnames);
PyObject *
mtpy_move_on_after_make(PyObject *type, PyObject *const *args, size_t nargsf, PyObject *kwnames);

/* Whether Cancelled is to be raised in it at a wait, now that it handles `handled` (the innermost
   Cancelled being handled, or NULL): a block's time is up or the micro-thread is cancelled, no shield
   is in between, and no clean-up of just that is under way. */
bool
mtpy_scope_demands(const struct mtpy_thread *thread, const PyObject *handled);

/* The same, for one that runs, is parked or is about to park. */
bool
mtpy_scope_demands_now(const struct mtpy_thread *thread);

/* Note again whether there may be something to raise in it at its next wait. */
void
mtpy_scope_refresh_pending(struct mtpy_thread *thread);

/* It is done, or its process was forked away: unset the timers of the blocks it never left. */
void
mtpy_scope_unset_all(struct mtpy_thread *thread);

#endif
