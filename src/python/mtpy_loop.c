/* SPDX-License-Identifier: MIT */
/* The running event loop and task of each micro-thread. Few ever have them: those that were left with
   a loop are in a dictionary, by their number. */
#include "python/mtpy_loop.h"

PyObject *
mtpy_loop_keep(PyObject *module, PyObject *args)
{
    struct mtpy_state *state = mtpy_state_of(module);
    PyObject *get, *set, *task, *swap;
    if (!PyArg_ParseTuple(args, "OOOO:_keep_running_loop", &get, &set, &task, &swap))
        return NULL;
    if (!state->loops && !(state->loops = PyDict_New()))
        return NULL;
    Py_XSETREF(state->loop_set, Py_NewRef(set));
    Py_XSETREF(state->loop_task, Py_NewRef(task));
    Py_XSETREF(state->loop_swap, Py_NewRef(swap));
    Py_XSETREF(state->loop_get, Py_NewRef(get));
    Py_RETURN_NONE;
}

/* None when there is none: new, or NULL with an exception. */
static PyObject *
running_loop(struct mtpy_state *state)
{
    return PyObject_CallNoArgs(state->loop_get);
}

static PyObject *
current_id(struct mtpy_sched *sched)
{
    return PyLong_FromUnsignedLongLong(sched->core->current->id);
}

/* What fails here has nobody to be told to. */
static void
end_quietly(PyObject *pending)
{
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(NULL);
    if (pending)
        mtpy_error_raise(pending);
}

/* Have this task, or None, be the one that the running loop runs. */
static void
set_task(struct mtpy_state *state, PyObject *loop, PyObject *task)
{
    PyObject *before = PyObject_CallFunctionObjArgs(state->loop_swap, loop, task, NULL);
    if (!before && task == Py_None && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Clear(); /* 3.12 says so when there was none */
    else if (!before)
        PyErr_WriteUnraisable(NULL);
    Py_XDECREF(before);
}

/* Note it, or that there is none: an earlier note may be there, for who is the next to run itself is
   not restored. */
static void
note(struct mtpy_state *state, PyObject *id, PyObject *loop)
{
    if (loop == Py_None) {
        if (PyDict_GET_SIZE(state->loops) && PyDict_Contains(state->loops, id) == 1)
            (void)PyDict_DelItem(state->loops, id);
        return;
    }
    PyObject *task = PyObject_CallOneArg(state->loop_task, loop);
    PyObject *both = task ? PyTuple_Pack(2, loop, task) : NULL;
    if (both)
        (void)PyDict_SetItem(state->loops, id, both);
    Py_XDECREF(both);
    Py_XDECREF(task);
}

void
mtpy_loop_note(struct mtpy_sched *sched)
{
    PyObject *pending = PyErr_Occurred() ? mtpy_error_take() : NULL;
    PyObject *loop = running_loop(sched->state);
    PyObject *id = loop ? current_id(sched) : NULL;
    if (id)
        note(sched->state, id, loop);
    Py_XDECREF(id);
    Py_XDECREF(loop);
    end_quietly(pending);
}

/* Exchange the running loop for that of `both`, a loop and its task, or for none. */
static void
exchange(struct mtpy_state *state, PyObject *loop, PyObject *both)
{
    PyObject *wanted = both ? PyTuple_GET_ITEM(both, 0) : Py_None;
    PyObject *task = both ? PyTuple_GET_ITEM(both, 1) : Py_None;
    if (loop == wanted)
        return;
    if (loop != Py_None)
        set_task(state, loop, Py_None);
    PyObject *none = PyObject_CallOneArg(state->loop_set, wanted);
    if (!none)
        PyErr_WriteUnraisable(NULL);
    Py_XDECREF(none);
    if (task != Py_None)
        set_task(state, wanted, task);
}

void
mtpy_loop_restore(struct mtpy_sched *sched)
{
    struct mtpy_state *state = sched->state;
    PyObject *pending = PyErr_Occurred() ? mtpy_error_take() : NULL;
    PyObject *id = PyDict_GET_SIZE(state->loops) ? current_id(sched) : NULL;
    PyObject *both = id ? PyDict_GetItemWithError(state->loops, id) : NULL;
    if (both) {
        Py_INCREF(both);
        (void)PyDict_DelItem(state->loops, id);
    }
    PyObject *loop = running_loop(state);
    if (loop)
        exchange(state, loop, both);
    Py_XDECREF(loop);
    Py_XDECREF(both);
    Py_XDECREF(id);
    end_quietly(pending);
}
