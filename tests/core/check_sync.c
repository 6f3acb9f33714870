/* SPDX-License-Identifier: MIT */
#include "support/mt_test_host.h"

#include "core/mt_sync.h"

#include <stdio.h>

static struct mt_lock lock;
static struct mt_semaphore semaphore;
static struct mt_event event;
static struct mt_list list;

static void
open_all(void)
{
    mt_test_open(&mt_reactor_virtual);
    mt_lock_init(&lock);
    mt_semaphore_init(&semaphore);
    mt_event_init(&event);
    mt_list_init(&list);
}

/* One call of a micro-thread. The log gets its name, and ! if it failed. */
struct call {
    const char *name;
    mt_time timeout; /* 0: for ever */
    int error;       /* 1 until it has returned */
};

static mt_time
deadline_of(const struct call *call)
{
    return mt_sched_deadline(host.sched, call->timeout ? call->timeout : MT_FOREVER);
}

static void
finish_call(struct call *call, int error)
{
    char text[32];
    call->error = error;
    snprintf(text, sizeof text, error ? "%s! " : "%s ", call->name);
    mt_test_log(text);
}

static void
take_lock(void *argument)
{
    struct call *call = argument;
    call->error = 1;
    int error = 0;
    if (!mt_lock_try(host.sched, &lock))
        error = mt_lock_acquire(host.sched, &lock, deadline_of(call));
    if (!error)
        ck_assert_uint_eq(lock.owner, host.sched->current->id);
    finish_call(call, error);
}

static void
take_permit(void *argument)
{
    struct call *call = argument;
    call->error = 1;
    int error = 0;
    if (!mt_semaphore_try(&semaphore))
        error = mt_semaphore_acquire(host.sched, &semaphore, deadline_of(call));
    finish_call(call, error);
}

static void
wait_for_event(void *argument)
{
    struct call *call = argument;
    call->error = 1;
    finish_call(call, mt_event_wait(host.sched, &event, deadline_of(call)));
}

static void
wait_for_notice(void *argument)
{
    struct call *call = argument;
    struct mt_ticket ticket;
    call->error = 1;
    mt_ticket_take(host.sched, &ticket, &list, NULL);
    finish_call(call, mt_ticket_wait(host.sched, &ticket, deadline_of(call)));
    ck_assert_int_eq(mt_ticket_is_told(&ticket), call->error == 0);
}

static struct mt_test_thread *
park(void (*function)(void *argument), struct call *call)
{
    struct mt_test_thread *thread = mt_test_spawn(function, call);
    mt_test_settle();
    return thread;
}

/* ---- locks ---- */

START_TEST(free_lock_is_taken_without_waiting)
{
    open_all();
    ck_assert(mt_lock_try(host.sched, &lock));
    ck_assert_uint_eq(lock.owner, host.main.base.id);
    ck_assert(!mt_lock_try(host.sched, &lock));
    mt_lock_release(&lock);
    ck_assert_uint_eq(lock.owner, 0);
    ck_assert(mt_lock_try(host.sched, &lock));
    mt_lock_release(&lock);
    mt_test_close();
}
END_TEST

START_TEST(release_hands_the_lock_to_the_first_and_nobody_jumps_the_queue)
{
    struct call calls[] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
    struct mt_test_thread *threads[3];
    open_all();
    ck_assert(mt_lock_try(host.sched, &lock));
    for (int i = 0; i < 3; i++)
        threads[i] = park(take_lock, &calls[i]);
    for (int i = 0; i < 3; i++) {
        mt_lock_release(&lock);
        ck_assert_uint_eq(lock.owner, threads[i]->base.id); /* before it has run */
        ck_assert(!mt_lock_try(host.sched, &lock));
        mt_test_settle();
    }
    ck_assert_str_eq(host.log, "a b c ");
    mt_lock_release(&lock);
    ck_assert_uint_eq(lock.owner, 0);
    mt_test_join_all();
    mt_test_close();
}
END_TEST

START_TEST(cancelled_or_timed_out_waiter_leaves_no_trace)
{
    struct call calls[] = {{.name = "a"}, {.name = "b", .timeout = 1000}, {.name = "c"}};
    open_all();
    ck_assert(mt_lock_try(host.sched, &lock));
    struct mt_test_thread *first = park(take_lock, &calls[0]);
    park(take_lock, &calls[1]);
    park(take_lock, &calls[2]);
    mt_test_cancel(first);
    ck_assert_int_eq(mt_sleep(host.sched, 2000), 0);
    ck_assert_int_eq(calls[0].error, MT_ECANCELED);
    ck_assert_int_eq(calls[1].error, MT_ETIMEDOUT);
    mt_lock_release(&lock);
    mt_test_settle();
    ck_assert_int_eq(calls[2].error, 0);
    mt_lock_release(&lock);
    ck_assert_uint_eq(lock.owner, 0);
    mt_test_join_all();
    mt_test_close();
}
END_TEST

START_TEST(one_to_whom_the_lock_was_handed_has_it_though_cancelled_after)
{
    struct call call = {.name = "a"};
    open_all();
    ck_assert(mt_lock_try(host.sched, &lock));
    struct mt_test_thread *thread = park(take_lock, &call);
    mt_lock_release(&lock);
    mt_thread_cancel_wait(&thread->base);
    mt_test_join(thread);
    ck_assert_int_eq(call.error, 0);
    ck_assert_uint_eq(lock.owner, thread->base.id);
    mt_lock_release(&lock);
    mt_test_close();
}
END_TEST

START_TEST(deadline_that_cannot_be_set_leaves_no_trace)
{
    open_all();
    ck_assert(mt_lock_try(host.sched, &lock));
    mt_alloc_fail_nth(1);
    ck_assert_int_eq(mt_lock_acquire(host.sched, &lock, mt_sched_deadline(host.sched, 1000)),
                     MT_ENOMEM);
    mt_alloc_fail_nth(0);
    mt_lock_release(&lock);
    ck_assert_uint_eq(lock.owner, 0);
    mt_test_close();
}
END_TEST

/* ---- semaphores ---- */

START_TEST(permits_go_to_those_who_wait_and_the_rest_are_free)
{
    struct call calls[] = {{.name = "a"}, {.name = "b"}};
    open_all();
    park(take_permit, &calls[0]);
    park(take_permit, &calls[1]);
    mt_semaphore_release(&semaphore, 5);
    ck_assert_uint_eq(semaphore.permits, 3);
    mt_test_join_all();
    ck_assert_str_eq(host.log, "a b ");
    for (int i = 0; i < 3; i++)
        ck_assert(mt_semaphore_try(&semaphore));
    ck_assert(!mt_semaphore_try(&semaphore));
    mt_test_close();
}
END_TEST

START_TEST(permit_of_a_cancelled_waiter_goes_to_the_next)
{
    struct call calls[] = {{.name = "a"}, {.name = "b"}};
    open_all();
    struct mt_test_thread *first = park(take_permit, &calls[0]);
    park(take_permit, &calls[1]);
    mt_test_cancel(first);
    mt_semaphore_release(&semaphore, 1);
    mt_test_join_all();
    ck_assert_str_eq(host.log, "a! b ");
    ck_assert_uint_eq(semaphore.permits, 0);
    mt_test_close();
}
END_TEST

/* ---- events ---- */

START_TEST(set_wakes_all_though_cleared_at_once)
{
    struct call calls[] = {{.name = "a"}, {.name = "b"}, {.name = "c", .timeout = 1000}};
    open_all();
    for (int i = 0; i < 2; i++)
        park(wait_for_event, &calls[i]);
    mt_event_set(&event);
    event.is_set = false;
    mt_test_settle();
    ck_assert_str_eq(host.log, "a b ");
    park(wait_for_event, &calls[2]);
    mt_test_join_all();
    ck_assert_int_eq(calls[2].error, MT_ETIMEDOUT);
    mt_event_set(&event);
    mt_event_set(&event);
    mt_test_close();
}
END_TEST

/* ---- tickets ---- */

START_TEST(ticket_told_before_it_waits_does_not_wait)
{
    struct mt_ticket ticket;
    open_all();
    mt_ticket_take(host.sched, &ticket, &list, NULL);
    ck_assert(!mt_ticket_is_told(&ticket));
    ck_assert_uint_eq(mt_sync_tell(&list, 1), 1);
    ck_assert(mt_ticket_is_told(&ticket));
    ck_assert_int_eq(mt_ticket_wait(host.sched, &ticket, MT_FOREVER), 0);
    mt_test_close();
}
END_TEST

START_TEST(ticket_given_back_is_not_told)
{
    struct mt_ticket ticket;
    open_all();
    mt_ticket_take(host.sched, &ticket, &list, NULL);
    mt_ticket_give_back(&ticket);
    mt_ticket_give_back(&ticket);
    ck_assert_uint_eq(mt_sync_tell(&list, 1), 0);
    mt_test_close();
}
END_TEST

START_TEST(tell_wakes_the_first_ones_in_order)
{
    struct call calls[] = {
        {.name = "a"}, {.name = "b", .timeout = 1000}, {.name = "c"}, {.name = "d"}};
    open_all();
    for (int i = 0; i < 4; i++)
        park(wait_for_notice, &calls[i]);
    ck_assert_uint_eq(mt_sync_tell(&list, 1), 1);
    ck_assert_int_eq(mt_sleep(host.sched, 2000), 0);
    ck_assert_str_eq(host.log, "a b! ");
    ck_assert_uint_eq(mt_sync_tell(&list, SIZE_MAX), 2);
    mt_test_join_all();
    ck_assert_str_eq(host.log, "a b! c d ");
    mt_test_close();
}
END_TEST

/* ---- fairness to others ---- */

static int turns;

static void
count_turns(void *argument)
{
    (void)argument;
    for (turns = 0; turns < 10; turns++)
        ck_assert_int_eq(mt_sched_yield(host.sched), 0);
}

START_TEST(one_who_always_finds_the_lock_free_gives_way)
{
    open_all();
    mt_test_spawn(count_turns, NULL);
    for (int i = 0; i < 3 * MT_BUDGET; i++) {
        ck_assert_int_eq(mt_sync_turn(host.sched), 0);
        ck_assert(mt_lock_try(host.sched, &lock));
        mt_lock_release(&lock);
    }
    ck_assert_int_ge(turns, 2);
    mt_test_join_all();
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("core/sync");
    TCase *locks = tcase_create("locks");
    tcase_add_test(locks, free_lock_is_taken_without_waiting);
    tcase_add_test(locks, release_hands_the_lock_to_the_first_and_nobody_jumps_the_queue);
    tcase_add_test(locks, cancelled_or_timed_out_waiter_leaves_no_trace);
    tcase_add_test(locks, one_to_whom_the_lock_was_handed_has_it_though_cancelled_after);
    tcase_add_test(locks, deadline_that_cannot_be_set_leaves_no_trace);
    tcase_add_test(locks, one_who_always_finds_the_lock_free_gives_way);
    suite_add_tcase(suite, locks);
    TCase *others = tcase_create("semaphores, events, tickets");
    tcase_add_test(others, permits_go_to_those_who_wait_and_the_rest_are_free);
    tcase_add_test(others, permit_of_a_cancelled_waiter_goes_to_the_next);
    tcase_add_test(others, set_wakes_all_though_cleared_at_once);
    tcase_add_test(others, ticket_told_before_it_waits_does_not_wait);
    tcase_add_test(others, ticket_given_back_is_not_told);
    tcase_add_test(others, tell_wakes_the_first_ones_in_order);
    suite_add_tcase(suite, others);
    return suite;
}
