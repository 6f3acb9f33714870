/* SPDX-License-Identifier: MIT */
/* Lock, around struct mt_lock, and the part of it that RLock shares. The owner is a micro-thread, but
   anybody may release a Lock, as threading's. */
#include "python/mtpy_gc.h"
#include "python/mtpy_sync.h"

/* ---- arguments ---- */

int
mtpy_lock_parse_acquire(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, mt_time *timeout)
{
    static const char *const names[] = {"blocking", "timeout", NULL};
    int is_blocking = 1;
    PyObject *given = NULL;
    *timeout = MT_FOREVER;
    if (mtpy_parse_slowly(args, nargs, kwnames, "|pO:acquire", names, &is_blocking, &given) < 0)
        return -1;
    double seconds = given ? PyFloat_AsDouble(given) : -1;
    if (seconds == -1 && PyErr_Occurred())
        return -1;
    if (!is_blocking) {
        *timeout = 0;
        if (seconds == -1)
            return 0;
        PyErr_Format(PyExc_ValueError,
                     "timeout must be left out of a call that does not block, got %R", given);
        return -1;
    }
    if (seconds == -1)
        return 0;
    if (seconds * 1e9 >= (double)INT64_MAX) { /* threading.TIMEOUT_MAX */
        PyErr_Format(PyExc_OverflowError, "timeout must be at most %lld, got %R",
                     (long long)(INT64_MAX / 1000000000), given);
        return -1;
    }
    return mtpy_parse_seconds(given, "timeout, if not -1,", timeout);
}

/* ---- acquiring and releasing ---- */

static PyObject *
lock_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_lock *self = (struct mtpy_lock *)object;
    mt_time timeout = MT_FOREVER;
    if (nargs == 1 && !kwnames && PyBool_Check(args[0]))
        timeout = args[0] == Py_True ? MT_FOREVER : 0;
    else if (MT_UNLIKELY(nargs || kwnames) &&
             mtpy_lock_parse_acquire(args, nargs, kwnames, &timeout) < 0)
        return NULL;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    return sched ? mtpy_sync_result(mtpy_lock_take(sched, self, timeout)) : NULL;
}

static PyObject *
lock_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_lock *self = (struct mtpy_lock *)object;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    return sched ? mtpy_sync_result(mtpy_lock_take(sched, self, MT_FOREVER)) : NULL;
}

static PyObject *
lock_release(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_lock *self = (struct mtpy_lock *)object;
    if (MT_UNLIKELY(!self->core.owner)) {
        PyErr_Format(PyExc_RuntimeError, "%R is not locked: only what was acquired can be released",
                     self);
        return NULL;
    }
    mt_lock_release(&self->core);
    Py_RETURN_NONE;
}

static PyObject *
lock_exit(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return lock_release(object, NULL);
}

PyObject *
mtpy_lock_locked(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct mtpy_lock *)object)->core.owner != 0);
}

PyObject *
mtpy_lock_is_held(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_lock *self = (struct mtpy_lock *)object;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    return sched ? PyBool_FromLong(mtpy_lock_is_mine(sched, self)) : NULL;
}

PyObject *
mtpy_lock_at_fork_reinit(PyObject *object, PyObject *unused)
{
    (void)unused;
    mt_lock_init(&((struct mtpy_lock *)object)->core); /* who waited is gone */
    Py_RETURN_NONE;
}

/* ---- the objects ---- */

PyObject *
mtpy_lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    /* A subclass may have an __init__ with arguments of its own. */
    bool is_plain = type->tp_init == PyBaseObject_Type.tp_init;
    if (is_plain && (PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs)))) {
        PyErr_Format(PyExc_TypeError, "%s() takes no arguments", type->tp_name);
        return NULL;
    }
    struct mtpy_lock *self = (struct mtpy_lock *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    mt_lock_init(&self->core);
    self->state = mtpy_state_by_type(type);
    return (PyObject *)self;
}

int
mtpy_lock_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    return mtpy_gc_visit_waiters(&((struct mtpy_lock *)object)->core.waiters, visit, arg);
}

void
mtpy_lock_dealloc(PyObject *object)
{
    struct mtpy_lock *self = (struct mtpy_lock *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    type->tp_free(object);
    Py_DECREF(type);
}

/* "name of the owner"; one that is not alive any more has only its number. New, or NULL. */
static PyObject *
name_owner(struct mtpy_state *state, uint64_t id)
{
    struct mtpy_thread *owner = mtpy_thread_by_id(state, id);
    if (owner)
        return mtpy_thread_name(owner);
    return PyUnicode_FromFormat("micro_thread-%llu, which has ended", (unsigned long long)id);
}

/* "<locked Lock object at 0x...: by main, 1 waiting>", as the standard library's begin. */
PyObject *
mtpy_lock_describe(struct mt_lock *core)
{
    struct mtpy_lock *self = MT_CONTAINER_OF(core, struct mtpy_lock, core);
    const char *name = mtpy_sync_type_name(self);
    char count[40] = "";
    if (self->is_reentrant)
        PyOS_snprintf(count, sizeof count, "count=%zu ", core->owner ? core->depth : 0);
    if (!core->owner)
        return PyUnicode_FromFormat("<unlocked %s object %sat %p>", name, count, self);
    PyObject *owner = name_owner(self->state, core->owner);
    PyObject *text = NULL;
    if (owner)
        text = PyUnicode_FromFormat("<locked %s object %sat %p: by %U, %zu waiting>", name, count,
                                    self, owner, mtpy_sync_count(&core->waiters));
    Py_XDECREF(owner);
    return text;
}

PyObject *
mtpy_lock_repr(PyObject *object)
{
    return mtpy_lock_describe(&((struct mtpy_lock *)object)->core);
}

PyMemberDef mtpy_lock_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct mtpy_lock, weakrefs), READONLY, NULL},
    {0},
};

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef lock_methods[] = {
    {"acquire", CAST(lock_acquire), METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, blocking=True, timeout=-1)\n--\n\n"
     "Take the lock; waits while somebody has it. Those who wait get it in the order they came.\n\n"
     "timeout: seconds >= 0, -1 for no limit. Returns whether it was taken; never waits without\n"
     "blocking, and then timeout is a ValueError."},
    {"release", lock_release, METH_NOARGS,
     "release($self)\n--\n\n"
     "Give the lock to the first who waits. Anybody may do it; RuntimeError if it is not locked."},
    {"locked", mtpy_lock_locked, METH_NOARGS, "locked($self)\n--\n\nWhether somebody has it."},
    {"acquire_lock", CAST(lock_acquire), METH_FASTCALL | METH_KEYWORDS, "As acquire()."},
    {"release_lock", lock_release, METH_NOARGS, "As release()."},
    {"locked_lock", mtpy_lock_locked, METH_NOARGS, "As locked()."},
    {"_is_held", mtpy_lock_is_held, METH_NOARGS, NULL},
    {"_at_fork_reinit", mtpy_lock_at_fork_reinit, METH_NOARGS, NULL},
    {"__enter__", lock_enter, METH_NOARGS, NULL},
    {"__exit__", CAST(lock_exit), METH_FASTCALL, NULL},
    {0},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_doc,
     "Lock()\n--\n\n"
     "A lock as threading.Lock, for micro-threads: only the one that waits is suspended, and those\n"
     "who wait get it in the order they came. Any OS thread of the interpreter may use it."},
    {Py_tp_new, mtpy_lock_new},
    {Py_tp_dealloc, mtpy_lock_dealloc},
    {Py_tp_traverse, mtpy_lock_traverse},
    {Py_tp_repr, mtpy_lock_repr},
    {Py_tp_methods, lock_methods},
    {Py_tp_members, mtpy_lock_members},
    {0, NULL},
};

PyType_Spec mtpy_lock_spec = {
    .name = "microthread.Lock",
    .basicsize = sizeof(struct mtpy_lock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = lock_slots,
};
