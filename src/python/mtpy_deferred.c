/* SPDX-License-Identifier: MIT */
/* deferred: one result that comes later, and the functions that turn it into the next one. The
   chain of callbacks and errbacks is Twisted's (twisted.internet.defer). The core part fires when the
   deferred has fired and every callback added so far has run. */
#include "python/mtpy_deferred.h"

#include "python/mtpy_gc.h"
#include "python/mtpy_select.h"

#include "core/mt_deferred.h"

#include <structmember.h>

struct mtpy_deferred {
    PyObject_HEAD
    struct mt_deferred core;         /* state and waiters; its value is not used */
    PyObject *weakrefs;
    PyObject *value;                 /* the result so far, or the exception; NULL until fired */
    PyObject *callbacks;             /* list of (callback, errback), or of a deferred that waits for
                                        our result; NULL while there was none */
    struct mtpy_deferred *waits_for; /* what a callback returned; the chain goes on after it; owned */
    struct mtpy_deferred *next;      /* in the list of chains to run; owned by that list */
    Py_ssize_t insert_at;            /* where callbacks go that the running one adds */
    bool has_fired;
    bool is_error;                   /* value is an exception */
    bool is_running;                 /* a callback of ours runs */
    bool is_fetched;                 /* the exception went to somebody, or need not */
    bool ignores_late;               /* cancelled: one late callback() is no mistake */
};

static struct mtpy_state *
state_of(const struct mtpy_deferred *self)
{
    return mtpy_state_by_type(Py_TYPE(self));
}

static bool
is_deferred(const struct mtpy_deferred *self, PyObject *object)
{
    return PyObject_TypeCheck(object, state_of(self)->deferred_type);
}

/* ---- the chain ---- */

/* Steals value. */
static void
set_result(struct mtpy_deferred *self, PyObject *value, bool is_error)
{
    PyObject *old = self->value;
    self->value = value;
    self->is_error = is_error;
    self->is_fetched = false;
    Py_XDECREF(old);
}

static void
set_current_error(struct mtpy_deferred *self)
{
    set_result(self, mtpy_error_take(), true);
}

/* Whether waiting for `inner` would be waiting for ourselves. */
static bool
is_circular(const struct mtpy_deferred *self, const struct mtpy_deferred *inner)
{
    for (; inner; inner = inner->waits_for)
        if (inner == self)
            return true;
    return false;
}

static int
append_entry(struct mtpy_deferred *self, PyObject *entry)
{
    if (!self->callbacks && !(self->callbacks = PyList_New(0)))
        return -1;
    if (self->is_running)
        return PyList_Insert(self->callbacks, self->insert_at++, entry);
    return PyList_Append(self->callbacks, entry);
}

/* A callback returned a deferred. Returns whether the chain must pause for it. */
static bool
take_deferred(struct mtpy_deferred *self, struct mtpy_deferred *inner)
{
    if (is_circular(self, inner)) {
        PyErr_Format(PyExc_RuntimeError, "a callback of %R returned a deferred that waits for it",
                     self);
        set_current_error(self);
        return false;
    }
    if (inner->core.state != MT_DEFERRED_PENDING) {
        inner->is_fetched = true;
        set_result(self, Py_NewRef(inner->value), inner->is_error);
        return false;
    }
    if (append_entry(inner, (PyObject *)self) < 0) {
        set_current_error(self);
        return false;
    }
    self->waits_for = (struct mtpy_deferred *)Py_NewRef(inner);
    return true;
}

/* Run one callback or errback with the result so far. Returns whether the chain must pause. */
static bool
run_entry(struct mtpy_deferred *self, PyObject *entry)
{
    PyObject *function = PyTuple_GET_ITEM(entry, self->is_error ? 1 : 0);
    if (function == Py_None)
        return false;
    self->is_fetched = true; /* somebody sees to it */
    PyObject *argument = Py_NewRef(self->value);
    PyObject *result = PyObject_CallOneArg(function, argument);
    Py_DECREF(argument);
    if (!result) {
        set_current_error(self);
        return false;
    }
    if (!is_deferred(self, result)) {
        set_result(self, result, false);
        return false;
    }
    bool pauses = take_deferred(self, (struct mtpy_deferred *)result);
    Py_DECREF(result);
    return pauses;
}

/* Our result is that of `outer`, whose chain goes on: it joins the list of those to run. */
static void
hand_over(struct mtpy_deferred *self, struct mtpy_deferred *outer, struct mtpy_deferred **ready)
{
    self->is_fetched = true;
    set_result(outer, Py_NewRef(self->value), self->is_error);
    Py_CLEAR(outer->waits_for);
    outer->next = *ready;
    *ready = (struct mtpy_deferred *)Py_NewRef(outer);
}

static void
run_one(struct mtpy_deferred *self, struct mtpy_deferred **ready)
{
    if (!self->has_fired || self->is_running || self->waits_for)
        return;
    self->is_running = true;
    bool pauses = false;
    while (!pauses && self->callbacks && PyList_GET_SIZE(self->callbacks) > 0) {
        PyObject *entry = Py_NewRef(PyList_GET_ITEM(self->callbacks, 0));
        if (PyList_SetSlice(self->callbacks, 0, 1, NULL) < 0) {
            Py_DECREF(entry);
            set_current_error(self);
            break;
        }
        self->insert_at = 0;
        if (PyTuple_Check(entry))
            pauses = run_entry(self, entry);
        else
            hand_over(self, (struct mtpy_deferred *)entry, ready);
        Py_DECREF(entry);
    }
    self->is_running = false;
    if (!pauses)
        (void)mt_deferred_fire(&self->core, self->is_error ? MT_DEFERRED_ERROR : MT_DEFERRED_VALUE,
                               NULL);
}

/* Run what can run, here and in those that waited for us; a list, so that no chain of deferreds is
   too long for the stack. */
static void
run_chain(struct mtpy_deferred *self)
{
    struct mtpy_deferred *ready = (struct mtpy_deferred *)Py_NewRef(self);
    self->next = NULL;
    while (ready) {
        struct mtpy_deferred *one = ready;
        ready = one->next;
        one->next = NULL;
        run_one(one, &ready);
        Py_DECREF(one);
    }
}

/* ---- firing ---- */

int
mtpy_deferred_fire(PyObject *object, PyObject *value, bool is_error)
{
    struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    if (self->has_fired && self->ignores_late) {
        self->ignores_late = false;
        Py_DECREF(value);
        return 0;
    }
    if (self->has_fired) {
        Py_DECREF(value);
        PyErr_Format(PyExc_RuntimeError, "%R has fired already; reset() readies it for use again",
                     self);
        return -1;
    }
    self->has_fired = true;
    set_result(self, value, is_error);
    run_chain(self);
    return 0;
}

static PyObject *
deferred_callback(PyObject *object, PyObject *value)
{
    return mtpy_deferred_fire(object, Py_NewRef(value), false) < 0 ? NULL : Py_NewRef(Py_None);
}

PyObject *
mtpy_deferred_error(PyObject *exception)
{
    PyObject *made = PyExceptionClass_Check(exception) ? PyObject_CallNoArgs(exception)
                                                       : Py_NewRef(exception);
    if (!made)
        return NULL;
    if (!PyExceptionInstance_Check(made)) {
        PyErr_Format(PyExc_TypeError, "exception must be an exception, got %.200s",
                     Py_TYPE(made)->tp_name);
        Py_DECREF(made);
        return NULL;
    }
    return made;
}

static PyObject *
deferred_errback(PyObject *object, PyObject *exception)
{
    PyObject *made = mtpy_deferred_error(exception);
    return !made || mtpy_deferred_fire(object, made, true) < 0 ? NULL : Py_NewRef(Py_None);
}

bool
mtpy_deferred_has_fired(PyObject *object)
{
    return ((struct mtpy_deferred *)object)->has_fired;
}

bool
mtpy_deferred_has_callbacks(PyObject *object)
{
    const struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    return self->callbacks && PyList_GET_SIZE(self->callbacks) > 0;
}

static PyObject *
deferred_cancel(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    while (self->has_fired && self->waits_for)
        self = self->waits_for;
    if (self->has_fired)
        Py_RETURN_FALSE;
    PyObject **slot = &state_of(self)->futures_CancelledError;
    PyObject *type = mtpy_futures_error(slot, "CancelledError");
    PyObject *error = type ? PyObject_CallNoArgs(type) : NULL;
    if (!error)
        return NULL;
    self->has_fired = true;
    self->ignores_late = true;
    set_result(self, error, true);
    Py_INCREF(self);
    run_chain(self);
    Py_DECREF(self);
    Py_RETURN_TRUE;
}

static PyObject *
deferred_add_callbacks(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    static const char *const names[] = {"callback", "errback", NULL};
    PyObject *given[2] = {NULL, Py_None};
    if (mtpy_parse_slowly(args, nargs, kwnames, "O|O:add_callbacks", names, &given[0],
                          &given[1]) < 0)
        return NULL;
    for (int i = 0; i < 2; i++) {
        if (given[i] != Py_None && !PyCallable_Check(given[i])) {
            PyErr_Format(PyExc_TypeError, "%s must be callable or None, got %.200s", names[i],
                         Py_TYPE(given[i])->tp_name);
            return NULL;
        }
    }
    PyObject *entry = PyTuple_Pack(2, given[0], given[1]);
    int failed = entry ? append_entry(self, entry) : -1;
    Py_XDECREF(entry);
    if (failed)
        return NULL;
    if (self->has_fired) {
        self->core.state = MT_DEFERRED_PENDING; /* until these have run, too */
        run_chain(self);
    }
    return Py_NewRef(object);
}

/* ---- waiting ---- */

struct mt_deferred *
mtpy_deferred_core(PyObject *object)
{
    return &((struct mtpy_deferred *)object)->core;
}

PyObject *
mtpy_deferred_result(PyObject *object)
{
    struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    PyObject *value = Py_NewRef(self->value ? self->value : Py_None);
    if (!self->is_error || value == Py_None) /* None: the garbage collector was here */
        return value;
    self->is_fetched = true;
    mtpy_error_raise(value);
    return NULL;
}

PyObject *
mtpy_deferred_wait(PyObject *object, mt_time timeout)
{
    struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    struct mtpy_sched *sched = mtpy_sched_get(state_of(self));
    if (!sched)
        return NULL;
    mt_time deadline = timeout ? mt_sched_deadline(sched->core, timeout) : 0;
    do {
        int error = MT_ETIMEDOUT;
        if (timeout > 0 || self->core.state != MT_DEFERRED_PENDING)
            error = mt_deferred_wait(sched->core, &self->core, deadline, MT_WAIT_DEFERRED, self);
        if (error)
            return mtpy_raise(error);
        /* Between the wake and now somebody may have added callbacks that wait themselves. */
    } while (self->core.state == MT_DEFERRED_PENDING);
    return mtpy_deferred_result(object);
}

static PyObject *
deferred_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    mt_time timeout = MT_FOREVER;
    if (MT_UNLIKELY(nargs || kwnames)) {
        PyObject *given = NULL;
        static const char *const names[] = {"timeout", NULL};
        if (mtpy_parse_slowly(args, nargs, kwnames, "|O:wait", names, &given) < 0 ||
            mtpy_parse_timeout(given, "timeout", &timeout) < 0)
            return NULL;
    }
    return mtpy_deferred_wait(object, timeout);
}

/* Report an exception that nobody has fetched; once. */
static void
report_unhandled(struct mtpy_deferred *self)
{
    if (!self->is_error || self->is_fetched || !self->value)
        return;
    struct mtpy_state *state = state_of(self);
    self->is_fetched = true;
    PyObject *cancelled = state->futures_CancelledError;
    if (cancelled && PyErr_GivenExceptionMatches(self->value, cancelled))
        return;
    PyObject *value = Py_NewRef(self->value);
    mtpy_report(state, value, Py_None);
    Py_DECREF(value);
}

static PyObject *
deferred_reset(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    if (!self->core.waiting && !self->is_running && !self->waits_for)
        report_unhandled(self);
    if (self->is_running || self->waits_for || mt_deferred_reset(&self->core)) {
        PyErr_Format(PyExc_RuntimeError,
                     "%R cannot be reset while somebody waits for it or its callbacks run", self);
        return NULL;
    }
    PyObject *value = self->value;
    self->value = NULL;
    self->has_fired = self->is_error = self->is_fetched = self->ignores_late = false;
    Py_CLEAR(self->callbacks);
    Py_XDECREF(value);
    Py_RETURN_NONE;
}

/* ---- the object ---- */

static PyObject *
deferred_get_fired(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct mtpy_deferred *)object)->has_fired);
}

static PyObject *
make(PyTypeObject *type)
{
    struct mtpy_deferred *self = (struct mtpy_deferred *)type->tp_alloc(type, 0);
    if (self)
        mt_deferred_init(&self->core);
    return (PyObject *)self;
}

PyObject *
mtpy_deferred_make(struct mtpy_state *state)
{
    return make(state->deferred_type);
}

static PyObject *
deferred_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    /* The __init__ of a subclass takes what it likes. */
    if (type->tp_init == PyBaseObject_Type.tp_init &&
        !PyArg_ParseTupleAndKeywords(args, kwargs, ":deferred", names))
        return NULL;
    return make(type);
}

static int
deferred_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->value);
    Py_VISIT(self->callbacks);
    Py_VISIT(self->waits_for);
    return mtpy_gc_visit_waiters(&self->core.waiters, visit, arg);
}

static int
deferred_clear(PyObject *object)
{
    struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    Py_CLEAR(self->value);
    Py_CLEAR(self->callbacks);
    Py_CLEAR(self->waits_for);
    return 0;
}

static void
deferred_finalize(PyObject *object)
{
    report_unhandled((struct mtpy_deferred *)object);
}

static void
deferred_dealloc(PyObject *object)
{
    struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (PyObject_CallFinalizerFromDealloc(object) < 0)
        return;
    PyObject_GC_UnTrack(object);
    Py_TRASHCAN_BEGIN(object, deferred_dealloc)
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    (void)deferred_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyObject *
deferred_repr(PyObject *object)
{
    struct mtpy_deferred *self = (struct mtpy_deferred *)object;
    const char *how = !self->has_fired                             ? "pending"
                      : self->core.state == MT_DEFERRED_PENDING ? "in its callbacks"
                      : self->is_error                             ? "failed"
                                                                   : "fired";
    return PyUnicode_FromFormat("<deferred at %p %s>", object, how);
}

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef deferred_methods[] = {
    {"callback", CAST(deferred_callback), METH_O,
     "callback($self, value, /)\n--\n\n"
     "Fire it with a value; from any OS thread. Firing twice: RuntimeError."},
    {"errback", CAST(deferred_errback), METH_O,
     "errback($self, exception, /)\n--\n\n"
     "Fire it with an exception; from any OS thread. Firing twice: RuntimeError.\n"
     "One that nobody fetches or handles is reported through excepthook."},
    {"add_callbacks", CAST(deferred_add_callbacks), METH_FASTCALL | METH_KEYWORDS,
     "add_callbacks($self, callback, errback=None)\n--\n\n"
     "Have callback(value), or errback(exception), called with the result, at once if it has fired.\n\n"
     "What it returns is the result for the next pair; an exception goes to the next errback; a\n"
     "deferred that it returns is waited for first. None: passed through. Pairs added by a running\n"
     "callback go before those still queued. Returns the deferred itself."},
    {"wait", CAST(deferred_wait), METH_FASTCALL | METH_KEYWORDS,
     "wait($self, timeout=None)\n--\n\n"
     "Wait until it has fired and all callbacks added so far have run; return the value or raise the\n"
     "exception.\n\n"
     "timeout: seconds >= 0, None for no limit. Raises TimeoutError."},
    {"cancel", CAST(deferred_cancel), METH_NOARGS,
     "cancel($self)\n--\n\n"
     "Fire it, or the deferred that its callbacks wait for, with concurrent.futures.CancelledError,\n"
     "which is never reported; one late callback() or errback() is then ignored.\n"
     "Returns whether there was anything to cancel."},
    {"reset", CAST(deferred_reset), METH_NOARGS,
     "reset($self)\n--\n\n"
     "Ready it for use again, without result and callbacks. RuntimeError while somebody waits."},
    {0},
};

static PyGetSetDef deferred_getset[] = {
    {"fired", deferred_get_fired, NULL, "Whether it has a value or an exception.", NULL},
    {0},
};

static PyMemberDef deferred_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct mtpy_deferred, weakrefs), READONLY, NULL},
    {0},
};

static PyType_Slot deferred_slots[] = {
    {Py_tp_doc,
     "deferred()\n--\n\n"
     "One result that comes later, from this OS thread or another. Any number may wait for it."},
    {Py_tp_new, deferred_new},
    {Py_tp_dealloc, deferred_dealloc},
    {Py_tp_finalize, deferred_finalize},
    {Py_tp_traverse, deferred_traverse},
    {Py_tp_clear, deferred_clear},
    {Py_tp_repr, deferred_repr},
    {Py_tp_methods, deferred_methods},
    {Py_tp_getset, deferred_getset},
    {Py_tp_members, deferred_members},
    {0, NULL},
};

PyType_Spec mtpy_deferred_spec = {
    .name = "microthread.deferred",
    .basicsize = sizeof(struct mtpy_deferred),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = deferred_slots,
};
