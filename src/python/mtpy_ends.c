/* SPDX-License-Identifier: MIT */
/* The ends of several micro-threads, in the order in which they come: what wait_all(),
   as_completed() and parallel_map() wait on. Each watched micro-thread calls the object when it is
   done, from whichever OS thread it lives in; one micro-thread iterates. */
#include "python/mtpy_ends.h"
#include "python/mtpy_scope.h"

#include "python/mtpy_gc.h"

#include "base/mt_ring.h"
#include "core/mt_deferred.h"

struct mtpy_ends {
    PyObject_HEAD
    struct mt_ring ended;    /* micro-threads that are done and not yet handed out; owned */
    struct mt_deferred some; /* fires when there is one for a waiting iteration */
    mt_time deadline;        /* monotonic ns, or MT_FOREVER */
    size_t left;             /* watched, and not yet handed out */
    PyObject *block;         /* a move_on_after that the first failure expires, or NULL; owned */
    bool is_poll;            /* timeout=0: never wait */
};

/* ---- watching ---- */

static void
note_end(struct mtpy_ends *self, PyObject *thread)
{
    int error = mt_ring_push(&self->ended, Py_NewRef(thread));
    assert(!error); /* ends_watch() has made the room */
    (void)error;
    if (self->some.waiting)
        (void)mt_deferred_fire(&self->some, MT_DEFERRED_VALUE, NULL);
    if (self->block && ((struct mtpy_thread *)thread)->outcome != MTPY_OUTCOME_VALUE)
        mtpy_scope_expire((struct mtpy_scope *)self->block);
}

/* The call that a watched micro-thread makes. */
static PyObject *
ends_call(PyObject *object, PyObject *args, PyObject *kwargs)
{
    PyObject *thread;
    (void)kwargs; /* only micro-threads call */
    if (!PyArg_UnpackTuple(args, "ends", 1, 1, &thread))
        return NULL;
    note_end((struct mtpy_ends *)object, thread);
    Py_RETURN_NONE;
}

/* Whether it may be waited for here. Returns 0 or -1. */
static int
check_thread(struct mtpy_state *state, PyObject *given)
{
    if (!PyObject_TypeCheck(given, state->thread_type)) {
        PyErr_Format(PyExc_TypeError, "threads must be micro_threads, got %.200s",
                     Py_TYPE(given)->tp_name);
        return -1;
    }
    struct mtpy_thread *thread = (struct mtpy_thread *)given;
    struct mtpy_sched *sched = mtpy_sched_get(state);
    if (!sched)
        return -1;
    if (thread == mtpy_thread_current(sched)) {
        PyErr_Format(PyExc_RuntimeError, "%R cannot wait for itself", thread);
        return -1;
    }
    if (mtpy_thread_is_new(thread)) {
        PyErr_Format(PyExc_RuntimeError, "%R was not started; call start() first", thread);
        return -1;
    }
    return 0;
}

static PyObject *
ends_check(PyObject *object, PyObject *given)
{
    return check_thread(mtpy_state_by_type(Py_TYPE(object)), given) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
ends_watch(PyObject *object, PyObject *given)
{
    struct mtpy_ends *self = (struct mtpy_ends *)object;
    struct mtpy_thread *thread = (struct mtpy_thread *)given;
    if (check_thread(mtpy_state_by_type(Py_TYPE(object)), given) < 0)
        return NULL;
    while (self->ended.mask < self->left)
        if (mt_ring_grow(&self->ended))
            return PyErr_NoMemory();
    if (thread->outcome != MTPY_OUTCOME_NONE) {
        note_end(self, given);
    } else {
        struct mtpy_extra *extra = mtpy_thread_extra(thread);
        if (!extra || (!extra->callbacks && !(extra->callbacks = PyList_New(0))) ||
            PyList_Append(extra->callbacks, object) < 0)
            return NULL;
    }
    self->left++;
    Py_RETURN_NONE;
}

/* From now on a failure cancels the waits in a block, a move_on_after. */
static PyObject *
ends_cut(PyObject *object, PyObject *block)
{
    PyTypeObject *type = mtpy_state_by_type(Py_TYPE(object))->move_on_after_type;
    if (!PyObject_TypeCheck(block, type)) {
        PyErr_Format(PyExc_TypeError, "block must be a move_on_after, got %.200s",
                     Py_TYPE(block)->tp_name);
        return NULL;
    }
    ((struct mtpy_scope *)block)->is_manual = true;
    Py_XSETREF(((struct mtpy_ends *)object)->block, Py_NewRef(block));
    Py_RETURN_NONE;
}

/* Forget one that has not ended; any other is left alone. */
static PyObject *
ends_unwatch(PyObject *object, PyObject *given)
{
    struct mtpy_ends *self = (struct mtpy_ends *)object;
    if (!PyObject_TypeCheck(given, mtpy_state_by_type(Py_TYPE(object))->thread_type))
        Py_RETURN_NONE;
    struct mtpy_thread *thread = (struct mtpy_thread *)given;
    PyObject *callbacks = thread->extra ? thread->extra->callbacks : NULL;
    for (Py_ssize_t i = callbacks ? PyList_GET_SIZE(callbacks) : 0; i-- > 0;) {
        if (PyList_GET_ITEM(callbacks, i) == object) {
            if (PyList_SetSlice(callbacks, i, i + 1, NULL) < 0)
                return NULL;
            self->left--;
            break;
        }
    }
    Py_RETURN_NONE;
}

/* ---- waiting ---- */

/* Wait until one has ended. Returns 0 or an error. */
static int
wait_for_end(struct mtpy_ends *self, struct mt_sched *core)
{
    if (self->is_poll)
        return MT_ETIMEDOUT;
    int error = mt_deferred_reset(&self->some);
    if (error)
        return error;
    return mt_deferred_wait(core, &self->some, self->deadline, MT_WAIT_ENDS, self);
}

static PyObject *
ends_next(PyObject *object)
{
    struct mtpy_ends *self = (struct mtpy_ends *)object;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_by_type(Py_TYPE(object)));
    if (!sched)
        return NULL;
    int error = self->ended.count ? mt_heed(sched->core, 1) : 0;
    while (!error && self->ended.count == 0) {
        if (self->left == 0)
            return NULL;
        error = wait_for_end(self, sched->core);
    }
    if (error)
        return mtpy_raise(error);
    self->left--;
    PyObject *thread = mt_ring_pop(&self->ended);
    mt_spend(sched->core, 1);
    return thread;
}

PyObject *
mtpy_ends_describe(const void *object)
{
    const struct mtpy_ends *self = object;
    return PyUnicode_FromFormat("end of %zu micro_thread%s", self->left, self->left == 1 ? "" : "s");
}

/* ---- the object ---- */

static PyObject *
ends_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    PyObject *given = NULL;
    mt_time timeout;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:ends", names, &given) ||
        mtpy_parse_timeout(given, "timeout", &timeout) < 0)
        return NULL;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_by_type(type));
    struct mtpy_ends *self = sched ? (struct mtpy_ends *)type->tp_alloc(type, 0) : NULL;
    if (!self)
        return NULL;
    mt_ring_init(&self->ended);
    mt_deferred_init(&self->some);
    self->deadline = mt_sched_deadline(sched->core, timeout);
    self->is_poll = timeout == 0;
    return (PyObject *)self;
}

static int
ends_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct mtpy_ends *self = (struct mtpy_ends *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->block);
    for (size_t i = 0; i < self->ended.count; i++)
        Py_VISIT((PyObject *)mt_ring_at(&self->ended, i));
    return mtpy_gc_visit_waiters(&self->some.waiters, visit, arg);
}

static int
ends_clear(PyObject *object)
{
    struct mtpy_ends *self = (struct mtpy_ends *)object;
    Py_CLEAR(self->block);
    while (self->ended.count) {
        self->left--;
        Py_DECREF((PyObject *)mt_ring_pop(&self->ended));
    }
    return 0;
}

static void
ends_dealloc(PyObject *object)
{
    struct mtpy_ends *self = (struct mtpy_ends *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)ends_clear(object);
    mt_ring_fini(&self->ended);
    type->tp_free(object);
    Py_DECREF(type);
}

static Py_ssize_t
ends_length(PyObject *object)
{
    return (Py_ssize_t)((struct mtpy_ends *)object)->ended.count;
}

static PyMethodDef ends_methods[] = {
    {"check", ends_check, METH_O, NULL},
    {"cut", ends_cut, METH_O, NULL},
    {"watch", ends_watch, METH_O, NULL},
    {"unwatch", ends_unwatch, METH_O, NULL},
    {0},
};

static PyType_Slot ends_slots[] = {
    {Py_tp_doc,
     "The ends of watched micro-threads as they come; the time counts from the making.\n"
     "len() is how many can be had without waiting."},
    {Py_tp_new, ends_new},
    {Py_tp_dealloc, ends_dealloc},
    {Py_tp_traverse, ends_traverse},
    {Py_tp_clear, ends_clear},
    {Py_tp_call, ends_call},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, ends_next},
    {Py_tp_methods, ends_methods},
    {Py_sq_length, ends_length},
    {0, NULL},
};

PyType_Spec mtpy_ends_spec = {
    .name = "microthread._core.ends",
    .basicsize = sizeof(struct mtpy_ends),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = ends_slots,
};
