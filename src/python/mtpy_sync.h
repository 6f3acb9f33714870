/* SPDX-License-Identifier: MIT */
/* Lock, RLock, Semaphore, BoundedSemaphore, Event, SimpleQueue, and the lists of waiters that
   Condition, Barrier and Queue in Python are made with. Any OS thread of the interpreter may use
   them. */
#ifndef MTPY_SYNC_H
#define MTPY_SYNC_H

#include "python/mtpy_state.h"

#include "core/mt_sync.h"

#include <string.h>
#include <structmember.h>

struct mt_pipe;

extern PyType_Spec mtpy_lock_spec;
extern PyType_Spec mtpy_rlock_spec;
extern PyType_Spec mtpy_semaphore_spec;
extern PyType_Spec mtpy_bounded_semaphore_spec;
extern PyType_Spec mtpy_event_spec;
extern PyType_Spec mtpy_simple_queue_spec;
extern PyType_Spec mtpy_waiters_spec;
extern PyType_Spec mtpy_ticket_spec;
extern PyType_Spec mtpy_line_spec;
extern PyType_Spec mtpy_queue_base_spec;

/* Make all these types and add the public ones to the module. Returns 0 or -1 with an exception. */
int
mtpy_sync_add_types(struct mtpy_state *state);

/* What a clause of MT_WAIT_LOCK and the like waits for, as text. New, or NULL. Runs none of the
   user's code. */
PyObject *
mtpy_sync_describe(const struct mt_clause *clause);

/* The part of it that each type knows. New, or NULL. */
PyObject *
mtpy_lock_describe(struct mt_lock *lock);
PyObject *
mtpy_semaphore_describe(struct mt_semaphore *semaphore);
PyObject *
mtpy_event_describe(struct mt_event *event);
PyObject *
mtpy_simple_queue_describe(struct mt_pipe *pipe);
PyObject *
mtpy_waiters_describe(PyObject *waiters);

/* The clauses in a _Waiters. */
struct mt_list *
mtpy_waiters_list(PyObject *waiters);

/* How many wait in a list. */
size_t
mtpy_sync_count(const struct mt_list *list);

/* A time-out of threading's in seconds, which may be negative: *timeout gets 0 then. None: no limit.
   Returns 0, or -1 with an exception that names the argument. */
int
mtpy_sync_parse_timeout(PyObject *object, mt_time *timeout);

/* The result of a wait that may time out: True, False or NULL with an exception. New. */
static inline PyObject *
mtpy_sync_result(int error)
{
    if (MT_LIKELY(error == 0))
        Py_RETURN_TRUE;
    if (error == MT_ETIMEDOUT)
        Py_RETURN_FALSE;
    return mtpy_raise(error);
}

/* The name of its type without the package. */
static inline const char *
mtpy_sync_type_name(void *object)
{
    const char *name = Py_TYPE((PyObject *)object)->tp_name;
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* ---- what Lock and RLock share ---- */

struct mtpy_lock {
    PyObject_HEAD
    struct mt_lock core;
    struct mtpy_state *state; /* borrowed: the type's module owns it */
    PyObject *weakrefs;
    bool is_reentrant;        /* an RLock: its depth means something */
};

extern PyMemberDef mtpy_lock_members[];

PyObject *
mtpy_lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
int
mtpy_lock_traverse(PyObject *object, visitproc visit, void *arg);
void
mtpy_lock_dealloc(PyObject *object);
PyObject *
mtpy_lock_repr(PyObject *object);
PyObject *
mtpy_lock_locked(PyObject *object, PyObject *unused);
PyObject *
mtpy_lock_is_held(PyObject *object, PyObject *unused);
PyObject *
mtpy_lock_at_fork_reinit(PyObject *object, PyObject *unused);

/* Whether the running micro-thread has it. */
static inline bool
mtpy_lock_is_mine(const struct mtpy_sched *sched, const struct mtpy_lock *self)
{
    return self->core.owner == sched->core->current->id;
}

/* threading's acquire(blocking=True, timeout=-1). Returns 0 or -1 with an exception. */
int
mtpy_lock_parse_acquire(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                        mt_time *timeout);

/* Take the lock, waiting up to timeout. Returns 0, MT_ETIMEDOUT or another error; depth is 1 then. */
static inline int
mtpy_lock_take(struct mtpy_sched *sched, struct mtpy_lock *self, mt_time timeout)
{
    if (MT_LIKELY(timeout)) {
        int error = mt_sync_turn(sched->core);
        if (MT_UNLIKELY(error))
            return error;
    }
    if (MT_LIKELY(mt_lock_try(sched->core, &self->core)))
        return 0;
    if (timeout == 0)
        return MT_ETIMEDOUT;
    return mt_lock_acquire(sched->core, &self->core, mt_sched_deadline(sched->core, timeout));
}

#endif
