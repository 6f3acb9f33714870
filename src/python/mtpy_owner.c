/* SPDX-License-Identifier: MIT */
#include "python/mtpy_owner.h"

#include "python/mtpy_capi.h"

#include "group/mt_shared.h"

/* All that was given back. It may run any code, and wait. */
static void
take_home(struct mt_owner *owner, bool is_late)
{
    struct mt_loan *loan = mt_owner_take(owner);
    while (loan) {
        struct mt_loan *next = loan->next;
        loan->come_home(loan, is_late);
        loan = next;
    }
}

void
mtpy_owner_collect_here(void)
{
    struct mtpy_sched *here = mtpy_sched_here;
    if (here && here->tstate == PyThreadState_Get() && here->state->owner)
        take_home(here->state->owner, false);
}

static PyObject *
take_home_later(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_state *state = mtpy_state_of(module);
    struct mtpy_sched *sched = mtpy_sched_get(state);
    if (!sched)
        return NULL;
    mtpy_thread_current(sched)->is_deaf = false;
    if (state->owner)
        take_home(state->owner, false);
    Py_RETURN_NONE;
}

static PyMethodDef later_method = {"come_home", take_home_later, METH_NOARGS, NULL};

/* In a mailbox's reader, where nothing may wait: have a micro-thread do it. Others wait for what it
   brings, so it runs even when everybody is told to leave. */
static void
collect(struct mt_owner *owner)
{
    struct mtpy_state *state = owner->host;
    PyObject *pending = PyErr_Occurred() ? mtpy_error_take() : NULL;
    PyObject *function = PyCFunction_New(&later_method, state->module);
    struct mtpy_sched *sched = function ? mtpy_sched_get(state) : NULL;
    struct mtpy_thread *thread =
        sched ? mtpy_thread_make(sched, state->thread_type, &function, 1, NULL) : NULL;
    Py_XDECREF(function);
    if (thread) {
        thread->scope = 0; /* nobody's, whoever happens to run */
        thread->is_deaf = true;
        mtpy_thread_launch(sched, thread);
    } else {
        PyErr_Clear(); /* they wait for the next to be given back, or for the end */
    }
    if (pending)
        mtpy_error_raise(pending);
}

/* The interpreter's dictionary goes: its last schedulers have ended, but its objects can still be
   let go of. A module that something of ours refers to would else not be freed at all. */
static void
interpreter_ends(PyObject *capsule)
{
    struct mt_owner *owner = PyCapsule_GetPointer(capsule, NULL);
    struct mtpy_state *state = owner->host; /* NULL: the module is gone already */
    if (state) {
        PyObject *module = Py_NewRef(state->module); /* the objects that go may be its last users */
        mtpy_owner_fini(state);
        Py_DECREF(module);
    }
    mt_owner_unref(owner);
}

/* Steals the owner's only reference on failure. Returns 0, or -1 with an exception. */
static int
watch_interpreter(struct mt_owner *owner)
{
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get()); /* borrowed */
    PyObject *key = dict ? PyUnicode_FromFormat("microthread.owner.%p", owner) : NULL;
    PyObject *capsule = key ? PyCapsule_New(owner, NULL, interpreter_ends) : NULL;
    if (!capsule) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError, "this interpreter has no dictionary");
        Py_XDECREF(key);
        mt_owner_unref(owner);
        return -1;
    }
    int failed = PyDict_SetItem(dict, key, capsule);
    Py_DECREF(key);
    Py_DECREF(capsule); /* the reference went into it */
    return failed;
}

struct mt_owner *
mtpy_owner_get(struct mtpy_state *state)
{
    if (state->owner)
        return state->owner;
    struct mtpy_sched *sched = mtpy_sched_get(state);
    if (!sched)
        return NULL;
    struct mt_owner *owner = mt_owner_new(NULL, collect);
    if (!owner) {
        PyErr_NoMemory();
        return NULL;
    }
    if (watch_interpreter(owner) < 0)
        return NULL;
    owner->host = state;
    state->owner = mt_owner_ref(owner);
    mt_owner_set_sched(owner, sched->core);
    return owner;
}

void
mtpy_owner_sched_begins(struct mtpy_state *state, struct mt_sched *sched)
{
    if (state->owner && !state->owner->sched)
        mt_owner_set_sched(state->owner, sched);
}

void
mtpy_owner_sched_ends(struct mtpy_state *state, struct mt_sched *sched)
{
    mt_shared_forget(sched);
    if (!state->owner || state->owner->sched != sched)
        return;
    struct mtpy_sched *other = state->scheds;
    while (other && other->core == sched)
        other = other->next;
    mt_owner_set_sched(state->owner, other ? other->core : NULL);
}

void
mtpy_owner_after_fork(struct mtpy_state *state, struct mt_sched *sched)
{
    mt_shared_after_fork();
    if (state->owner)
        mt_owner_after_fork(state->owner, sched);
}

void
mtpy_owner_fini(struct mtpy_state *state)
{
    struct mt_owner *owner = state->owner;
    if (!owner)
        return;
    state->owner = NULL;
    mt_owner_close(owner);
    owner->host = NULL;
    take_home(owner, true);
    mtpy_capi_let_go(state);
    mt_owner_unref(owner);
}
