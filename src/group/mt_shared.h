/* SPDX-License-Identifier: MIT */
/* Memory that interpreters share, and waiting for a word of it to change, as Linux's futex(2): who
   waits is found by the word's address, in a table that is process-global. Only the micro-thread
   waits. Callable from any OS thread, with or without a GIL, except where noted. */
#ifndef MT_SHARED_H
#define MT_SHARED_H

#include "core/mt_sched.h"
#include "core/mt_wait.h"
#include "group/mt_message.h"

/* A stretch of memory, counted. The first member of something larger where it is somebody else's. */
struct mt_shared {
    struct mt_body body;
    unsigned char *data;
    size_t size;
    bool is_readonly;
};

/* Memory of our own: zeroed, with one reference, data at a multiple of 64. NULL without memory. */
struct mt_shared *
mt_shared_new(size_t size);

/* The same memory to read only; keeps `other` alive. NULL without memory. */
struct mt_shared *
mt_shared_new_readonly(struct mt_shared *other);

static inline void
mt_shared_unref(struct mt_shared *shared)
{
    if (shared)
        mt_body_unref(&shared->body);
}

/* Wait until somebody notifies the word, unless it is not `expected`. On a running micro-thread of
   sched, under the lock that protects it. The memory outlives the call. clause_object: for the
   clause, which is of kind MT_WAIT_WORD. deadline: monotonic ns, MT_FOREVER, or 0: do not wait.
   Returns 0, MT_EEMPTY when the word is another, MT_ETIMEDOUT, MT_ECANCELED, MT_EHOST or MT_ENOMEM. */
int
mt_shared_wait(struct mt_sched *sched, const _Atomic int64_t *word, int64_t expected,
               mt_time deadline, void *clause_object);

/* Wake up to `most` of those who wait for the word, the earliest first. sched: the caller's, or NULL.
   Returns how many. */
size_t
mt_shared_notify(struct mt_sched *sched, const _Atomic int64_t *word, size_t most);

/* The scheduler is about to be freed: those of it who wait still never run again. */
void
mt_shared_forget(const struct mt_sched *sched);

/* In the child of a fork: nobody else waits. */
void
mt_shared_after_fork(void);

#endif
