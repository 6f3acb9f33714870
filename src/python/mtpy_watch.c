/* SPDX-License-Identifier: MIT */
/* _Watch: who keeps a loop for too long. An OS thread of its own iterates over one; each step sleeps
   until somebody has run for longer than the threshold without giving way. It looks at the
   schedulers' progress without the GIL, which it takes only when there is something to tell. */
#include "python/mtpy_state.h"

enum {
    TICKS = 4,                          /* looks in the time of a threshold */
    TICK_LEAST = 1000 * 1000,           /* ns */
    TICK_MOST = 250 * 1000 * 1000       /* ns */
};

struct mtpy_watch {
    PyObject_HEAD
    struct mtpy_state *state; /* borrowed: the type's module owns it */
    mt_time threshold;        /* ns */
    PyThread_type_lock stop;  /* held until it shall end */
    bool is_stopped;          /* written with the GIL and state->scheds_lock, read with either */
};

void
mtpy_state_lock_scheds(struct mtpy_state *state)
{
    if (state->scheds_lock) /* nobody sleeps or takes the GIL while holding it */
        (void)PyThread_acquire_lock(state->scheds_lock, WAIT_LOCK);
}

void
mtpy_state_unlock_scheds(struct mtpy_state *state)
{
    if (state->scheds_lock)
        PyThread_release_lock(state->scheds_lock);
}

static bool
is_in_turn(struct mtpy_sched *sched)
{
    return mt_sched_goes_on(sched->core, sched->watched_progress);
}

/* Without the GIL: look at each scheduler. Returns the serial of one whose turn lasts too long, each
   turn once, or 0. */
static uint64_t
find_slow(struct mtpy_watch *self)
{
    uint64_t found = 0;
    mtpy_state_lock_scheds(self->state);
    struct mtpy_sched *sched = self->is_stopped ? NULL : self->state->scheds;
    for (; sched; sched = sched->next) {
        mt_time now = mt_sched_now(sched->core); /* before the look: early rather than late */
        if (!sched->watched_since || !is_in_turn(sched)) {
            sched->watched_progress = mt_sched_progress(sched->core);
            sched->watched_since = mt_sched_now(sched->core); /* late rather than early */
            sched->is_slow_told = false;
        } else if (!found && !sched->is_slow_told && now - sched->watched_since > self->threshold) {
            sched->is_slow_told = true;
            found = sched->serial;
        }
    }
    mtpy_state_unlock_scheds(self->state);
    return found;
}

/* With the GIL: (micro_thread, seconds, frames), or NULL, without an exception if it is over. New. */
static PyObject *
describe_slow(struct mtpy_watch *self, uint64_t serial)
{
    struct mtpy_sched *sched = self->state->scheds;
    while (sched && sched->serial != serial)
        sched = sched->next;
    if (!sched || !is_in_turn(sched) || sched->core->current->state != MT_THREAD_RUNNING)
        return NULL;
    if (sched->core->live_count == 1 && atomic_load(&sched->core->turns) == 0) {
        sched->is_slow_told = false; /* an OS thread that has no loop: it may get one */
        sched->watched_since = 0;
        return NULL;
    }
    struct mtpy_thread *thread = mtpy_thread_current(sched);
    PyObject *frames = mtpy_thread_frames(thread);
    if (!frames)
        return NULL;
    double seconds = (double)(mt_sched_now(sched->core) - sched->watched_since) / 1e9;
    return Py_BuildValue("(OdN)", thread, seconds, frames);
}

static PyObject *
watch_next(PyObject *object)
{
    struct mtpy_watch *self = (struct mtpy_watch *)object;
    mt_time tick = self->threshold / TICKS;
    tick = tick < TICK_LEAST ? TICK_LEAST : tick > TICK_MOST ? TICK_MOST : tick;
    PyObject *slow = NULL;
    bool is_stopped;
    self->state->service_threads++; /* it wakes nobody: a deadlock is one beside it, too */
    do {
        uint64_t serial = 0;
        Py_BEGIN_ALLOW_THREADS
        do {
            is_stopped = PyThread_acquire_lock_timed(self->stop, tick / 1000, 0) == PY_LOCK_ACQUIRED;
            if (is_stopped)
                PyThread_release_lock(self->stop);
            else
                serial = find_slow(self);
        } while (!is_stopped && !serial);
        Py_END_ALLOW_THREADS
        if (serial)
            slow = describe_slow(self, serial);
    } while (!slow && !is_stopped && !PyErr_Occurred());
    self->state->service_threads--;
    return slow;
}

static PyObject *
watch_stop(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_watch *self = (struct mtpy_watch *)object;
    mtpy_state_lock_scheds(self->state);
    if (!self->is_stopped)
        PyThread_release_lock(self->stop);
    self->is_stopped = true;
    mtpy_state_unlock_scheds(self->state);
    Py_RETURN_NONE;
}

static PyObject *
watch_get_is_stopped(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((struct mtpy_watch *)object)->is_stopped);
}

static PyObject *
watch_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"threshold", NULL};
    PyObject *given;
    mt_time threshold;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:_Watch", names, &given) ||
        mtpy_parse_seconds(given, "slow_threshold, if not None,", &threshold) < 0)
        return NULL;
    struct mtpy_watch *self = (struct mtpy_watch *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->state = mtpy_state_by_type(type);
    self->threshold = threshold;
    self->stop = PyThread_allocate_lock();
    if (!self->state->scheds_lock)
        self->state->scheds_lock = PyThread_allocate_lock();
    if (!self->stop || !self->state->scheds_lock) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    (void)PyThread_acquire_lock(self->stop, WAIT_LOCK);
    /* What has lasted since before is not held against anybody. */
    mtpy_state_lock_scheds(self->state);
    for (struct mtpy_sched *sched = self->state->scheds; sched; sched = sched->next)
        sched->watched_since = 0;
    mtpy_state_unlock_scheds(self->state);
    return (PyObject *)self;
}

static void
watch_dealloc(PyObject *object)
{
    struct mtpy_watch *self = (struct mtpy_watch *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->stop)
        PyThread_free_lock(self->stop);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef watch_methods[] = {
    {"stop", watch_stop, METH_NOARGS,
     "stop($self)\n--\n\nEnd the iteration, from any OS thread. Twice is allowed."},
    {0},
};

static PyGetSetDef watch_getset[] = {
    {"is_stopped", watch_get_is_stopped, NULL, "Whether stop() was called.", NULL},
    {0},
};

static PyType_Slot watch_slots[] = {
    {Py_tp_doc,
     "_Watch(threshold)\n--\n\n"
     "Iterate over it in an OS thread that does nothing else: (micro_thread, seconds, frames) of each\n"
     "that keeps its loop for longer than that, once a turn."},
    {Py_tp_new, watch_new},
    {Py_tp_dealloc, watch_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, watch_next},
    {Py_tp_methods, watch_methods},
    {Py_tp_getset, watch_getset},
    {0, NULL},
};

static PyType_Spec watch_spec = {
    .name = "microthread._core._Watch",
    .basicsize = sizeof(struct mtpy_watch),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = watch_slots,
};

int
mtpy_watch_add_type(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &watch_spec, NULL);
    int failed = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
    Py_XDECREF(type);
    return failed;
}
