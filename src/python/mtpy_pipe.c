/* SPDX-License-Identifier: MIT */
/* micro_pipe: the Python object around struct mt_pipe. */
#include "python/mtpy_pipe.h"

#include "python/mtpy_gc.h"

#include <structmember.h>

static void
drop_item(void *item)
{
    Py_DECREF((PyObject *)item);
}

int
mtpy_pipe_find_home(struct mtpy_pipe *self)
{
    struct mtpy_sched *here = mtpy_sched_make(mtpy_state_by_type(Py_TYPE(self)));
    if (here && here->serial == self->home_serial)
        return 0;
    if (here)
        PyErr_Format(PyExc_RuntimeError,
                     "%R belongs to another OS thread; between OS threads use "
                     "microthread.interpreters.create_channel",
                     self);
    return -1;
}

/* Raise the end of a closed, empty pipe: its own exception, else `usual`. Returns NULL. */
static PyObject *
raise_end(struct mtpy_pipe *self, PyObject *usual)
{
    if (self->source) {
        mtpy_thread_note_fetched(self->source);
        Py_CLEAR(self->source);
    }
    if (self->exception)
        mtpy_error_raise(Py_NewRef(self->exception));
    else if (usual == PyExc_EOFError)
        PyErr_SetString(usual, "the pipe is closed and empty");
    else
        PyErr_SetNone(usual);
    return NULL;
}

PyObject *
mtpy_pipe_raise_closed(struct mtpy_state *state)
{
    PyErr_SetString(state->PipeClosed, "the pipe is closed");
    return NULL;
}

static PyObject *
raise_put(struct mtpy_pipe *self, int error)
{
    if (error != MT_ECLOSED)
        return mtpy_raise(error);
    return mtpy_pipe_raise_closed(mtpy_state_by_type(Py_TYPE(self)));
}

static PyObject *
pipe_put(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    mt_time timeout = MT_FOREVER;
    PyObject *item;
    if (MT_LIKELY(nargs == 1 && !kwnames)) {
        item = args[0];
    } else {
        static const char *const names[] = {"obj", "timeout", NULL};
        PyObject *given = NULL;
        if (mtpy_parse_slowly(args, nargs, kwnames, "O|O:put", names, &item, &given) < 0 ||
            mtpy_parse_timeout(given, "timeout", &timeout) < 0)
            return NULL;
    }
    if (mtpy_pipe_check_home(self) < 0)
        return NULL;
    int error = mtpy_pipe_put(self, item, timeout);
    if (MT_UNLIKELY(error))
        return raise_put(self, error);
    Py_RETURN_NONE;
}

PyObject *
mtpy_pipe_raise_of_queue(const char *name, const char *text)
{
    PyObject *queue = PyImport_ImportModule("queue");
    PyObject *type = queue ? PyObject_GetAttrString(queue, name) : NULL;
    if (type)
        PyErr_SetString(type, text);
    Py_XDECREF(type);
    Py_XDECREF(queue);
    return NULL;
}

static PyObject *
pipe_put_nowait(PyObject *object, PyObject *item)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    if (mtpy_pipe_check_home(self) < 0)
        return NULL;
    int error = mtpy_pipe_put(self, item, 0);
    if (error == MT_ETIMEDOUT)
        return mtpy_pipe_raise_of_queue("Full", "the pipe is full");
    if (error)
        return raise_put(self, error);
    Py_RETURN_NONE;
}

static PyObject *
pipe_take(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    mt_time timeout = MT_FOREVER;
    if (MT_UNLIKELY(nargs > 0 || kwnames)) {
        static const char *const names[] = {"timeout", NULL};
        PyObject *given = NULL;
        if (mtpy_parse_slowly(args, nargs, kwnames, "|O:take", names, &given) < 0 ||
            mtpy_parse_timeout(given, "timeout", &timeout) < 0)
            return NULL;
    }
    if (mtpy_pipe_check_home(self) < 0)
        return NULL;
    PyObject *item = NULL;
    int error = mtpy_pipe_take(self, &item, timeout);
    if (MT_LIKELY(!error))
        return item;
    return error == MT_ECLOSED ? raise_end(self, PyExc_EOFError) : mtpy_raise(error);
}

static PyObject *
pipe_take_nowait(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    if (mtpy_pipe_check_home(self) < 0)
        return NULL;
    PyObject *item = NULL;
    int error = mtpy_pipe_take(self, &item, 0);
    if (!error)
        return item;
    if (error == MT_ETIMEDOUT)
        return mtpy_pipe_raise_of_queue("Empty", "the pipe is empty");
    return error == MT_ECLOSED ? raise_end(self, PyExc_EOFError) : mtpy_raise(error);
}

static PyObject *
pipe_next(PyObject *object)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    if (mtpy_pipe_check_home(self) < 0)
        return NULL;
    PyObject *item = NULL;
    int error = mtpy_pipe_take(self, &item, MT_FOREVER);
    if (MT_LIKELY(!error))
        return item;
    return error == MT_ECLOSED ? raise_end(self, PyExc_StopIteration) : mtpy_raise(error);
}

static PyObject *
pipe_take_from(PyObject *object, PyObject *iterable)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    if (mtpy_pipe_check_home(self) < 0)
        return NULL;
    PyObject *iterator = PyObject_GetIter(iterable);
    if (!iterator)
        return NULL;
    int error = 0;
    PyObject *item;
    while (!error && (item = PyIter_Next(iterator))) {
        error = mtpy_pipe_put(self, item, MT_FOREVER);
        Py_DECREF(item);
    }
    Py_DECREF(iterator);
    if (error)
        return raise_put(self, error);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

int
mtpy_pipe_close(struct mtpy_pipe *self, PyObject *exception)
{
    if (mtpy_pipe_check_home(self) < 0)
        return -1;
    if (self->core.is_closed)
        return 0;
    self->exception = Py_XNewRef(exception);
    mt_pipe_close(&self->core);
    return 0;
}

static PyObject *
pipe_close(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *exception = NULL, *made = NULL;
    static const char *const names[] = {"exception", NULL};
    if (mtpy_parse_slowly(args, nargs, kwnames, "|O:close", names, &exception) < 0)
        return NULL;
    if (exception == Py_None)
        exception = NULL;
    if (exception && PyExceptionClass_Check(exception)) {
        exception = made = PyObject_CallNoArgs(exception);
        if (!made)
            return NULL;
    }
    if (exception && !PyExceptionInstance_Check(exception)) {
        PyErr_Format(PyExc_TypeError, "exception must be an exception or None, got %.200s",
                     Py_TYPE(exception)->tp_name);
        Py_XDECREF(made);
        return NULL;
    }
    int failed = mtpy_pipe_close((struct mtpy_pipe *)object, exception);
    Py_XDECREF(made);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *
pipe_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(object);
}

static PyObject *
pipe_exit(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exception = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    if (exception && !PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_Exception))
        exception = NULL; /* an exit or a cancellation is the block's own affair */
    return mtpy_pipe_close((struct mtpy_pipe *)object, exception) < 0 ? NULL : Py_NewRef(Py_False);
}

static PyObject *
pipe_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"capacity", NULL};
    PyObject *given = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:micro_pipe", names, &given))
        return NULL;
    size_t capacity;
    if (mtpy_parse_capacity(given, &capacity) < 0)
        return NULL;
    struct mtpy_sched *home = mtpy_sched_get(mtpy_state_by_type(type));
    if (!home)
        return NULL;
    struct mtpy_pipe *self = (struct mtpy_pipe *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    mt_pipe_init(&self->core, home->core, capacity);
    self->home_serial = home->serial;
    return (PyObject *)self;
}

/* ---- cases of select() ---- */

int
mtpy_pipe_try_take(PyObject *object, PyObject **value)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    if (mtpy_pipe_check_home(self) < 0)
        return -1;
    void *item;
    int error = mt_pipe_try_take(&self->core, &item);
    if (error == MT_EEMPTY)
        return 0;
    if (error) {
        mtpy_pipe_raise_take(object, error);
        return -1;
    }
    *value = item;
    return 1;
}

int
mtpy_pipe_try_put(PyObject *object, PyObject *value)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    if (mtpy_pipe_check_home(self) < 0)
        return -1;
    int error = mt_pipe_try_put(&self->core, value);
    if (error == MT_EFULL)
        return 0;
    if (error) {
        raise_put(self, error);
        return -1;
    }
    Py_INCREF(value);
    return 1;
}

struct mt_pipe *
mtpy_pipe_core(PyObject *object)
{
    return &((struct mtpy_pipe *)object)->core;
}

void
mtpy_pipe_hold_for(PyObject *object)
{
    mtpy_pipe_hold((struct mtpy_pipe *)object);
}

void
mtpy_pipe_let_go_for(PyObject *object)
{
    mtpy_pipe_let_go((struct mtpy_pipe *)object);
}

PyObject *
mtpy_pipe_raise_take(PyObject *object, int error)
{
    return error == MT_ECLOSED ? raise_end((struct mtpy_pipe *)object, PyExc_EOFError)
                               : mtpy_raise(error);
}

static PyObject *
pipe_taking(PyObject *object, PyObject *unused)
{
    (void)unused;
    return mtpy_case_new(mtpy_state_by_type(Py_TYPE(object)), MTPY_CASE_TAKING, object, NULL, 0);
}

static PyObject *
pipe_putting(PyObject *object, PyObject *value)
{
    return mtpy_case_new(mtpy_state_by_type(Py_TYPE(object)), MTPY_CASE_PUTTING, object, value, 0);
}

/* ---- the object ---- */

static int
pipe_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->exception);
    Py_VISIT(self->source);
    for (size_t i = 0; i < self->core.items.count; i++)
        Py_VISIT((PyObject *)mt_ring_at(&self->core.items, i));
    for (size_t i = 0; !self->writer && i < self->held; i++)
        Py_VISIT(object);
    int result = mtpy_gc_visit_waiters(&self->core.readers, visit, arg);
    return result ? result : mtpy_gc_visit_waiters(&self->core.writers, visit, arg);
}

static int
pipe_clear(PyObject *object)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    Py_CLEAR(self->exception);
    Py_CLEAR(self->source);
    while (self->core.items.count)
        drop_item(mt_ring_pop(&self->core.items));
    return 0;
}

static void
pipe_dealloc(PyObject *object)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_TRASHCAN_BEGIN(object, pipe_dealloc)
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    if (self->home_serial) {
        if (self->writer)
            self->writer->pipe = NULL;
        mt_pipe_close(&self->core); /* those who wait to put by way of the writing end */
        (void)pipe_clear(object);
        mt_pipe_fini(&self->core, drop_item);
    }
    type->tp_free(object);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

PyObject *
mtpy_pipe_describe(struct mt_pipe *pipe)
{
    return PyObject_Repr((PyObject *)MT_CONTAINER_OF(pipe, struct mtpy_pipe, core));
}

static PyObject *
pipe_repr(PyObject *object)
{
    struct mtpy_pipe *self = (struct mtpy_pipe *)object;
    const char *closed = self->core.is_closed ? " closed" : "";
    if (self->core.capacity == MT_PIPE_UNBOUNDED)
        return PyUnicode_FromFormat("<micro_pipe at %p: %zu inside%s>", object,
                                    self->core.items.count, closed);
    return PyUnicode_FromFormat("<micro_pipe at %p: %zu of %zu inside%s>", object,
                                self->core.items.count, self->core.capacity, closed);
}

static Py_ssize_t
pipe_length(PyObject *object)
{
    return (Py_ssize_t)((struct mtpy_pipe *)object)->core.items.count;
}

static int
pipe_bool(PyObject *object)
{
    (void)object;
    return 1; /* an empty pipe is still a pipe: `if stdout:` must not depend on its filling */
}

static PyObject *
pipe_get_closed(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct mtpy_pipe *)object)->core.is_closed);
}

static PyObject *
pipe_get_capacity(PyObject *object, void *unused)
{
    (void)unused;
    size_t capacity = ((struct mtpy_pipe *)object)->core.capacity;
    return capacity == MT_PIPE_UNBOUNDED ? Py_NewRef(Py_None) : PyLong_FromSize_t(capacity);
}

static PyObject *
pipe_get_peak(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((struct mtpy_pipe *)object)->core.peak);
}

static PyGetSetDef pipe_getset[] = {
    {"closed", pipe_get_closed, NULL, "True after close().", NULL},
    {"capacity", pipe_get_capacity, NULL,
     "How many objects fit; None: unbounded, 0: a rendezvous.", NULL},
    {"peak", pipe_get_peak, NULL, "The most objects it ever held.", NULL},
    {0},
};

static PyMemberDef pipe_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct mtpy_pipe, weakrefs), READONLY, NULL},
    {0},
};

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef pipe_methods[] = {
    {"put", CAST(pipe_put), METH_FASTCALL | METH_KEYWORDS,
     "put($self, obj, timeout=None)\n--\n\n"
     "Put an object; waits while the pipe is full (capacity 0: until it was taken).\n\n"
     "timeout: seconds >= 0, None for no limit.\n"
     "Raises PipeClosed if the pipe is or gets closed, TimeoutError; nothing was put then."},
    {"put_nowait", CAST(pipe_put_nowait), METH_O,
     "put_nowait($self, obj, /)\n--\n\n"
     "Put an object without waiting. Raises queue.Full or PipeClosed."},
    {"take", CAST(pipe_take), METH_FASTCALL | METH_KEYWORDS,
     "take($self, timeout=None)\n--\n\n"
     "Take the oldest object; waits while there is none.\n\n"
     "timeout: seconds >= 0, None for no limit.\n"
     "Raises EOFError when the pipe is closed and empty (or what close() was given), TimeoutError."},
    {"take_nowait", CAST(pipe_take_nowait), METH_NOARGS,
     "take_nowait($self)\n--\n\n"
     "Take the oldest object without waiting. Raises queue.Empty, or as take() when closed."},
    {"take_from", CAST(pipe_take_from), METH_O,
     "take_from($self, iterable, /)\n--\n\n"
     "Put every object of an iterable, as put() does."},
    {"taking", CAST(pipe_taking), METH_NOARGS,
     "taking($self)\n--\n\nA case of select(): take the oldest object."},
    {"putting", CAST(pipe_putting), METH_O,
     "putting($self, obj, /)\n--\n\nA case of select(): put an object."},
    {"close", CAST(pipe_close), METH_FASTCALL | METH_KEYWORDS,
     "close($self, exception=None)\n--\n\n"
     "End the pipe: what is inside can still be taken, then readers see its end, or `exception`.\n"
     "Waiting writers get PipeClosed. Closing twice is allowed; the first one counts."},
    {"__enter__", CAST(pipe_enter), METH_NOARGS, NULL},
    {"__exit__", CAST(pipe_exit), METH_FASTCALL, NULL},
    {0},
};

static PyType_Slot pipe_slots[] = {
    {Py_tp_doc,
     "micro_pipe(capacity=None)\n--\n\n"
     "A one-way FIFO of objects between micro-threads of one OS thread.\n\n"
     "capacity: None for unbounded; n: put() waits while n objects are inside; 0: a rendezvous.\n"
     "Iterating takes until the pipe is closed and empty. `with` closes it at the end, with the\n"
     "exception if an Exception ends the block. Waiting readers and writers are served in the\n"
     "order in which they came."},
    {Py_tp_new, pipe_new},
    {Py_tp_dealloc, pipe_dealloc},
    {Py_tp_traverse, pipe_traverse},
    {Py_tp_clear, pipe_clear},
    {Py_tp_repr, pipe_repr},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, pipe_next},
    {Py_tp_methods, pipe_methods},
    {Py_tp_members, pipe_members},
    {Py_tp_getset, pipe_getset},
    {Py_sq_length, pipe_length},
    {Py_nb_bool, pipe_bool},
    {0, NULL},
};

PyType_Spec mtpy_pipe_spec = {
    .name = "microthread.micro_pipe",
    .basicsize = sizeof(struct mtpy_pipe),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = pipe_slots,
};
