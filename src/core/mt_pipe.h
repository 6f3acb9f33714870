/* SPDX-License-Identifier: MIT */
/* A one-way FIFO inside one scheduler. Not thread-safe: a channel crosses threads. */
#ifndef MT_PIPE_H
#define MT_PIPE_H

#include "base/mt_base.h"
#include "base/mt_list.h"
#include "base/mt_ring.h"
#include "core/mt_wait.h"

#define MT_PIPE_UNBOUNDED SIZE_MAX

struct mt_pipe {
    struct mt_sched *sched; /* the only one whose micro-threads may use it */
    struct mt_list readers; /* clauses parked in mt_pipe_take() */
    struct mt_list writers; /* clauses parked in mt_pipe_put(), each with its value */
    struct mt_ring items;   /* put, not yet taken; owned */
    size_t capacity;        /* 0: a rendezvous; MT_PIPE_UNBOUNDED */
    size_t peak;            /* the most that items ever held */
    bool is_closed;         /* no more puts; takes drain first */
};

void
mt_pipe_init(struct mt_pipe *pipe, struct mt_sched *sched, size_t capacity);

/* Nobody waits any more; calls drop for each value inside. */
void
mt_pipe_fini(struct mt_pipe *pipe, void (*drop)(void *value));

/* Put a value without waiting. On success the pipe owns it.
   Returns 0, MT_ECLOSED, MT_EFULL or MT_ENOMEM. */
int
mt_pipe_try_put(struct mt_pipe *pipe, void *value);

/* As mt_pipe_try_put(), but park while the pipe is full; in a rendezvous until it is taken.
   deadline: monotonic ns, or MT_FOREVER. On an error the value is still the caller's.
   Returns 0, MT_ECLOSED, MT_ENOMEM or an error of mt_wait_park(). */
int
mt_pipe_put(struct mt_pipe *pipe, void *value, mt_time deadline);

/* Take the oldest value without waiting. *value: owned by the caller on success, untouched on
   error. Returns 0, MT_EEMPTY, or MT_ECLOSED when closed and empty. */
int
mt_pipe_try_take(struct mt_pipe *pipe, void **value);

/* As mt_pipe_try_take(), but park while there is none. Returns 0, MT_ECLOSED or an error of
   mt_wait_park(). */
int
mt_pipe_take(struct mt_pipe *pipe, void **value, mt_time deadline);

/* No more puts. Waiting readers and writers get MT_ECLOSED. Twice is allowed. */
void
mt_pipe_close(struct mt_pipe *pipe);

#endif
