/* SPDX-License-Identifier: MIT */
/* Parked micro-threads as the garbage collector sees them. The scheduler has one reference to each
   live one. While it is parked and only an object can wake it, that reference is visited by the
   object, as if it were the object's, and the micro-thread visits what its stack owns: so one that
   waits for what only it can reach is in a garbage cycle. It is not cleared but finalized: it is made
   ready, with an exit to raise, and that brings it and all it refers to back to life until it has left.
   Each clause of a wait is visited by one owner, so a wait with several of them has taken a reference
   for each (wait->is_counted). */
#include "python/mtpy_gc.h"

#include "python/mtpy_pipe.h"
#include "python/mtpy_scope.h"

/* Whether time, a descriptor, another interpreter or somebody's errand may end the wait, or the clauses are not counted. */
static bool
has_hidden_waker(const struct mt_wait *wait)
{
    if (wait->outer || !wait->clauses || mt_timer_is_set(&wait->timer))
        return true;
    if (wait->clauses->sibling)
        return !wait->is_counted;
    enum mt_wait_kind kind = wait->clauses->kind;
    return kind == MT_WAIT_READ || kind == MT_WAIT_WRITE || kind == MT_WAIT_ERRAND ||
           kind == MT_WAIT_SEND || kind == MT_WAIT_RECV;
}

/* Whether it is parked where nobody but the owners of what it waits for can wake it. */
static bool
is_out_of_reach(const struct mtpy_thread *thread)
{
    const struct mt_thread *core = &thread->core;
    if (!mtpy_vm_knows_frames())
        return false;
    if (core->state != MT_THREAD_WAITING || !core->wait || !core->stack || core->is_interrupted ||
        core == core->sched->current || core == core->sched->main)
        return false;
    /* A group may cancel its members. */
    return !thread->is_member && !has_hidden_waker(core->wait) && !mtpy_scope_may_expire(thread);
}

/* The same, and all that its stack refers to can be visited. */
static bool
can_be_abandoned(const struct mtpy_thread *thread)
{
    if (!is_out_of_reach(thread))
        return false;
    /* Finalizers run once, and a subclass's __del__ stands before ours: no second chance to leave. */
    PyObject *object = (PyObject *)(uintptr_t)thread;
    if (PyObject_GC_IsFinalized(object) || Py_TYPE(object)->tp_finalize != mtpy_thread_finalize)
        return false;
    return mtpy_vm_can_be_visited(thread->core.stack);
}

int
mtpy_gc_visit_waiters(const struct mt_list *waiters, visitproc visit, void *arg)
{
    if (!mtpy_vm_knows_frames())
        return 0;
    for (struct mt_link *link = mt_list_front(waiters); link; link = mt_list_after(waiters, link)) {
        const struct mt_wait *wait = MT_CONTAINER_OF(link, struct mt_clause, link)->wait;
        struct mtpy_thread *thread = mtpy_thread_of(wait->thread);
        if (thread->core.wait == wait && can_be_abandoned(thread))
            Py_VISIT((PyObject *)thread);
    }
    return 0;
}

int
mtpy_gc_visit_stack(struct mtpy_thread *thread, visitproc visit, void *arg)
{
    if (MT_LIKELY(!can_be_abandoned(thread)))
        return 0;
    const struct mt_wait *wait = thread->core.wait;
    for (const struct mt_clause *clause = wait->clauses; clause; clause = clause->sibling)
        if (clause->kind == MT_WAIT_PUT)
            Py_VISIT((PyObject *)clause->value);
    return mtpy_vm_visit(thread->core.stack, visit, arg);
}

void
mtpy_gc_wake_abandoned(struct mtpy_thread *thread)
{
    if (!is_out_of_reach(thread))
        return; /* another one's finalizer has woken it */
    const struct mt_clause *clause = thread->core.wait->clauses;
    if (clause->kind == MT_WAIT_PUT && mtpy_pipe_is_stdout(clause->object, thread)) {
        mt_pipe_close(clause->object); /* its readers are gone */
        return;
    }
    thread->is_exiting = true;
    thread->core.is_pending = true;
    mt_thread_cancel_wait(&thread->core);
}
