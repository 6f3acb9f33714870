/* SPDX-License-Identifier: MIT */
/* The C API's table, and its waits: for descriptors, time, and C functions that block. */
#include "python/mtpy_capi.h"
#include "python/mtpy_select.h"

#include "base/mt_alloc.h"
#include "io/mt_worker.h"

#include <errno.h>

_Static_assert(MT_READABLE == MT_FD_READ && MT_WRITABLE == MT_FD_WRITE, "one set of bits");

enum { WORKERS_MOST = 64 }; /* what they run waits, for the most part */

static struct mtpy_sched *
sched_here(void)
{
    struct mtpy_state *state = mtpy_state_here();
    return state ? mtpy_sched_get(state) : NULL;
}

/* Returns 0, or -1 with an exception. */
static int
finish(int error)
{
    if (!error)
        return 0;
    mtpy_raise(error);
    return -1;
}

/* ---- descriptors ---- */

/* Which of the events the descriptor is ready for at this moment, or -1 with an exception. */
static int
poll_fd(int fd, int events)
{
    int ready = 0;
    for (int event = MT_FD_READ; event <= MT_FD_WRITE; event <<= 1) {
        int is_ready = events & event ? mtpy_fd_is_ready(fd, (enum mt_fd_events)event) : 0;
        if (is_ready < 0)
            return -1;
        if (is_ready)
            ready |= event;
    }
    return ready;
}

/* Park until one of the events comes. Returns it, or an error. */
static int
park_for_fd(struct mt_sched *sched, int fd, int events, mt_time deadline)
{
    struct mt_wait wait;
    struct mt_fd_clause clauses[2];
    mt_wait_init(&wait, sched);
    for (int i = 0; i < 2; i++) {
        int event = i == 0 ? MT_FD_READ : MT_FD_WRITE;
        if (!(events & event))
            continue;
        clauses[i] = (struct mt_fd_clause){.fd = fd, .events = event};
        mt_wait_add(&wait, &clauses[i].base, i == 0 ? MT_WAIT_READ : MT_WAIT_WRITE, NULL);
        int error = sched->reactor_ops->watch(sched->reactor, &clauses[i]);
        if (error) {
            mt_wait_withdraw(&wait);
            return error;
        }
    }
    int error = mt_wait_park(&wait, deadline);
    if (error)
        return error;
    const struct mt_fd_clause *fired = MT_CONTAINER_OF(wait.fired, struct mt_fd_clause, base);
    return mt_fd_clause_is_stale(fired) ? mt_error_from_errno(EBADF) : fired->events;
}

static int
wait_fd(int fd, int events, double timeout)
{
    mt_time span;
    if (fd < 0 || events < MT_READABLE || events > (MT_READABLE | MT_WRITABLE)) {
        const char *rule = fd < 0 ? "fd must be >= 0, got %d"
                                  : "events must be MT_READABLE, MT_WRITABLE or both, got %d";
        PyErr_Format(PyExc_ValueError, rule, fd < 0 ? fd : events);
        return -1;
    }
    if (mtpy_check_seconds(timeout, NULL, "timeout", &span) < 0)
        return -1;
    struct mtpy_sched *sched = sched_here();
    if (!sched)
        return -1;
    int ready;
    if (span == 0) {
        ready = poll_fd(fd, events);
        if (ready < 0)
            return -1;
        if (ready == 0)
            ready = MT_ETIMEDOUT;
    } else {
        ready = park_for_fd(sched->core, fd, events, mt_sched_deadline(sched->core, span));
    }
    return ready > 0 ? ready : finish(ready);
}

/* ---- time ---- */

static int
sleep_for(double seconds)
{
    mt_time span;
    if (mtpy_check_seconds(seconds, NULL, "seconds", &span) < 0)
        return -1;
    struct mtpy_sched *sched = sched_here();
    if (!sched)
        return -1;
    return finish(span ? mt_sleep(sched->core, span) : mt_sched_yield(sched->core));
}

/* ---- functions that block ---- */

struct call {
    struct mt_job job;
    void (*function)(void *); /* the caller's, and what it is called with */
    void *arg;
};

static void
run_call(struct mt_job *job)
{
    struct call *call = MT_CONTAINER_OF(job, struct call, job);
    call->function(call->arg);
}

static int
run_blocking(void (*function)(void *arg), void *arg)
{
    struct mtpy_sched *sched = sched_here();
    if (!sched)
        return -1;
    if (!function) {
        PyErr_SetString(PyExc_ValueError, "function must not be NULL");
        return -1;
    }
    struct mt_thread *current = sched->core->current;
    int error = current->is_pending ? sched->core->hooks->check(sched->core, current) : 0;
    if (!error && !sched->workers)
        error = mt_workers_new(sched->core, WORKERS_MOST, 0, &sched->workers);
    if (!error) {
        struct call call = {
            .job = {.run = run_call, .errand = {.verb = "run a C function", .fd = -1}},
            .function = function,
            .arg = arg,
        };
        error = mt_workers_run(sched->workers, &call.job);
    }
    return finish(error);
}

/* ---- the table ---- */

static const struct mt_api table = {
    .version = MT_API_VERSION,
    .oldest = 1,
    .deferred_new = mtpy_capi_deferred_new,
    .deferred_ref = mtpy_capi_deferred_ref,
    .deferred_unref = mtpy_capi_deferred_unref,
    .deferred_object = mtpy_capi_deferred_object,
    .deferred_callback = mtpy_capi_deferred_callback,
    .deferred_errback = mtpy_capi_deferred_errback,
    .deferred_post = mtpy_capi_deferred_post,
    .deferred_wait = mtpy_capi_deferred_wait,
    .wait_fd = wait_fd,
    .sleep = sleep_for,
    .run_blocking = run_blocking,
    .body_new = mtpy_capi_body_new,
    .body_ref = mtpy_capi_body_ref,
    .body_unref = mtpy_capi_body_unref,
    .body_data = mtpy_capi_body_data,
    .register_clone = mtpy_capi_register_clone,
};

int
mtpy_capi_add(struct mtpy_state *state)
{
    PyObject *capsule =
        PyCapsule_New((void *)(uintptr_t)&table, "microthread._core._C_API", NULL);
    int failed = capsule ? PyModule_AddObjectRef(state->module, "_C_API", capsule) : -1;
    Py_XDECREF(capsule);
    return failed;
}
