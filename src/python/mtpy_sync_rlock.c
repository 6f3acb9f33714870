/* SPDX-License-Identifier: MIT */
/* RLock: a Lock whose owner may take it again, and which nobody else may release. */
#include "python/mtpy_sync.h"

static PyObject *
reacquire(struct mtpy_lock *self, mt_time timeout)
{
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    if (!mtpy_lock_is_mine(sched, self))
        return mtpy_sync_result(mtpy_lock_take(sched, self, timeout));
    if (self->core.depth == SIZE_MAX) {
        PyErr_SetString(PyExc_OverflowError, "the lock was acquired too often");
        return NULL;
    }
    self->core.depth++;
    Py_RETURN_TRUE;
}

static PyObject *
rlock_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    mt_time timeout = MT_FOREVER;
    if (MT_UNLIKELY(nargs || kwnames) && mtpy_lock_parse_acquire(args, nargs, kwnames, &timeout) < 0)
        return NULL;
    return reacquire((struct mtpy_lock *)object, timeout);
}

static PyObject *
rlock_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    return reacquire((struct mtpy_lock *)object, MT_FOREVER);
}

/* The calling OS thread's scheduler if its running micro-thread has the lock, else NULL with an
   exception. */
static struct mtpy_sched *
check_mine(struct mtpy_lock *self)
{
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (MT_LIKELY(sched && mtpy_lock_is_mine(sched, self)))
        return sched;
    if (sched)
        PyErr_Format(PyExc_RuntimeError, "only the owner can release %R", self);
    return NULL;
}

static PyObject *
rlock_release(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_lock *self = (struct mtpy_lock *)object;
    if (!check_mine(self))
        return NULL;
    if (self->core.depth > 1)
        self->core.depth--;
    else
        mt_lock_release(&self->core);
    Py_RETURN_NONE;
}

static PyObject *
rlock_exit(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return rlock_release(object, NULL);
}

static PyObject *
rlock_recursion_count(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_lock *self = (struct mtpy_lock *)object;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    return sched ? PyLong_FromSize_t(mtpy_lock_is_mine(sched, self) ? self->core.depth : 0) : NULL;
}

static PyObject *
rlock_release_save(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_lock *self = (struct mtpy_lock *)object;
    if (!check_mine(self))
        return NULL;
    PyObject *saved = Py_BuildValue("(nK)", (Py_ssize_t)self->core.depth,
                                    (unsigned long long)self->core.owner);
    if (saved)
        mt_lock_release(&self->core);
    return saved;
}

static PyObject *
rlock_acquire_restore(PyObject *object, PyObject *saved)
{
    struct mtpy_lock *self = (struct mtpy_lock *)object;
    Py_ssize_t depth;
    unsigned long long owner;
    if (!PyTuple_Check(saved) || !PyArg_ParseTuple(saved, "nK:_acquire_restore", &depth, &owner)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "what _release_save() returned is needed");
        return NULL;
    }
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    int error = mtpy_lock_take(sched, self, MT_FOREVER);
    if (error)
        return mtpy_raise(error);
    self->core.depth = (size_t)depth;
    Py_RETURN_NONE;
}

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef rlock_methods[] = {
    {"acquire", CAST(rlock_acquire), METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, blocking=True, timeout=-1)\n--\n\n"
     "Take the lock, once more if the calling micro-thread has it; waits while another one has it.\n\n"
     "timeout: seconds >= 0, -1 for no limit. Returns whether it was taken; never waits without\n"
     "blocking, and then timeout is a ValueError."},
    {"release", rlock_release, METH_NOARGS,
     "release($self)\n--\n\n"
     "Undo one acquire(); the last one gives the lock to the first who waits.\n\n"
     "RuntimeError if the calling micro-thread does not have it."},
    {"locked", mtpy_lock_locked, METH_NOARGS, "locked($self)\n--\n\nWhether somebody has it."},
    {"_is_owned", mtpy_lock_is_held, METH_NOARGS, NULL},
    {"_is_held", mtpy_lock_is_held, METH_NOARGS, NULL},
    {"_recursion_count", rlock_recursion_count, METH_NOARGS, NULL},
    {"_release_save", rlock_release_save, METH_NOARGS, NULL},
    {"_acquire_restore", rlock_acquire_restore, METH_O, NULL},
    {"_at_fork_reinit", mtpy_lock_at_fork_reinit, METH_NOARGS, NULL},
    {"__enter__", rlock_enter, METH_NOARGS, NULL},
    {"__exit__", CAST(rlock_exit), METH_FASTCALL, NULL},
    {0},
};

static PyObject *
rlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *self = mtpy_lock_new(type, args, kwargs);
    if (self)
        ((struct mtpy_lock *)self)->is_reentrant = true;
    return self;
}

static PyType_Slot rlock_slots[] = {
    {Py_tp_doc,
     "RLock()\n--\n\n"
     "A re-entrant lock as threading.RLock, owned by a micro-thread. Those who wait get it in the\n"
     "order they came. Any OS thread of the interpreter may use it."},
    {Py_tp_new, rlock_new},
    {Py_tp_dealloc, mtpy_lock_dealloc},
    {Py_tp_traverse, mtpy_lock_traverse},
    {Py_tp_repr, mtpy_lock_repr},
    {Py_tp_methods, rlock_methods},
    {Py_tp_members, mtpy_lock_members},
    {0, NULL},
};

PyType_Spec mtpy_rlock_spec = {
    .name = "microthread.RLock",
    .basicsize = sizeof(struct mtpy_lock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = rlock_slots,
};
