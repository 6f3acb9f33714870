/* SPDX-License-Identifier: MIT */
/* _QueueBase: what Queue and LifoQueue, which are written in Python, do most of the time: an item goes into
   a container, or comes out, and nobody has to wait. Everything else is their _put_slowly() and
   _get_slowly(), which take the mutex; here it is enough that nobody has it, since nothing in here
   waits. And _Line, those who wait for an item, or for room. */
#include "python/mtpy_sync.h"

struct mtpy_line {
    PyObject_HEAD
    struct mt_list *list; /* in waiters */
    PyObject *waiters;    /* _Waiters; owned */
    Py_ssize_t promised;  /* how many of them were told and have not run yet */
};

struct mtpy_queue {
    PyObject_HEAD
    struct mtpy_state *state;  /* borrowed: the type's module owns it */
    PyObject *items;           /* the container; the attribute queue */
    PyObject *maxsize;         /* no more than so many items, if > 0 */
    PyObject *mutex;           /* as the user sees it, who may put another one there */
    PyObject *take;            /* name of the container's method that takes an item; NULL: only slowly */
    struct mtpy_lock *lock;    /* the mutex that was made for it; owned, as all that follow */
    struct mtpy_line *getters;
    struct mtpy_line *putters;
    PyObject *not_empty;       /* the waiters of the condition of that name */
    PyObject *not_full;
    Py_ssize_t unfinished;     /* put, and not yet done with */
    char is_shutdown;          /* a bool; a member of Python's wants a char */
};

/* ---- _Line ---- */

static PyObject *
line_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"waiters", NULL};
    struct mtpy_state *state = mtpy_state_by_type(type);
    PyObject *waiters;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!:_Line", names, state->waiters_type, &waiters))
        return NULL;
    struct mtpy_line *self = (struct mtpy_line *)type->tp_alloc(type, 0);
    if (self) {
        self->waiters = Py_NewRef(waiters);
        self->list = mtpy_waiters_list(waiters);
    }
    return (PyObject *)self;
}

/* There are `count` items, or places: promise those that nobody has been told of. */
static void
offer(struct mtpy_line *self, Py_ssize_t count)
{
    if (count > self->promised && !mt_list_is_empty(self->list))
        self->promised += (Py_ssize_t)mt_sync_tell(self->list, (size_t)(count - self->promised));
}

static PyObject *
line_offer(PyObject *object, PyObject *given)
{
    Py_ssize_t count = PyNumber_AsSsize_t(given, NULL);
    if (count == -1 && PyErr_Occurred())
        return NULL;
    offer((struct mtpy_line *)object, count);
    Py_RETURN_NONE;
}

static int
line_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((struct mtpy_line *)object)->waiters);
    return 0;
}

static void
line_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_XDECREF(((struct mtpy_line *)object)->waiters);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMemberDef line_members[] = {
    {"waiters", T_OBJECT, offsetof(struct mtpy_line, waiters), READONLY, NULL},
    {"promised", T_PYSSIZET, offsetof(struct mtpy_line, promised), 0, NULL},
    {0},
};

static PyMethodDef line_methods[] = {
    {"offer", line_offer, METH_O,
     "offer($self, count, /)\n--\n\n"
     "There are so many items, or places: promise those that nobody has been told of."},
    {0},
};

static PyType_Slot line_slots[] = {
    {Py_tp_doc, "_Line(waiters)\n--\n\nThose who wait for an item, or for room."},
    {Py_tp_new, line_new},
    {Py_tp_dealloc, line_dealloc},
    {Py_tp_traverse, line_traverse},
    {Py_tp_members, line_members},
    {Py_tp_methods, line_methods},
    {0, NULL},
};

PyType_Spec mtpy_line_spec = {
    .name = "microthread._core._Line",
    .basicsize = sizeof(struct mtpy_line),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = line_slots,
};

/* ---- _QueueBase ---- */

static PyObject *
queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args, (void)kwargs; /* they are for __init__ */
    struct mtpy_queue *self = (struct mtpy_queue *)type->tp_alloc(type, 0);
    if (self)
        self->state = mtpy_state_by_type(type);
    return (PyObject *)self;
}

static PyObject *
queue_prepare(PyObject *object, PyObject *args)
{
    struct mtpy_queue *self = (struct mtpy_queue *)object;
    const struct mtpy_state *state = self->state;
    PyObject *take, *lock, *getters, *putters, *not_empty, *not_full;
    if (!PyArg_ParseTuple(args, "OO!O!O!O!O!:_prepare", &take, state->lock_type, &lock,
                          state->line_type, &getters, state->line_type, &putters,
                          state->waiters_type, &not_empty, state->waiters_type, &not_full))
        return NULL;
    Py_XSETREF(self->lock, (struct mtpy_lock *)Py_NewRef(lock));
    Py_XSETREF(self->getters, (struct mtpy_line *)Py_NewRef(getters));
    Py_XSETREF(self->putters, (struct mtpy_line *)Py_NewRef(putters));
    Py_XSETREF(self->not_empty, Py_NewRef(not_empty));
    Py_XSETREF(self->not_full, Py_NewRef(not_full));
    Py_XSETREF(self->take, take == Py_None ? NULL : Py_NewRef(take));
    Py_RETURN_NONE;
}

/* Whether the mutex could be had and nothing is as it seldom is; then *most is how many items may be
   inside, or <= 0. */
static bool
is_usual(const struct mtpy_queue *self, long *most)
{
    if (!self->items || self->mutex != (PyObject *)self->lock || self->lock->core.owner ||
        self->is_shutdown || !self->maxsize || !PyLong_CheckExact(self->maxsize))
        return false;
    int overflow;
    *most = PyLong_AsLongAndOverflow(self->maxsize, &overflow);
    return !overflow;
}

/* Give way if it is the caller's turn to. Returns 0 or -1 with an exception. */
static int
take_turn(const struct mtpy_queue *self)
{
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    int error = sched ? mt_sync_turn(sched->core) : MT_EHOST;
    if (error)
        (void)mtpy_raise(error);
    return error ? -1 : 0;
}

/* No bound method is made of it where that can be helped: the garbage collector would not see it on
   this stack, and keep a queue that only its waiting reader knows. */
static PyObject *
go_slowly(PyObject *object, PyObject *name, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames)
{
    enum { ARGS_MOST = 3 };
    Py_ssize_t count = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (MT_LIKELY(count <= ARGS_MOST)) {
        PyObject *all[1 + ARGS_MOST] = {object};
        for (Py_ssize_t i = 0; i < count; i++)
            all[1 + i] = args[i];
        return PyObject_VectorcallMethod(name, all, (size_t)nargs + 1, kwnames);
    }
    PyObject *method = PyObject_GetAttr(object, name);
    PyObject *result =
        method ? PyObject_Vectorcall(method, args, (size_t)nargs, kwnames) : NULL;
    Py_XDECREF(method);
    return result;
}

static PyObject *
queue_put(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_queue *self = (struct mtpy_queue *)object;
    long most;
    if (!self->take || nargs != 1 || kwnames)
        goto slowly;
    if (take_turn(self) < 0)
        return NULL;
    if (!is_usual(self, &most) || !mt_list_is_empty(mtpy_waiters_list(self->not_empty)))
        goto slowly;
    PyObject *items = Py_NewRef(self->items);
    Py_ssize_t size = PyObject_Size(items);
    if (most > 0 && size + self->putters->promised >= most) {
        Py_DECREF(items);
        goto slowly;
    }
    PyObject *result = size < 0 ? NULL
                                : PyObject_CallMethodOneArg(items, self->state->name_append, args[0]);
    Py_DECREF(items);
    if (result) {
        self->unfinished++;
        offer(self->getters, size + 1);
    }
    return result;
slowly:
    return go_slowly(object, self->state->name_put_slowly, args, nargs, kwnames);
}

static PyObject *
queue_get(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_queue *self = (struct mtpy_queue *)object;
    long most;
    if (!self->take || nargs || kwnames)
        goto slowly;
    if (take_turn(self) < 0)
        return NULL;
    if (!is_usual(self, &most) || !mt_list_is_empty(mtpy_waiters_list(self->not_full)))
        goto slowly;
    PyObject *items = Py_NewRef(self->items);
    Py_ssize_t size = PyObject_Size(items);
    if (size >= 0 && size <= self->getters->promised) {
        Py_DECREF(items);
        goto slowly;
    }
    PyObject *item = size < 0 ? NULL : PyObject_CallMethodNoArgs(items, self->take);
    Py_DECREF(items);
    if (item && most > 0)
        offer(self->putters, most - (size - 1));
    return item;
slowly:
    return go_slowly(object, self->state->name_get_slowly, args, nargs, kwnames);
}

static int
queue_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct mtpy_queue *self = (struct mtpy_queue *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->items);
    Py_VISIT(self->maxsize);
    Py_VISIT(self->mutex);
    Py_VISIT(self->lock);
    Py_VISIT(self->getters);
    Py_VISIT(self->putters);
    Py_VISIT(self->not_empty);
    Py_VISIT(self->not_full);
    return 0;
}

static int
queue_clear(PyObject *object)
{
    struct mtpy_queue *self = (struct mtpy_queue *)object;
    Py_CLEAR(self->take); /* from now on only slowly, if at all */
    Py_CLEAR(self->items);
    Py_CLEAR(self->maxsize);
    Py_CLEAR(self->mutex);
    Py_CLEAR(self->lock);
    Py_CLEAR(self->getters);
    Py_CLEAR(self->putters);
    Py_CLEAR(self->not_empty);
    Py_CLEAR(self->not_full);
    return 0;
}

static void
queue_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)queue_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef queue_methods[] = {
    {"put", CAST(queue_put), METH_FASTCALL | METH_KEYWORDS,
     "put($self, item, block=True, timeout=None)\n--\n\n"
     "Put an item; waits while the queue is full.\n\n"
     "timeout: seconds >= 0, None for no limit. Raises queue.Full when time was up, or at once\n"
     "without block; queue.ShutDown after shutdown()."},
    {"get", CAST(queue_get), METH_FASTCALL | METH_KEYWORDS,
     "get($self, block=True, timeout=None)\n--\n\n"
     "Take an item; waits while there is none.\n\n"
     "timeout: seconds >= 0, None for no limit. Raises queue.Empty when time was up, or at once\n"
     "without block; queue.ShutDown after shutdown(), when nothing is left."},
    {"_prepare", queue_prepare, METH_VARARGS, NULL},
    {0},
};

static PyMemberDef queue_members[] = {
    {"queue", T_OBJECT_EX, offsetof(struct mtpy_queue, items), 0, NULL},
    {"maxsize", T_OBJECT_EX, offsetof(struct mtpy_queue, maxsize), 0, NULL},
    {"mutex", T_OBJECT_EX, offsetof(struct mtpy_queue, mutex), 0, NULL},
    {"_getters", T_OBJECT_EX, offsetof(struct mtpy_queue, getters), READONLY, NULL},
    {"_putters", T_OBJECT_EX, offsetof(struct mtpy_queue, putters), READONLY, NULL},
    {"unfinished_tasks", T_PYSSIZET, offsetof(struct mtpy_queue, unfinished), 0, NULL},
    {"is_shutdown", T_BOOL, offsetof(struct mtpy_queue, is_shutdown), 0, NULL},
    {0},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, "What Queue, LifoQueue and PriorityQueue are made of."},
    {Py_tp_new, queue_new},
    {Py_tp_dealloc, queue_dealloc},
    {Py_tp_traverse, queue_traverse},
    {Py_tp_clear, queue_clear},
    {Py_tp_methods, queue_methods},
    {Py_tp_members, queue_members},
    {0, NULL},
};

PyType_Spec mtpy_queue_base_spec = {
    .name = "microthread._core._QueueBase",
    .basicsize = sizeof(struct mtpy_queue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = queue_slots,
};
