/* SPDX-License-Identifier: MIT */
/* A micro_thread's function runs, what became of it, and who hears of it. */
#include "python/mtpy_fork.h"
#include "python/mtpy_group.h"

static bool
is_for_main(PyObject *exception)
{
    return PyErr_GivenExceptionMatches(exception, PyExc_SystemExit) ||
           PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt);
}

/* Send it to the main micro-thread; one request to leave is enough. */
static void
throw_into_main(struct mtpy_sched *sched, PyObject *exception)
{
    struct mtpy_thread *main = mtpy_thread_of(sched->core->main);
    PyObject *thrown = main->extra ? main->extra->thrown : NULL;
    for (Py_ssize_t i = 0; thrown && i < PyList_GET_SIZE(thrown); i++)
        if (Py_TYPE(PyList_GET_ITEM(thrown, i)) == Py_TYPE(exception))
            return;
    if (mtpy_thread_throw(main, Py_NewRef(exception)) < 0)
        PyErr_WriteUnraisable(NULL);
}

/* Decide what became of it by the exception that ended it. Steals exception. */
static void
end_by_exception(struct mtpy_sched *sched, struct mtpy_thread *self, PyObject *exception)
{
    struct mtpy_state *state = sched->state;
    if (mtpy_scope_matches(exception, state->Cancelled)) {
        self->outcome = MTPY_OUTCOME_CANCELLED;
        self->core.done.value = exception;
        return;
    }
    if (mtpy_scope_matches(exception, state->MicroThreadExit)) {
        self->outcome = MTPY_OUTCOME_VALUE;
        self->core.done.value = Py_NewRef(Py_None);
        Py_DECREF(exception);
        return;
    }
    self->outcome = MTPY_OUTCOME_EXCEPTION;
    self->core.done.value = exception;
    if (is_for_main(exception)) {
        self->is_fetched = true;
        throw_into_main(sched, exception);
    }
}

/* They may wait, for long: who waits for the end goes on before. */
static void
call_callbacks(struct mtpy_sched *sched, struct mtpy_thread *self)
{
    (void)mt_deferred_fire(&self->core.done, MT_DEFERRED_VALUE, self->core.done.value);
    PyObject *callbacks = self->extra->callbacks;
    self->extra->callbacks = NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(callbacks); i++) {
        PyObject *callback = PyList_GET_ITEM(callbacks, i);
        PyObject *result = PyObject_CallOneArg(callback, (PyObject *)self);
        if (result) {
            Py_DECREF(result);
        } else if (PyErr_ExceptionMatches(sched->state->MicroThreadExit)) {
            PyErr_Clear();
        } else if (is_for_main(PyErr_Occurred())) {
            PyObject *exception = mtpy_error_take();
            throw_into_main(sched, exception);
            Py_DECREF(exception);
        } else {
            PyErr_WriteUnraisable(callback);
        }
    }
    Py_DECREF(callbacks);
}

static PyObject *
call_function(struct mtpy_thread *self)
{
    PyObject *kwargs = self->extra ? self->extra->kwargs : NULL;
    if (MT_UNLIKELY(kwargs != NULL)) {
        PyObject *args = self->args ? Py_NewRef(self->args) : PyTuple_New(0);
        PyObject *value = args ? PyObject_Call(self->function, args, kwargs) : NULL;
        Py_XDECREF(args);
        return value;
    }
    if (!self->args)
        return PyObject_CallNoArgs(self->function);
    return PyObject_Vectorcall(self->function, &PyTuple_GET_ITEM(self->args, 0),
                               (size_t)PyTuple_GET_SIZE(self->args), NULL);
}

/* It ends within blocks that it will never leave: those of a generator that was never resumed. */
static void
leave_blocks(struct mtpy_thread *self)
{
    if (self->extra->scopes)
        mtpy_group_orphan_all(self);
    mtpy_scope_unset_all(self);
    Py_CLEAR(self->extra->scopes);
}

/* What the end runs of others' code: finalizers of arguments, callbacks. */
static void
clean_up(struct mtpy_sched *sched, struct mtpy_thread *self)
{
    Py_CLEAR(self->function);
    Py_CLEAR(self->args);
    if (MT_LIKELY(self->extra == NULL))
        return;
    Py_CLEAR(self->extra->kwargs);
    Py_CLEAR(self->extra->thrown);
    Py_CLEAR(self->extra->cancel_message);
    leave_blocks(self);
    if (self->extra->callbacks) {
        call_callbacks(sched, self);
        leave_blocks(self);
    }
}

void
mtpy_thread_drop(struct mtpy_sched *sched, struct mtpy_thread *self)
{
    if (MT_UNLIKELY(self->function != NULL))
        clean_up(sched, self); /* it never ran */
    if (self->outcome == MTPY_OUTCOME_EXCEPTION && !self->is_fetched && Py_REFCNT(self) > 1)
        mt_list_append(&sched->failed, &self->core.live);
    Py_DECREF(self);
}

void
mtpy_thread_run(struct mtpy_sched *sched, struct mtpy_thread *self, int error)
{
    PyObject *value = NULL;
    if (MT_UNLIKELY(error)) {
        PyErr_NoMemory();
    } else if (MT_UNLIKELY(self->core.is_pending || self->is_exiting) &&
               mtpy_thread_check(sched, self)) {
        mtpy_thread_raise_pending(sched, self);
    } else {
        value = call_function(self);
    }
    if (MT_UNLIKELY(&self->core == sched->core->main))
        mtpy_fork_end_child(sched, value);
    if (MT_LIKELY(value != NULL)) {
        self->core.done.value = value;
        self->outcome = MTPY_OUTCOME_VALUE;
    } else {
        end_by_exception(sched, self, mtpy_error_take());
    }
    self->is_cancelled = self->is_exiting = false;
    self->core.is_pending = false;
    if (MT_LIKELY(!error)) { /* else on the stack of somebody who is parked: it waits for the drop */
        clean_up(sched, self);
        self->context = mtpy_vm_take_context(sched->tstate);
    }
    if (self->is_member)
        mtpy_group_note_end((struct mtpy_member *)self);
}

void
mtpy_thread_report(struct mtpy_thread *self)
{
    if (self->outcome != MTPY_OUTCOME_EXCEPTION || self->is_fetched)
        return;
    self->is_fetched = true;
    mt_list_remove(&self->core.live);
    mtpy_report(mtpy_state_by_type(Py_TYPE(self)), self->core.done.value, (PyObject *)self);
}
