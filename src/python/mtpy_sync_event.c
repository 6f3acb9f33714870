/* SPDX-License-Identifier: MIT */
/* Event: the Python object around struct mt_event. */
#include "python/mtpy_gc.h"
#include "python/mtpy_sync.h"

struct mtpy_event {
    PyObject_HEAD
    struct mt_event core;
    struct mtpy_state *state; /* borrowed: the type's module owns it */
    PyObject *weakrefs;
};

static PyObject *
event_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_event *self = (struct mtpy_event *)object;
    mt_time timeout = MT_FOREVER;
    if (nargs || kwnames) {
        static const char *const names[] = {"timeout", NULL};
        PyObject *given = Py_None;
        if (mtpy_parse_slowly(args, nargs, kwnames, "|O:wait", names, &given) < 0 ||
            mtpy_sync_parse_timeout(given, &timeout) < 0)
            return NULL;
    }
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    if (MT_LIKELY(timeout)) {
        int error = mt_sync_turn(sched->core);
        if (MT_UNLIKELY(error))
            return mtpy_raise(error);
    }
    if (self->core.is_set)
        Py_RETURN_TRUE;
    if (timeout == 0)
        Py_RETURN_FALSE;
    mt_time deadline = mt_sched_deadline(sched->core, timeout);
    return mtpy_sync_result(mt_event_wait(sched->core, &self->core, deadline));
}

static PyObject *
event_set(PyObject *object, PyObject *unused)
{
    (void)unused;
    mt_event_set(&((struct mtpy_event *)object)->core);
    Py_RETURN_NONE;
}

static PyObject *
event_clear(PyObject *object, PyObject *unused)
{
    (void)unused;
    ((struct mtpy_event *)object)->core.is_set = false;
    Py_RETURN_NONE;
}

static PyObject *
event_is_set(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct mtpy_event *)object)->core.is_set);
}

static PyObject *
event_at_fork_reinit(PyObject *object, PyObject *unused)
{
    (void)unused;
    mt_list_init(&((struct mtpy_event *)object)->core.waiters); /* who waited is gone */
    Py_RETURN_NONE;
}

/* ---- the object ---- */

static PyObject *
event_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args, (void)kwargs;
    struct mtpy_event *self = (struct mtpy_event *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    mt_event_init(&self->core);
    self->state = mtpy_state_by_type(type);
    return (PyObject *)self;
}

static int
event_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    (void)object;
    static char *names[] = {NULL};
    return PyArg_ParseTupleAndKeywords(args, kwargs, ":Event", names) ? 0 : -1;
}

static int
event_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    return mtpy_gc_visit_waiters(&((struct mtpy_event *)object)->core.waiters, visit, arg);
}

static void
event_dealloc(PyObject *object)
{
    struct mtpy_event *self = (struct mtpy_event *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject *
mtpy_event_describe(struct mt_event *core)
{
    struct mtpy_event *self = MT_CONTAINER_OF(core, struct mtpy_event, core);
    return PyUnicode_FromFormat("<%s at %p: %s, %zu waiting>", mtpy_sync_type_name(self), self,
                                core->is_set ? "set" : "not set", mtpy_sync_count(&core->waiters));
}

static PyObject *
event_repr(PyObject *object)
{
    return mtpy_event_describe(&((struct mtpy_event *)object)->core);
}

static PyMemberDef event_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct mtpy_event, weakrefs), READONLY, NULL},
    {0},
};

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef event_methods[] = {
    {"wait", CAST(event_wait), METH_FASTCALL | METH_KEYWORDS,
     "wait($self, timeout=None)\n--\n\n"
     "Wait until it is set. timeout: seconds, None for no limit. Returns False when time was up."},
    {"set", event_set, METH_NOARGS, "set($self)\n--\n\nWake all who wait; nobody waits from now on."},
    {"clear", event_clear, METH_NOARGS, "clear($self)\n--\n\nMake wait() wait again."},
    {"is_set", event_is_set, METH_NOARGS, "is_set($self)\n--\n\nWhether it is set."},
    {"isSet", event_is_set, METH_NOARGS, "As is_set()."},
    {"_at_fork_reinit", event_at_fork_reinit, METH_NOARGS, NULL},
    {0},
};

static PyType_Slot event_slots[] = {
    {Py_tp_doc,
     "Event()\n--\n\n"
     "Something that has happened or not yet, as threading.Event, for micro-threads. Any OS thread\n"
     "of the interpreter may use it."},
    {Py_tp_new, event_new},
    {Py_tp_init, event_init},
    {Py_tp_dealloc, event_dealloc},
    {Py_tp_traverse, event_traverse},
    {Py_tp_repr, event_repr},
    {Py_tp_methods, event_methods},
    {Py_tp_members, event_members},
    {0, NULL},
};

PyType_Spec mtpy_event_spec = {
    .name = "microthread.Event",
    .basicsize = sizeof(struct mtpy_event),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = event_slots,
};
