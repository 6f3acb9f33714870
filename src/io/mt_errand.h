/* SPDX-License-Identifier: MIT */
/* Something that is done for a micro-thread elsewhere, by the kernel or by another OS thread, with
   memory that lies on its stack: once begun the micro-thread cannot leave before it has ended. */
#ifndef MT_ERRAND_H
#define MT_ERRAND_H

#include "base/mt_base.h"
#include "core/mt_sched.h"
#include "core/mt_wait.h"

struct mt_errand {
    const char *verb;     /* what waiting_for says: "read", or all of it if there is no fd; static */
    int fd;               /* of what; -1: of no descriptor */
    struct mt_wait *wait; /* the wait of who waits for it; NULL: not at this moment */
    bool is_done;         /* whoever waited may go on */
};

/* In the scheduler's OS thread, under the lock: it has ended. Never switches. */
static inline void
mt_errand_finish(struct mt_errand *errand)
{
    errand->is_done = true;
    if (errand->wait)
        mt_wait_end(errand->wait, 0);
}

/* Park once until it has ended or somebody cancels; `also` is another clause of the wait, already
   filled but for its place, or NULL. Returns what ended the wait: 0, or MT_ECANCELED, when the errand
   goes on. The caller looks at is_done. */
int
mt_errand_wait(struct mt_sched *sched, struct mt_errand *errand, struct mt_fd_clause *also);

#endif
