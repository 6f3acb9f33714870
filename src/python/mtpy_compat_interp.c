/* SPDX-License-Identifier: MIT */
#include "python/mtpy_compat_interp.h"

#include <stdio.h>

/* Up to 3.12 who waits for a GIL asks his own interpreter to drop it, whoever holds it. */
const bool mtpy_interp_is_greedy = PY_VERSION_HEX < 0x030D0000;

#if PY_VERSION_HEX >= 0x030C0000
const bool mtpy_interp_is_parallel = true;

int
mtpy_interp_begin(struct mtpy_interp *self, bool is_apart, char *error, size_t room)
{
    /* With allocators of the main interpreter's only under its GIL; and only there modules that know
       nothing of several interpreters. */
    PyInterpreterConfig config = {
        .use_main_obmalloc = !is_apart,
        .allow_fork = 0,
        .allow_exec = 0,
        .allow_threads = 1,
        .allow_daemon_threads = 0,
        .check_multi_interp_extensions = is_apart,
        .gil = is_apart ? PyInterpreterConfig_OWN_GIL : PyInterpreterConfig_SHARED_GIL,
    };
    self->tstate = self->outer = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&self->tstate, &config);
    if (!PyStatus_Exception(status))
        return 0;
    snprintf(error, room, "%s", status.err_msg ? status.err_msg : "no reason given");
    return -1;
}

void
mtpy_interp_end(struct mtpy_interp *self)
{
    Py_EndInterpreter(self->tstate);
}

void
mtpy_interp_trace(PyThreadState *tstate, Py_tracefunc function, PyObject *argument)
{
    (void)tstate;
    PyEval_SetTraceAllThreads(function, argument);
}

bool
mtpy_interp_is_outer(const PyThreadState *tstate)
{
    (void)tstate;
    return false;
}
#else
const bool mtpy_interp_is_parallel = false;

/* What CPython calls at the end of an outer thread state, which it marks as one. */
static void
leave_outer(void *data)
{
    (void)data;
}

bool
mtpy_interp_is_outer(const PyThreadState *tstate)
{
    return tstate->on_delete == leave_outer;
}

int
mtpy_interp_begin(struct mtpy_interp *self, bool is_apart, char *error, size_t room)
{
    (void)is_apart;
    self->outer = PyThreadState_New(PyInterpreterState_Main());
    if (!self->outer) {
        snprintf(error, room, "out of memory");
        return -1;
    }
    self->outer->on_delete = leave_outer;
    PyEval_RestoreThread(self->outer);
    self->tstate = Py_NewInterpreter();
    if (self->tstate)
        return 0;
    snprintf(error, room, "CPython could not make it");
    PyErr_Clear();
    PyThreadState_Clear(self->outer);
    PyThreadState_DeleteCurrent();
    return -1;
}

void
mtpy_interp_end(struct mtpy_interp *self)
{
    Py_EndInterpreter(self->tstate);
    (void)PyThreadState_Swap(self->outer);
    PyThreadState_Clear(self->outer);
    PyThreadState_DeleteCurrent();
}

void
mtpy_interp_trace(PyThreadState *tstate, Py_tracefunc function, PyObject *argument)
{
    if (_PyEval_SetTrace(tstate, function, argument) < 0)
        PyErr_Clear();
}
#endif

void
mtpy_interp_interrupt(unsigned long thread, PyObject *exception)
{
    (void)PyThreadState_SetAsyncExc(thread, exception);
}
