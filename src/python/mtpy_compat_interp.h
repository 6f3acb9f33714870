/* SPDX-License-Identifier: MIT */
/* Interpreters as this version of CPython has them: making and ending one in an OS thread of its own. */
#ifndef MTPY_COMPAT_INTERP_H
#define MTPY_COMPAT_INTERP_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/mt_base.h"

/* Whether interpreters can have a GIL of their own. */
extern const bool mtpy_interp_is_parallel;

/* Whether one that shares its GIL and is busy gives it to its own OS threads only, never to another
   interpreter. */
extern const bool mtpy_interp_is_greedy;

/* What an OS thread without a thread state needs to have an interpreter. */
struct mtpy_interp {
    PyThreadState *tstate; /* of the new interpreter */
    PyThreadState *outer;  /* of the main interpreter, where one is needed to make others; or NULL */
};

/* Make an interpreter and hold its GIL. is_apart: with a GIL of its own, if the version can.
   error: room for a text. Returns 0, or -1 with the text, and then no GIL is held. */
int
mtpy_interp_begin(struct mtpy_interp *self, bool is_apart, char *error, size_t room);

/* End it; its GIL is held, its thread state the only one. No GIL is held after that. */
void
mtpy_interp_end(struct mtpy_interp *self);

/* Whether this is the `outer` of some interpreter, which runs no code. */
bool
mtpy_interp_is_outer(const PyThreadState *tstate);

/* Have an exception raised in the code that an OS thread of this interpreter runs; NULL: take back
   one that has not been raised yet. The GIL is held. */
void
mtpy_interp_interrupt(unsigned long thread, PyObject *exception);

/* Have a trace function called for each line that this thread state of this interpreter executes
   from now on; where only that can be had, for those of all its thread states. The GIL is held. */
void
mtpy_interp_trace(PyThreadState *tstate, Py_tracefunc function, PyObject *argument);

#endif
