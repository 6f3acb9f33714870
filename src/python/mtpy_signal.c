/* SPDX-License-Identifier: MIT */
#include "python/mtpy_signal.h"

#include "python/mtpy_compat.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Signals come to the main OS thread of the main interpreter only; its thread number is the
   process's. */
static bool
is_signal_home(void)
{
    return PyInterpreterState_Get() == PyInterpreterState_Main() && gettid() == getpid();
}

int
mtpy_signal_open(struct mtpy_sched *sched)
{
    sched->signal_fd = -1;
    if (!is_signal_home())
        return 0;
    int fd = sched->core->reactor_ops->signal_fd(sched->core->reactor, &sched->core->is_signalled);
    if (fd < 0)
        return fd;
    sched->signal_fd = fd;
    return mtpy_signal_install(fd) < 0 ? MT_EHOST : 0;
}

/* Ours that wake nobody: Ctrl-C's own, which raises in the main micro-thread, and those marked so. */
static bool
is_quiet(const struct mtpy_state *state, PyObject *number, PyObject *handler)
{
    return handler == state->ctrl_c_handler ||
           handler == PyDict_GetItemWithError(state->quiet_handlers, number);
}

bool
mtpy_signal_may_wake(const struct mtpy_sched *sched)
{
    if (sched->signal_fd < 0)
        return false; /* handlers run in another OS thread */
    bool may_wake = false;
    for (long number = 1; number < NSIG && !may_wake; number++) {
        PyObject *key = PyLong_FromLong(number);
        PyObject *handler = PyObject_CallOneArg(sched->state->getsignal, key);
        PyErr_Clear(); /* it was the stack's end, which says nothing of handlers */
        may_wake = !handler || (PyCallable_Check(handler) && !is_quiet(sched->state, key, handler));
        Py_XDECREF(handler);
        Py_DECREF(key);
    }
    return may_wake;
}

/* The handler that the signal of this number has now wakes nobody. */
static PyObject *
mark_quiet(PyObject *module, PyObject *number)
{
    struct mtpy_state *state = mtpy_state_of(module);
    PyObject *handler = PyObject_CallOneArg(state->getsignal, number);
    int failed = handler ? PyDict_SetItem(state->quiet_handlers, number, handler) : -1;
    Py_XDECREF(handler);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *
get_is_quiet(PyObject *module, PyObject *number)
{
    struct mtpy_state *state = mtpy_state_of(module);
    PyObject *handler = PyObject_CallOneArg(state->getsignal, number);
    if (!handler)
        return NULL;
    PyObject *answer = PyBool_FromLong(is_quiet(state, number, handler));
    Py_DECREF(handler);
    return answer;
}

/* The descriptor by which a signal wakes the loop of the main OS thread, or -1. */
static PyObject *
get_signal_fd(PyObject *module, PyObject *unused)
{
    (void)unused;
    int fd = -1;
    for (struct mtpy_sched *sched = mtpy_state_of(module)->scheds; sched; sched = sched->next)
        if (sched->signal_fd >= 0)
            fd = sched->signal_fd;
    return PyLong_FromLong(fd);
}

/* signalfd(2) for a set of signals. */
static PyObject *
open_signalfd(PyObject *module, PyObject *signals)
{
    (void)module;
    sigset_t set;
    sigemptyset(&set);
    PyObject *iterator = PyObject_GetIter(signals), *item;
    while (iterator && (item = PyIter_Next(iterator))) {
        long number = PyLong_AsLong(item);
        Py_DECREF(item);
        if (number == -1 && PyErr_Occurred())
            break;
        sigaddset(&set, (int)number);
    }
    Py_XDECREF(iterator);
    if (PyErr_Occurred())
        return NULL;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(fd);
}

int
mtpy_signal_prepare(struct mtpy_state *state)
{
    PyObject *signals = PyImport_ImportModule("_signal");
    if (!signals)
        return -1;
    state->getsignal = PyObject_GetAttrString(signals, "getsignal");
    state->ctrl_c_handler =
        state->getsignal ? PyObject_GetAttrString(signals, "default_int_handler") : NULL;
    state->quiet_handlers = state->ctrl_c_handler ? PyDict_New() : NULL;
    Py_DECREF(signals);
    return state->quiet_handlers ? 0 : -1;
}

PyMethodDef mtpy_signal_functions[] = {
    {"_mark_quiet", mark_quiet, METH_O, NULL},
    {"_is_quiet", get_is_quiet, METH_O, NULL},
    {"_signal_fd", get_signal_fd, METH_NOARGS, NULL},
    {"_open_signalfd", open_signalfd, METH_O, NULL},
    {0},
};
