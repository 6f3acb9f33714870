/* SPDX-License-Identifier: MIT */
/* OS threads of one scheduler that make calls which may block. They know nothing of the
   language above and need not its lock. Made when there is something to do, up to a few; they end
   with the scheduler. All calls are the scheduler's OS thread's own, under the lock. */
#ifndef MT_WORKER_H
#define MT_WORKER_H

#include "core/mt_mailbox.h"
#include "io/mt_errand.h"

struct mt_workers;

struct mt_job {
    struct mt_errand errand;
    void (*run)(struct mt_job *job); /* in a worker; errand.verb and .fd are set, too */
    struct mt_job *next;             /* in the queue of those that no worker has taken */
    struct mt_mail mail;             /* brings it home */
    struct mt_sched *sched;          /* home */
};

/* most: how many of them; stack_size: bytes for each, 0: the system's usual.
   Returns 0 or MT_ENOMEM. */
int
mt_workers_new(struct mt_sched *sched, size_t most, size_t stack_size, struct mt_workers **workers);

/* Wait for those that are at work, and end them all. Blocks the OS thread. */
void
mt_workers_free(struct mt_workers *workers);

/* In the child of a fork, where no worker is left. */
void
mt_workers_abandon(struct mt_workers *workers);

/* Have a worker run the job, and park until it has done so. Returns 0; MT_ECANCELED when it was not
   begun and will not be; a system error when there is no worker. A cancellation that comes later is
   left for the caller's next wait. */
int
mt_workers_run(struct mt_workers *workers, struct mt_job *job);

#endif
