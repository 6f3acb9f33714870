/* SPDX-License-Identifier: MIT */
/* What microthread.patch cannot do in Python: the number of the running micro-thread as threading wants
   it, which OS threads there are, and who refers to an object. */
#include "python/mtpy_patch.h"

#include "group/mt_global.h"
#include "python/mtpy_compat_interp.h"

/* ---- the running thread's number ---- */

/* The calling OS thread's scheduler in this interpreter; NULL if it has none. Makes none. */
static struct mtpy_sched *
find_sched(struct mtpy_state *state)
{
    struct mtpy_sched *sched = mtpy_sched_here;
    if (MT_LIKELY(sched && sched->state == state))
        return sched;
    PyThreadState *tstate = PyThreadState_Get();
    for (sched = state->scheds; sched && sched->tstate != tstate; sched = sched->next)
        ;
    return sched;
}

/* A scheduler's first micro-thread is its OS thread's own code. A fork leaves the numbers alone: the
   child's main micro-thread may be another one. */
static bool
is_os_threads_own(uint64_t id)
{
    return (id & (((uint64_t)1 << MT_GLOBAL_ID_BITS) - 1)) == 1;
}

static PyObject *
get_ident(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *sched = find_sched(mtpy_state_of(module));
    if (!sched || is_os_threads_own(sched->core->current->id))
        return PyLong_FromUnsignedLong(PyThread_get_thread_ident());
    return PyLong_FromUnsignedLongLong(sched->core->current->id);
}

static PyObject *
is_micro(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *sched = find_sched(mtpy_state_of(module));
    return PyBool_FromLong(sched && !is_os_threads_own(sched->core->current->id));
}

/* sys._current_frames() makes frame objects, those of other interpreters, too, with this one's memory. */
static PyObject *
os_threads(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    PyObject *numbers = PyList_New(0);
    PyThreadState *tstate = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; numbers && tstate; tstate = PyThreadState_Next(tstate)) {
        if (mtpy_interp_is_outer(tstate))
            continue;
        PyObject *number = PyLong_FromUnsignedLong(tstate->thread_id);
        if (!number || PyList_Append(numbers, number) < 0)
            Py_CLEAR(numbers);
        Py_XDECREF(number);
    }
    return numbers;
}

/* ---- who refers to what ---- */

/* A set of addresses: open addressing, at most half full. */
struct targets {
    PyObject **slots;
    size_t mask;
    PyObject *referrer; /* whose references are being looked at; borrowed */
    PyObject *found;    /* list of (referrer, target); borrowed */
};

static size_t
slot_of(const struct targets *targets, const PyObject *object)
{
    size_t i = ((uintptr_t)object >> 4) & targets->mask;
    while (targets->slots[i] && targets->slots[i] != object)
        i = (i + 1) & targets->mask;
    return i;
}

static int
note_reference(PyObject *object, void *arg)
{
    struct targets *targets = arg;
    if (MT_LIKELY(targets->slots[slot_of(targets, object)] != object))
        return 0;
    PyObject *pair = PyTuple_Pack(2, targets->referrer, object);
    int failed = pair ? PyList_Append(targets->found, pair) : -1;
    Py_XDECREF(pair);
    return failed;
}

/* Append (referrer, target) for each reference that a container in `all` has to a target. Returns 0
   or -1 with an exception. */
static int
note_references(struct targets *targets, PyObject *all)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(all); i++) {
        targets->referrer = PyList_GET_ITEM(all, i);
        traverseproc traverse = Py_TYPE(targets->referrer)->tp_traverse;
        if (traverse && traverse(targets->referrer, note_reference, targets))
            return -1;
    }
    return 0;
}

static PyObject *
referrers(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *objects, *all;
    if (!PyArg_ParseTuple(args, "O!O!:_referrers", &PyList_Type, &objects, &PyList_Type, &all))
        return NULL;
    size_t room = 8;
    while (room < 2 * (size_t)PyList_GET_SIZE(objects) + 1)
        room *= 2;
    struct targets targets = {.mask = room - 1, .found = PyList_New(0)};
    targets.slots = PyMem_Calloc(room, sizeof *targets.slots);
    if (!targets.slots)
        PyErr_NoMemory();
    if (!targets.slots || !targets.found)
        goto failed;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(objects); i++) {
        PyObject *object = PyList_GET_ITEM(objects, i);
        targets.slots[slot_of(&targets, object)] = object;
    }
    int collects = PyGC_Disable(); /* nothing may change while it is traversed */
    int failed = note_references(&targets, all);
    if (collects)
        PyGC_Enable();
    if (failed)
        goto failed;
    PyMem_Free(targets.slots);
    return targets.found;
failed:
    PyMem_Free(targets.slots);
    Py_XDECREF(targets.found);
    return NULL;
}

/* ---- what a thread's function raised ---- */

static PyObject *
report_unraisable(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *exception, *function;
    if (!PyArg_ParseTuple(args, "O!O:_report_unraisable", PyExc_BaseException, &exception, &function))
        return NULL;
    mtpy_error_raise(Py_NewRef(exception));
    mtpy_error_unraisable_in_thread(function);
    Py_RETURN_NONE;
}

PyMethodDef mtpy_patch_functions[] = {
    {"_get_ident", get_ident, METH_NOARGS,
     "The OS thread's number in its own code, the micro-thread's in a micro-thread."},
    {"_os_threads", os_threads, METH_NOARGS, "The identifiers of this interpreter's OS threads."},
    {"_is_micro", is_micro, METH_NOARGS, "Whether a micro-thread runs, not an OS thread's own code."},
    {"_referrers", referrers, METH_VARARGS,
     "_referrers(objects, all): a list of (referrer, object) for each reference from a member of all, "
     "a list of gc.get_objects()."},
    {"_report_unraisable", report_unraisable, METH_VARARGS,
     "_report_unraisable(exception, function): as the end of an OS thread by an exception."},
    {0},
};
