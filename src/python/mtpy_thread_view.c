/* SPDX-License-Identifier: MIT */
/* How a micro_thread shows itself: name, state, what it waits for, where it stands. */
#include "python/mtpy_channel.h"
#include "python/mtpy_ends.h"
#include "python/mtpy_group.h"
#include "python/mtpy_shared.h"
#include "python/mtpy_sync.h"

#include "io/mt_errand.h"

PyObject *
mtpy_thread_name(struct mtpy_thread *self)
{
    if (self->extra && self->extra->name)
        return Py_NewRef(self->extra->name);
    return PyUnicode_FromFormat("micro_thread-%llu", (unsigned long long)self->core.id);
}

static PyObject *
get_name(PyObject *object, void *unused)
{
    (void)unused;
    return mtpy_thread_name((struct mtpy_thread *)object);
}

static int
set_name(PyObject *object, PyObject *value, void *unused)
{
    (void)unused;
    if (!value || !PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "name must be a str, got %.200s",
                     value ? Py_TYPE(value)->tp_name : "nothing");
        return -1;
    }
    struct mtpy_extra *extra = mtpy_thread_extra((struct mtpy_thread *)object);
    if (!extra)
        return -1;
    Py_XSETREF(extra->name, Py_NewRef(value));
    ((struct mtpy_thread *)object)->traced = 0;
    return 0;
}

static PyObject *
get_id(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((struct mtpy_thread *)object)->core.id);
}

static PyObject *
get_state(PyObject *object, void *unused)
{
    (void)unused;
    static const char *const names[] = {"new", "ready", "running", "waiting", "done"};
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    return PyUnicode_FromString(
        names[self->outcome != MTPY_OUTCOME_NONE ? MT_THREAD_DONE : self->core.state]);
}

/* The time left until a deadline, as text in seconds. New, or NULL. */
static PyObject *
describe_sleep(struct mtpy_thread *self, const struct mt_wait *wait)
{
    mt_time left = mt_timer_is_set(&wait->timer) ? wait->timer.node.key - mt_sched_now(self->core.sched) : 0;
    char *digits = PyOS_double_to_string(left > 0 ? (double)left / 1e9 : 0.0, 'f', 1, 0, NULL);
    if (!digits)
        return PyErr_NoMemory();
    PyObject *text = PyUnicode_FromFormat("sleep %s s", digits);
    PyMem_Free(digits);
    return text;
}

static PyObject *
describe_errand(const struct mt_errand *errand)
{
    if (errand->fd < 0)
        return PyUnicode_FromString(errand->verb);
    return PyUnicode_FromFormat("%s file fd %d", errand->verb, errand->fd);
}

static PyObject *
describe_clause(const struct mt_clause *clause)
{
    PyObject *what = NULL, *text = NULL;
    switch (clause->kind) {
    case MT_WAIT_SLEEP:
        return PyUnicode_FromString("sleep");
    case MT_WAIT_DEFERRED:
        return PyUnicode_FromFormat("deferred at %p", clause->object);
    case MT_WAIT_THREAD:
        what = mtpy_thread_name(mtpy_thread_of(clause->object));
        text = what ? PyUnicode_FromFormat("end of %U", what) : NULL;
        break;
    case MT_WAIT_ENDS:
        return mtpy_ends_describe(clause->object);
    case MT_WAIT_GROUP:
        return mtpy_group_describe(clause->object);
    case MT_WAIT_TAKE:
    case MT_WAIT_PUT:
        what = mtpy_pipe_describe(clause->object);
        text = !what ? NULL
               : clause->kind == MT_WAIT_TAKE ? PyUnicode_FromFormat("take from %U", what)
                                              : PyUnicode_FromFormat("put into %U", what);
        break;
    case MT_WAIT_READ:
        return PyUnicode_FromFormat("read fd %d", ((const struct mt_fd_clause *)clause)->fd);
    case MT_WAIT_WRITE:
        return PyUnicode_FromFormat("write fd %d", ((const struct mt_fd_clause *)clause)->fd);
    case MT_WAIT_ERRAND:
        return describe_errand(clause->object);
    case MT_WAIT_LOCK:
    case MT_WAIT_PERMIT:
    case MT_WAIT_EVENT:
    case MT_WAIT_NOTICE:
    case MT_WAIT_ITEM:
        return mtpy_sync_describe(clause);
    case MT_WAIT_WORD:
        return mtpy_shared_describe(clause->object);
    case MT_WAIT_SEND:
    case MT_WAIT_RECV:
        return mtpy_channel_describe(clause);
    }
    Py_XDECREF(what);
    return text;
}

PyObject *
mtpy_thread_describe_wait(struct mtpy_thread *self)
{
    const struct mt_wait *wait = self->core.wait;
    if (!wait || wait->result != MT_PENDING)
        Py_RETURN_NONE;
    if (!wait->clauses)
        return describe_sleep(self, wait);
    PyObject *text = NULL;
    for (const struct mt_clause *clause = wait->clauses; clause; clause = clause->sibling) {
        if (clause->kind == MT_WAIT_ERRAND && !clause->object)
            continue; /* its other clause says it all */
        PyObject *part = describe_clause(clause);
        PyObject *both = !part ? NULL : text ? PyUnicode_FromFormat("%U or %U", part, text)
                                             : Py_NewRef(part);
        Py_XDECREF(part);
        Py_XDECREF(text);
        if (!both)
            return NULL;
        text = both;
    }
    return text;
}

static PyObject *
get_waiting_for(PyObject *object, void *unused)
{
    (void)unused;
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    if (self->core.state != MT_THREAD_WAITING)
        Py_RETURN_NONE;
    return mtpy_thread_describe_wait(self);
}

/* Its scheduler, if that is alive: not before it is started, nor in the child of a fork when it is of
   another OS thread. NULL without an exception. */
static struct mtpy_sched *
find_home(struct mtpy_thread *self)
{
    struct mtpy_sched *sched = mtpy_state_by_type(Py_TYPE(self))->scheds;
    while (sched && sched->core != self->core.sched)
        sched = sched->next;
    return sched;
}

/* The innermost frame of a suspended one. New, or NULL without an exception. */
static PyFrameObject *
find_parked_frame(struct mtpy_thread *self)
{
    struct mt_thread *core = &self->core;
    struct mtpy_sched *home = core->stack ? find_home(self) : NULL;
    if (!home || (core->state != MT_THREAD_WAITING && core->state != MT_THREAD_READY))
        return NULL;
    return mtpy_vm_parked_frame(home->tstate, core->stack);
}

PyObject *
mtpy_thread_frames(struct mtpy_thread *self)
{
    /* Nothing else may run meanwhile: neither other OS threads nor finalizers. */
    int was_enabled = PyGC_Disable();
    struct mtpy_sched *home = self->core.state == MT_THREAD_RUNNING ? find_home(self) : NULL;
    PyFrameObject *frame = home ? PyThreadState_GetFrame(home->tstate) : find_parked_frame(self);
    PyObject *list = PyList_New(0);
    while (list && frame) {
        PyObject *pair = Py_BuildValue("(Oi)", frame, PyFrame_GetLineNumber(frame));
        if (!pair || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
        Py_SETREF(frame, PyFrame_GetBack(frame));
    }
    Py_XDECREF(frame);
    if (list && PyList_Reverse(list) < 0)
        Py_CLEAR(list);
    if (was_enabled)
        PyGC_Enable();
    return list;
}

static PyObject *
get_frame(PyObject *object, void *unused)
{
    (void)unused;
    PyFrameObject *frame = find_parked_frame((struct mtpy_thread *)object);
    return frame ? (PyObject *)frame : Py_NewRef(Py_None);
}

PyObject *
mtpy_thread_stack(PyObject *object, PyObject *unused)
{
    (void)unused;
    PyObject *traceback = PyImport_ImportModule("traceback");
    PyObject *type = traceback ? PyObject_GetAttrString(traceback, "StackSummary") : NULL;
    PyObject *frames = type ? mtpy_thread_frames((struct mtpy_thread *)object) : NULL;
    PyObject *result = frames ? PyObject_CallMethod(type, "extract", "O", frames) : NULL;
    Py_XDECREF(frames);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return result;
}

static PyObject *
get_context(PyObject *object, void *unused)
{
    (void)unused;
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    struct mt_thread *core = &self->core;
    PyObject **slot = &self->context;
    if (core->state == MT_THREAD_NEW)
        Py_RETURN_NONE;
    if (core->stack && self->outcome == MTPY_OUTCOME_NONE) {
        struct mtpy_sched *sched = mtpy_sched_of(core->sched);
        slot = core == core->sched->current ? mtpy_vm_context_slot(sched->tstate)
                                            : mtpy_vm_parked_context_slot(core->stack);
    }
    if (!*slot) {
        /* An empty one need not exist until somebody asks. */
        PyObject *made = PyContext_New();
        if (!made)
            return NULL;
        *slot = made;
    }
    return Py_NewRef(*slot);
}

/* The closure says which: the offset in struct mtpy_extra. */
static PyObject *
get_extra(PyObject *object, void *offset)
{
    struct mtpy_thread *self = (struct mtpy_thread *)object;
    PyObject *value = self->extra ? *(PyObject **)((char *)self->extra + (size_t)offset) : NULL;
    return Py_NewRef(value ? value : Py_None);
}

static int
set_extra(PyObject *object, PyObject *value, void *offset)
{
    struct mtpy_extra *extra = mtpy_thread_extra((struct mtpy_thread *)object);
    if (!extra)
        return -1;
    PyObject **slot = (PyObject **)((char *)extra + (size_t)offset);
    PyObject *old = *slot;
    *slot = value == Py_None ? NULL : Py_XNewRef(value);
    Py_XDECREF(old);
    return 0;
}

PyGetSetDef mtpy_thread_getset[] = {
    {"id", get_id, NULL, "An int, unique in the process.", NULL},
    {"name", get_name, set_name, "A str for people; can be set.", NULL},
    {"state", get_state, NULL, "'new', 'ready', 'running', 'waiting' or 'done'.", NULL},
    {"waiting_for", get_waiting_for, NULL,
     "What it waits for, as a short text; None when it waits for nothing.", NULL},
    {"frame", get_frame, NULL,
     "The Python frame it is suspended in; None if it runs, has not begun or is done.", NULL},
    {"stdin", get_extra, set_extra, "The pipe that take() reads from, or None.",
     (void *)offsetof(struct mtpy_extra, std_in)},
    {"stdout", get_extra, set_extra, "The pipe that put() writes to, or None.",
     (void *)offsetof(struct mtpy_extra, std_out)},
    {"context", get_context, NULL,
     "Its contextvars.Context, a copy of its starter's; None before it is started.", NULL},
    {0},
};
