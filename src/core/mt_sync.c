/* SPDX-License-Identifier: MIT */
#include "core/mt_sync.h"

static inline struct mt_clause *
front_clause(const struct mt_list *list)
{
    struct mt_link *link = mt_list_front(list);
    return link ? MT_CONTAINER_OF(link, struct mt_clause, link) : NULL;
}

/* Park in a list until somebody triggers the clause. */
static inline int
park_in(struct mt_sched *sched, struct mt_list *list, enum mt_wait_kind kind, void *object,
        mt_time deadline)
{
    struct mt_wait wait;
    struct mt_clause clause;
    mt_wait_init(&wait, sched);
    mt_wait_add(&wait, &clause, kind, object);
    mt_list_append(list, &clause.link);
    return mt_wait_park(&wait, deadline);
}

size_t
mt_sync_tell(struct mt_list *list, size_t most)
{
    size_t told = 0;
    struct mt_clause *clause;
    while (told < most && (clause = front_clause(list))) {
        mt_trigger(clause, 0);
        told++;
    }
    return told;
}

/* ---- a lock ---- */

void
mt_lock_init(struct mt_lock *lock)
{
    mt_list_init(&lock->waiters);
    lock->owner = 0;
    lock->depth = 0;
}

int
mt_lock_acquire(struct mt_sched *sched, struct mt_lock *lock, mt_time deadline)
{
    return park_in(sched, &lock->waiters, MT_WAIT_LOCK, lock, deadline);
}

void
mt_lock_release(struct mt_lock *lock)
{
    assert(lock->owner);
    struct mt_clause *first = front_clause(&lock->waiters);
    if (!first) {
        lock->owner = 0;
        lock->depth = 0;
        return;
    }
    lock->owner = first->wait->thread->id;
    lock->depth = 1;
    mt_trigger(first, 0);
}

/* ---- a number of permits ---- */

void
mt_semaphore_init(struct mt_semaphore *semaphore)
{
    mt_list_init(&semaphore->waiters);
    semaphore->permits = 0;
}

int
mt_semaphore_acquire(struct mt_sched *sched, struct mt_semaphore *semaphore, mt_time deadline)
{
    return park_in(sched, &semaphore->waiters, MT_WAIT_PERMIT, semaphore, deadline);
}

void
mt_semaphore_release(struct mt_semaphore *semaphore, size_t count)
{
    semaphore->permits += count - mt_sync_tell(&semaphore->waiters, count);
}

/* ---- something that has happened, or not yet ---- */

void
mt_event_init(struct mt_event *event)
{
    mt_list_init(&event->waiters);
    event->is_set = false;
}

int
mt_event_wait(struct mt_sched *sched, struct mt_event *event, mt_time deadline)
{
    return park_in(sched, &event->waiters, MT_WAIT_EVENT, event, deadline);
}

void
mt_event_set(struct mt_event *event)
{
    event->is_set = true;
    (void)mt_sync_tell(&event->waiters, SIZE_MAX);
}

/* ---- a list of those who wait to be told ---- */

void
mt_ticket_take(struct mt_sched *sched, struct mt_ticket *ticket, struct mt_list *list, void *object)
{
    mt_wait_init(&ticket->wait, sched);
    mt_wait_add(&ticket->wait, &ticket->clause, MT_WAIT_NOTICE, object);
    mt_list_append(list, &ticket->clause.link);
}

void
mt_ticket_give_back(struct mt_ticket *ticket)
{
    mt_list_remove(&ticket->clause.link);
}

int
mt_ticket_wait(struct mt_sched *sched, struct mt_ticket *ticket, mt_time deadline)
{
    assert(ticket->wait.thread == sched->current);
    (void)sched;
    if (ticket->wait.result != MT_PENDING)
        return ticket->wait.result;
    return mt_wait_park(&ticket->wait, deadline);
}
