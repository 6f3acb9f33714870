/* SPDX-License-Identifier: MIT */
/* Group: spawning into it, cancelling it, leaving its block. What follows from that (map) is written
   in Python.
   A member lies in one list of its group at a time: of those that run, of those that wait their turn, of
   those that failed. The block is a scope as that of timeout(), which a failure of a member expires:
   so the body, too, hears of it where it waits. The idea of such groups is trio's nursery. */
#include "python/mtpy_group.h"

#include "core/mt_deferred.h"

enum stage { MADE, OPEN, CLOSING, ENDED };

struct mtpy_group {
    struct mtpy_scope scope;   /* the block; its object head is the group's */
    struct mtpy_sched *sched;  /* where the block was entered; NULL before */
    struct mt_list running;    /* members that were started and have not ended */
    struct mt_list queue;      /* members that wait their turn, oldest first; owned */
    struct mt_list failed;     /* members whose exceptions the block will raise; owned */
    struct mt_deferred ended;  /* fires when the last member has ended while the block is being left */
    size_t running_count;
    size_t left;               /* members that have not ended, started or not */
    size_t limit;              /* how many may run at once */
    uint8_t stage;             /* enum stage */
};

static struct mtpy_member *
member_at(struct mt_link *link)
{
    return MT_CONTAINER_OF(link, struct mtpy_member, link);
}

static struct mtpy_member *
first_of(const struct mt_list *list)
{
    struct mt_link *link = mt_list_front(list);
    return link ? member_at(link) : NULL;
}

/* ---- members ---- */

void
mtpy_group_start(struct mtpy_member *member)
{
    struct mtpy_group *self = member->group;
    member->thread.is_queued = false;
    mt_list_remove(&member->link);
    mt_list_append(&self->running, &member->link);
    self->running_count++;
    mtpy_thread_launch(self->sched, &member->thread); /* the queue's reference goes there */
}

/* Silently, and once: all that is spawned after it is cancelled at birth. */
static void
cancel_group(struct mtpy_group *self)
{
    if (self->scope.is_expired)
        return;
    mtpy_scope_expire(&self->scope);
    for (struct mt_link *link = mt_list_front(&self->running); link;
         link = mt_list_after(&self->running, link))
        mtpy_thread_cancel(&member_at(link)->thread);
    struct mtpy_member *member;
    while ((member = first_of(&self->queue)))
        mtpy_thread_cancel(&member->thread); /* which starts it: it ends without having run */
}

/* It has no more to do with its group. */
static void
part(struct mtpy_member *member)
{
    mt_list_remove(&member->link);
    member->group = NULL;
    member->thread.is_member = false;
}

void
mtpy_group_note_end(struct mtpy_member *member)
{
    struct mtpy_group *self = member->group;
    part(member);
    self->running_count--;
    self->left--;
    if (MT_UNLIKELY(member->thread.outcome == MTPY_OUTCOME_EXCEPTION)) {
        mtpy_thread_note_fetched(&member->thread);
        Py_INCREF(member);
        mt_list_append(&self->failed, &member->link);
        cancel_group(self);
    }
    struct mtpy_member *next;
    while (self->running_count < self->limit && (next = first_of(&self->queue)))
        mtpy_group_start(next);
    if (self->left == 0 && self->stage == CLOSING) {
        self->stage = ENDED;
        (void)mt_deferred_fire(&self->ended, MT_DEFERRED_VALUE, NULL);
    }
}

void
mtpy_group_forget(struct mtpy_member *member)
{
    struct mtpy_group *self = member->group;
    part(member);
    self->running_count--;
    self->left--;
}

void
mtpy_group_drop_queues(struct mtpy_thread *owner)
{
    for (struct mtpy_scope *scope = owner->extra ? owner->extra->scopes : NULL; scope;
         scope = scope->outer) {
        struct mtpy_member *member;
        while (scope->kind == MTPY_GROUP &&
               (member = first_of(&((struct mtpy_group *)scope)->queue)))
            mtpy_thread_cancel(&member->thread);
    }
}

void
mtpy_group_orphan_all(struct mtpy_thread *owner)
{
    for (struct mtpy_scope *scope = owner->extra->scopes; scope; scope = scope->outer)
        if (scope->kind == MTPY_GROUP && scope->thread)
            cancel_group((struct mtpy_group *)scope);
}

static PyObject *
group_spawn(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_group *self = (struct mtpy_group *)object;
    struct mtpy_state *state = self->scope.state;
    if (MT_UNLIKELY(self->stage == MADE || self->stage == ENDED)) {
        PyErr_Format(PyExc_RuntimeError,
                     self->stage == MADE ? "%R has not been entered; use it in a with statement first"
                                         : "%R has ended; nothing can be spawned into it",
                     self);
        return NULL;
    }
    struct mtpy_sched *sched = mtpy_sched_get(state);
    if (!sched)
        return NULL;
    if (MT_UNLIKELY(sched != self->sched)) {
        PyErr_Format(PyExc_RuntimeError,
                     "%R was entered in another OS thread; its members can be spawned only there", self);
        return NULL;
    }
    struct mtpy_thread *thread = mtpy_thread_make(sched, state->member_type, args, nargs, kwnames);
    if (!thread)
        return NULL;
    struct mtpy_member *member = (struct mtpy_member *)thread;
    member->group = self;
    thread->is_member = true;
    self->left++;
    bool is_cancelled = self->scope.is_expired;
    if (MT_UNLIKELY(is_cancelled))
        thread->is_cancelled = thread->core.is_pending = true;
    Py_INCREF(thread); /* the scheduler's, or the queue's */
    if (MT_UNLIKELY(self->running_count >= self->limit && !is_cancelled)) {
        thread->core.id = sched->core->next_id++;
        thread->is_queued = true;
        mt_list_append(&self->queue, &member->link);
    } else {
        mt_list_append(&self->running, &member->link);
        self->running_count++;
        mtpy_thread_launch(sched, thread);
    }
    return (PyObject *)thread;
}

static PyObject *
group_cancel(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_group *self = (struct mtpy_group *)object;
    if (self->stage == MADE) {
        PyErr_Format(PyExc_RuntimeError, "%R has not been entered; there is nothing to cancel", self);
        return NULL;
    }
    if (self->stage == ENDED)
        Py_RETURN_FALSE;
    cancel_group(self);
    Py_RETURN_TRUE;
}

/* ---- the block ---- */

static PyObject *
group_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_group *self = (struct mtpy_group *)object;
    struct mtpy_sched *sched = mtpy_sched_get(self->scope.state);
    if (!sched)
        return NULL;
    if (self->stage != MADE) {
        PyErr_Format(PyExc_RuntimeError, "%R was entered before; make a new one for each block", self);
        return NULL;
    }
    if (mtpy_scope_enter(&self->scope, sched) < 0)
        return NULL;
    self->sched = sched;
    self->stage = OPEN;
    return Py_NewRef(object);
}

/* An exception takes the place of another, which may be NULL. Steals both. */
static PyObject *
supersede(PyObject *old, PyObject *exception)
{
    if (old && old != exception)
        PyException_SetContext(exception, old);
    else
        Py_XDECREF(old);
    return exception;
}

/* Those who have not ended are let go of: they can never end, and the block must. */
static void
give_up(struct mtpy_group *self)
{
    struct mtpy_member *member;
    while ((member = first_of(&self->running)))
        part(member);
    self->left = self->running_count = 0;
    self->stage = ENDED;
}

/* Wait for the members. A cancellation, or whatever else comes to the caller meanwhile, cancels them,
   and they are waited for all the same; a deadlock, in which that is in vain, ends the waiting.
   Steals and returns the exception that leaves the block, or NULL. */
static PyObject *
wait_for_members(struct mtpy_group *self, struct mtpy_thread *caller, PyObject *own)
{
    struct mtpy_sched *sched = self->sched;
    if (!own) {
        int error =
            mt_deferred_wait(sched->core, &self->ended, MT_FOREVER, MT_WAIT_GROUP, self);
        if (!error)
            return NULL;
        (void)mtpy_raise(error);
        own = mtpy_error_take();
        cancel_group(self);
    }
    bool was_deaf = caller->is_deaf;
    caller->is_deaf = true;
    while (self->left > 0) {
        int error =
            mt_deferred_wait(sched->core, &self->ended, MT_FOREVER, MT_WAIT_GROUP, self);
        if (!error || error == MT_ECANCELED) /* that stays pending; it is told in time */
            continue;
        (void)mtpy_raise(error);
        own = supersede(own, mtpy_error_take());
        if (PyErr_GivenExceptionMatches(own, sched->state->DeadlockError))
            give_up(self);
    }
    caller->is_deaf = was_deaf;
    return own;
}

/* All failures, `own` first unless it is NULL: new, or NULL with an exception. */
static PyObject *
collect_failures(struct mtpy_group *self, PyObject *own)
{
    PyObject *list = PyList_New(0);
    if (!list || (own && PyList_Append(list, own) < 0))
        goto failed;
    for (struct mt_link *link = mt_list_front(&self->failed); link;
         link = mt_list_after(&self->failed, link)) {
        PyObject *exception = member_at(link)->thread.core.done.value;
        if (exception && exception != own && PyList_Append(list, exception) < 0)
            goto failed;
    }
    struct mtpy_member *member;
    while ((member = first_of(&self->failed))) {
        mt_list_remove(&member->link);
        Py_DECREF(member);
    }
    return list;
failed:
    Py_XDECREF(list);
    return NULL;
}

/* Whether an exception that leaves the block says no more than that the group was cancelled. */
static int
is_cancellation(struct mtpy_group *self, PyObject *own, bool is_by_group)
{
    struct mtpy_state *state = self->scope.state;
    if (mtpy_scope_matches(own, state->MicroThreadExit))
        return true;
    return is_by_group && state->futures_CancelledError &&
           PyErr_GivenExceptionMatches(own, state->futures_CancelledError);
}

/* Raise what there is to raise, now that all have ended. own: what leaves the block; value: what the
   body raised; both borrowed, or NULL. The result is that of __exit__. */
static PyObject *
conclude(struct mtpy_group *self, struct mtpy_thread *caller, PyObject *own, PyObject *value,
         bool is_by_group)
{
    bool is_failure = own && !is_cancellation(self, own, is_by_group);
    PyObject *failures = collect_failures(self, is_failure ? own : NULL);
    if (!failures)
        return NULL;
    Py_ssize_t count = PyList_GET_SIZE(failures);
    bool is_bare = count == 0 || (count == 1 && is_failure &&
                                  !PyErr_GivenExceptionMatches(own, PyExc_Exception));
    if (!is_bare) {
        PyObject *group = PyObject_CallFunction(PyExc_BaseExceptionGroup, "sO",
                                                "failures in a Group", failures);
        Py_DECREF(failures);
        if (group)
            mtpy_error_raise(group);
        return NULL;
    }
    Py_DECREF(failures);
    if (!own)
        Py_RETURN_FALSE;
    if (!is_failure && is_by_group && !mtpy_scope_demands(caller, self->scope.handled))
        Py_RETURN_TRUE;
    if (own == value)
        Py_RETURN_FALSE;
    mtpy_error_raise(Py_NewRef(own));
    return NULL;
}

static PyObject *
group_exit(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_group *self = (struct mtpy_group *)object;
    struct mtpy_sched *sched = mtpy_sched_get(self->scope.state);
    if (!sched)
        return NULL;
    if (self->stage != OPEN || sched != self->sched) {
        PyErr_Format(PyExc_RuntimeError,
                     self->stage == OPEN ? "%R was entered in another OS thread"
                                         : "%R is not in its block",
                     self);
        return NULL;
    }
    struct mtpy_thread *caller = mtpy_thread_current(sched);
    if (self->scope.thread) /* else that one has ended, and left its block to be closed by others */
        mtpy_scope_leave(&self->scope);
    PyObject *value = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    bool is_by_group = self->scope.is_expired; /* and not by what leaves the block */
    PyObject *own = Py_XNewRef(value);
    if (own)
        cancel_group(self);
    self->stage = self->left ? CLOSING : ENDED;
    if (self->left) {
        is_by_group &= own != NULL;
        own = wait_for_members(self, caller, own);
    }
    if (!own || is_cancellation(self, own, is_by_group)) {
        PyObject *thrown = mtpy_thread_take_thrown(caller); /* later ones come at its next wait */
        if (thrown)
            own = supersede(own, thrown);
    }
    PyObject *result = conclude(self, caller, own, value, is_by_group);
    Py_XDECREF(own);
    return result;
}

/* ---- the object ---- */

/* limit: an int >= 1, or None. Returns 0 or -1. */
static int
parse_limit(PyObject *given, size_t *limit)
{
    *limit = SIZE_MAX;
    if (given == Py_None)
        return 0;
    PyObject *number = PyNumber_Index(given);
    if (!number) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "limit must be an int or None, got %.200s",
                         Py_TYPE(given)->tp_name);
        return -1;
    }
    int overflow;
    long value = PyLong_AsLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow < 0 || (!overflow && value < 1)) {
        PyErr_Format(PyExc_ValueError, "limit must be >= 1 or None, got %R", given);
        return -1;
    }
    if (!overflow)
        *limit = (size_t)value;
    return 0;
}

static PyObject *
group_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"limit", NULL};
    PyObject *given = Py_None;
    size_t limit;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Group", names, &given) ||
        parse_limit(given, &limit) < 0)
        return NULL;
    struct mtpy_group *self = (struct mtpy_group *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->scope.state = mtpy_state_by_type(type);
    self->scope.kind = MTPY_GROUP;
    self->scope.is_manual = true;
    self->scope.span = self->scope.deadline = MT_FOREVER;
    mt_list_init(&self->running);
    mt_list_init(&self->queue);
    mt_list_init(&self->failed);
    mt_deferred_init(&self->ended);
    self->limit = limit;
    return (PyObject *)self;
}

static int
group_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct mtpy_group *self = (struct mtpy_group *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->scope.outer);
    for (struct mt_link *link = mt_list_front(&self->queue); link;
         link = mt_list_after(&self->queue, link))
        Py_VISIT(member_at(link));
    for (struct mt_link *link = mt_list_front(&self->failed); link;
         link = mt_list_after(&self->failed, link))
        Py_VISIT(member_at(link));
    return 0;
}

static int
group_clear(PyObject *object)
{
    struct mtpy_group *self = (struct mtpy_group *)object;
    Py_CLEAR(self->scope.outer);
    struct mtpy_member *member;
    while ((member = first_of(&self->queue))) {
        member->thread.is_queued = false;
        self->left--;
        part(member);
        Py_DECREF(member);
    }
    while ((member = first_of(&self->failed))) {
        member->thread.is_fetched = false; /* the block was never left: this is for excepthook */
        mt_list_remove(&member->link);
        Py_DECREF(member);
    }
    return 0;
}

static void
group_dealloc(PyObject *object)
{
    struct mtpy_group *self = (struct mtpy_group *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)group_clear(object);
    give_up(self);
    type->tp_free(object);
    Py_DECREF(type);
}

static Py_ssize_t
group_length(PyObject *object)
{
    return (Py_ssize_t)((struct mtpy_group *)object)->left;
}

/* A group is no container: it is true even when nobody is in it. */
static int
group_bool(PyObject *object)
{
    (void)object;
    return 1;
}

static PyObject *
group_repr(PyObject *object)
{
    static const char *const stages[] = {"not entered", "open", "closing", "ended"};
    struct mtpy_group *self = (struct mtpy_group *)object;
    return PyUnicode_FromFormat("<Group at %p: %s%s, %zu running, %zu waiting their turn>", self,
                                stages[self->stage], self->scope.is_expired ? ", cancelled" : "",
                                self->running_count, self->left - self->running_count);
}

PyObject *
mtpy_group_describe(const void *object)
{
    const struct mtpy_group *self = object;
    return PyUnicode_FromFormat("end of %zu member%s of <Group at %p>", self->left,
                                self->left == 1 ? "" : "s", self);
}

static PyObject *
get_limit(PyObject *object, void *unused)
{
    (void)unused;
    size_t limit = ((struct mtpy_group *)object)->limit;
    return limit == SIZE_MAX ? Py_NewRef(Py_None) : PyLong_FromSize_t(limit);
}

static PyObject *
get_cancelled(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct mtpy_group *)object)->scope.is_expired);
}

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef group_methods[] = {
    {"__enter__", CAST(group_enter), METH_NOARGS, NULL},
    {"__exit__", CAST(group_exit), METH_FASTCALL, NULL},
    {"spawn", CAST(group_spawn), METH_FASTCALL | METH_KEYWORDS,
     "spawn($self, fn, /, *args, **kwargs)\n--\n\n"
     "Make a micro_thread that runs fn(*args, **kwargs) in the group; returns it at once.\n\n"
     "With a limit it waits its turn. Members and others may spawn, too, until the last member has\n"
     "ended. One spawned into a cancelled group is cancelled before it runs.\n"
     "RuntimeError if the group has not been entered or has ended."},
    {"cancel", CAST(group_cancel), METH_NOARGS,
     "cancel($self)\n--\n\n"
     "Cancel all members, and the block at its next wait; silent. True unless the group has ended.\n\n"
     "Anybody may call it, also from other OS threads."},
    {0},
};

static PyGetSetDef group_getset[] = {
    {"limit", get_limit, NULL, "How many members may run at once, or None.", NULL},
    {"cancelled", get_cancelled, NULL, "Whether cancel() or an exception has cancelled the group.",
     NULL},
    {0},
};

static PyType_Slot group_slots[] = {
    {Py_tp_doc, "What Group is made of."},
    {Py_tp_new, group_new},
    {Py_tp_dealloc, group_dealloc},
    {Py_tp_traverse, group_traverse},
    {Py_tp_clear, group_clear},
    {Py_tp_repr, group_repr},
    {Py_tp_methods, group_methods},
    {Py_tp_getset, group_getset},
    {Py_sq_length, group_length},
    {Py_nb_bool, group_bool},
    {0, NULL},
};

PyType_Spec mtpy_group_spec = {
    .name = "microthread._core.group",
    .basicsize = sizeof(struct mtpy_group),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = group_slots,
};
