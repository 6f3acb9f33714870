/* SPDX-License-Identifier: MIT */
/* _Waiters: a list of micro-threads that wait to be told, and _Ticket, a place in it. What Condition,
   Barrier and Queue in Python wait with: take a place, let go of the lock, wait. */
#include "python/mtpy_gc.h"
#include "python/mtpy_sync.h"

struct mtpy_waiters {
    PyObject_HEAD
    struct mt_list list;      /* clauses of tickets */
    struct mtpy_state *state; /* borrowed: the type's module owns it */
    PyObject *text;           /* what the list is for, as waiting_for says it; str, owned */
};

struct mtpy_ticket {
    PyObject_HEAD
    struct mt_ticket core;
    struct mtpy_waiters *waiters; /* owned */
};

/* ---- _Ticket ---- */

static PyObject *
ticket_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_ticket *self = (struct mtpy_ticket *)object;
    struct mtpy_sched *sched = mtpy_sched_get(self->waiters->state);
    mt_time timeout = MT_FOREVER;
    if (!sched || (nargs && mtpy_sync_parse_timeout(args[0], &timeout) < 0))
        return NULL;
    if (self->core.wait.thread != sched->core->current) {
        PyErr_SetString(PyExc_RuntimeError, "a place among waiters cannot be passed on");
        return NULL;
    }
    mt_time deadline = mt_sched_deadline(sched->core, timeout);
    return mtpy_sync_result(mt_ticket_wait(sched->core, &self->core, deadline));
}

static PyObject *
ticket_is_told(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(mt_ticket_is_told(&((struct mtpy_ticket *)object)->core));
}

static int
ticket_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((struct mtpy_ticket *)object)->waiters);
    return 0;
}

static void
ticket_dealloc(PyObject *object)
{
    struct mtpy_ticket *self = (struct mtpy_ticket *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    mt_ticket_give_back(&self->core);
    Py_DECREF(self->waiters);
    type->tp_free(object);
    Py_DECREF(type);
}

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef ticket_methods[] = {
    {"wait", CAST(ticket_wait), METH_FASTCALL,
     "wait($self, timeout=None, /)\n--\n\nWait until told; returns False when time was up."},
    {"is_told", ticket_is_told, METH_NOARGS, "is_told($self)\n--\n\nWhether it was told."},
    {0},
};

static PyType_Slot ticket_slots[] = {
    {Py_tp_dealloc, ticket_dealloc},
    {Py_tp_traverse, ticket_traverse},
    {Py_tp_methods, ticket_methods},
    {0, NULL},
};

PyType_Spec mtpy_ticket_spec = {
    .name = "microthread._core._Ticket",
    .basicsize = sizeof(struct mtpy_ticket),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ticket_slots,
};

/* ---- _Waiters ---- */

static PyObject *
waiters_take_place(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_waiters *self = (struct mtpy_waiters *)object;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    struct mtpy_ticket *ticket =
        sched ? PyObject_GC_New(struct mtpy_ticket, self->state->ticket_type) : NULL;
    if (!ticket)
        return NULL;
    ticket->waiters = (struct mtpy_waiters *)Py_NewRef(object);
    mt_ticket_take(sched->core, &ticket->core, &self->list, object);
    PyObject_GC_Track(ticket);
    return (PyObject *)ticket;
}

static PyObject *
waiters_tell(PyObject *object, PyObject *most)
{
    Py_ssize_t number = PyNumber_AsSsize_t(most, NULL);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    struct mt_list *list = &((struct mtpy_waiters *)object)->list;
    return PyLong_FromSize_t(mt_sync_tell(list, number < 0 ? 0 : (size_t)number));
}

static PyObject *
waiters_forget(PyObject *object, PyObject *unused)
{
    (void)unused;
    mt_list_init(&((struct mtpy_waiters *)object)->list);
    Py_RETURN_NONE;
}

static Py_ssize_t
waiters_length(PyObject *object)
{
    return (Py_ssize_t)mtpy_sync_count(&((struct mtpy_waiters *)object)->list);
}

static PyObject *
waiters_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"text", NULL};
    PyObject *text;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "U:_Waiters", names, &text))
        return NULL;
    struct mtpy_waiters *self = (struct mtpy_waiters *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    mt_list_init(&self->list);
    self->state = mtpy_state_by_type(type);
    self->text = Py_NewRef(text);
    return (PyObject *)self;
}

static int
waiters_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    struct mtpy_waiters *self = (struct mtpy_waiters *)object;
    Py_VISIT(self->text);
    return mtpy_gc_visit_waiters(&self->list, visit, arg);
}

static void
waiters_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_XDECREF(((struct mtpy_waiters *)object)->text);
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject *
mtpy_waiters_describe(PyObject *waiters)
{
    return Py_NewRef(((struct mtpy_waiters *)waiters)->text);
}

struct mt_list *
mtpy_waiters_list(PyObject *waiters)
{
    return &((struct mtpy_waiters *)waiters)->list;
}

static PyMethodDef waiters_methods[] = {
    {"take_place", waiters_take_place, METH_NOARGS,
     "take_place($self)\n--\n\nThe caller's place at the end; it may be told from now on."},
    {"tell", waiters_tell, METH_O,
     "tell($self, most, /)\n--\n\nTell the first ones; returns how many there were."},
    {"forget", waiters_forget, METH_NOARGS,
     "forget($self)\n--\n\nIn the child of a fork: who waited is gone."},
    {0},
};

static PyType_Slot waiters_slots[] = {
    {Py_tp_doc,
     "_Waiters(text)\n--\n\n"
     "A list of micro-threads of any OS thread that wait to be told; text is what waiting_for says."},
    {Py_tp_new, waiters_new},
    {Py_tp_dealloc, waiters_dealloc},
    {Py_tp_traverse, waiters_traverse},
    {Py_tp_methods, waiters_methods},
    {Py_sq_length, waiters_length},
    {0, NULL},
};

PyType_Spec mtpy_waiters_spec = {
    .name = "microthread._core._Waiters",
    .basicsize = sizeof(struct mtpy_waiters),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = waiters_slots,
};
