/* SPDX-License-Identifier: MIT */
/* select(): wait for the first of several things. What a type must offer to be a case. */
#ifndef MTPY_SELECT_H
#define MTPY_SELECT_H

#include "python/mtpy_state.h"

#include "core/mt_pipe.h"

extern PyType_Spec mtpy_case_spec;

enum mtpy_case_kind {
    MTPY_CASE_TAKING,   /* object: a micro_pipe */
    MTPY_CASE_PUTTING,  /* object: a micro_pipe or its writing end, value: what to put */
    MTPY_CASE_RECEIVING, /* object: a RecvChannel */
    MTPY_CASE_SENDING,  /* object: a SendChannel, value: what to send */
    MTPY_CASE_READABLE, /* number: a descriptor */
    MTPY_CASE_WRITABLE, /* number: a descriptor */
    MTPY_CASE_AFTER,    /* number: ns */
    MTPY_CASE_DEFERRED, /* object: a deferred; no case object stands for it */
    MTPY_CASE_THREAD    /* object: a micro_thread; no case object stands for it */
};

/* A case object. object and value: borrowed here, or NULL. New, or NULL. */
PyObject *
mtpy_case_new(struct mtpy_state *state, enum mtpy_case_kind kind, PyObject *object,
              PyObject *value, int64_t number);

/* select(*cases, timeout=None) in vectorcall form. New tuple (index, value), or NULL. */
PyObject *
mtpy_select(struct mtpy_state *state, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* Ask the kernel, without waiting: 1 ready, 0 not, -1 with an exception (EBADF). */
int
mtpy_fd_is_ready(int fd, enum mt_fd_events events);

/* ---- what the types offer ---- */

/* Each try: 1 when it went ahead, with *value new; 0 when it would wait; -1 with an exception. */
int
mtpy_pipe_try_take(PyObject *pipe, PyObject **value);
int
mtpy_pipe_try_put(PyObject *pipe, PyObject *value);

struct mt_pipe *
mtpy_pipe_core(PyObject *pipe);

/* Around a wait to take; see mtpy_pipe_hold(). */
void
mtpy_pipe_hold_for(PyObject *pipe);
void
mtpy_pipe_let_go_for(PyObject *pipe);

/* Raise for an error of a wait to take: the end, or any other. Returns NULL. */
PyObject *
mtpy_pipe_raise_take(PyObject *pipe, int error);

/* PipeClosed. Returns NULL. */
PyObject *
mtpy_pipe_raise_closed(struct mtpy_state *state);

/* The pipe of a writing end: borrowed, or NULL if it is gone. */
PyObject *
mtpy_writer_pipe(PyObject *writer);

struct mt_deferred *
mtpy_deferred_core(PyObject *deferred);

/* The result of one that has fired. New, or NULL with its exception. */
PyObject *
mtpy_deferred_result(PyObject *deferred);

/* The outcome of one that is done. New, or NULL with its exception. */
PyObject *
mtpy_thread_outcome(struct mtpy_thread *thread);

#endif
