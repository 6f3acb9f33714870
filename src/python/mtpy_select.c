/* SPDX-License-Identifier: MIT */
/* select() over pipes, channels, deferreds, micro-threads, descriptors and timers. Exactly one case happens:
   first every case is tried in turn from a random one on; if none is ready each gets a clause in one
   wait, and the first that is triggered takes the others back. Up to eight cases need no memory but
   the caller's stack. */
#include "python/mtpy_channel.h"
#include "python/mtpy_clone.h"
#include "python/mtpy_select.h"

#include <errno.h>
#include <poll.h>

struct mtpy_case {
    PyObject_HEAD
    PyObject *object; /* the pipe, or its writing end; owned, or NULL */
    PyObject *value;  /* what to put; owned, or NULL */
    int64_t number;   /* a descriptor, or ns */
    enum mtpy_case_kind kind;
};

PyObject *
mtpy_case_new(struct mtpy_state *state, enum mtpy_case_kind kind, PyObject *object,
              PyObject *value, int64_t number)
{
    struct mtpy_case *self = PyObject_GC_New(struct mtpy_case, state->case_type);
    if (!self)
        return NULL;
    self->object = Py_XNewRef(object);
    self->value = Py_XNewRef(value);
    self->number = number;
    self->kind = kind;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* ---- one select ---- */

enum { CASES_WITHOUT_MEMORY = 8 };

struct entry {
    union {
        struct mt_clause clause; /* of any kind */
        struct mt_fd_clause fd_clause; /* for descriptors */
        struct mt_channel_case channel_case; /* for channels */
    };
    struct mt_message *message; /* to send; owned until it is sent */
    enum mtpy_case_kind kind;
    PyObject *object;           /* borrowed from the arguments, as the next; NULL: a pipe that is gone */
    PyObject *value;
    int64_t number;
};

struct selection {
    struct mtpy_sched *sched;
    struct entry *entries;
    Py_ssize_t count;
};

static int
read_case(struct mtpy_state *state, struct entry *entry, PyObject *given, Py_ssize_t index)
{
    PyTypeObject *type = Py_TYPE(given);
    entry->object = given;
    entry->message = NULL;
    if (type == state->case_type) {
        const struct mtpy_case *its = (const struct mtpy_case *)given;
        entry->kind = its->kind;
        entry->object = its->object;
        entry->value = its->value;
        entry->number = its->number;
        if (its->object && Py_IS_TYPE(its->object, state->writer_type))
            entry->object = mtpy_writer_pipe(its->object);
        if (entry->kind == MTPY_CASE_SENDING)
            return mtpy_clone_encode(state, entry->value, &entry->message);
        return 0;
    }
    if (PyObject_TypeCheck(given, state->deferred_type)) {
        entry->kind = MTPY_CASE_DEFERRED;
        return 0;
    }
    if (PyObject_TypeCheck(given, state->thread_type)) {
        entry->kind = MTPY_CASE_THREAD;
        return 0;
    }
    PyErr_Format(PyExc_TypeError,
                 "case %zd must be pipe.taking(), pipe.putting(obj), channel.receiving(), "
                 "channel.sending(obj), readable(fd), writable(fd), after(seconds), a deferred or "
                 "a micro_thread, got %.200s",
                 index, type->tp_name);
    return -1;
}

int
mtpy_fd_is_ready(int fd, enum mt_fd_events events)
{
    struct pollfd polled = {.fd = fd, .events = events == MT_FD_READ ? POLLIN : POLLOUT};
    int count = poll(&polled, 1, 0);
    if (count > 0 && polled.revents & POLLNVAL) {
        mtpy_raise(mt_error_from_errno(EBADF));
        return -1;
    }
    return count > 0;
}

static int
try_thread(struct selection *selection, struct mtpy_thread *thread, PyObject **value)
{
    if (thread->outcome != MTPY_OUTCOME_NONE)
        return (*value = mtpy_thread_outcome(thread)) ? 1 : -1;
    if (thread == mtpy_thread_current(selection->sched)) {
        PyErr_Format(PyExc_RuntimeError, "%R cannot wait for itself", thread);
        return -1;
    }
    if (mtpy_thread_is_new(thread)) {
        PyErr_Format(PyExc_RuntimeError, "%R was not started; call start() first", thread);
        return -1;
    }
    return 0;
}

/* A message was sent or received. New, or NULL. */
static PyObject *
finish_channel(struct selection *selection, struct entry *entry, struct mt_message *message)
{
    if (entry->kind == MTPY_CASE_RECEIVING)
        return mtpy_clone_decode(selection->sched->state, message);
    entry->message = NULL; /* it is the channel's */
    return Py_NewRef(Py_None);
}

/* The same as the next one, for an end of a channel. */
static int
try_channel(struct selection *selection, struct entry *entry, PyObject **value)
{
    struct mtpy_end *end = (struct mtpy_end *)entry->object;
    struct mt_sched *core = selection->sched->core;
    if (mtpy_end_check_open(end) < 0)
        return -1;
    void *message = entry->message;
    bool is_send = entry->kind == MTPY_CASE_SENDING;
    int error = is_send ? mt_channel_try_send(core, end->core, message)
                        : mt_channel_try_recv(core, end->core, &message);
    if (error == MT_EFULL || error == MT_EEMPTY)
        return 0;
    *value = error ? mtpy_end_raise(end, error) : finish_channel(selection, entry, message);
    return *value ? 1 : -1;
}

/* 1 when it went ahead, with *value new; 0 when it would wait; -1 with an exception. */
static int
try_entry(struct selection *selection, struct entry *entry, PyObject **value)
{
    int is_ready = 0;
    switch (entry->kind) {
    case MTPY_CASE_TAKING:
        return mtpy_pipe_try_take(entry->object, value);
    case MTPY_CASE_DEFERRED:
        if (mtpy_deferred_core(entry->object)->state == MT_DEFERRED_PENDING)
            return 0;
        return (*value = mtpy_deferred_result(entry->object)) ? 1 : -1;
    case MTPY_CASE_THREAD:
        return try_thread(selection, (struct mtpy_thread *)entry->object, value);
    case MTPY_CASE_RECEIVING:
    case MTPY_CASE_SENDING:
        return try_channel(selection, entry, value);
    case MTPY_CASE_PUTTING:
        if (!entry->object) {
            mtpy_pipe_raise_closed(selection->sched->state);
            return -1;
        }
        is_ready = mtpy_pipe_try_put(entry->object, entry->value);
        break;
    case MTPY_CASE_READABLE:
        is_ready = mtpy_fd_is_ready((int)entry->number, MT_FD_READ);
        break;
    case MTPY_CASE_WRITABLE:
        is_ready = mtpy_fd_is_ready((int)entry->number, MT_FD_WRITE);
        break;
    case MTPY_CASE_AFTER:
        is_ready = entry->number == 0;
        break;
    }
    if (is_ready > 0)
        *value = Py_NewRef(Py_None);
    return is_ready;
}

/* Put its clause where it will be triggered; a channel's comes into the turn. Returns 0 or an error. */
static int
watch_entry(struct selection *selection, struct mt_wait *wait, struct mt_channel_turn *turn,
            struct entry *entry)
{
    struct mt_sched *core = selection->sched->core;
    struct mt_clause *clause = &entry->clause;
    struct mt_list *list = NULL;
    switch (entry->kind) {
    case MTPY_CASE_TAKING:
        mt_wait_add(wait, clause, MT_WAIT_TAKE, mtpy_pipe_core(entry->object));
        list = &mtpy_pipe_core(entry->object)->readers;
        mtpy_pipe_hold_for(entry->object);
        break;
    case MTPY_CASE_PUTTING:
        mt_wait_add(wait, clause, MT_WAIT_PUT, mtpy_pipe_core(entry->object));
        clause->value = Py_NewRef(entry->value);
        list = &mtpy_pipe_core(entry->object)->writers;
        break;
    case MTPY_CASE_DEFERRED:
        mt_wait_add(wait, clause, MT_WAIT_DEFERRED, entry->object);
        clause->value = mtpy_deferred_core(entry->object); /* a fork counts its waiters by it */
        list = &mtpy_deferred_core(entry->object)->waiters;
        mtpy_deferred_core(entry->object)->waiting++;
        break;
    case MTPY_CASE_THREAD: {
        struct mt_thread *thread = &((struct mtpy_thread *)entry->object)->core;
        mt_wait_add(wait, clause, MT_WAIT_THREAD, thread);
        list = &thread->done.waiters;
        break;
    }
    case MTPY_CASE_READABLE:
    case MTPY_CASE_WRITABLE: {
        bool is_read = entry->kind == MTPY_CASE_READABLE;
        mt_wait_add(wait, clause, is_read ? MT_WAIT_READ : MT_WAIT_WRITE, NULL);
        entry->fd_clause.fd = (int)entry->number;
        entry->fd_clause.events = is_read ? MT_FD_READ : MT_FD_WRITE;
        entry->fd_clause.is_kept = false;
        return core->reactor_ops->watch(core->reactor, &entry->fd_clause);
    }
    case MTPY_CASE_RECEIVING:
    case MTPY_CASE_SENDING: {
        struct mtpy_end *end = (struct mtpy_end *)entry->object;
        mt_channel_turn_add(turn, &entry->channel_case, end->core, end->side, entry->message,
                            &end->home);
        return 0;
    }
    case MTPY_CASE_AFTER:
        return 0; /* the wait's own deadline */
    }
    mt_list_append(list, &clause->link);
    return 0;
}

/* What the wait took for this entry is given back, unless it went through. */
static void
unwatch_entry(struct entry *entry, bool is_done)
{
    if (entry->kind == MTPY_CASE_TAKING)
        mtpy_pipe_let_go_for(entry->object);
    if (entry->kind == MTPY_CASE_DEFERRED)
        mtpy_deferred_core(entry->object)->waiting--;
    if (entry->kind == MTPY_CASE_PUTTING && !is_done)
        Py_DECREF(entry->value);
}

/* The value of the entry whose clause was triggered with `result`. New, or NULL. */
static PyObject *
finish_entry(struct selection *selection, struct entry *entry, int result)
{
    switch (entry->kind) {
    case MTPY_CASE_RECEIVING:
    case MTPY_CASE_SENDING:
        return result ? mtpy_end_raise((struct mtpy_end *)entry->object, result)
                      : finish_channel(selection, entry, entry->channel_case.message);
    case MTPY_CASE_TAKING:
        return result ? mtpy_pipe_raise_take(entry->object, result) : entry->clause.value;
    case MTPY_CASE_PUTTING:
        /* The pipe may be gone, if it was put into by way of its writing end. */
        return !result                ? Py_NewRef(Py_None)
               : result == MT_ECLOSED ? mtpy_pipe_raise_closed(selection->sched->state)
                                      : mtpy_raise(result);
    case MTPY_CASE_DEFERRED:
        return mtpy_deferred_result(entry->object);
    case MTPY_CASE_THREAD:
        return mtpy_thread_outcome((struct mtpy_thread *)entry->object);
    default:
        if (!result && mt_fd_clause_is_stale(&entry->fd_clause))
            result = mt_error_from_errno(EBADF); /* closed before it was our turn */
        return result ? mtpy_raise(result) : Py_NewRef(Py_None);
    }
}

/* If only objects can end the wait, have a reference to the waiter for each clause, for the garbage
   collector; the scheduler's is the first. Returns how many were taken. */
static Py_ssize_t
count_clauses(const struct selection *selection, struct mt_wait *wait)
{
    for (Py_ssize_t i = 0; i < selection->count; i++) {
        enum mtpy_case_kind kind = selection->entries[i].kind;
        if (kind == MTPY_CASE_READABLE || kind == MTPY_CASE_WRITABLE || kind == MTPY_CASE_AFTER)
            return 0;
    }
    wait->is_counted = true;
    for (Py_ssize_t i = 1; i < selection->count; i++)
        Py_INCREF(mtpy_thread_of(wait->thread));
    return selection->count - 1;
}

/* Park until one happens. *index: which. New, or NULL with an exception. */
static PyObject *
wait_for_one(struct selection *selection, mt_time timeout, Py_ssize_t *index)
{
    struct mtpy_sched *sched = selection->sched;
    struct entry *entries = selection->entries;
    Py_ssize_t soonest = -1, watched = 0;
    struct mt_wait wait;
    struct mt_channel_turn turn;
    mt_wait_init(&wait, sched->core);
    mt_channel_turn_init(&turn, &wait, sched->core);
    int error = 0;
    for (Py_ssize_t i = 0; i < selection->count && !error; i++) {
        if (entries[i].kind == MTPY_CASE_AFTER && entries[i].number < timeout) {
            timeout = entries[i].number;
            soonest = i;
        }
        error = watch_entry(selection, &wait, &turn, &entries[i]);
        watched++;
    }
    struct mt_channel_case *done = error ? NULL : mt_channel_turn_begin(&turn);
    Py_ssize_t counted = error || done ? 0 : count_clauses(selection, &wait);
    if (error || done) {
        mt_wait_withdraw(&wait);
    } else {
        error = mt_wait_park(&wait, mt_sched_deadline(sched->core, timeout));
        done = mt_channel_turn_end(&turn);
    }
    while (counted-- > 0)
        Py_DECREF(mtpy_thread_of(wait.thread));
    struct entry *fired = wait.fired ? MT_CONTAINER_OF(wait.fired, struct entry, clause) : NULL;
    if (done) { /* whatever else may have come since: this has happened */
        fired = MT_CONTAINER_OF(done, struct entry, channel_case);
        error = done->result;
    }
    for (Py_ssize_t i = 0; i < watched; i++)
        unwatch_entry(&entries[i], &entries[i] == fired && !error);
    if (fired) {
        *index = fired - entries;
        return finish_entry(selection, fired, error);
    }
    if (error == MT_ETIMEDOUT && soonest >= 0) {
        *index = soonest;
        return Py_NewRef(Py_None);
    }
    return mtpy_raise(error);
}

static PyObject *
run_selection(struct selection *selection, mt_time timeout)
{
    struct mtpy_sched *sched = selection->sched;
    PyObject *value = NULL;
    Py_ssize_t index = 0;
    int error = mt_heed(sched->core, 1);
    if (error)
        return mtpy_raise(error);
    /* An xorshift generator (Marsaglia, 2003) picks where to begin. */
    sched->random ^= sched->random << 13;
    sched->random ^= sched->random >> 17;
    sched->random ^= sched->random << 5;
    Py_ssize_t count = selection->count;
    Py_ssize_t turn = count ? (Py_ssize_t)(sched->random % (uint32_t)count) : 0;
    int is_ready = 0;
    for (Py_ssize_t i = 0; i < count && !is_ready; i++) {
        index = turn + i < count ? turn + i : turn + i - count;
        is_ready = try_entry(selection, &selection->entries[index], &value);
    }
    if (is_ready < 0)
        return NULL;
    if (is_ready) {
        mt_spend(sched->core, 1);
    } else if (timeout == 0) {
        return mtpy_raise(MT_ETIMEDOUT);
    } else {
        value = wait_for_one(selection, timeout, &index);
        if (!value)
            return NULL;
    }
    PyObject *number = PyLong_FromSsize_t(index);
    PyObject *pair = number ? PyTuple_New(2) : NULL;
    if (!pair) {
        Py_XDECREF(number);
        Py_DECREF(value);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, number);
    PyTuple_SET_ITEM(pair, 1, value);
    return pair;
}

PyObject *
mtpy_select(struct mtpy_state *state, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    mt_time timeout = MT_FOREVER;
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (PyUnicode_CompareWithASCIIString(name, "timeout") != 0) {
            PyErr_Format(PyExc_TypeError, "select() got an unexpected keyword argument %R", name);
            return NULL;
        }
        if (mtpy_parse_timeout(args[nargs + i], "timeout", &timeout) < 0)
            return NULL;
    }
    if (nargs == 0 && timeout == MT_FOREVER) {
        PyErr_SetString(PyExc_ValueError, "select() needs at least one case, or a timeout");
        return NULL;
    }
    struct entry few[CASES_WITHOUT_MEMORY];
    struct selection selection = {mtpy_sched_get(state), few, nargs};
    if (!selection.sched)
        return NULL;
    if (nargs > CASES_WITHOUT_MEMORY) {
        selection.entries = PyMem_New(struct entry, (size_t)nargs);
        if (!selection.entries)
            return PyErr_NoMemory();
    }
    PyObject *result = NULL;
    Py_ssize_t read = 0;
    while (read < nargs && read_case(state, &selection.entries[read], args[read], read) == 0)
        read++;
    if (read == nargs)
        result = run_selection(&selection, timeout);
    for (Py_ssize_t i = 0; i < read; i++)
        mt_message_free(selection.entries[i].message);
    if (selection.entries != few)
        PyMem_Free(selection.entries);
    return result;
}

/* ---- the case object ---- */

static int
case_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct mtpy_case *self = (struct mtpy_case *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->object);
    Py_VISIT(self->value);
    return 0;
}

static int
case_clear(PyObject *object)
{
    struct mtpy_case *self = (struct mtpy_case *)object;
    Py_CLEAR(self->object);
    Py_CLEAR(self->value);
    return 0;
}

static void
case_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)case_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyType_Slot case_slots[] = {
    {Py_tp_doc, "One thing that select() may wait for."},
    {Py_tp_dealloc, case_dealloc},
    {Py_tp_traverse, case_traverse},
    {Py_tp_clear, case_clear},
    {0, NULL},
};

PyType_Spec mtpy_case_spec = {
    .name = "microthread._core.select_case",
    .basicsize = sizeof(struct mtpy_case),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = case_slots,
};
