/* SPDX-License-Identifier: MIT */
/* timeout, move_on_after and shield. Cancellation is a level, not an edge: once a block's time is up
   each wait inside it raises Cancelled, except in the clean-up that a Cancelled passes through. The
   idea of cancel scopes is trio's. */
#include "python/mtpy_scope.h"

#include <structmember.h>

/* ---- what is demanded ---- */

bool
mtpy_scope_demands(const struct mtpy_thread *thread, const PyObject *handled)
{
    for (struct mtpy_scope *scope = thread->extra ? thread->extra->scopes : NULL; scope;
         scope = scope->outer) {
        if (scope->kind == MTPY_SHIELD)
            return false;
        if (scope->is_expired && (!handled || handled == scope->handled))
            return true;
    }
    return thread->is_cancelled && !handled;
}

bool
mtpy_scope_demands_now(const struct mtpy_thread *thread)
{
    const struct mt_thread *core = &thread->core;
    struct mtpy_sched *sched = mtpy_sched_of(core->sched);
    PyObject *type = sched->state->Cancelled;
    return mtpy_scope_demands(thread, core == core->sched->current
                                          ? mtpy_vm_handled(sched->tstate, type)
                                          : mtpy_vm_parked_handled(core->stack, type));
}

bool
mtpy_scope_matches(PyObject *exception, PyObject *type)
{
    if (PyErr_GivenExceptionMatches(exception, type))
        return true;
    if (MT_LIKELY(!PyErr_GivenExceptionMatches(exception, PyExc_BaseExceptionGroup)))
        return false;
    PyObject *rest = PyObject_CallMethod(exception, "split", "O", type);
    bool is_all = rest && PyTuple_Check(rest) && PyTuple_GET_SIZE(rest) == 2 &&
                  PyTuple_GET_ITEM(rest, 1) == Py_None;
    Py_XDECREF(rest);
    PyErr_Clear();
    return is_all;
}

void
mtpy_scope_refresh_pending(struct mtpy_thread *thread)
{
    bool is_pending = thread->is_cancelled || thread->is_exiting;
    if (thread->extra) {
        is_pending |= thread->extra->thrown != NULL;
        for (struct mtpy_scope *scope = thread->extra->scopes; scope; scope = scope->outer)
            is_pending |= scope->is_expired;
    }
    thread->core.is_pending = is_pending;
}

void
mtpy_scope_expire(struct mtpy_scope *self)
{
    struct mtpy_thread *thread = self->thread;
    self->is_expired = true;
    if (!thread)
        return;
    thread->core.is_pending = true;
    if (thread->core.state == MT_THREAD_WAITING && mtpy_scope_demands_now(thread))
        mt_thread_cancel_wait(&thread->core);
}

/* Have the alarm ring for the earliest of the blocks. It has been set before: there is memory. */
static void
set_alarm(struct mtpy_thread *thread)
{
    mt_time earliest = MT_FOREVER;
    for (struct mtpy_scope *scope = thread->extra->scopes; scope; scope = scope->outer)
        if (scope->deadline < earliest)
            earliest = scope->deadline;
    (void)mt_alarm_set(thread->core.sched, &thread->extra->alarm, earliest);
}

void
mtpy_scope_ring(struct mt_alarm *alarm)
{
    mt_time deadline = alarm->timer.node.key;
    struct mtpy_scope *scope = MT_CONTAINER_OF(alarm, struct mtpy_extra, alarm)->scopes;
    assert(scope);
    struct mtpy_thread *thread = scope->thread;
    for (; scope; scope = scope->outer) {
        if (scope->deadline <= deadline) {
            scope->deadline = MT_FOREVER;
            mtpy_scope_expire(scope);
        }
    }
    set_alarm(thread);
}

void
mtpy_scope_unset_all(struct mtpy_thread *thread)
{
    if (!thread->extra)
        return;
    for (struct mtpy_scope *scope = thread->extra->scopes; scope; scope = scope->outer) {
        scope->deadline = MT_FOREVER;
        scope->thread = NULL;
    }
    mt_alarm_fini(&thread->extra->alarm);
}

bool
mtpy_scope_may_expire(const struct mtpy_thread *thread)
{
    for (struct mtpy_scope *scope = thread->extra ? thread->extra->scopes : NULL; scope;
         scope = scope->outer)
        if (scope->is_manual || scope->deadline != MT_FOREVER)
            return true;
    return false;
}

/* ---- in and out ---- */

int
mtpy_scope_enter(struct mtpy_scope *self, struct mtpy_sched *sched)
{
    struct mtpy_thread *thread = mtpy_thread_current(sched);
    struct mtpy_extra *extra = mtpy_thread_extra(thread);
    if (!extra)
        return -1;
    mt_time deadline = MT_FOREVER;
    if (self->span != MT_FOREVER && self->span > 0) {
        deadline = mt_sched_deadline(sched->core, self->span);
        if (deadline < extra->alarm.deadline &&
            mt_alarm_set(sched->core, &extra->alarm, deadline)) {
            PyErr_NoMemory();
            return -1;
        }
    }
    self->thread = thread;
    self->deadline = deadline;
    self->is_expired = false;
    self->handled = mtpy_vm_handled(sched->tstate, sched->state->Cancelled);
    self->outer = extra->scopes; /* its reference moves here, and the chain gets one of ours */
    extra->scopes = (struct mtpy_scope *)Py_NewRef(self);
    thread->core.ahead = (void *const *)extra;
    return 0;
}

static PyObject *
scope_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_scope *self = (struct mtpy_scope *)object;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    if (self->thread) {
        PyErr_Format(PyExc_RuntimeError, "%R is in use; make a new one for each block", self);
        return NULL;
    }
    if (mtpy_scope_enter(self, sched) < 0)
        return NULL;
    if (self->span == 0)
        mtpy_scope_expire(self);
    return Py_NewRef(object);
}

/* Take it out of its micro-thread's chain, wherever it is. Returns whether it was there. */
static bool
unlink_scope(struct mtpy_scope *self)
{
    struct mtpy_scope **link = &self->thread->extra->scopes;
    while (*link && *link != self)
        link = &(*link)->outer;
    if (!*link)
        return false;
    *link = self->outer;
    self->outer = NULL;
    return true;
}

void
mtpy_scope_leave(struct mtpy_scope *self)
{
    struct mtpy_thread *thread = self->thread;
    bool was_linked = unlink_scope(self);
    self->thread = NULL;
    if (self->deadline != MT_FOREVER) {
        self->deadline = MT_FOREVER;
        set_alarm(thread);
    }
    mtpy_scope_refresh_pending(thread);
    if (was_linked)
        Py_DECREF(self); /* the chain's */
}

static PyObject *
scope_exit(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_scope *self = (struct mtpy_scope *)object;
    struct mtpy_thread *thread = self->thread;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    if (!thread || thread != mtpy_thread_current(sched)) {
        PyErr_Format(PyExc_RuntimeError, "%R was not entered by this micro-thread", self);
        return NULL;
    }
    mtpy_scope_leave(self);
    bool is_ours = self->is_expired && nargs > 1 &&
                   mtpy_scope_matches(args[1], sched->state->Cancelled) &&
                   !mtpy_scope_demands(thread, self->handled);
    if (!is_ours)
        Py_RETURN_FALSE;
    if (self->kind == MTPY_MOVE_ON)
        Py_RETURN_TRUE;
    PyObject *seconds = PyFloat_FromDouble((double)self->span / 1e9);
    if (seconds)
        PyErr_Format(PyExc_TimeoutError, "the block's time of %R s is up", seconds);
    Py_XDECREF(seconds);
    return NULL;
}

/* ---- the objects ---- */

static PyObject *
make_scope(PyTypeObject *type, enum mtpy_scope_kind kind, mt_time span)
{
    struct mtpy_scope *self = PyObject_GC_New(struct mtpy_scope, type);
    if (!self)
        return NULL;
    self->state = PyType_GetModuleState(type);
    self->thread = NULL;
    self->outer = NULL;
    self->handled = NULL;
    self->span = span;
    self->deadline = MT_FOREVER;
    self->kind = (uint8_t)kind;
    self->is_expired = self->is_manual = false;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* timeout(seconds) and move_on_after(seconds) by vectorcall: they stand around every request. */
static PyObject *
make_limited(PyObject *type, PyObject *const *args, size_t nargsf, PyObject *kwnames,
             const char *format, enum mtpy_scope_kind kind)
{
    PyObject *given;
    mt_time span;
    if (MT_LIKELY(PyVectorcall_NARGS(nargsf) == 1 && !kwnames)) {
        given = args[0];
    } else {
        static const char *const names[] = {"seconds", NULL};
        if (mtpy_parse_slowly(args, PyVectorcall_NARGS(nargsf), kwnames, format, names, &given) < 0)
            return NULL;
    }
    if (mtpy_parse_timeout(given, "seconds", &span) < 0)
        return NULL;
    return make_scope((PyTypeObject *)type, kind, span);
}

PyObject *
mtpy_timeout_make(PyObject *type, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return make_limited(type, args, nargsf, kwnames, "O:timeout", MTPY_TIMEOUT);
}

PyObject *
mtpy_move_on_after_make(PyObject *type, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return make_limited(type, args, nargsf, kwnames, "O:move_on_after", MTPY_MOVE_ON);
}

static PyObject *
shield_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":shield", names))
        return NULL;
    return make_scope(type, MTPY_SHIELD, MT_FOREVER);
}

static int
scope_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((struct mtpy_scope *)object)->outer);
    return 0;
}

static int
scope_clear(PyObject *object)
{
    Py_CLEAR(((struct mtpy_scope *)object)->outer);
    return 0;
}

static void
scope_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    assert(((struct mtpy_scope *)object)->deadline == MT_FOREVER);
    (void)scope_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *
get_expired(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct mtpy_scope *)object)->is_expired);
}

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef scope_methods[] = {
    {"__enter__", CAST(scope_enter), METH_NOARGS, NULL},
    {"__exit__", CAST(scope_exit), METH_FASTCALL, NULL},
    {0},
};

static PyGetSetDef scope_getset[] = {
    {"expired", get_expired, NULL, "Whether the time was up inside the block.", NULL},
    {0},
};

#define SCOPE_SLOTS(doc, ...) \
    { \
        {Py_tp_doc, doc}, __VA_ARGS__ {Py_tp_dealloc, scope_dealloc}, \
            {Py_tp_traverse, scope_traverse}, {Py_tp_clear, scope_clear}, \
            {Py_tp_methods, scope_methods}, {Py_tp_getset, scope_getset}, {0, NULL}, \
    }

#define SCOPE_SPEC(full_name, its_slots) \
    { \
        .name = full_name, .basicsize = sizeof(struct mtpy_scope), \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, .slots = its_slots, \
    }

static PyType_Slot timeout_slots[] = SCOPE_SLOTS(
    "timeout(seconds)\n--\n\n"
    "A with block of limited time: when it is up, Cancelled is raised at the wait the block is in\n"
    "or comes to, and leaves the block as TimeoutError.\n\n"
    "seconds: >= 0, None for no limit. Blocks nest; one that ends without another wait is left\n"
    "alone. Clean-up that the Cancelled passes through may wait.", );
static PyType_Slot move_on_after_slots[] = SCOPE_SLOTS(
    "move_on_after(seconds)\n--\n\n"
    "As timeout, but the block ends in silence when its time is up, and .expired says so.", );
static PyType_Slot shield_slots[] = SCOPE_SLOTS(
    "shield()\n--\n\n"
    "A with block that cancellation from outside does not reach: it comes at the first wait after.",
    {Py_tp_new, shield_new}, );

PyType_Spec mtpy_timeout_spec = SCOPE_SPEC("microthread.timeout", timeout_slots);
PyType_Spec mtpy_move_on_after_spec = SCOPE_SPEC("microthread.move_on_after", move_on_after_slots);
PyType_Spec mtpy_shield_spec = SCOPE_SPEC("microthread.shield", shield_slots);
