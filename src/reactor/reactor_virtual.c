/* SPDX-License-Identifier: MIT */
/* The virtual clock. A poll with a time-out moves it by that time-out; one without a limit can only
   end by wake() from another OS thread, so it leaves the clock alone and returns after a short real
   sleep: a test in which nothing more can happen spins until its own time limit, it does not hang
   in here. */
#include "reactor/reactor_virtual.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

struct mt_reactor {
    struct mt_reactor_host host;
    mt_time now;
    atomic_bool is_woken; /* set by any OS thread, cleared by the next poll that would block */
};

static int
virtual_open(const struct mt_reactor_host *host, struct mt_reactor **result)
{
    struct mt_reactor *reactor = mt_alloc_zeroed(sizeof *reactor);
    if (!reactor)
        return MT_ENOMEM;
    reactor->host = *host;
    reactor->now = MT_SECOND;
    atomic_init(&reactor->is_woken, false);
    *result = reactor;
    return 0;
}

static void
virtual_close(struct mt_reactor *reactor)
{
    mt_alloc_free(reactor);
}

static mt_time
virtual_now(struct mt_reactor *reactor)
{
    return reactor->now;
}

static void
virtual_poll(struct mt_reactor *reactor, mt_time timeout)
{
    if (timeout == 0)
        return;
    reactor->host.poll_begin(reactor->host.host);
    if (!atomic_load(&reactor->is_woken)) {
        if (timeout == MT_FOREVER)
            nanosleep(&(struct timespec){.tv_nsec = MT_MILLISECOND}, NULL);
        else
            reactor->now += timeout;
    }
    atomic_store(&reactor->is_woken, false);
    reactor->host.poll_end(reactor->host.host);
}

static void
virtual_wake(struct mt_reactor *reactor)
{
    atomic_store(&reactor->is_woken, true);
}

static int
virtual_watch(struct mt_reactor *reactor, struct mt_fd_clause *clause)
{
    (void)reactor, (void)clause;
    return mt_error_from_errno(ENOSYS);
}

static void
virtual_forget(struct mt_reactor *reactor, int fd)
{
    (void)reactor, (void)fd;
}

static bool
virtual_is_watching(struct mt_reactor *reactor)
{
    (void)reactor;
    return false;
}

static bool
virtual_has_waiters(struct mt_reactor *reactor)
{
    (void)reactor;
    return false;
}

static int
virtual_signal_fd(struct mt_reactor *reactor, volatile bool *flag)
{
    (void)reactor, (void)flag;
    return mt_error_from_errno(ENOSYS);
}

static int
virtual_after_fork(struct mt_reactor *reactor)
{
    atomic_store(&reactor->is_woken, false);
    return 0;
}

const struct mt_reactor_ops mt_reactor_virtual = {
    .name = "virtual",
    .open = virtual_open,
    .close = virtual_close,
    .now = virtual_now,
    .poll = virtual_poll,
    .wake = virtual_wake,
    .watch = virtual_watch,
    .forget = virtual_forget,
    .is_watching = virtual_is_watching,
    .has_waiters = virtual_has_waiters,
    .signal_fd = virtual_signal_fd,
    .after_fork = virtual_after_fork,
};
