/* SPDX-License-Identifier: MIT */
/* SimpleQueue: an unbounded FIFO between micro-threads of any OS thread. put() never waits, so it may
   be called in a destructor or a signal handler. Its core is a pipe that belongs to no scheduler. */
#include "python/mtpy_gc.h"
#include "python/mtpy_sync.h"

#include "core/mt_pipe.h"

struct mtpy_simple_queue {
    PyObject_HEAD
    struct mt_pipe core;      /* owns a reference to each item inside */
    struct mtpy_state *state; /* borrowed: the type's module owns it */
    PyObject *weakrefs;
    bool is_whole;            /* core was made */
};

static void
drop_item(void *item)
{
    Py_DECREF((PyObject *)item);
}

static PyObject *
put(PyObject *object, PyObject *item)
{
    int error = mt_pipe_try_put(&((struct mtpy_simple_queue *)object)->core, item);
    if (MT_UNLIKELY(error))
        return mtpy_raise(error);
    Py_INCREF(item); /* nobody has run since: a reader has only become ready */
    Py_RETURN_NONE;
}

static PyObject *
queue_put(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"item", "block", "timeout", NULL};
    PyObject *item, *block, *timeout;
    if (MT_LIKELY(nargs == 1 && !kwnames))
        return put(object, args[0]);
    if (mtpy_parse_slowly(args, nargs, kwnames, "O|OO:put", names, &item, &block, &timeout) < 0)
        return NULL;
    return put(object, item);
}

/* queue.Empty. Returns NULL. */
static PyObject *
raise_empty(void)
{
    PyObject *queue = PyImport_ImportModule("_queue");
    PyObject *type = queue ? PyObject_GetAttrString(queue, "Empty") : NULL;
    if (type)
        PyErr_SetNone(type);
    Py_XDECREF(type);
    Py_XDECREF(queue);
    return NULL;
}

/* Park until an item is handed over. */
static int
wait_for_item(struct mtpy_sched *sched, struct mtpy_simple_queue *self, PyObject **item,
              mt_time timeout)
{
    struct mt_wait wait;
    struct mt_clause clause;
    mt_wait_init(&wait, sched->core);
    mt_wait_add(&wait, &clause, MT_WAIT_ITEM, &self->core);
    mt_list_append(&self->core.readers, &clause.link);
    int error = mt_wait_park(&wait, mt_sched_deadline(sched->core, timeout));
    if (MT_LIKELY(!error))
        *item = clause.value;
    return error;
}

static PyObject *
get(struct mtpy_simple_queue *self, mt_time timeout)
{
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    int error = timeout ? mt_sync_turn(sched->core) : 0;
    if (MT_UNLIKELY(error))
        return mtpy_raise(error);
    void *value = NULL;
    if (MT_LIKELY(mt_pipe_try_take(&self->core, &value) == 0))
        return value;
    if (timeout == 0)
        return raise_empty();
    PyObject *item = NULL;
    error = wait_for_item(sched, self, &item, timeout);
    if (MT_LIKELY(!error))
        return item;
    return error == MT_ETIMEDOUT ? raise_empty() : mtpy_raise(error);
}

static PyObject *
queue_get(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_simple_queue *self = (struct mtpy_simple_queue *)object;
    mt_time timeout = MT_FOREVER;
    if (MT_UNLIKELY(nargs || kwnames)) {
        static const char *const names[] = {"block", "timeout", NULL};
        int is_blocking = 1;
        PyObject *given = NULL;
        if (mtpy_parse_slowly(args, nargs, kwnames, "|pO:get", names, &is_blocking, &given) < 0)
            return NULL;
        if (!is_blocking)
            timeout = 0;
        else if (mtpy_parse_timeout(given, "timeout", &timeout) < 0)
            return NULL;
    }
    return get(self, timeout);
}

static PyObject *
queue_get_nowait(PyObject *object, PyObject *unused)
{
    (void)unused;
    return get((struct mtpy_simple_queue *)object, 0);
}

static PyObject *
queue_qsize(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((struct mtpy_simple_queue *)object)->core.items.count);
}

static PyObject *
queue_empty(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct mtpy_simple_queue *)object)->core.items.count == 0);
}

/* ---- the object ---- */

static PyObject *
queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args, (void)kwargs;
    struct mtpy_simple_queue *self = (struct mtpy_simple_queue *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    mt_pipe_init(&self->core, NULL, MT_PIPE_UNBOUNDED);
    self->state = mtpy_state_by_type(type);
    self->is_whole = true;
    return (PyObject *)self;
}

static int
queue_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    (void)object;
    static char *names[] = {NULL};
    return PyArg_ParseTupleAndKeywords(args, kwargs, ":SimpleQueue", names) ? 0 : -1;
}

static int
queue_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct mtpy_simple_queue *self = (struct mtpy_simple_queue *)object;
    Py_VISIT(Py_TYPE(object));
    if (!self->is_whole)
        return 0;
    for (size_t i = 0; i < self->core.items.count; i++)
        Py_VISIT((PyObject *)mt_ring_at(&self->core.items, i));
    return mtpy_gc_visit_waiters(&self->core.readers, visit, arg);
}

static int
queue_clear(PyObject *object)
{
    struct mtpy_simple_queue *self = (struct mtpy_simple_queue *)object;
    while (self->is_whole && self->core.items.count)
        drop_item(mt_ring_pop(&self->core.items));
    return 0;
}

static void
queue_dealloc(PyObject *object)
{
    struct mtpy_simple_queue *self = (struct mtpy_simple_queue *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_TRASHCAN_BEGIN(object, queue_dealloc)
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    if (self->is_whole)
        mt_pipe_fini(&self->core, drop_item);
    type->tp_free(object);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

PyObject *
mtpy_simple_queue_describe(struct mt_pipe *core)
{
    struct mtpy_simple_queue *self = MT_CONTAINER_OF(core, struct mtpy_simple_queue, core);
    return PyUnicode_FromFormat("<%s at %p: %zu inside, %zu waiting>", mtpy_sync_type_name(self),
                                self, core->items.count, mtpy_sync_count(&core->readers));
}

static PyObject *
queue_repr(PyObject *object)
{
    return mtpy_simple_queue_describe(&((struct mtpy_simple_queue *)object)->core);
}

static PyMemberDef queue_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct mtpy_simple_queue, weakrefs), READONLY, NULL},
    {0},
};

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef queue_methods[] = {
    {"put", CAST(queue_put), METH_FASTCALL | METH_KEYWORDS,
     "put($self, item, block=True, timeout=None)\n--\n\n"
     "Put an item; never waits, so block and timeout mean nothing. May be called anywhere."},
    {"put_nowait", put, METH_O, "put_nowait($self, item, /)\n--\n\nAs put(item)."},
    {"get", CAST(queue_get), METH_FASTCALL | METH_KEYWORDS,
     "get($self, block=True, timeout=None)\n--\n\n"
     "Take the oldest item; waits while there is none. Those who wait are served in the order they\n"
     "came. timeout: seconds >= 0, None for no limit. Raises queue.Empty when time was up, or at\n"
     "once without block."},
    {"get_nowait", queue_get_nowait, METH_NOARGS, "get_nowait($self)\n--\n\nAs get(block=False)."},
    {"qsize", queue_qsize, METH_NOARGS, "qsize($self)\n--\n\nHow many items are inside."},
    {"empty", queue_empty, METH_NOARGS, "empty($self)\n--\n\nWhether nothing is inside."},
    {0},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_doc,
     "SimpleQueue()\n--\n\n"
     "An unbounded FIFO as queue.SimpleQueue, for micro-threads of any OS thread."},
    {Py_tp_new, queue_new},
    {Py_tp_init, queue_init},
    {Py_tp_dealloc, queue_dealloc},
    {Py_tp_traverse, queue_traverse},
    {Py_tp_clear, queue_clear},
    {Py_tp_repr, queue_repr},
    {Py_tp_methods, queue_methods},
    {Py_tp_members, queue_members},
    {0, NULL},
};

PyType_Spec mtpy_simple_queue_spec = {
    .name = "microthread.SimpleQueue",
    .basicsize = sizeof(struct mtpy_simple_queue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = queue_slots,
};
