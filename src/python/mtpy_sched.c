/* SPDX-License-Identifier: MIT */
/* The scheduler of an OS thread as Python sees it: the hooks of the core, deadlock, exit. */
#include "python/mtpy_capi.h"
#include "python/mtpy_channel.h"
#include "python/mtpy_compat_interp.h"
#include "python/mtpy_fault.h"
#include "python/mtpy_group.h"
#include "python/mtpy_interp.h"
#include "python/mtpy_loop.h"
#include "python/mtpy_owner.h"
#include "python/mtpy_scope.h"
#include "python/mtpy_shared.h"
#include "python/mtpy_signal.h"
#include "python/mtpy_trace.h"

#include "group/mt_global.h"
#include "io/mt_file.h"
#include "io/mt_worker.h"
#include "reactor/reactor_ev.h"

#include <string.h>
#include <unistd.h>

_Thread_local struct mtpy_sched *mtpy_sched_here;

static const char CAPSULE_NAME[] = "microthread._core.sched";

/* ---- hooks ---- */

static void
hook_enter(struct mt_sched *core, struct mt_stack *stack)
{
    struct mtpy_sched *sched = mtpy_sched_of(core);
    struct mtpy_thread *thread = mtpy_thread_current(sched);
    mtpy_vm_enter(sched->tstate, stack, thread->context);
    thread->context = NULL;
    mtpy_vm_protect(sched->tstate, stack, false);
    mtpy_loop_resume(sched);
}

static void
hook_leave(struct mt_sched *core, struct mt_stack *stack)
{
    mtpy_loop_leave(mtpy_sched_of(core));
    mtpy_vm_leave(mtpy_sched_of(core)->tstate, stack);
}

static void
hook_resume(struct mt_sched *core, struct mt_stack *stack)
{
    struct mtpy_sched *sched = mtpy_sched_of(core);
    mtpy_sched_here = sched; /* others may have run another interpreter in this OS thread */
    mtpy_vm_protect(sched->tstate, stack, stack == core->main_stack); /* resuming may call Python */
    mtpy_vm_resume(sched->tstate, stack);
    mtpy_loop_resume(sched);
}

static void
hook_run(struct mt_sched *core, struct mt_thread *thread, int error)
{
    struct mtpy_sched *sched = mtpy_sched_of(core);
    mtpy_thread_run(sched, mtpy_thread_of(thread), error);
    if (MT_UNLIKELY(sched->tracer != NULL))
        mtpy_trace_note_finish(sched, mtpy_thread_of(thread));
}

static void
hook_drop(struct mt_sched *core, struct mt_thread *thread)
{
    mtpy_thread_drop(mtpy_sched_of(core), mtpy_thread_of(thread));
}

static int
hook_check(struct mt_sched *core, struct mt_thread *thread)
{
    return mtpy_thread_check(mtpy_sched_of(core), mtpy_thread_of(thread));
}

/* Tell the main micro-thread, on its own stack and still in its wait, who waits for what. What this
   runs may end the wait after all: then all is well. Returns 0, or -1 with an exception. */
static int
raise_deadlock(struct mtpy_sched *sched, const struct mt_wait *wait)
{
    PyObject *seeing = PyImport_ImportModule("microthread._seeing");
    PyObject *text = seeing ? PyObject_CallMethod(seeing, "describe_deadlock", NULL) : NULL;
    Py_XDECREF(seeing);
    if (text)
        PyErr_SetObject(sched->state->DeadlockError, text);
    Py_XDECREF(text);
    if (wait->result == MT_PENDING)
        return -1;
    PyErr_Clear();
    return 0;
}

static void
hook_postpone(struct mt_sched *core)
{
    if (mtpy_thread_throw(mtpy_thread_of(core->current), mtpy_error_take()) < 0)
        PyErr_WriteUnraisable(NULL);
}

static int
hook_interrupted(struct mt_sched *core, const struct mt_wait *wait)
{
    struct mtpy_sched *sched = mtpy_sched_of(core);
    bool is_deadlocked = sched->is_deadlocked;
    sched->is_deadlocked = false;
    int failed = mtpy_signal_check(sched->tstate);
    if (!failed && is_deadlocked && wait->result == MT_PENDING)
        failed = raise_deadlock(sched, wait);
    if (!failed)
        return 0;
    if (wait->result == MT_PENDING)
        return MT_EHOST;
    hook_postpone(core);
    return 0;
}

static void
hook_poll_begin(void *host)
{
    struct mtpy_sched *sched = mtpy_sched_of(host);
    if (sched->signal_fd >= 0)
        mtpy_signal_poll_begin(sched->tstate, sched->signal_fd);
    (void)PyEval_SaveThread();
}

static void
hook_poll_end(void *host)
{
    struct mtpy_sched *sched = mtpy_sched_of(host);
    PyEval_RestoreThread(sched->tstate);
    if (sched->signal_fd >= 0)
        mtpy_signal_poll_end(sched->signal_fd);
}

/* ---- deadlock ---- */

/* Whether an OS thread of this interpreter, other than the caller and our own workers, is alive. This
   is called on the stack of a parked one: it makes no object, so no collection begins here. */
static bool
has_other_os_threads(struct mtpy_sched *sched)
{
    if (sched->is_service)
        return true; /* a worker itself: there is the one that it works for */
    size_t count = 0;
    PyInterpreterState *interpreter = PyThreadState_GetInterpreter(sched->tstate);
    for (PyThreadState *tstate = PyInterpreterState_ThreadHead(interpreter); tstate;
         tstate = PyThreadState_Next(tstate))
        count += !mtpy_interp_is_outer(tstate);
    return count > 1 + sched->state->service_threads;
}

/* Whether a micro-thread waits for a channel that another interpreter has the other side of. */
static bool
has_hope_elsewhere(struct mtpy_sched *sched)
{
    struct mt_list *live = &sched->core->live;
    for (struct mt_link *link = mt_list_front(live); link; link = mt_list_after(live, link)) {
        const struct mt_thread *thread = MT_CONTAINER_OF(link, struct mt_thread, live);
        for (const struct mt_wait *wait = thread->wait; wait; wait = wait->outer)
            for (const struct mt_clause *clause = wait->clauses; clause; clause = clause->sibling)
                if (mtpy_channel_is_hopeful(sched->state, clause))
                    return true;
    }
    return false;
}

static bool
hook_deadlock(struct mt_sched *core)
{
    struct mtpy_sched *sched = mtpy_sched_of(core);
    if (has_hope_elsewhere(sched) || mtpy_capi_is_hopeful(sched->state) ||
        (!sched->is_exiting && (has_other_os_threads(sched) || mtpy_signal_may_wake(sched))))
        return false;
    /* Looked at last: who has just closed an end, or ended, had posted before that. */
    if (!mt_mailbox_is_empty(&core->mailbox))
        return false;
    if (sched->is_exiting) {
        sched->is_stuck = true;
        mt_thread_cancel_wait(core->main);
        return core->ready_head != NULL;
    }
    /* This is the stack of somebody who is parked: the main one finds the words on its own. */
    sched->is_deadlocked = true;
    mt_thread_interrupt(core->main);
    return core->ready_head != NULL;
}

/* Those that a trace does not take the place of. */
#define COMMON_HOOKS \
    .run = hook_run, .drop = hook_drop, .check = hook_check, .interrupted = hook_interrupted, \
    .postpone = hook_postpone, .deadlock = hook_deadlock

const struct mt_hooks mtpy_sched_hooks = {
    COMMON_HOOKS,
    .enter = hook_enter,
    .leave = hook_leave,
    .resume = hook_resume,
    .poll_begin = hook_poll_begin,
    .poll_end = hook_poll_end,
};

const struct mt_hooks mtpy_sched_tracing_hooks = {
    COMMON_HOOKS,
    .enter = mtpy_trace_enter,
    .leave = mtpy_trace_leave,
    .resume = mtpy_trace_resume,
    .poll_begin = mtpy_trace_poll_begin,
    .poll_end = mtpy_trace_poll_end,
};

/* ---- life ---- */

static void
unlink_sched(struct mtpy_sched *sched)
{
    mtpy_trace_sched_ends(sched);
    struct mtpy_sched **link = &sched->state->scheds;
    while (*link && *link != sched)
        link = &(*link)->next;
    mtpy_state_lock_scheds(sched->state);
    if (*link)
        *link = sched->next;
    mtpy_state_unlock_scheds(sched->state);
    if (mtpy_sched_here == sched)
        mtpy_sched_here = NULL;
    mtpy_owner_sched_ends(sched->state, sched->core);
}

/* The OS thread's dictionary is cleared: its end, or another one clears up after it (a fork, the
   end of the interpreter). Then its stacks cannot be entered any more and everything is left. */
static void
capsule_destroyed(PyObject *capsule)
{
    struct mtpy_sched *sched = PyCapsule_GetPointer(capsule, CAPSULE_NAME);
    struct mt_sched *core = sched->core;
    bool is_ours = PyThreadState_Get() == sched->tstate && core->current == core->main &&
                   core->main->stack == core->main_stack;
    if (!is_ours) {
        for (struct mt_link *link = mt_list_front(&core->live); link;
             link = mt_list_after(&core->live, link))
            mt_sched_abandon_waits(MT_CONTAINER_OF(link, struct mt_thread, live));
        unlink_sched(sched);
        return;
    }
    mtpy_sched_here = sched;
    PyObject *pending = mtpy_error_take();
    if (mtpy_sched_shut_down(sched) < 0)
        PyErr_WriteUnraisable(NULL);
    unlink_sched(sched);
    PyObject *module = sched->module;
    if (core->live_count == 1) {
        struct mtpy_thread *main = sched->main;
        main->core.state = MT_THREAD_DONE;
        main->outcome = MTPY_OUTCOME_VALUE;
        main->core.stack = NULL;
        mt_list_remove(&main->core.live);
        if (sched->signal_fd >= 0 && mtpy_signal_install(-1) < 0)
            PyErr_WriteUnraisable(NULL);
        if (sched->files)
            mt_files_free(sched->files);
        if (sched->workers)
            mt_workers_free(sched->workers);
        mt_sched_free(core);
        mt_fault_close(sched->fault_home);
        Py_DECREF(main);
        PyMem_Free(sched->scratch);
        PyMem_Free(sched);
    }
    Py_DECREF(module);
    if (pending)
        mtpy_error_raise(pending);
}

static int
fill_sched(struct mtpy_sched *sched)
{
    sched->main = mtpy_thread_new_main(sched->state);
    if (!sched->main)
        return -1;
    sched->is_os_main = gettid() == getpid();
    uint64_t serial = mt_global_next_serial();
    sched->serial = serial + 1;
    sched->random = (uint32_t)sched->serial;
    int error = mt_sched_new(
        &(struct mt_sched_config){
            .hooks = &mtpy_sched_hooks,
            .reactor_ops = &mt_reactor_ev,
            .host = sched,
            .host_size = mtpy_vm_host_size,
            .scratch_size = mtpy_vm_scratch_size,
            .stack_size = mtpy_vm_stack_size,
            .first_id = (serial << MT_GLOBAL_ID_BITS) + 1,
        },
        &sched->main->core, &sched->core);
    if (error) {
        mtpy_raise(error);
        return -1;
    }
    error = mtpy_signal_open(sched);
    if (error) {
        mtpy_raise(error);
        return -1;
    }
    PyObject *dict = PyThreadState_GetDict();
    sched->is_service = dict && PyDict_GetItemString(dict, MTPY_SERVICE_MARK);
    PyObject *capsule = dict ? PyCapsule_New(sched, CAPSULE_NAME, NULL) : NULL;
    if (!capsule) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError, "this OS thread has no dictionary");
        return -1;
    }
    int failed = PyDict_SetItemString(dict, CAPSULE_NAME, capsule);
    if (!failed) {
        PyCapsule_SetDestructor(capsule, capsule_destroyed);
        sched->fault_home = mt_fault_open(mtpy_fault_explain, &mtpy_sched_here);
        if (mtpy_trace_sched_begins(sched) < 0)
            PyErr_Clear(); /* then the file lacks this one */
    }
    Py_DECREF(capsule);
    return failed;
}

struct mtpy_sched *
mtpy_sched_make(struct mtpy_state *state)
{
    PyThreadState *tstate = PyThreadState_Get();
    for (struct mtpy_sched *sched = state->scheds; sched; sched = sched->next)
        if (sched->tstate == tstate)
            return mtpy_sched_here = sched;
    struct mtpy_sched *sched = PyMem_Calloc(1, sizeof *sched);
    if (!sched) {
        PyErr_NoMemory();
        return NULL;
    }
    sched->state = state;
    sched->tstate = tstate;
    sched->signal_fd = -1;
    mt_list_init(&sched->failed);
    if (fill_sched(sched) < 0) {
        if (sched->core) {
            mt_list_remove(&sched->main->core.live);
            sched->main->core.state = MT_THREAD_DONE;
            mt_sched_free(sched->core);
        }
        Py_XDECREF(sched->main);
        PyMem_Free(sched);
        return NULL;
    }
    sched->module = Py_NewRef(state->module);
    mtpy_state_lock_scheds(state);
    sched->next = state->scheds;
    state->scheds = sched;
    mtpy_state_unlock_scheds(state);
    mtpy_owner_sched_begins(state, sched->core);
    return mtpy_sched_here = sched;
}

struct mtpy_sched *
mtpy_sched_find(void)
{
    PyObject *dict = PyThreadState_GetDict();
    PyObject *capsule = PyDict_GetItemString(dict, CAPSULE_NAME);
    return mtpy_sched_here = PyCapsule_GetPointer(capsule, CAPSULE_NAME);
}

/* ---- exit ---- */

/* The first live one that still has to leave, or NULL. Borrowed. */
static struct mtpy_thread *
find_leaver(struct mtpy_sched *sched)
{
    for (struct mt_link *link = mt_list_front(&sched->core->live); link;
         link = mt_list_after(&sched->core->live, link)) {
        struct mtpy_thread *thread = mtpy_thread_of(MT_CONTAINER_OF(link, struct mt_thread, live));
        if (&thread->core != sched->core->current && thread->exits_swallowed < MTPY_EXITS_MOST)
            return thread;
    }
    return NULL;
}

static void
tell_to_leave(struct mtpy_sched *sched)
{
    for (struct mt_link *link = mt_list_front(&sched->core->live); link;
         link = mt_list_after(&sched->core->live, link)) {
        struct mtpy_thread *thread = mtpy_thread_of(MT_CONTAINER_OF(link, struct mt_thread, live));
        if (&thread->core == sched->core->current)
            continue;
        thread->is_exiting = true;
        thread->core.is_pending = true;
        if (thread->core.state == MT_THREAD_WAITING &&
            !mtpy_vm_parked_handled(thread->core.stack, sched->state->MicroThreadExit))
            mt_thread_cancel_wait(&thread->core);
    }
}

static void
report_failed(struct mtpy_sched *sched)
{
    struct mt_link *link;
    while ((link = mt_list_front(&sched->failed))) {
        struct mtpy_thread *thread = mtpy_thread_of(MT_CONTAINER_OF(link, struct mt_thread, live));
        Py_INCREF(thread);
        mtpy_thread_report(thread);
        Py_DECREF(thread);
    }
}

/* What was thrown into the main micro-thread, which is past its end. */
static void
report_thrown(struct mtpy_sched *sched)
{
    PyObject *thrown;
    while ((thrown = mtpy_thread_take_thrown(sched->main))) {
        mtpy_error_raise(thrown);
        PyErr_WriteUnraisable((PyObject *)sched->main);
    }
}

int
mtpy_sched_shut_down(struct mtpy_sched *sched)
{
    struct mt_sched *core = sched->core;
    if (core->current != core->main)
        return 0;
    mtpy_sched_here = sched;
    sched->is_exiting = true;
    sched->main->is_deaf = true; /* if it was cancelled it waits all the same */
    tell_to_leave(sched);
    int result = 0;
    struct mtpy_thread *thread;
    while (result == 0 && !sched->is_stuck && (thread = find_leaver(sched))) {
        Py_INCREF(thread);
        int error = mt_deferred_wait(core, &thread->core.done, MT_FOREVER, MT_WAIT_THREAD,
                                     &thread->core);
        if (error && error != MT_ECANCELED) {
            mtpy_raise(error);
            result = -1;
        } else {
            report_thrown(sched);
        }
        Py_DECREF(thread);
    }
    report_failed(sched);
    sched->main->is_deaf = sched->is_exiting = sched->is_stuck = false;
    return result;
}
