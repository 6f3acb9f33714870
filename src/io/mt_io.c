/* SPDX-License-Identifier: MIT */
#include "io/mt_io.h"

#include "base/mt_error.h"

#include <errno.h>

int
mt_io_wait(struct mt_sched *sched, int fd, int events, mt_time deadline, bool is_kept)
{
    struct mt_wait wait;
    struct mt_fd_clause clause = {.fd = fd, .events = events, .is_kept = is_kept};
    mt_wait_init(&wait, sched);
    mt_wait_add(&wait, &clause.base, events == MT_FD_READ ? MT_WAIT_READ : MT_WAIT_WRITE, NULL);
    int error = sched->reactor_ops->watch(sched->reactor, &clause);
    if (error) {
        mt_wait_withdraw(&wait);
        return error;
    }
    error = mt_wait_park(&wait, deadline);
    if (!error && MT_UNLIKELY(mt_fd_clause_is_stale(&clause)))
        return mt_error_from_errno(EBADF);
    return error;
}

int
mt_io_pause(struct mt_sched *sched, int fd, mt_time span)
{
    struct mt_wait wait;
    struct mt_fd_clause clause = {.fd = fd, .events = MT_FD_WRITE, .is_kept = true};
    mt_wait_init(&wait, sched);
    mt_wait_add(&wait, &clause.base, MT_WAIT_WRITE, NULL);
    /* No event is waited for, only the count of closes is wanted. */
    int error = sched->reactor_ops->watch(sched->reactor, &clause);
    mt_wait_withdraw(&wait);
    if (!error)
        error = mt_sleep(sched, span);
    if (!error && mt_fd_clause_is_stale(&clause))
        return mt_error_from_errno(EBADF);
    return error;
}

void
mt_io_forget(struct mt_sched *sched, int fd)
{
    sched->reactor_ops->forget(sched->reactor, fd);
}
