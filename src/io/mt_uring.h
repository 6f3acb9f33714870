/* SPDX-License-Identifier: MIT */
/* Reading and writing by io_uring: one ring for a scheduler. What a round of the run queue asks for
   goes to the kernel in one call. All calls are the scheduler's OS thread's own, under the lock.
   mt_uring_none.c stands in where there is no liburing. */
#ifndef MT_URING_H
#define MT_URING_H

#include "io/mt_errand.h"

#include <sys/types.h>

struct mt_uring;

/* Returns 0, MT_ENOMEM or a system error: the kernel has none, or not for us. */
int
mt_uring_new(struct mt_sched *sched, struct mt_uring **uring);

/* Waits for what is under way. Blocks the OS thread. */
void
mt_uring_free(struct mt_uring *uring);

/* In the child of a fork, after the scheduler: the ring is the parent's. */
void
mt_uring_abandon(struct mt_uring *uring);

/* Read or write at the descriptor's position, which moves on, and park until it is done. Returns a
   count; MT_ECANCELED: nothing was read or written; or a system error: EAGAIN when the ring can
   not take it. A cancellation that comes too late is left for the caller's next wait. */
ssize_t
mt_uring_read(struct mt_uring *uring, int fd, void *buffer, size_t size);
ssize_t
mt_uring_write(struct mt_uring *uring, int fd, const void *data, size_t size);

#endif
