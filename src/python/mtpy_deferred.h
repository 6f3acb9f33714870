/* SPDX-License-Identifier: MIT */
/* A deferred as the other files of the binding use it. Under the GIL of its interpreter, in any OS
   thread. */
#ifndef MTPY_DEFERRED_H
#define MTPY_DEFERRED_H

#include "python/mtpy_state.h"

/* New, or NULL with an exception. */
PyObject *
mtpy_deferred_make(struct mtpy_state *state);

/* Fire it; what its callbacks do is done at once. Steals value, which is an exception if is_error
   says so. Returns 0, or -1 with RuntimeError when it had fired. */
int
mtpy_deferred_fire(PyObject *deferred, PyObject *value, bool is_error);

bool
mtpy_deferred_has_fired(PyObject *deferred);

/* Whether firing it runs somebody's functions. */
bool
mtpy_deferred_has_callbacks(PyObject *deferred);

/* An instance for what errback() was given, an exception or a class of them: new, or NULL with an
   exception. */
PyObject *
mtpy_deferred_error(PyObject *given);

/* Park until it has fired and its callbacks have run. timeout: ns, MT_FOREVER; 0 never waits. New,
   or NULL with an exception. */
PyObject *
mtpy_deferred_wait(PyObject *deferred, mt_time timeout);

#endif
