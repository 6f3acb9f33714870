/* SPDX-License-Identifier: MIT */
/* micro_pipe as the files of the binding see it: the object, its hot calls, its writing end. */
#ifndef MTPY_PIPE_H
#define MTPY_PIPE_H

#include "python/mtpy_select.h"

struct mtpy_writer;

struct mtpy_pipe {
    PyObject_HEAD
    struct mt_pipe core;        /* owns a reference to each item inside */
    PyObject *exception;        /* close(exception): what readers get; NULL: the usual end */
    struct mtpy_thread *source; /* whose exception that is, until a reader gets it; owned, or NULL */
    struct mtpy_writer *writer; /* its writing end, to be told when the pipe goes; borrowed, or NULL */
    PyObject *weakrefs;
    size_t held;                /* references that waiting readers have taken; see mtpy_pipe_hold() */
    uint64_t home_serial;       /* of the scheduler it belongs to; 0: not made whole */
};

/* The writing end of a pipe: what generate() gives its function as stdout. It does not keep the
   pipe alive, so that a writer learns that its reader is gone. One pipe has one at most. */
struct mtpy_writer {
    PyObject_HEAD
    struct mtpy_pipe *pipe; /* borrowed; NULL once it is gone */
};

extern PyType_Spec mtpy_writer_spec;

/* While a reader waits the writing end, which has no reference to the pipe, must keep both alive for
   the garbage collector: it visits these references, or the pipe itself does if there is none. */
static inline void
mtpy_pipe_hold(struct mtpy_pipe *self)
{
    Py_INCREF(self);
    self->held++;
}

static inline void
mtpy_pipe_let_go(struct mtpy_pipe *self)
{
    self->held--;
    Py_DECREF(self);
}

/* Whether the micro-thread's stdout is the writing end of this pipe. */
bool
mtpy_pipe_is_stdout(const struct mt_pipe *pipe, const struct mtpy_thread *thread);

/* put(), take() and take_from() of the module, on the current micro-thread's stdout and stdin. */
extern PyMethodDef mtpy_stdio_functions[];

/* The slow half of the next one. */
int
mtpy_pipe_find_home(struct mtpy_pipe *self);

/* 0 when the calling OS thread is the pipe's own; else -1 with an exception. */
static inline int
mtpy_pipe_check_home(struct mtpy_pipe *self)
{
    struct mtpy_sched *here = mtpy_sched_here;
    if (MT_LIKELY(here && here->serial == self->home_serial))
        return 0;
    return mtpy_pipe_find_home(self);
}

/* Put with its reference rules: the pipe has one of its own on success. Once it has parked it does
   not touch the pipe again, which may be gone by then.
   Returns 0, MT_ETIMEDOUT for a full one at timeout 0, or an error of mt_pipe_put(). */
static inline int
mtpy_pipe_put(struct mtpy_pipe *self, PyObject *item, mt_time timeout)
{
    struct mt_pipe *core = &self->core;
    Py_INCREF(item);
    int error = mt_heed(core->sched, 1);
    if (MT_LIKELY(error == 0))
        error = mt_pipe_try_put(core, item);
    if (MT_LIKELY(error == 0)) {
        mt_spend(core->sched, 1);
        return 0;
    }
    if (error == MT_EFULL) {
        if (timeout == 0)
            error = MT_ETIMEDOUT;
        else
            error = mt_pipe_put(core, item, mt_sched_deadline(core->sched, timeout));
    }
    if (error)
        Py_DECREF(item);
    return error;
}

/* Take; on success *item is new. The caller keeps the pipe alive.
   Returns 0, MT_ETIMEDOUT for an empty one at timeout 0, or an error of mt_pipe_take(). */
static inline int
mtpy_pipe_take(struct mtpy_pipe *self, PyObject **item, mt_time timeout)
{
    struct mt_pipe *core = &self->core;
    void *value = NULL;
    int error = mt_heed(core->sched, 1);
    if (MT_LIKELY(error == 0))
        error = mt_pipe_try_take(core, &value);
    if (MT_LIKELY(error == 0)) {
        mt_spend(core->sched, 1);
    } else if (error == MT_EEMPTY) {
        if (timeout == 0)
            return MT_ETIMEDOUT;
        mtpy_pipe_hold(self);
        error = mt_pipe_take(core, &value, mt_sched_deadline(core->sched, timeout));
        mtpy_pipe_let_go(self);
    }
    *item = value;
    return error;
}

/* No more puts; readers get the exception at the end, or the usual end for NULL. One that is closed
   already stays as it is. Returns 0 or -1 with an exception. */
int
mtpy_pipe_close(struct mtpy_pipe *self, PyObject *exception);

/* queue.Full or queue.Empty. Returns NULL. */
PyObject *
mtpy_pipe_raise_of_queue(const char *name, const char *text);
#endif
