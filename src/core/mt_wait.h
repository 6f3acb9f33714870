/* SPDX-License-Identifier: MIT */
/* The one way to wait. A wait and its clauses lie on the waiter's own stack; each clause is one
   thing that would end the wait; the first that is triggered takes the others back.

       struct mt_wait wait;
       struct mt_clause clause;
       mt_wait_init(&wait, sched);
       mt_wait_add(&wait, &clause, MT_WAIT_TAKE, pipe);
       mt_list_append(&pipe->readers, &clause.link);
       int error = mt_wait_park(&wait, deadline);

   Everything happens under the lock that protects the scheduler (the GIL). mt_trigger() may be
   called by any OS thread that holds it. */
#ifndef MT_WAIT_H
#define MT_WAIT_H

#include "base/mt_base.h"
#include "base/mt_error.h"
#include "base/mt_heap.h"
#include "base/mt_list.h"

#include <stdatomic.h>

struct mt_sched;
struct mt_thread;
struct mt_wait;

/* What a clause waits for; `object` in the clause says which. */
enum mt_wait_kind {
    MT_WAIT_SLEEP,    /* nothing but the time */
    MT_WAIT_DEFERRED, /* struct mt_deferred */
    MT_WAIT_THREAD,   /* struct mt_thread: its end */
    MT_WAIT_ENDS,     /* the host's object: the end of any of several micro-threads */
    MT_WAIT_GROUP,    /* the host's object: the end of all members of a group */
    MT_WAIT_TAKE,     /* struct mt_pipe */
    MT_WAIT_PUT,      /* struct mt_pipe */
    MT_WAIT_READ,     /* a descriptor, in struct mt_fd_clause */
    MT_WAIT_WRITE,    /* a descriptor, in struct mt_fd_clause */
    MT_WAIT_LOCK,     /* struct mt_lock */
    MT_WAIT_PERMIT,   /* struct mt_semaphore */
    MT_WAIT_EVENT,    /* struct mt_event */
    MT_WAIT_NOTICE,   /* the host's object, in whose list a struct mt_ticket waits */
    MT_WAIT_ITEM,     /* struct mt_pipe: the host's queue between OS threads */
    MT_WAIT_ERRAND,   /* struct mt_errand: what is done elsewhere; or NULL, its notice */
    MT_WAIT_WORD,     /* the host's object: a word of memory that interpreters share */
    MT_WAIT_SEND,     /* the host's object: an end of a channel between OS threads */
    MT_WAIT_RECV      /* the same */
};

struct mt_clause {
    struct mt_link link;       /* in the list of what is waited for; unlinked once triggered */
    struct mt_wait *wait;      /* the wait it belongs to */
    struct mt_clause *sibling; /* the next clause of that wait */
    enum mt_wait_kind kind;
    void *object;              /* what is waited for; not owned */
    void *value;               /* handed over, by either side; owned by whoever has it */
};

struct mt_fd_clause {
    struct mt_clause base;
    int fd;
    int events;   /* MT_FD_READ or MT_FD_WRITE */
    bool is_kept; /* the descriptor's owner says forget before it is closed: keep the watcher armed */
    const uint32_t *forgets; /* how often the descriptor was forgotten; set by the reactor's watch */
    uint32_t forgets_before; /* that number at the time of watch */
};

/* Something that happens at a time. It lies in the scheduler's heap while it is set. */
struct mt_timer {
    struct mt_heap_node node;                /* node.key: the deadline, monotonic ns */
    void (*ring)(struct mt_timer *timer);    /* called once, out of the heap; must not park */
};

/* Set a timer that is not set. Returns 0 or MT_ENOMEM. */
int
mt_timer_set(struct mt_sched *sched, struct mt_timer *timer, mt_time deadline);

/* Unset it; one that is not set is left alone. */
void
mt_timer_unset(struct mt_sched *sched, struct mt_timer *timer);

static inline bool
mt_timer_is_set(const struct mt_timer *timer)
{
    return timer->node.place != 0;
}

/* A deadline that comes and goes with every request and is seldom reached. Taken back it leaves its
   timer in the heap, where a later one finds it: what rings too early is set again. */
struct mt_alarm {
    struct mt_timer timer;                /* set for the deadline, or for a time before it */
    mt_time deadline;                     /* the one in force, or MT_FOREVER */
    struct mt_sched *sched;               /* whose heap the timer is in; NULL until it ever was */
    void (*ring)(struct mt_alarm *alarm); /* called once, the deadline taken back; must not park */
};

/* Without a deadline. */
void
mt_alarm_init(struct mt_alarm *alarm, void (*ring)(struct mt_alarm *alarm));

/* Set another deadline, or none: MT_FOREVER. Returns 0, or MT_ENOMEM with nothing changed; in its own
   ring, and for MT_FOREVER, always 0. */
int
mt_alarm_set(struct mt_sched *sched, struct mt_alarm *alarm, mt_time deadline);

/* Take it out of the heap, for its memory goes. */
void
mt_alarm_fini(struct mt_alarm *alarm);

enum { MT_PENDING = 1 }; /* a wait's result until something has ended it */

struct mt_wait {
    struct mt_thread *thread;    /* the waiter */
    struct mt_wait *outer;       /* the wait that this one interrupts (in a signal handler), or NULL */
    struct mt_clause *clauses;   /* all of them */
    struct mt_clause *fired;     /* the one that ended it; NULL: time, cancellation */
    struct mt_timer timer;       /* the deadline, set when there is one */
    _Atomic int *turn;           /* OS threads without the lock may end it, too: whoever changes this
                                    from 0 does; NULL: it is ended here only */
    int result;                  /* MT_PENDING, 0 or an error */
    bool is_counted;             /* the host has taken a reference for each clause; for its collector */
};

/* Before a value is handed over that could not be taken back. False: somebody elsewhere has ended the
   wait, which does not know it yet; leave it out. */
static inline bool
mt_wait_claim(struct mt_wait *wait)
{
    int nobody = 0;
    return MT_LIKELY(!wait->turn) || atomic_compare_exchange_strong(wait->turn, &nobody, 1);
}

/* A wait of the running micro-thread, without clauses. */
void
mt_wait_init(struct mt_wait *wait, struct mt_sched *sched);

static inline void
mt_wait_add(struct mt_wait *wait, struct mt_clause *clause, enum mt_wait_kind kind, void *object)
{
    mt_link_init(&clause->link);
    clause->wait = wait;
    clause->sibling = wait->clauses;
    clause->kind = kind;
    clause->object = object;
    clause->value = NULL;
    wait->clauses = clause;
}

/* For a clause that was triggered with 0 and watched a kept descriptor: between the event and the
   waiter's turn somebody has closed it, and the number may mean another file now. */
static inline bool
mt_fd_clause_is_stale(const struct mt_fd_clause *clause)
{
    return *clause->forgets != clause->forgets_before;
}

/* Park until a clause is triggered. deadline: monotonic ns, or MT_FOREVER.
   Returns the result that mt_trigger() was given (wait->fired says for which clause), MT_ETIMEDOUT,
   MT_ECANCELED, MT_EHOST (a signal handler raised) or MT_ENOMEM; after an error of the wait's own
   all clauses are out of their lists. */
int
mt_wait_park(struct mt_wait *wait, mt_time deadline);

/* The same for one who must not leave yet, since others still write to its memory: no deadline, no
   look at what is pending, and signal handlers wait for the code that runs next. Returns what a clause
   was triggered with, or MT_ECANCELED when somebody cancels meanwhile; then it may park anew. */
int
mt_wait_park_through(struct mt_wait *wait);

/* Take all clauses out of their lists without having parked. */
void
mt_wait_withdraw(struct mt_wait *wait);

/* End the clause's wait with `result`: its micro-thread becomes ready. Never switches. */
void
mt_trigger(struct mt_clause *clause, int result);

/* End a wait from outside, without a clause: time-out, cancellation. */
void
mt_wait_end(struct mt_wait *wait, int result);

/* Suspend for `span` ns. Returns 0, MT_ECANCELED, MT_EHOST or MT_ENOMEM. */
int
mt_sleep(struct mt_sched *sched, mt_time span);

#endif
