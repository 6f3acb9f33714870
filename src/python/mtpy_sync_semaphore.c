/* SPDX-License-Identifier: MIT */
/* Semaphore and BoundedSemaphore: one object around struct mt_semaphore. */
#include "python/mtpy_gc.h"
#include "python/mtpy_sync.h"

struct mtpy_semaphore {
    PyObject_HEAD
    struct mt_semaphore core;
    struct mtpy_state *state; /* borrowed: the type's module owns it */
    PyObject *weakrefs;
    size_t most;              /* permits that there are in all; SIZE_MAX: not bounded */
    bool is_bounded;          /* __init__ sets most */
};

/* threading's acquire(blocking=True, timeout=None). Returns 0 or -1 with an exception. */
static int
parse_acquire(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, mt_time *timeout)
{
    static const char *const names[] = {"blocking", "timeout", NULL};
    int is_blocking = 1;
    PyObject *given = Py_None;
    if (mtpy_parse_slowly(args, nargs, kwnames, "|pO:acquire", names, &is_blocking, &given) < 0)
        return -1;
    if (is_blocking)
        return mtpy_sync_parse_timeout(given, timeout);
    *timeout = 0;
    if (given == Py_None)
        return 0;
    PyErr_Format(PyExc_ValueError, "timeout must be left out of a call that does not block, got %R",
                 given);
    return -1;
}

static inline PyObject *
acquire(struct mtpy_semaphore *self, mt_time timeout)
{
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    if (MT_LIKELY(timeout)) {
        int error = mt_sync_turn(sched->core);
        if (MT_UNLIKELY(error))
            return mtpy_raise(error);
    }
    if (MT_LIKELY(mt_semaphore_try(&self->core)))
        Py_RETURN_TRUE;
    if (timeout == 0)
        Py_RETURN_FALSE;
    mt_time deadline = mt_sched_deadline(sched->core, timeout);
    return mtpy_sync_result(mt_semaphore_acquire(sched->core, &self->core, deadline));
}

static PyObject *
semaphore_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    mt_time timeout = MT_FOREVER;
    if (MT_UNLIKELY(nargs || kwnames) && parse_acquire(args, nargs, kwnames, &timeout) < 0)
        return NULL;
    return acquire((struct mtpy_semaphore *)object, timeout);
}

/* Returns 0, or -1 with an exception when there would be too many. */
static int
release(struct mtpy_semaphore *self, size_t count)
{
    size_t most = self->is_bounded ? self->most : PY_SSIZE_T_MAX;
    if (count > most || self->core.permits > most - count) {
        PyErr_Format(self->is_bounded ? PyExc_ValueError : PyExc_OverflowError,
                     "at most %zu permits can be free, got %zu more than %zu", most, count,
                     self->core.permits);
        return -1;
    }
    mt_semaphore_release(&self->core, count);
    return 0;
}

static PyObject *
semaphore_release(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"n", NULL};
    Py_ssize_t count = 1;
    if (MT_UNLIKELY(nargs || kwnames) &&
        mtpy_parse_slowly(args, nargs, kwnames, "|n:release", names, &count) < 0)
        return NULL;
    if (count < 1) {
        PyErr_Format(PyExc_ValueError, "n must be one or more, got %zd", count);
        return NULL;
    }
    return release((struct mtpy_semaphore *)object, (size_t)count) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
semaphore_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    return acquire((struct mtpy_semaphore *)object, MT_FOREVER);
}

static PyObject *
semaphore_exit(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return release((struct mtpy_semaphore *)object, 1) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
semaphore_at_fork_reinit(PyObject *object, PyObject *unused)
{
    (void)unused;
    mt_list_init(&((struct mtpy_semaphore *)object)->core.waiters); /* who waited is gone */
    Py_RETURN_NONE;
}

/* ---- the object ---- */

static PyObject *
semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args, (void)kwargs;
    struct mtpy_semaphore *self = (struct mtpy_semaphore *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    mt_semaphore_init(&self->core);
    mt_semaphore_release(&self->core, 1); /* for a subclass that forgets our __init__ */
    self->state = mtpy_state_by_type(type);
    self->most = SIZE_MAX;
    return (PyObject *)self;
}

static int
semaphore_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"value", NULL};
    Py_ssize_t value = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n:Semaphore", names, &value))
        return -1;
    if (value < 0) {
        PyErr_Format(PyExc_ValueError, "value must be >= 0, got %zd", value);
        return -1;
    }
    struct mtpy_semaphore *self = (struct mtpy_semaphore *)object;
    self->core.permits = 0;
    mt_semaphore_release(&self->core, (size_t)value);
    return 0;
}

static int
bounded_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    if (semaphore_init(object, args, kwargs) < 0)
        return -1;
    struct mtpy_semaphore *self = (struct mtpy_semaphore *)object;
    self->most = self->core.permits;
    self->is_bounded = true;
    return 0;
}

static int
semaphore_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    return mtpy_gc_visit_waiters(&((struct mtpy_semaphore *)object)->core.waiters, visit, arg);
}

static void
semaphore_dealloc(PyObject *object)
{
    struct mtpy_semaphore *self = (struct mtpy_semaphore *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject *
mtpy_semaphore_describe(struct mt_semaphore *core)
{
    struct mtpy_semaphore *self = MT_CONTAINER_OF(core, struct mtpy_semaphore, core);
    if (self->is_bounded)
        return PyUnicode_FromFormat("<%s at %p: %zu of %zu free, %zu waiting>",
                                    mtpy_sync_type_name(self), self, core->permits, self->most,
                                    mtpy_sync_count(&core->waiters));
    return PyUnicode_FromFormat("<%s at %p: %zu free, %zu waiting>", mtpy_sync_type_name(self), self,
                                core->permits, mtpy_sync_count(&core->waiters));
}

static PyObject *
semaphore_repr(PyObject *object)
{
    return mtpy_semaphore_describe(&((struct mtpy_semaphore *)object)->core);
}

static PyObject *
semaphore_get_value(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((struct mtpy_semaphore *)object)->core.permits);
}

static PyGetSetDef semaphore_getset[] = {
    {"_value", semaphore_get_value, NULL, "How many permits are free.", NULL},
    {0},
};

static PyMemberDef semaphore_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct mtpy_semaphore, weakrefs), READONLY, NULL},
    {0},
};

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef semaphore_methods[] = {
    {"acquire", CAST(semaphore_acquire), METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, blocking=True, timeout=None)\n--\n\n"
     "Take a permit; waits while there is none. Those who wait get one in the order they came.\n\n"
     "timeout: seconds, None for no limit. Returns whether it was taken; never waits without\n"
     "blocking, and then timeout is a ValueError."},
    {"release", CAST(semaphore_release), METH_FASTCALL | METH_KEYWORDS,
     "release($self, n=1)\n--\n\n"
     "Give n permits to the first who wait; the rest are free then. ValueError if n < 1, or if a\n"
     "BoundedSemaphore would have more than at first."},
    {"_at_fork_reinit", semaphore_at_fork_reinit, METH_NOARGS, NULL},
    {"__enter__", semaphore_enter, METH_NOARGS, NULL},
    {"__exit__", CAST(semaphore_exit), METH_FASTCALL, NULL},
    {0},
};

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc,
     "Semaphore(value=1)\n--\n\n"
     "A number of permits as threading.Semaphore, for micro-threads. Those who wait get one in the\n"
     "order they came. Any OS thread of the interpreter may use it."},
    {Py_tp_new, semaphore_new},
    {Py_tp_init, semaphore_init},
    {Py_tp_dealloc, semaphore_dealloc},
    {Py_tp_traverse, semaphore_traverse},
    {Py_tp_repr, semaphore_repr},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_members, semaphore_members},
    {Py_tp_getset, semaphore_getset},
    {0, NULL},
};

PyType_Spec mtpy_semaphore_spec = {
    .name = "microthread.Semaphore",
    .basicsize = sizeof(struct mtpy_semaphore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = semaphore_slots,
};

static PyType_Slot bounded_slots[] = {
    {Py_tp_doc,
     "BoundedSemaphore(value=1)\n--\n\n"
     "A Semaphore that never has more permits than at first: one release() too many is a ValueError."},
    {Py_tp_init, bounded_init},
    {Py_tp_traverse, semaphore_traverse},
    {0, NULL},
};

PyType_Spec mtpy_bounded_semaphore_spec = {
    .name = "microthread.BoundedSemaphore",
    .basicsize = sizeof(struct mtpy_semaphore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = bounded_slots,
};
