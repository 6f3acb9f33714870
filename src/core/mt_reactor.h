/* SPDX-License-Identifier: MIT */
/* The table a reactor fills: where events and the time come from. The core knows nothing else
   about it, so that tests can run on a clock that they turn. */
#ifndef MT_REACTOR_H
#define MT_REACTOR_H

#include "base/mt_base.h"

struct mt_fd_clause; /* core/mt_wait.h */

struct mt_reactor; /* the implementation's own */

/* What a reactor asks of its scheduler around a poll that may block. `host` is passed back. */
struct mt_reactor_host {
    void (*poll_begin)(void *host); /* let go of the lock (the GIL); other OS threads may run */
    void (*poll_end)(void *host);   /* take it again; before any event is told */
    void *host;
};

enum mt_fd_events {
    MT_FD_READ = 1,
    MT_FD_WRITE = 2
};

struct mt_reactor_ops {
    const char *name;

    /* Returns 0, MT_ENOMEM or a system error. *host is copied. */
    int (*open)(const struct mt_reactor_host *host, struct mt_reactor **reactor);

    /* Nobody waits any more. */
    void (*close)(struct mt_reactor *reactor);

    /* The monotonic clock, read anew. */
    mt_time (*now)(struct mt_reactor *reactor);

    /* Trigger what is ready; with nothing ready wait up to `timeout` ns (0: do not wait;
       MT_FOREVER: no limit). May return early with nothing triggered. Events are told by
       mt_trigger() with 0, or with a system error such as EBADF.
       Calls poll_begin and poll_end exactly when timeout is not 0. */
    void (*poll)(struct mt_reactor *reactor, mt_time timeout);

    /* From any OS thread: the poll that runs, or else the next one that would block, returns. */
    void (*wake)(struct mt_reactor *reactor);

    /* Have clause->base triggered when clause->fd can do clause->events. The clause is in a wait
       already; the reactor links clause->base.link into a list of its own, and unlinking it is all
       it takes to cancel. Sets clause->forgets, which stays valid. Returns 0, MT_ENOMEM or a system error. */
    int (*watch)(struct mt_reactor *reactor, struct mt_fd_clause *clause);

    /* The descriptor is about to be closed, or its number has come to life anew: whoever waits gets
       EBADF, and nothing that is known about it is used again. Any OS thread that holds the lock. */
    void (*forget)(struct mt_reactor *reactor, int fd);

    /* Whether a descriptor's watcher is active: polling may bring something. */
    bool (*is_watching)(struct mt_reactor *reactor);

    /* Whether somebody waits for a descriptor. */
    bool (*has_waiters)(struct mt_reactor *reactor);

    /* A descriptor that, written to in a signal handler, makes the poll return and *flag true.
       The reactor owns it. Returns the descriptor, which is non-blocking, or a negative error. */
    int (*signal_fd)(struct mt_reactor *reactor, volatile bool *flag);

    /* In the child of a fork: begin anew, without touching what is shared with the parent. Clauses
       that are linked still are waited for further: those of the one who forked, in the middle of a
       wait; the abandoned ones are out of all lists already. The signal descriptor keeps its number.
       Returns 0, MT_ENOMEM or a system error. */
    int (*after_fork)(struct mt_reactor *reactor);
};

#endif
