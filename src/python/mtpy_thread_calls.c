/* SPDX-License-Identifier: MIT */
/* What others may do to a micro_thread: wait for it, ask what became of it, cancel it. */
#include "python/mtpy_group.h"
#include "python/mtpy_select.h"

/* ---- what became of it ---- */

void
mtpy_thread_note_fetched(struct mtpy_thread *self)
{
    if (!self->is_fetched && self->core.state == MT_THREAD_DONE)
        mt_list_remove(&self->core.live); /* of the failed ones; before its end: the live ones */
    self->is_fetched = true;
}

PyObject *
mtpy_thread_outcome(struct mtpy_thread *self)
{
    PyObject *value = self->core.done.value;
    if (MT_LIKELY(self->outcome == MTPY_OUTCOME_VALUE))
        return Py_NewRef(value ? value : Py_None); /* NULL: the garbage collector was here */
    if (self->outcome == MTPY_OUTCOME_EXCEPTION && value) {
        mtpy_thread_note_fetched(self);
        mtpy_error_raise(Py_NewRef(value));
        return NULL;
    }
    struct mtpy_state *state = mtpy_state_by_type(Py_TYPE(self));
    PyObject *error = mtpy_futures_error(&state->futures_CancelledError, "CancelledError");
    if (error) {
        PyObject *args = value ? PyObject_GetAttrString(value, "args") : PyTuple_New(0);
        PyObject *made = args ? PyObject_CallObject(error, args) : NULL;
        Py_XDECREF(args);
        if (made) {
            if (value)
                PyException_SetCause(made, Py_NewRef(value));
            mtpy_error_raise(made);
        }
    }
    return NULL;
}

/* Wait for its end. Returns 0 or -1 with an exception. */
static int
wait_done(struct mtpy_thread *self, mt_time timeout)
{
    if (self->outcome != MTPY_OUTCOME_NONE)
        return 0;
    struct mtpy_sched *sched = mtpy_sched_here;
    if (MT_UNLIKELY(!sched || self->core.sched != sched->core)) {
        sched = mtpy_sched_get(mtpy_state_by_type(Py_TYPE(self)));
        if (!sched)
            return -1;
    }
    if (self == mtpy_thread_current(sched)) {
        PyErr_Format(PyExc_RuntimeError, "%R cannot wait for itself", self);
        return -1;
    }
    if (mtpy_thread_is_new(self)) {
        PyErr_Format(PyExc_RuntimeError, "%R was not started; call start() before wait()", self);
        return -1;
    }
    int error = MT_ETIMEDOUT;
    if (timeout > 0)
        error = mt_deferred_wait(sched->core, &self->core.done,
                                 mt_sched_deadline(sched->core, timeout), MT_WAIT_THREAD,
                                 &self->core);
    if (!error)
        return 0;
    mtpy_raise(error);
    return -1;
}

static PyObject *
thread_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    mt_time timeout = MT_FOREVER;
    if (MT_UNLIKELY(nargs || kwnames)) {
        PyObject *given = NULL;
        static const char *const names[] = {"timeout", NULL};
        if (mtpy_parse_slowly(args, nargs, kwnames, "|O:wait", names, &given) < 0 ||
            mtpy_parse_timeout(given, "timeout", &timeout) < 0)
            return NULL;
    }
    if (wait_done(self, timeout) < 0)
        return NULL;
    if (MT_UNLIKELY(self->outcome == MTPY_OUTCOME_CANCELLED)) {
        /* What cancelled it may have cancelled the caller, too, which then is not to be told of it as of
           an error. */
        struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_by_type(Py_TYPE(object)));
        if (!sched)
            return NULL;
        struct mtpy_thread *caller = mtpy_thread_current(sched);
        if (caller->core.is_pending && mtpy_thread_check(sched, caller))
            return mtpy_raise(MT_ECANCELED);
    }
    return mtpy_thread_outcome(self);
}

static PyObject *
thread_join_quietly(PyObject *object, PyObject *unused)
{
    (void)unused;
    if (wait_done((struct mtpy_thread *)object, MT_FOREVER) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static int
need_done(struct mtpy_thread *self)
{
    if (self->outcome != MTPY_OUTCOME_NONE)
        return 0;
    struct mtpy_state *state = mtpy_state_by_type(Py_TYPE(self));
    PyObject *error = mtpy_futures_error(&state->futures_InvalidStateError, "InvalidStateError");
    if (error)
        PyErr_Format(error, "%R is not done", self);
    return -1;
}

static PyObject *
thread_result(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    return need_done(self) < 0 ? NULL : mtpy_thread_outcome(self);
}

static PyObject *
thread_exception(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    if (need_done(self) < 0)
        return NULL;
    if (self->outcome == MTPY_OUTCOME_CANCELLED)
        return mtpy_thread_outcome(self);
    if (self->outcome == MTPY_OUTCOME_VALUE || !self->core.done.value)
        Py_RETURN_NONE;
    mtpy_thread_note_fetched(self);
    return Py_NewRef((PyObject *)self->core.done.value);
}

static PyObject *
thread_done(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct mtpy_thread *)object)->outcome != MTPY_OUTCOME_NONE);
}

static PyObject *
thread_cancelled(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct mtpy_thread *)object)->outcome == MTPY_OUTCOME_CANCELLED);
}

static PyObject *
thread_add_done_callback(PyObject *object, PyObject *function)
{
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    if (mtpy_check_callable(function) < 0)
        return NULL;
    if (self->outcome != MTPY_OUTCOME_NONE) {
        PyObject *result = PyObject_CallOneArg(function, object);
        if (!result && !PyErr_ExceptionMatches(PyExc_Exception))
            return NULL; /* Ctrl-C, cancellation: the caller's own */
        if (!result)
            PyErr_WriteUnraisable(function);
        Py_XDECREF(result);
        Py_RETURN_NONE;
    }
    struct mtpy_extra *extra = mtpy_thread_extra(self);
    if (!extra || (!extra->callbacks && !(extra->callbacks = PyList_New(0))))
        return NULL;
    return PyList_Append(extra->callbacks, function) < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- raising something in it ---- */

void
mtpy_thread_cancel(struct mtpy_thread *self)
{
    self->is_cancelled = true;
    self->core.is_pending = true;
    if (self->is_queued)
        mtpy_group_start((struct mtpy_member *)self);
    /* One that is shielded, or cleans up after an earlier cancellation, is left to it. */
    if (self->core.state == MT_THREAD_WAITING && mtpy_scope_demands_now(self))
        mt_thread_cancel_wait(&self->core);
}

static PyObject *
thread_cancel(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    PyObject *message = Py_None;
    static const char *const names[] = {"msg", NULL};
    if ((nargs || kwnames) &&
        mtpy_parse_slowly(args, nargs, kwnames, "|O:cancel", names, &message) < 0)
        return NULL;
    if (self->outcome != MTPY_OUTCOME_NONE)
        Py_RETURN_FALSE;
    if (message != Py_None) {
        struct mtpy_extra *extra = mtpy_thread_extra(self);
        if (!extra)
            return NULL;
        Py_XSETREF(extra->cancel_message, Py_NewRef(message));
    }
    mtpy_thread_cancel(self);
    Py_RETURN_TRUE;
}

static PyObject *
thread_throw(PyObject *object, PyObject *exception)
{
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    if (PyExceptionClass_Check(exception))
        exception = PyObject_CallNoArgs(exception);
    else
        Py_INCREF(exception);
    if (!exception)
        return NULL;
    if (!PyExceptionInstance_Check(exception)) {
        PyErr_Format(PyExc_TypeError, "exc must be an exception, got %.200s",
                     Py_TYPE(exception)->tp_name);
        Py_DECREF(exception);
        return NULL;
    }
    if (self->outcome != MTPY_OUTCOME_NONE) {
        Py_DECREF(exception);
        Py_RETURN_FALSE;
    }
    return mtpy_thread_throw(self, exception) < 0 ? NULL : Py_NewRef(Py_True);
}

#define CAST(function) (PyCFunction)(void (*)(void))(function)

PyMethodDef mtpy_thread_methods[] = {
    {"start", CAST(mtpy_thread_start), METH_NOARGS,
     "start($self)\n--\n\nQueue it to run. Starting twice: RuntimeError."},
    {"wait", CAST(thread_wait), METH_FASTCALL | METH_KEYWORDS,
     "wait($self, timeout=None)\n--\n\n"
     "Wait for its end; return what its function returned or raise what it raised.\n\n"
     "timeout: seconds >= 0, None for no limit. Any number may wait.\n"
     "Raises concurrent.futures.CancelledError if it was cancelled, TimeoutError, RuntimeError when\n"
     "it waits for itself or was never started."},
    {"_join", CAST(thread_join_quietly), METH_NOARGS, NULL},
    {"done", CAST(thread_done), METH_NOARGS, "done($self)\n--\n\nWhether it has ended."},
    {"result", CAST(thread_result), METH_NOARGS,
     "result($self)\n--\n\n"
     "As wait(), without waiting: concurrent.futures.InvalidStateError when it is not done."},
    {"exception", CAST(thread_exception), METH_NOARGS,
     "exception($self)\n--\n\n"
     "The exception that ended it, or None; it counts as fetched then.\n"
     "Raises CancelledError if it was cancelled, InvalidStateError when it is not done."},
    {"cancelled", CAST(thread_cancelled), METH_NOARGS,
     "cancelled($self)\n--\n\nWhether it was cancelled and ended by that."},
    {"cancel", CAST(thread_cancel), METH_FASTCALL | METH_KEYWORDS,
     "cancel($self, msg=None)\n--\n\n"
     "Raise Cancelled(msg) in it where it is suspended, or at its next wait; again at each wait\n"
     "outside the clean-up that the exception passes through. True unless it was done."},
    {"throw", CAST(thread_throw), METH_O,
     "throw($self, exc, /)\n--\n\n"
     "Raise an exception in it, once, where it is suspended or at its next wait; several thrown before\n"
     "that come one after the other, each at a wait. True unless it was done."},
    {"add_done_callback", CAST(thread_add_done_callback), METH_O,
     "add_done_callback($self, fn, /)\n--\n\n"
     "Call fn(self) when it is done, at once if it is. What fn raises goes to sys.unraisablehook;\n"
     "KeyboardInterrupt and SystemExit to the main micro-thread, or to who called fn at once."},
    {"stack", CAST(mtpy_thread_stack), METH_NOARGS,
     "stack($self)\n--\n\n"
     "Where it stands, as a traceback.StackSummary, outermost call first; empty if it does not run."},
    {0},
};
