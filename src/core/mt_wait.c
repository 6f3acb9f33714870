/* SPDX-License-Identifier: MIT */
/* Parking and triggering. */
#include "core/mt_wait.h"

#include "core/mt_sched.h"

int
mt_timer_set(struct mt_sched *sched, struct mt_timer *timer, mt_time deadline)
{
    timer->node.key = deadline;
    return mt_heap_push(&sched->timers, &timer->node);
}

void
mt_timer_unset(struct mt_sched *sched, struct mt_timer *timer)
{
    mt_heap_remove(&sched->timers, &timer->node);
}

/* The timer of an alarm is out of the heap, where there is room for it now. */
static void
ring_alarm(struct mt_timer *timer)
{
    struct mt_alarm *alarm = MT_CONTAINER_OF(timer, struct mt_alarm, timer);
    if (alarm->deadline == MT_FOREVER) {
        alarm->sched->resting--;
    } else if (alarm->deadline > timer->node.key) {
        (void)mt_timer_set(alarm->sched, timer, alarm->deadline);
    } else {
        alarm->deadline = MT_FOREVER;
        alarm->ring(alarm);
    }
}

void
mt_alarm_init(struct mt_alarm *alarm, void (*ring)(struct mt_alarm *alarm))
{
    alarm->timer.node.place = 0;
    alarm->timer.ring = ring_alarm;
    alarm->deadline = MT_FOREVER;
    alarm->sched = NULL;
    alarm->ring = ring;
}

int
mt_alarm_set(struct mt_sched *sched, struct mt_alarm *alarm, mt_time deadline)
{
    bool is_in_heap = mt_timer_is_set(&alarm->timer);
    bool was_resting = is_in_heap && alarm->deadline == MT_FOREVER;
    if (MT_UNLIKELY(is_in_heap && deadline < alarm->timer.node.key)) {
        mt_timer_unset(sched, &alarm->timer);
        is_in_heap = false;
    }
    if (!is_in_heap && deadline != MT_FOREVER) {
        if (mt_timer_set(sched, &alarm->timer, deadline))
            return MT_ENOMEM;
        alarm->sched = sched;
        is_in_heap = true;
    }
    alarm->deadline = deadline;
    sched->resting -= was_resting;
    sched->resting += is_in_heap && deadline == MT_FOREVER;
    return 0;
}

void
mt_alarm_fini(struct mt_alarm *alarm)
{
    if (!mt_timer_is_set(&alarm->timer))
        return;
    mt_timer_unset(alarm->sched, &alarm->timer);
    alarm->sched->resting -= alarm->deadline == MT_FOREVER;
    alarm->deadline = MT_FOREVER;
}

static void
time_out(struct mt_timer *timer)
{
    mt_wait_end(MT_CONTAINER_OF(timer, struct mt_wait, timer), MT_ETIMEDOUT);
}

void
mt_wait_init(struct mt_wait *wait, struct mt_sched *sched)
{
    wait->thread = sched->current;
    wait->outer = NULL;
    wait->clauses = NULL;
    wait->fired = NULL;
    wait->timer.node.place = 0;
    wait->timer.ring = time_out;
    wait->turn = NULL;
    wait->result = MT_PENDING;
    wait->is_counted = false;
}

void
mt_wait_withdraw(struct mt_wait *wait)
{
    for (struct mt_clause *clause = wait->clauses; clause; clause = clause->sibling)
        mt_list_remove(&clause->link);
    mt_timer_unset(wait->thread->sched, &wait->timer);
}

void
mt_wait_end(struct mt_wait *wait, int result)
{
    if (wait->result != MT_PENDING)
        return;
    wait->result = result;
    mt_wait_withdraw(wait);
    /* An outer wait only notes its result: the micro-thread is in the middle of an inner one. */
    struct mt_thread *thread = wait->thread;
    if (thread->wait == wait && thread->state == MT_THREAD_WAITING)
        mt_sched_ready(thread);
}

void
mt_trigger(struct mt_clause *clause, int result)
{
    assert(clause->wait->result == MT_PENDING);
    clause->wait->fired = clause;
    mt_wait_end(clause->wait, result);
}

int
mt_wait_park(struct mt_wait *wait, mt_time deadline)
{
    struct mt_thread *thread = wait->thread;
    struct mt_sched *sched = thread->sched;
    assert(thread == sched->current);
    int error = 0;
    if (MT_UNLIKELY(thread->is_pending))
        error = sched->hooks->check(sched, thread);
    if (!error && deadline != MT_FOREVER)
        error = mt_timer_set(sched, &wait->timer, deadline);
    if (MT_UNLIKELY(error)) {
        mt_wait_withdraw(wait);
        return error;
    }
    wait->outer = thread->wait;
    thread->wait = wait;
    while (wait->result == MT_PENDING) {
        thread->state = MT_THREAD_WAITING;
        mt_sched_leave(sched);
        if (MT_UNLIKELY(thread->is_interrupted)) {
            thread->is_interrupted = false;
            if (wait->result == MT_PENDING && sched->hooks->interrupted(sched, wait))
                mt_wait_end(wait, MT_EHOST);
            /* Cancelled while it was in the run queue, or in its handlers: it could not be woken. */
            if (wait->result == MT_PENDING && thread->is_pending) {
                error = sched->hooks->check(sched, thread);
                if (error)
                    mt_wait_end(wait, error);
            }
        }
    }
    thread->wait = wait->outer;
    return wait->result;
}

int
mt_wait_park_through(struct mt_wait *wait)
{
    struct mt_thread *thread = wait->thread;
    assert(thread == thread->sched->current);
    wait->outer = thread->wait;
    thread->wait = wait;
    while (wait->result == MT_PENDING) {
        thread->state = MT_THREAD_WAITING;
        mt_sched_leave(thread->sched);
        thread->is_interrupted = false;
    }
    thread->wait = wait->outer;
    return wait->result;
}

int
mt_sleep(struct mt_sched *sched, mt_time span)
{
    struct mt_wait wait;
    mt_wait_init(&wait, sched);
    int error = mt_wait_park(&wait, mt_sched_deadline(sched, span));
    return error == MT_ETIMEDOUT ? 0 : error;
}
