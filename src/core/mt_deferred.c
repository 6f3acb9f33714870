/* SPDX-License-Identifier: MIT */
#include "core/mt_deferred.h"

#include "core/mt_sched.h"

void
mt_deferred_init(struct mt_deferred *deferred)
{
    mt_list_init(&deferred->waiters);
    deferred->value = NULL;
    deferred->waiting = 0;
    deferred->state = MT_DEFERRED_PENDING;
}

int
mt_deferred_fire(struct mt_deferred *deferred, enum mt_deferred_state state, void *value)
{
    if (deferred->state != MT_DEFERRED_PENDING)
        return MT_EFIRED;
    deferred->state = state;
    deferred->value = value;
    struct mt_link *link;
    while ((link = mt_list_front(&deferred->waiters)))
        mt_trigger(MT_CONTAINER_OF(link, struct mt_clause, link), 0);
    return 0;
}

int
mt_deferred_reset(struct mt_deferred *deferred)
{
    if (deferred->waiting)
        return MT_EBUSY;
    mt_deferred_init(deferred);
    return 0;
}

int
mt_deferred_wait(struct mt_sched *sched, struct mt_deferred *deferred, mt_time deadline,
                 enum mt_wait_kind kind, void *object)
{
    if (deferred->state != MT_DEFERRED_PENDING) {
        int error = mt_heed(sched, 1);
        if (!error)
            mt_spend(sched, 1);
        return error;
    }
    struct mt_wait wait;
    struct mt_clause clause;
    mt_wait_init(&wait, sched);
    mt_wait_add(&wait, &clause, kind, object);
    clause.value = deferred; /* for mt_sched_abandon_waits() */
    mt_list_append(&deferred->waiters, &clause.link);
    deferred->waiting++;
    int error = mt_wait_park(&wait, deadline);
    deferred->waiting--;
    return error;
}
