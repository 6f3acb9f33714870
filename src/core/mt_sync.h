/* SPDX-License-Identifier: MIT */
/* What micro-threads wait for besides values: locks, permits, events, notices. They belong to no
   scheduler: each waiter parks in that of its own OS thread, and whoever holds the host's lock (the
   GIL) may release, set or tell.
   All are fair: what is given back goes to the first who waits before anybody else can take it, so
   nobody waits for what is free, and nobody jumps the queue. */
#ifndef MT_SYNC_H
#define MT_SYNC_H

#include "base/mt_base.h"
#include "base/mt_list.h"
#include "core/mt_sched.h"
#include "core/mt_wait.h"

/* Before a call that may go ahead at once and hands out something that others want: give way after
   a bounded run of these while nothing is held yet. Returns 0 or MT_ECANCELED. May park. */
static inline int
mt_sync_turn(struct mt_sched *sched)
{
    if (!MT_STRESS && MT_LIKELY(sched->budget > 1)) {
        sched->budget--;
        return 0;
    }
    return mt_sched_yield(sched);
}

/* ---- a lock ---- */

struct mt_lock {
    struct mt_list waiters; /* clauses parked in mt_lock_acquire(); empty while it is free */
    uint64_t owner;         /* id of the micro-thread that has it; 0: it is free */
    size_t depth;           /* how often the owner has it; more than 1 only by the host's doing */
};

void
mt_lock_init(struct mt_lock *lock);

/* Take it if it is free. Returns whether that could be done. */
static inline bool
mt_lock_try(struct mt_sched *sched, struct mt_lock *lock)
{
    if (lock->owner)
        return false;
    lock->owner = sched->current->id;
    lock->depth = 1;
    return true;
}

/* Park until it is handed to the caller. deadline: monotonic ns, or MT_FOREVER. The caller has tried
   to take it just now. Returns 0 or an error of mt_wait_park(). */
int
mt_lock_acquire(struct mt_sched *sched, struct mt_lock *lock, mt_time deadline);

/* Hand it, wholly, to the first who waits; else it is free. Somebody has it. Never switches. */
void
mt_lock_release(struct mt_lock *lock);

/* ---- a number of permits ---- */

struct mt_semaphore {
    struct mt_list waiters; /* clauses parked in mt_semaphore_acquire(); empty while permits > 0 */
    size_t permits;         /* free ones */
};

void
mt_semaphore_init(struct mt_semaphore *semaphore);

static inline bool
mt_semaphore_try(struct mt_semaphore *semaphore)
{
    if (!semaphore->permits)
        return false;
    semaphore->permits--;
    return true;
}

/* As mt_lock_acquire(). */
int
mt_semaphore_acquire(struct mt_sched *sched, struct mt_semaphore *semaphore, mt_time deadline);

/* Give `count` permits to those who wait first; the rest are free. Never switches. */
void
mt_semaphore_release(struct mt_semaphore *semaphore, size_t count);

/* ---- something that has happened, or not yet ---- */

struct mt_event {
    struct mt_list waiters; /* clauses parked in mt_event_wait(); empty while it is set */
    bool is_set;
};

void
mt_event_init(struct mt_event *event);

/* Park until it is set, even if it is cleared again before the caller runs. It is not set just now.
   Returns 0 or an error of mt_wait_park(). */
int
mt_event_wait(struct mt_sched *sched, struct mt_event *event, mt_time deadline);

/* Wake everybody, and let nobody wait from now on. Twice is allowed. Never switches. */
void
mt_event_set(struct mt_event *event);

/* ---- a list of those who wait to be told ---- */

/* A place in a list, taken before the caller lets go of the lock that guards what it waits for. It
   may be told from then on. Used by the micro-thread that took it. */
struct mt_ticket {
    struct mt_wait wait;
    struct mt_clause clause;
};

/* Take the last place of the list; `object` is what the clause says it waits for. */
void
mt_ticket_take(struct mt_sched *sched, struct mt_ticket *ticket, struct mt_list *list, void *object);

/* Leave the list without having waited. Twice is allowed. */
void
mt_ticket_give_back(struct mt_ticket *ticket);

static inline bool
mt_ticket_is_told(const struct mt_ticket *ticket)
{
    return ticket->wait.result == 0;
}

/* Park until told. Returns 0, at once if that has happened already, or an error of mt_wait_park():
   then the place is given back and nobody has told. */
int
mt_ticket_wait(struct mt_sched *sched, struct mt_ticket *ticket, mt_time deadline);

/* Tell the first `most` in the list. Returns how many there were. Never switches. */
size_t
mt_sync_tell(struct mt_list *list, size_t most);

#endif
