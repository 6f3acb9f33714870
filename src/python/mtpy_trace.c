/* SPDX-License-Identifier: MIT */
#include "python/mtpy_trace.h"

#include "base/mt_alloc.h"
#include "group/mt_trace.h"

#include <string.h>
#include <unistd.h>

/* Of each scheduler while there is a trace. */
struct mtpy_tracer {
    struct mt_trace *trace;  /* the interpreter's */
    mt_time since;           /* since when the current one runs, or when it left */
    mt_time poll_since;      /* when the poll began; 0: before the trace did */
    uint64_t left_turns;     /* core->turns when the current one left */
    bool is_left;            /* it left; it may have gone on without a switch: see is_running() */
    uint32_t loop;           /* the OS thread's number */
    uint8_t number;          /* of the trace, never 0 */
};

/* After an idle moment the micro-thread on whose stack that was may go on, and no hook tells. But
   then it takes a new turn before it leaves again. */
static bool
is_running(const struct mtpy_tracer *tracer, const struct mt_sched *core)
{
    return !tracer->is_left ||
           atomic_load_explicit(&core->turns, memory_order_relaxed) != tracer->left_turns;
}

static void
begin_run(struct mtpy_tracer *tracer, struct mt_sched *core)
{
    tracer->since = mt_sched_now(core);
    tracer->is_left = false;
}

/* ---- names ---- */

/* A copy for a note, or NULL: then it is shown by its id. */
static char *
copy_name(const struct mtpy_thread *thread)
{
    PyObject *name = thread->extra ? thread->extra->name : NULL;
    if (!name)
        return NULL;
    PyObject *pending = PyErr_Occurred() ? mtpy_error_take() : NULL;
    PyObject *bytes = PyUnicode_AsEncodedString(name, "utf-8", "backslashreplace");
    char *copy = bytes ? mt_alloc((size_t)PyBytes_GET_SIZE(bytes) + 1) : NULL;
    if (copy)
        memcpy(copy, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes) + 1);
    Py_XDECREF(bytes);
    PyErr_Clear();
    if (pending)
        mtpy_error_raise(pending);
    return copy;
}

/* Before the first note of a micro-thread, and the first after it got another name. */
static void
introduce(const struct mtpy_tracer *tracer, struct mtpy_thread *thread)
{
    if (MT_LIKELY(thread->traced == tracer->number))
        return;
    thread->traced = tracer->number;
    mt_trace_put(tracer->trace, &(struct mt_trace_note){
                                    .kind = MT_TRACE_NAME,
                                    .loop = tracer->loop,
                                    .id = thread->core.id,
                                    .name = copy_name(thread),
                                });
}

/* ---- notes ---- */

static void
fill_wait(struct mt_trace_note *note, const struct mt_thread *thread)
{
    const struct mt_wait *wait = thread->wait;
    note->waits = MT_TRACE_YIELDS;
    if (!wait || wait->result != MT_PENDING)
        return;
    const struct mt_clause *clause = wait->clauses;
    note->waits = (int8_t)(clause ? clause->kind : MT_WAIT_SLEEP);
    if (!clause || clause->kind == MT_WAIT_SLEEP) {
        mt_time left = mt_timer_is_set(&wait->timer) ? wait->timer.node.key - note->until : 0;
        note->number = left > 0 ? (uint64_t)left : 0;
        return;
    }
    note->number = (uint64_t)(uintptr_t)clause->object;
    if (clause->kind == MT_WAIT_READ || clause->kind == MT_WAIT_WRITE)
        note->number = (uint64_t)((const struct mt_fd_clause *)clause)->fd;
    else if (clause->kind == MT_WAIT_THREAD)
        note->number = ((const struct mt_thread *)clause->object)->id;
    while ((clause = clause->sibling))
        note->more++;
}

/* The current one has run until now. waits: say what for it leaves. */
static void
note_run(struct mtpy_tracer *tracer, struct mt_sched *core, bool waits)
{
    struct mt_trace_note note = {
        .kind = MT_TRACE_RUN,
        .loop = tracer->loop,
        .id = core->current->id,
        .from = tracer->since,
        .until = mt_sched_now(core),
        .waits = MT_TRACE_YIELDS,
    };
    if (waits)
        fill_wait(&note, core->current);
    introduce(tracer, mtpy_thread_of(core->current));
    mt_trace_put(tracer->trace, &note);
    tracer->since = note.until;
    tracer->is_left = true;
    tracer->left_turns = atomic_load_explicit(&core->turns, memory_order_relaxed);
}

void
mtpy_trace_note_spawn(struct mtpy_sched *sched, const struct mtpy_thread *thread)
{
    /* The spawner may be in another OS thread. */
    struct mtpy_sched *here = mtpy_sched_here;
    if (!here || here->state != sched->state)
        here = sched;
    struct mtpy_tracer *tracer = here->tracer;
    if (!tracer)
        return;
    introduce(tracer, mtpy_thread_current(here));
    mt_trace_put(tracer->trace, &(struct mt_trace_note){
                                    .kind = MT_TRACE_SPAWN,
                                    .loop = tracer->loop,
                                    .id = here->core->current->id,
                                    .until = mt_sched_now(here->core),
                                    .number = thread->core.id,
                                });
}

void
mtpy_trace_note_finish(struct mtpy_sched *sched, struct mtpy_thread *thread)
{
    struct mtpy_tracer *tracer = sched->tracer;
    if (&thread->core == sched->core->current)
        note_run(tracer, sched->core, false);
    introduce(tracer, thread);
    mt_trace_put(tracer->trace, &(struct mt_trace_note){
                                    .kind = MT_TRACE_FINISH,
                                    .loop = tracer->loop,
                                    .id = thread->core.id,
                                    .until = mt_sched_now(sched->core),
                                });
}

/* ---- hooks: notes come first, since the usual hook may run code that ends the trace ---- */

void
mtpy_trace_enter(struct mt_sched *core, struct mt_stack *stack)
{
    struct mtpy_tracer *tracer = mtpy_sched_of(core)->tracer;
    if (tracer)
        begin_run(tracer, core);
    mtpy_sched_hooks.enter(core, stack);
}

void
mtpy_trace_leave(struct mt_sched *core, struct mt_stack *stack)
{
    struct mtpy_tracer *tracer = mtpy_sched_of(core)->tracer;
    if (tracer && is_running(tracer, core))
        note_run(tracer, core, true);
    mtpy_sched_hooks.leave(core, stack);
}

void
mtpy_trace_resume(struct mt_sched *core, struct mt_stack *stack)
{
    struct mtpy_tracer *tracer = mtpy_sched_of(core)->tracer;
    if (tracer)
        begin_run(tracer, core);
    mtpy_sched_hooks.resume(core, stack);
}

void
mtpy_trace_poll_begin(void *host)
{
    struct mt_sched *core = host;
    struct mtpy_tracer *tracer = mtpy_sched_of(core)->tracer;
    if (tracer)
        tracer->poll_since = mt_sched_now(core);
    mtpy_sched_hooks.poll_begin(host);
}

void
mtpy_trace_poll_end(void *host)
{
    struct mt_sched *core = host;
    mtpy_sched_hooks.poll_end(host);
    /* Not before: without the GIL another OS thread may begin or end a trace. */
    struct mtpy_tracer *tracer = mtpy_sched_of(core)->tracer;
    if (!tracer)
        return;
    tracer->since = mt_sched_now(core);
    if (tracer->poll_since)
        mt_trace_put(tracer->trace, &(struct mt_trace_note){
                                        .kind = MT_TRACE_POLL,
                                        .loop = tracer->loop,
                                        .from = tracer->poll_since,
                                        .until = tracer->since,
                                    });
    tracer->poll_since = 0;
}

/* ---- life ---- */

int
mtpy_trace_sched_begins(struct mtpy_sched *sched)
{
    struct mtpy_state *state = sched->state;
    if (!state->trace)
        return 0;
    struct mtpy_tracer *tracer = PyMem_Calloc(1, sizeof *tracer);
    if (!tracer) {
        PyErr_NoMemory();
        return -1;
    }
    tracer->trace = state->trace;
    /* In the child of a fork CPython 3.11 still has the parent's. */
    bool is_here = sched->tstate == PyThreadState_Get();
    tracer->loop = is_here ? (uint32_t)gettid() : (uint32_t)sched->tstate->native_thread_id;
    tracer->number = (uint8_t)(state->trace_number % UINT8_MAX + 1);
    begin_run(tracer, sched->core);
    /* One that is in a poll begins with the end of it. */
    tracer->is_left = atomic_load(&sched->core->is_polling);
    tracer->left_turns = atomic_load_explicit(&sched->core->turns, memory_order_relaxed);
    mt_trace_put(tracer->trace,
                 &(struct mt_trace_note){.kind = MT_TRACE_LOOP, .loop = tracer->loop});
    sched->tracer = tracer;
    sched->core->hooks = &mtpy_sched_tracing_hooks;
    return 0;
}

void
mtpy_trace_sched_ends(struct mtpy_sched *sched)
{
    struct mtpy_tracer *tracer = sched->tracer;
    if (!tracer)
        return;
    if (is_running(tracer, sched->core))
        note_run(tracer, sched->core, false);
    sched->core->hooks = &mtpy_sched_hooks;
    sched->tracer = NULL;
    PyMem_Free(tracer);
}

int
mtpy_trace_end(struct mtpy_state *state)
{
    struct mt_trace *trace = state->trace;
    if (!trace)
        return 0;
    for (struct mtpy_sched *sched = state->scheds; sched; sched = sched->next)
        mtpy_trace_sched_ends(sched);
    state->trace = NULL;
    int error;
    Py_BEGIN_ALLOW_THREADS
    error = mt_trace_close(trace);
    Py_END_ALLOW_THREADS
    if (!error)
        return 0;
    mtpy_raise(error);
    return -1;
}

void
mtpy_trace_after_fork(struct mtpy_state *state, struct mtpy_sched *here)
{
    struct mt_trace *trace = state->trace;
    state->trace = NULL;
    if (here && here->tracer) {
        here->core->hooks = &mtpy_sched_hooks;
        PyMem_Free(here->tracer);
        here->tracer = NULL;
    }
    if (trace)
        mt_trace_abandon(trace);
}

/* ---- for _trace.py ---- */

static PyObject *
trace_begin(PyObject *module, PyObject *path)
{
    struct mtpy_state *state = mtpy_state_of(module);
    PyObject *bytes = NULL;
    if (!mtpy_sched_get(state) || !PyUnicode_FSConverter(path, &bytes))
        return NULL;
    struct mt_trace *trace = NULL;
    int error = 0;
    if (!state->trace) {
        const char *name = PyBytes_AS_STRING(bytes);
        Py_BEGIN_ALLOW_THREADS
        error = mt_trace_open(name, &trace);
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(bytes);
    if (mt_error_errno(error)) {
        errno = mt_error_errno(error);
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    }
    if (error)
        return mtpy_raise(error);
    if (state->trace) {
        if (trace)
            (void)mt_trace_close(trace);
        PyErr_SetString(PyExc_RuntimeError,
                        "this interpreter is being traced already: one trace at a time");
        return NULL;
    }
    state->trace = trace;
    state->trace_number++;
    for (struct mtpy_sched *sched = state->scheds; sched; sched = sched->next)
        if (mtpy_trace_sched_begins(sched) < 0) {
            PyObject *pending = mtpy_error_take();
            (void)mtpy_trace_end(state);
            mtpy_error_raise(pending);
            return NULL;
        }
    return PyLong_FromUnsignedLong(state->trace_number);
}

static PyObject *
trace_end(PyObject *module, PyObject *number)
{
    struct mtpy_state *state = mtpy_state_of(module);
    unsigned long given = PyLong_AsUnsignedLong(number);
    if (given == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    if (given == state->trace_number && mtpy_trace_end(state) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyMethodDef mtpy_trace_functions[] = {
    {"_begin_trace", trace_begin, METH_O, "Begin a trace in this file; returns its number."},
    {"_end_trace", trace_end, METH_O, "Complete the file of this trace, unless it has ended."},
    {0},
};
