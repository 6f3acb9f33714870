/* SPDX-License-Identifier: MIT */
/* micro_thread: how it is made and started, what is raised in it, and the object. Its run and its end are
   in mtpy_thread_run.c, what others may do to it in mtpy_thread_calls.c, how it shows itself in
   mtpy_thread_view.c. */
#include "python/mtpy_gc.h"
#include "python/mtpy_group.h"
#include "python/mtpy_trace.h"

#include <structmember.h>

/* ---- making ---- */

struct mtpy_extra *
mtpy_thread_extra(struct mtpy_thread *self)
{
    if (!self->extra) {
        self->extra = PyMem_Calloc(1, sizeof *self->extra);
        if (self->extra)
            mt_alarm_init(&self->extra->alarm, mtpy_scope_ring);
        else
            PyErr_NoMemory();
    }
    return self->extra;
}

static struct mtpy_thread *
alloc_thread(PyTypeObject *type)
{
    struct mtpy_thread *self = PyObject_GC_New(struct mtpy_thread, type);
    if (!self)
        return NULL;
    mt_thread_init(&self->core);
    self->function = NULL;
    self->args = NULL;
    self->context = NULL;
    self->weakrefs = NULL;
    self->extra = NULL;
    self->scope = 0;
    self->outcome = MTPY_OUTCOME_NONE;
    self->exits_swallowed = self->traced = 0;
    self->is_cancelled = self->is_exiting = self->is_fetched = false;
    self->is_member = self->is_queued = self->is_deaf = false;
    return self;
}

struct mtpy_thread *
mtpy_thread_new_main(struct mtpy_state *state)
{
    struct mtpy_thread *self = alloc_thread(state->thread_type);
    if (self) {
        PyObject_GC_Track(self);
        if (mtpy_thread_extra(self) && (self->extra->name = PyUnicode_FromString("main")))
            return self;
        Py_DECREF(self);
    }
    return NULL;
}

/* It inherits from the running one. Returns 0 or -1. */
static int
inherit(struct mtpy_sched *sched, struct mtpy_thread *self)
{
    PyObject *context = mtpy_vm_context(sched->tstate);
    if (context && !(self->context = PyContext_CopyCurrent()))
        return -1;
    if (!self->scope)
        self->scope = mtpy_thread_current(sched)->scope;
    return 0;
}

void
mtpy_thread_launch(struct mtpy_sched *sched, struct mtpy_thread *self)
{
    if (MT_UNLIKELY(sched->is_exiting))
        self->is_exiting = true; /* too late: it never runs */
    mt_sched_spawn(sched->core, &self->core);
    if (MT_UNLIKELY(sched->tracer != NULL))
        mtpy_trace_note_spawn(sched, self);
}

struct mtpy_thread *
mtpy_thread_make(struct mtpy_sched *sched, PyTypeObject *type, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "spawn() needs a function to run as its first argument");
        return NULL;
    }
    if (mtpy_check_callable(args[0]) < 0)
        return NULL;
    struct mtpy_thread *self = alloc_thread(type);
    if (!self)
        return NULL;
    self->function = Py_NewRef(args[0]);
    if (nargs > 1) {
        self->args = PyTuple_New(nargs - 1);
        for (Py_ssize_t i = 1; self->args && i < nargs; i++)
            PyTuple_SET_ITEM(self->args, i - 1, Py_NewRef(args[i]));
        if (!self->args)
            goto failed;
    }
    if (kwnames && PyTuple_GET_SIZE(kwnames) > 0) {
        struct mtpy_extra *extra = mtpy_thread_extra(self);
        if (!extra || !(extra->kwargs = PyDict_New()))
            goto failed;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++)
            if (PyDict_SetItem(extra->kwargs, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]) < 0)
                goto failed;
    }
    PyObject_GC_Track(self);
    if (MT_LIKELY(inherit(sched, self) == 0))
        return self;
    Py_DECREF(self);
    return NULL;
failed:
    PyObject_GC_Track(self);
    Py_DECREF(self);
    return NULL;
}

/* stack_size in bytes, rounded up to a slot; 0 for None. Returns 0 or -1. */
static int
parse_stack_size(PyObject *given, uint32_t *result)
{
    *result = 0;
    if (given == Py_None)
        return 0;
    Py_ssize_t size = PyNumber_AsSsize_t(given, NULL);
    if (size == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "stack_size must be an int or None, got %.200s",
                         Py_TYPE(given)->tp_name);
        return -1;
    }
    if (size < 1 || size > MT_STACK_MOST) {
        PyErr_Format(PyExc_ValueError, "stack_size must be from 1 to %d bytes or None, got %R",
                     (int)MT_STACK_MOST, given);
        return -1;
    }
    size_t slot = mtpy_vm_stack_least;
    while (slot < (size_t)size)
        slot *= 2;
    *result = (uint32_t)slot;
    return 0;
}

static PyObject *
thread_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fn", "args", "kwargs", "name", "stack_size", "stdin", NULL};
    PyObject *function, *fn_args = NULL, *fn_kwargs = Py_None;
    PyObject *name = Py_None, *stack_size = Py_None, *std_in = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO$OOO:micro_thread", names, &function,
                                     &fn_args, &fn_kwargs, &name, &stack_size, &std_in))
        return NULL;
    if (mtpy_check_callable(function) < 0)
        return NULL;
    if (fn_kwargs != Py_None && !PyDict_Check(fn_kwargs) &&
        !PyObject_HasAttrString(fn_kwargs, "keys")) {
        PyErr_Format(PyExc_TypeError, "kwargs must be a mapping or None, got %.200s",
                     Py_TYPE(fn_kwargs)->tp_name);
        return NULL;
    }
    if (name != Py_None && !PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "name must be a str or None, got %.200s",
                     Py_TYPE(name)->tp_name);
        return NULL;
    }
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_by_type(type));
    struct mtpy_thread *self = sched ? (struct mtpy_thread *)type->tp_alloc(type, 0) : NULL;
    if (!self)
        return NULL;
    mt_thread_init(&self->core);
    self->core.id = sched->core->next_id++;
    self->function = Py_NewRef(function);
    if (fn_args && !(self->args = PySequence_Tuple(fn_args)))
        goto failed;
    if (parse_stack_size(stack_size, &self->core.stack_size) < 0)
        goto failed;
    if (fn_kwargs != Py_None || name != Py_None || std_in != Py_None) {
        struct mtpy_extra *extra = mtpy_thread_extra(self);
        if (!extra)
            goto failed;
        if (fn_kwargs != Py_None) {
            extra->kwargs = PyDict_New();
            if (!extra->kwargs || PyDict_Update(extra->kwargs, fn_kwargs) < 0)
                goto failed;
        }
        extra->name = name == Py_None ? NULL : Py_NewRef(name);
        extra->std_in = std_in == Py_None ? NULL : Py_NewRef(std_in);
    }
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

PyObject *
mtpy_thread_start(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    if (!mtpy_thread_is_new(self)) {
        PyErr_Format(PyExc_RuntimeError, "%R was started already; a micro_thread runs once", self);
        return NULL;
    }
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_by_type(Py_TYPE(object)));
    if (!sched || inherit(sched, self) < 0)
        return NULL;
    mtpy_thread_launch(sched, (struct mtpy_thread *)Py_NewRef(object));
    Py_RETURN_NONE;
}

/* ---- what is to be raised in it ---- */

int
mtpy_thread_throw(struct mtpy_thread *self, PyObject *exception)
{
    struct mtpy_extra *extra = mtpy_thread_extra(self);
    int failed = !extra || (!extra->thrown && !(extra->thrown = PyList_New(0))) ||
                 PyList_Append(extra->thrown, exception) < 0;
    Py_DECREF(exception);
    if (failed) {
        if (extra && extra->thrown && PyList_GET_SIZE(extra->thrown) == 0)
            Py_CLEAR(extra->thrown); /* it is never empty */
        return -1;
    }
    self->core.is_pending = true;
    if (self->is_queued)
        mtpy_group_start((struct mtpy_member *)self);
    mt_thread_cancel_wait(&self->core);
    return 0;
}

int
mtpy_thread_check(struct mtpy_sched *sched, struct mtpy_thread *self)
{
    if (MT_UNLIKELY(self->is_deaf))
        return 0;
    if (self->extra && self->extra->thrown)
        return MT_ECANCELED;
    if (self->is_exiting) {
        if (mtpy_vm_handled(sched->tstate, sched->state->MicroThreadExit))
            return 0;
        if (self->exits_swallowed < MTPY_EXITS_MOST)
            return MT_ECANCELED;
        if (sched->is_exiting)
            mt_thread_cancel_wait(sched->core->main); /* it waits for us in vain: let it see that */
    } else if (mtpy_scope_demands_now(self)) {
        return MT_ECANCELED;
    }
    return 0;
}

PyObject *
mtpy_thread_take_thrown(struct mtpy_thread *self)
{
    PyObject *thrown = self->extra ? self->extra->thrown : NULL;
    if (!thrown)
        return NULL;
    PyObject *exception = Py_NewRef(PyList_GET_ITEM(thrown, 0));
    if (PyList_GET_SIZE(thrown) == 1)
        Py_CLEAR(self->extra->thrown);
    else if (PyList_SetSlice(thrown, 0, 1, NULL) < 0)
        PyErr_Clear(); /* no memory: it will come again */
    mtpy_scope_refresh_pending(self);
    return exception;
}

void
mtpy_thread_raise_pending(struct mtpy_sched *sched, struct mtpy_thread *self)
{
    struct mtpy_state *state = sched->state;
    PyObject *thrown = mtpy_thread_take_thrown(self);
    if (thrown) {
        mtpy_error_raise(thrown);
    } else if (self->is_exiting) {
        self->exits_swallowed++;
        PyErr_SetNone(state->MicroThreadExit);
    } else {
        PyObject *message = self->extra ? self->extra->cancel_message : NULL;
        if (self->is_cancelled && message)
            PyErr_SetObject(state->Cancelled, message);
        else
            PyErr_SetNone(state->Cancelled);
    }
}

/* ---- the object ---- */

static int
thread_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->function);
    Py_VISIT(self->args);
    Py_VISIT(self->context);
    Py_VISIT((PyObject *)self->core.done.value);
    if (self->extra) {
        Py_VISIT(self->extra->name);
        Py_VISIT(self->extra->kwargs);
        Py_VISIT(self->extra->std_in);
        Py_VISIT(self->extra->std_out);
        Py_VISIT(self->extra->callbacks);
        Py_VISIT(self->extra->thrown);
        Py_VISIT(self->extra->cancel_message);
        Py_VISIT(self->extra->scopes);
    }
    int result = mtpy_gc_visit_waiters(&self->core.done.waiters, visit, arg);
    return result ? result : mtpy_gc_visit_stack(self, visit, arg);
}

static int
thread_clear(PyObject *object)
{
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    assert(!self->core.stack); /* one that is suspended is finalized, never cleared */
    Py_CLEAR(self->function);
    Py_CLEAR(self->args);
    Py_CLEAR(self->context);
    PyObject *value = self->core.done.value;
    self->core.done.value = NULL;
    Py_XDECREF(value);
    if (self->extra) {
        Py_CLEAR(self->extra->name);
        Py_CLEAR(self->extra->kwargs);
        Py_CLEAR(self->extra->std_in);
        Py_CLEAR(self->extra->std_out);
        Py_CLEAR(self->extra->callbacks);
        Py_CLEAR(self->extra->thrown);
        Py_CLEAR(self->extra->cancel_message);
        Py_CLEAR(self->extra->scopes);
    }
    return 0;
}

void
mtpy_thread_finalize(PyObject *object)
{
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    if (self->core.state != MT_THREAD_WAITING)
        mtpy_thread_report(self);
    else if (PyObject_GC_IsFinalized(object)) /* the collector calls, not a user */
        mtpy_gc_wake_abandoned(self);
}

/* Report by a stand-in: `self` is past its finalizer, and nobody may get hold of it any more. */
static void
report_late(struct mtpy_thread *self)
{
    PyObject *pending = mtpy_error_take();
    struct mtpy_thread *other = alloc_thread(mtpy_state_by_type(Py_TYPE(self))->thread_type);
    if (other) {
        PyObject_GC_Track(other);
        other->core.id = self->core.id;
        other->core.state = MT_THREAD_DONE;
        other->outcome = self->outcome;
        other->core.done.value = Py_NewRef((PyObject *)self->core.done.value);
        if (self->extra && self->extra->name && mtpy_thread_extra(other))
            other->extra->name = Py_NewRef(self->extra->name);
        mtpy_thread_report(other);
        Py_DECREF(other);
    }
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(NULL);
    self->is_fetched = true;
    if (pending)
        mtpy_error_raise(pending);
}

static void
thread_dealloc(PyObject *object)
{
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (MT_UNLIKELY(self->outcome == MTPY_OUTCOME_EXCEPTION && !self->is_fetched) &&
        PyObject_CallFinalizerFromDealloc(object) < 0)
        return;
    PyObject_GC_UnTrack(object);
    Py_TRASHCAN_BEGIN(object, thread_dealloc)
    /* It was finalized before it was done, or by the __del__ of a subclass. */
    if (MT_UNLIKELY(self->outcome == MTPY_OUTCOME_EXCEPTION && !self->is_fetched))
        report_late(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    assert(self->core.state == MT_THREAD_NEW || self->core.state == MT_THREAD_DONE);
    mt_list_remove(&self->core.live);
    (void)thread_clear(object);
    PyMem_Free(self->extra);
    type->tp_free(object);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyMemberDef thread_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct mtpy_thread, weakrefs), READONLY, NULL},
    {"_scope", T_UINT, offsetof(struct mtpy_thread, scope), 0, NULL},
    {0},
};

static PyObject *
thread_repr(PyObject *object)
{
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    static const char *const states[] = {"new", "ready", "running", "waiting", "done"};
    PyObject *name = mtpy_thread_name(self);
    if (!name)
        return NULL;
    unsigned state = self->outcome != MTPY_OUTCOME_NONE ? MT_THREAD_DONE : self->core.state;
    PyObject *text = PyUnicode_FromFormat("<micro_thread %U %s>", name, states[state]);
    Py_DECREF(name);
    return text;
}

static PyType_Slot thread_slots[] = {
    {Py_tp_doc,
     "micro_thread(fn, args=(), kwargs=None, *, name=None, stack_size=None, stdin=None)\n--\n\n"
     "An ordinary function that runs beside others in one OS thread; start() queues it.\n\n"
     "name: a str for people. stack_size: bytes of C stack, rounded up to a power of two.\n"
     "stdin: a pipe that take() reads from. spawn() is the short form."},
    {Py_tp_new, thread_new},
    {Py_tp_dealloc, thread_dealloc},
    {Py_tp_finalize, mtpy_thread_finalize},
    {Py_tp_traverse, thread_traverse},
    {Py_tp_clear, thread_clear},
    {Py_tp_repr, thread_repr},
    {Py_tp_methods, mtpy_thread_methods},
    {Py_tp_members, thread_members},
    {Py_tp_getset, mtpy_thread_getset},
    {0, NULL},
};

PyType_Spec mtpy_thread_spec = {
    .name = "microthread.micro_thread",
    .basicsize = sizeof(struct mtpy_thread),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = thread_slots,
};

/* The garbage collector finds a member in its Group's lists, not the other way round. */
static PyType_Slot member_slots[] = {
    {Py_tp_doc, "A micro_thread that a Group has spawned."},
    {Py_tp_dealloc, thread_dealloc},
    {Py_tp_finalize, mtpy_thread_finalize},
    {Py_tp_traverse, thread_traverse},
    {Py_tp_clear, thread_clear},
    {0, NULL},
};

PyType_Spec mtpy_member_spec = {
    .name = "microthread.micro_thread",
    .basicsize = sizeof(struct mtpy_member),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = member_slots,
};
