/* SPDX-License-Identifier: MIT */
/* stdin and stdout of a micro-thread: put(), take() and take_from() of the module, and the writing
   end that generate() gives its function. Whoever writes holds no reference to the pipe, not even
   while it is parked in put(): the pipe dies with its reader, and closes as it dies. */
#include "python/mtpy_pipe.h"

/* ---- writing ---- */

/* Put into a micro_pipe; `pipe` may be gone when this returns. Returns 0 or -1. */
static inline int
put_into_pipe(struct mtpy_state *state, struct mtpy_pipe *pipe, PyObject *item, mt_time timeout)
{
    if (mtpy_pipe_check_home(pipe) < 0)
        return -1;
    int error = mtpy_pipe_put(pipe, item, timeout);
    if (MT_LIKELY(error == 0))
        return 0;
    if (error == MT_ECLOSED)
        mtpy_pipe_raise_closed(state);
    else
        mtpy_raise(error);
    return -1;
}

static inline int
put_into_writer(struct mtpy_state *state, struct mtpy_writer *writer, PyObject *item,
                mt_time timeout)
{
    if (MT_LIKELY(writer->pipe != NULL))
        return put_into_pipe(state, writer->pipe, item, timeout);
    mtpy_pipe_raise_closed(state);
    return -1;
}

/* Put into whatever somebody has for a stdout. Returns 0 or -1. */
static inline int
put_into(struct mtpy_state *state, PyObject *out, PyObject *item)
{
    if (MT_LIKELY(Py_IS_TYPE(out, state->writer_type)))
        return put_into_writer(state, (struct mtpy_writer *)out, item, MT_FOREVER);
    Py_INCREF(out);
    int failed = -1;
    if (Py_IS_TYPE(out, state->pipe_type)) {
        failed = put_into_pipe(state, (struct mtpy_pipe *)out, item, MT_FOREVER);
    } else {
        PyObject *result = PyObject_CallMethod(out, "put", "O", item);
        failed = result ? 0 : -1;
        Py_XDECREF(result);
    }
    Py_DECREF(out);
    return failed;
}

/* Put all of an iterable, by way of `out`, which the caller keeps. New None, or NULL. */
static PyObject *
put_all(struct mtpy_state *state, PyObject *out, PyObject *iterable)
{
    PyObject *iterator = PyObject_GetIter(iterable);
    if (!iterator)
        return NULL;
    int failed = 0;
    PyObject *item;
    while (!failed && (item = PyIter_Next(iterator))) {
        failed = put_into(state, out, item);
        Py_DECREF(item);
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* ---- the module's functions ---- */

/* RuntimeError: there is no such pipe. Returns NULL. */
static PyObject *
raise_no_pipe(struct mtpy_thread *thread, const char *which, const char *how)
{
    PyObject *name = mtpy_thread_name(thread);
    if (name)
        PyErr_Format(PyExc_RuntimeError, "micro_thread %U has no %s; %s", name, which, how);
    Py_XDECREF(name);
    return NULL;
}

/* The current micro-thread's stdout: borrowed, or NULL with an exception. */
static inline PyObject *
find_stdout(struct mtpy_state *state)
{
    struct mtpy_sched *sched = mtpy_sched_get(state);
    if (!sched)
        return NULL;
    struct mtpy_thread *thread = mtpy_thread_current(sched);
    if (MT_LIKELY(thread->extra && thread->extra->std_out))
        return thread->extra->std_out;
    return raise_no_pipe(thread, "stdout", "generate() gives one, or set current().stdout");
}

static PyObject *
core_put(PyObject *module, PyObject *item)
{
    struct mtpy_state *state = mtpy_state_of(module);
    PyObject *out = find_stdout(state);
    if (!out || put_into(state, out, item) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
core_take_from(PyObject *module, PyObject *iterable)
{
    struct mtpy_state *state = mtpy_state_of(module);
    PyObject *out = find_stdout(state);
    if (!out)
        return NULL;
    Py_INCREF(out);
    PyObject *result = put_all(state, out, iterable);
    Py_DECREF(out);
    return result;
}

static PyObject *
core_take(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_state *state = mtpy_state_of(module);
    struct mtpy_sched *sched = mtpy_sched_get(state);
    if (!sched)
        return NULL;
    struct mtpy_thread *thread = mtpy_thread_current(sched);
    PyObject *in = thread->extra ? thread->extra->std_in : NULL;
    if (!in)
        return raise_no_pipe(thread, "stdin", "give one with stdin=, or set current().stdin");
    PyObject *item = NULL;
    if (!Py_IS_TYPE(in, state->pipe_type)) {
        Py_INCREF(in);
        item = PyObject_CallMethod(in, "take", NULL);
        Py_DECREF(in);
        return item;
    }
    struct mtpy_pipe *pipe = (struct mtpy_pipe *)in;
    if (mtpy_pipe_check_home(pipe) < 0)
        return NULL;
    mtpy_pipe_hold(pipe); /* somebody may set stdin meanwhile */
    int error = mtpy_pipe_take(pipe, &item, MT_FOREVER);
    if (MT_UNLIKELY(error))
        mtpy_pipe_raise_take(in, error);
    mtpy_pipe_let_go(pipe);
    return item;
}

PyMethodDef mtpy_stdio_functions[] = {
    {"put", core_put, METH_O,
     "put(obj, /)\n--\n\n"
     "Put an object into the current micro-thread's stdout; waits while that pipe is full.\n\n"
     "Raises RuntimeError if it has none, PipeClosed when the reader is gone."},
    {"take_from", core_take_from, METH_O,
     "take_from(iterable, /)\n--\n\n"
     "Put every object of an iterable into the current micro-thread's stdout, as put() does."},
    {"take", core_take, METH_NOARGS,
     "take()\n--\n\n"
     "Take the next object from the current micro-thread's stdin; waits while there is none.\n\n"
     "Raises RuntimeError if it has none, EOFError at its end."},
    {0},
};

/* ---- the writing end ---- */

static PyObject *
writer_put(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
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
    struct mtpy_state *state = mtpy_state_by_type(Py_TYPE(object));
    if (put_into_writer(state, (struct mtpy_writer *)object, item, timeout) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
writer_put_nowait(PyObject *object, PyObject *item)
{
    struct mtpy_pipe *pipe = ((struct mtpy_writer *)object)->pipe;
    if (!pipe)
        return mtpy_pipe_raise_closed(mtpy_state_by_type(Py_TYPE(object)));
    return PyObject_CallMethod((PyObject *)pipe, "put_nowait", "O", item);
}

static PyObject *
writer_take_from(PyObject *object, PyObject *iterable)
{
    return put_all(mtpy_state_by_type(Py_TYPE(object)), object, iterable);
}

static PyObject *
writer_putting(PyObject *object, PyObject *value)
{
    return mtpy_case_new(mtpy_state_by_type(Py_TYPE(object)), MTPY_CASE_PUTTING, object, value, 0);
}

PyObject *
mtpy_writer_pipe(PyObject *object)
{
    return (PyObject *)((struct mtpy_writer *)object)->pipe;
}

static PyObject *
writer_close(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *pipe = Py_XNewRef((PyObject *)((struct mtpy_writer *)object)->pipe);
    if (!pipe)
        Py_RETURN_NONE; /* closed with its reader */
    PyObject *close = PyObject_GetAttrString(pipe, "close");
    PyObject *result = close ? PyObject_Vectorcall(close, args, (size_t)nargs, kwnames) : NULL;
    Py_XDECREF(close);
    Py_DECREF(pipe);
    return result;
}

/* Close it in the way the micro-thread has ended, whose stdout it was: called when that is done. */
static PyObject *
writer_end(PyObject *object, PyObject *given)
{
    struct mtpy_state *state = mtpy_state_by_type(Py_TYPE(object));
    if (!PyObject_TypeCheck(given, state->thread_type)) {
        PyErr_Format(PyExc_TypeError, "thread must be a micro_thread, got %.200s",
                     Py_TYPE(given)->tp_name);
        return NULL;
    }
    struct mtpy_thread *thread = (struct mtpy_thread *)given;
    if (thread->extra)
        Py_CLEAR(thread->extra->std_in); /* who writes there must learn of it */
    struct mtpy_pipe *pipe = ((struct mtpy_writer *)object)->pipe;
    PyObject *outcome = thread->core.done.value;
    if (!pipe || pipe->core.is_closed) {
        if (thread->outcome == MTPY_OUTCOME_EXCEPTION &&
            PyErr_GivenExceptionMatches(outcome, state->PipeClosed))
            mtpy_thread_note_fetched(thread); /* as GeneratorExit ends a generator */
        Py_RETURN_NONE;
    }
    Py_INCREF(pipe);
    PyObject *exception = NULL;
    if (thread->outcome == MTPY_OUTCOME_EXCEPTION) {
        exception = Py_NewRef(outcome);
        if (!thread->is_fetched && !pipe->source)
            pipe->source = (struct mtpy_thread *)Py_NewRef(given);
    } else if (thread->outcome == MTPY_OUTCOME_CANCELLED) {
        PyObject *value = mtpy_thread_outcome(thread); /* NULL, and a CancelledError */
        exception = value ? value : mtpy_error_take();
    }
    int failed = mtpy_pipe_close(pipe, exception);
    Py_XDECREF(exception);
    Py_DECREF(pipe);
    return failed ? NULL : Py_NewRef(Py_None);
}

bool
mtpy_pipe_is_stdout(const struct mt_pipe *core, const struct mtpy_thread *thread)
{
    const struct mtpy_pipe *pipe = MT_CONTAINER_OF(core, struct mtpy_pipe, core);
    return pipe->writer && thread->extra && thread->extra->std_out == (PyObject *)pipe->writer;
}

static PyObject *
writer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"pipe", NULL};
    struct mtpy_state *state = mtpy_state_by_type(type);
    struct mtpy_pipe *pipe;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!:pipe_writer", names, state->pipe_type,
                                     &pipe))
        return NULL;
    if (pipe->writer)
        return Py_NewRef((PyObject *)pipe->writer);
    struct mtpy_writer *self = (struct mtpy_writer *)type->tp_alloc(type, 0);
    if (self) {
        self->pipe = pipe;
        pipe->writer = self;
    }
    return (PyObject *)self;
}

static int
writer_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct mtpy_pipe *pipe = ((struct mtpy_writer *)object)->pipe;
    Py_VISIT(Py_TYPE(object));
    for (size_t i = 0; pipe && i < pipe->held; i++)
        Py_VISIT((PyObject *)pipe);
    return 0;
}

static void
writer_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    struct mtpy_pipe *pipe = ((struct mtpy_writer *)object)->pipe;
    if (pipe)
        pipe->writer = NULL;
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *
writer_repr(PyObject *object)
{
    PyObject *pipe = (PyObject *)((struct mtpy_writer *)object)->pipe;
    if (!pipe)
        return PyUnicode_FromFormat("<pipe_writer at %p: its reader is gone>", object);
    return PyUnicode_FromFormat("<pipe_writer of %R>", pipe);
}

static PyObject *
writer_get_closed(PyObject *object, void *unused)
{
    (void)unused;
    const struct mtpy_pipe *pipe = ((struct mtpy_writer *)object)->pipe;
    return PyBool_FromLong(!pipe || pipe->core.is_closed);
}

static PyGetSetDef writer_getset[] = {
    {"closed", writer_get_closed, NULL, "True once put() can reach nobody.", NULL},
    {0},
};

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef writer_methods[] = {
    {"put", CAST(writer_put), METH_FASTCALL | METH_KEYWORDS,
     "put($self, obj, timeout=None)\n--\n\n"
     "Put an object; waits while the pipe is full.\n\n"
     "timeout: seconds >= 0, None for no limit. Raises PipeClosed when the reader closed or dropped\n"
     "the pipe, also while this waits; TimeoutError."},
    {"put_nowait", writer_put_nowait, METH_O,
     "put_nowait($self, obj, /)\n--\n\n"
     "Put an object without waiting. Raises queue.Full or PipeClosed."},
    {"take_from", writer_take_from, METH_O,
     "take_from($self, iterable, /)\n--\n\nPut every object of an iterable, as put() does."},
    {"putting", CAST(writer_putting), METH_O,
     "putting($self, obj, /)\n--\n\nA case of select(): put an object."},
    {"close", CAST(writer_close), METH_FASTCALL | METH_KEYWORDS,
     "close($self, exception=None)\n--\n\n"
     "End the pipe, as micro_pipe.close(); nothing happens if its reader is gone."},
    {"_end", writer_end, METH_O, NULL},
    {0},
};

static PyType_Slot writer_slots[] = {
    {Py_tp_doc,
     "pipe_writer(pipe)\n--\n\n"
     "The writing end of a micro_pipe, which it does not keep alive: what generate() gives its\n"
     "function as stdout."},
    {Py_tp_new, writer_new},
    {Py_tp_dealloc, writer_dealloc},
    {Py_tp_traverse, writer_traverse},
    {Py_tp_repr, writer_repr},
    {Py_tp_methods, writer_methods},
    {Py_tp_getset, writer_getset},
    {0, NULL},
};

PyType_Spec mtpy_writer_spec = {
    .name = "microthread.pipe_writer",
    .basicsize = sizeof(struct mtpy_writer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = writer_slots,
};
