/* SPDX-License-Identifier: MIT */
#include "support/mt_test_host.h"

static struct mt_list list;   /* what the tests' micro-threads wait for */
static struct mt_list other;  /* and something else */

struct waiter {
    mt_time timeout;         /* relative; MT_FOREVER */
    bool waits_for_both;     /* a clause in `other`, too */
    int result;              /* 1 until it has returned */
    struct mt_clause *fired; /* which clause it was; NULL: none */
    struct mt_clause first;  /* in `list` */
    struct mt_clause second; /* in `other` */
    mt_time woken_at;
    const char *name; /* for the log when it returns; NULL */
};

static void
wait_here(void *argument)
{
    struct waiter *waiter = argument;
    struct mt_wait wait;
    mt_wait_init(&wait, host.sched);
    mt_wait_add(&wait, &waiter->first, MT_WAIT_DEFERRED, NULL);
    mt_list_append(&list, &waiter->first.link);
    if (waiter->waits_for_both) {
        mt_wait_add(&wait, &waiter->second, MT_WAIT_DEFERRED, NULL);
        mt_list_append(&other, &waiter->second.link);
    }
    waiter->result = 1;
    waiter->result = mt_wait_park(&wait, mt_sched_deadline(host.sched, waiter->timeout));
    waiter->fired = wait.fired;
    waiter->woken_at = mt_sched_now(host.sched);
    if (waiter->name)
        mt_test_log(waiter->name);
    ck_assert(!mt_link_is_linked(&waiter->first.link));
    ck_assert(!waiter->waits_for_both || !mt_link_is_linked(&waiter->second.link));
    ck_assert_uint_eq(wait.timer.node.place, 0);
}

static void
setup(void)
{
    mt_list_init(&list);
    mt_list_init(&other);
    mt_test_open(&mt_reactor_virtual);
}

static struct mt_test_thread *
park(struct waiter *waiter)
{
    struct mt_test_thread *thread = mt_test_spawn(wait_here, waiter);
    mt_test_settle();
    return thread;
}

static void
trigger_front(struct mt_list *which, int result)
{
    struct mt_link *link = mt_list_front(which);
    ck_assert_ptr_nonnull(link);
    mt_trigger(MT_CONTAINER_OF(link, struct mt_clause, link), result);
}

START_TEST(trigger_hands_its_result_to_the_waiter)
{
    struct waiter waiter = {.timeout = MT_FOREVER};
    struct mt_test_thread *thread = park(&waiter);
    ck_assert_int_eq(thread->base.state, MT_THREAD_WAITING);
    ck_assert_ptr_nonnull(thread->base.wait);
    trigger_front(&list, MT_ECLOSED);
    ck_assert_int_eq(thread->base.state, MT_THREAD_READY);
    ck_assert(mt_list_is_empty(&list));
    ck_assert_int_eq(waiter.result, 1);
    mt_test_join(thread);
    ck_assert_int_eq(waiter.result, MT_ECLOSED);
    ck_assert_ptr_eq(waiter.fired, &waiter.first);
    ck_assert_ptr_null(thread->base.wait);
    mt_test_close();
}
END_TEST

START_TEST(first_clause_to_fire_takes_the_others_back)
{
    struct waiter waiter = {.timeout = 5 * MT_SECOND, .waits_for_both = true};
    struct mt_test_thread *thread = park(&waiter);
    trigger_front(&other, 0);
    ck_assert(mt_list_is_empty(&list));
    ck_assert(mt_list_is_empty(&other));
    ck_assert_uint_eq(host.sched->timers.count, 0);
    mt_test_join(thread);
    ck_assert_ptr_eq(waiter.fired, &waiter.second);
    ck_assert_int_eq(waiter.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(deadline_ends_the_wait_at_its_time)
{
    struct waiter waiter = {.timeout = 3 * MT_SECOND, .waits_for_both = true};
    mt_time before = mt_sched_now(host.sched);
    mt_test_join(park(&waiter));
    ck_assert_int_eq(waiter.result, MT_ETIMEDOUT);
    ck_assert_ptr_null(waiter.fired);
    ck_assert_int_eq(waiter.woken_at, before + 3 * MT_SECOND);
    ck_assert(mt_list_is_empty(&list));
    ck_assert(mt_list_is_empty(&other));
    mt_test_close();
}
END_TEST

START_TEST(deadline_that_has_passed_times_out)
{
    struct mt_wait wait;
    mt_wait_init(&wait, host.sched);
    ck_assert_int_eq(mt_wait_park(&wait, 0), MT_ETIMEDOUT);
    mt_test_close();
}
END_TEST

START_TEST(deadlines_come_in_order_and_equal_ones_as_they_were_set)
{
    struct waiter waiters[5];
    const mt_time spans[] = {3, 1, 2, 1, 3};
    const char *names[] = {"a", "b", "c", "d", "e"};
    for (int i = 0; i < 5; i++) {
        waiters[i] = (struct waiter){.timeout = spans[i] * MT_SECOND, .name = names[i]};
        park(&waiters[i]);
    }
    mt_test_join_all();
    ck_assert_str_eq(host.log, "bdcae");
    mt_test_close();
}
END_TEST

START_TEST(what_was_handed_over_wins_over_a_later_cancel_and_time_out)
{
    struct waiter waiter = {.timeout = MT_SECOND};
    struct mt_test_thread *thread = park(&waiter);
    trigger_front(&list, 0);
    mt_thread_cancel_wait(&thread->base);
    mt_wait_end(thread->base.wait, MT_ETIMEDOUT);
    mt_test_join(thread);
    ck_assert_int_eq(waiter.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(cancel_while_parked_takes_the_clauses_back)
{
    struct waiter waiter = {.timeout = MT_SECOND, .waits_for_both = true};
    struct mt_test_thread *thread = park(&waiter);
    mt_test_cancel(thread);
    ck_assert(mt_list_is_empty(&list));
    ck_assert(mt_list_is_empty(&other));
    mt_test_join(thread);
    ck_assert_int_eq(waiter.result, MT_ECANCELED);
    ck_assert_ptr_null(waiter.fired);
    mt_test_close();
}
END_TEST

START_TEST(pending_cancel_comes_at_the_next_wait_without_parking)
{
    struct waiter waiter = {.timeout = MT_SECOND};
    struct mt_test_thread *thread = mt_test_spawn(wait_here, &waiter);
    mt_test_cancel(thread);
    mt_time before = mt_sched_now(host.sched);
    mt_test_join(thread);
    ck_assert_int_eq(waiter.result, MT_ECANCELED);
    ck_assert(mt_list_is_empty(&list));
    ck_assert_int_eq(mt_sched_now(host.sched), before);
    mt_test_close();
}
END_TEST

START_TEST(failed_allocation_for_the_deadline_leaves_no_clause_behind)
{
    struct waiter waiter = {.timeout = MT_SECOND, .waits_for_both = true};
    struct mt_test_thread *thread = mt_test_spawn(wait_here, &waiter);
    /* The stack takes two, the timers' heap the third. */
    mt_alloc_fail_nth(3);
    mt_test_settle();
    mt_alloc_fail_nth(0);
    mt_test_join(thread);
    ck_assert_int_eq(waiter.result, MT_ENOMEM);
    ck_assert(mt_list_is_empty(&list));
    ck_assert(mt_list_is_empty(&other));
    mt_test_close();
}
END_TEST

START_TEST(wait_without_a_deadline_allocates_nothing)
{
    struct waiter waiter = {.timeout = MT_FOREVER};
    struct mt_test_thread *thread = mt_test_spawn(wait_here, &waiter);
    mt_alloc_fail_nth(3);
    mt_test_settle();
    mt_alloc_fail_nth(0);
    trigger_front(&list, 0);
    mt_test_join(thread);
    ck_assert_int_eq(waiter.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(withdraw_takes_back_a_wait_that_was_never_parked)
{
    struct mt_wait wait;
    struct mt_clause clause;
    mt_wait_init(&wait, host.sched);
    mt_wait_add(&wait, &clause, MT_WAIT_DEFERRED, NULL);
    mt_list_append(&list, &clause.link);
    mt_wait_withdraw(&wait);
    ck_assert(mt_list_is_empty(&list));
    mt_test_close();
}
END_TEST

/* ---- interruption: main waits, a signal handler runs in the middle ---- */

static int handler_runs;
static int handler_result;
static void (*handler)(void);

static int
run_handler(const struct mt_wait *wait)
{
    ck_assert_ptr_eq(wait, host.main.base.wait);
    handler_runs++;
    if (handler)
        handler();
    return handler_result;
}

static void
interrupt_main(void *argument)
{
    (void)argument;
    mt_thread_interrupt(&host.main.base);
}

static void
cancel_main(void *argument)
{
    (void)argument;
    mt_test_cancel(&host.main);
}

static void
trigger_list(void *argument)
{
    (void)argument;
    trigger_front(&list, 0);
}

START_TEST(interrupted_wait_runs_handlers_and_goes_on)
{
    struct waiter waiter = {.timeout = 9 * MT_SECOND};
    host.on_interrupt = run_handler;
    mt_time before = mt_sched_now(host.sched);
    mt_test_spawn(interrupt_main, NULL);
    wait_here(&waiter);
    ck_assert_int_eq(handler_runs, 1);
    ck_assert_int_eq(waiter.result, MT_ETIMEDOUT);
    ck_assert_int_eq(waiter.woken_at, before + 9 * MT_SECOND);
    mt_test_close();
}
END_TEST

START_TEST(handler_that_raises_ends_the_wait)
{
    struct waiter waiter = {.timeout = MT_SECOND, .waits_for_both = true};
    host.on_interrupt = run_handler;
    handler_result = MT_EHOST;
    mt_test_spawn(interrupt_main, NULL);
    wait_here(&waiter);
    ck_assert_int_eq(waiter.result, MT_EHOST);
    mt_test_close();
}
END_TEST

START_TEST(trigger_while_the_interrupted_one_is_ready_is_not_lost)
{
    struct waiter waiter = {.timeout = MT_FOREVER};
    host.on_interrupt = run_handler;
    mt_test_spawn(interrupt_main, NULL);
    mt_test_spawn(trigger_list, NULL);
    wait_here(&waiter);
    ck_assert_int_eq(waiter.result, 0);
    ck_assert_int_eq(handler_runs, 0); /* the host looks for signals by itself when it returns */
    mt_test_close();
}
END_TEST

START_TEST(cancel_while_the_interrupted_one_is_ready_is_not_lost)
{
    struct waiter waiter = {.timeout = MT_FOREVER};
    host.on_interrupt = run_handler;
    mt_test_spawn(interrupt_main, NULL);
    mt_test_spawn(cancel_main, NULL);
    wait_here(&waiter);
    ck_assert_int_eq(waiter.result, MT_ECANCELED);
    mt_test_close();
}
END_TEST

static void
sleep_in_handler(void)
{
    ck_assert_int_eq(mt_sleep(host.sched, 2 * MT_SECOND), 0);
}

static void
trigger_after_one_second(void *argument)
{
    ck_assert_int_eq(mt_sleep(host.sched, MT_SECOND), 0);
    trigger_list(argument);
}

START_TEST(handler_may_wait_and_the_outer_wait_notes_what_comes_meanwhile)
{
    struct waiter waiter = {.timeout = MT_FOREVER};
    host.on_interrupt = run_handler;
    handler = sleep_in_handler;
    mt_time before = mt_sched_now(host.sched);
    mt_test_spawn(interrupt_main, NULL);
    mt_test_spawn(trigger_after_one_second, NULL);
    wait_here(&waiter);
    ck_assert_int_eq(waiter.result, 0);
    ck_assert_ptr_eq(waiter.fired, &waiter.first);
    ck_assert_int_eq(mt_sched_now(host.sched), before + 2 * MT_SECOND);
    ck_assert_ptr_null(host.main.base.wait);
    mt_test_close();
}
END_TEST

START_TEST(interrupting_one_that_does_not_wait_does_nothing)
{
    mt_thread_interrupt(&host.main.base);
    ck_assert(!host.main.base.is_interrupted);
    ck_assert_ptr_null(host.sched->ready_head);
    mt_thread_cancel_wait(&host.main.base);
    mt_test_close();
}
END_TEST

START_TEST(sleep_ends_in_time_or_by_cancellation)
{
    mt_time before = mt_sched_now(host.sched);
    ck_assert_int_eq(mt_sleep(host.sched, MT_SECOND), 0);
    ck_assert_int_eq(mt_sched_now(host.sched), before + MT_SECOND);
    ck_assert_int_eq(mt_sleep(host.sched, 0), 0);
    mt_test_cancel(&host.main);
    ck_assert_int_eq(mt_sleep(host.sched, MT_SECOND), MT_ECANCELED);
    ck_assert_int_eq(mt_sched_now(host.sched), before + MT_SECOND);
    mt_test_close();
}
END_TEST

START_TEST(deadline_is_saturated)
{
    ck_assert_int_eq(mt_sched_deadline(host.sched, MT_FOREVER), MT_FOREVER);
    ck_assert_int_eq(mt_sched_deadline(host.sched, MT_FOREVER - 1), MT_FOREVER - 1);
    ck_assert_int_eq(mt_sched_deadline(host.sched, 5), mt_sched_now(host.sched) + 5);
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("core/wait");
    TCase *waits = tcase_create("waits");
    tcase_add_checked_fixture(waits, setup, NULL);
    tcase_add_test(waits, trigger_hands_its_result_to_the_waiter);
    tcase_add_test(waits, first_clause_to_fire_takes_the_others_back);
    tcase_add_test(waits, deadline_ends_the_wait_at_its_time);
    tcase_add_test(waits, deadline_that_has_passed_times_out);
    tcase_add_test(waits, deadlines_come_in_order_and_equal_ones_as_they_were_set);
    tcase_add_test(waits, what_was_handed_over_wins_over_a_later_cancel_and_time_out);
    tcase_add_test(waits, cancel_while_parked_takes_the_clauses_back);
    tcase_add_test(waits, pending_cancel_comes_at_the_next_wait_without_parking);
    tcase_add_test(waits, failed_allocation_for_the_deadline_leaves_no_clause_behind);
    tcase_add_test(waits, wait_without_a_deadline_allocates_nothing);
    tcase_add_test(waits, withdraw_takes_back_a_wait_that_was_never_parked);
    tcase_add_test(waits, sleep_ends_in_time_or_by_cancellation);
    tcase_add_test(waits, deadline_is_saturated);
    suite_add_tcase(suite, waits);
    TCase *interruption = tcase_create("interruption");
    tcase_add_checked_fixture(interruption, setup, NULL);
    tcase_add_test(interruption, interrupted_wait_runs_handlers_and_goes_on);
    tcase_add_test(interruption, handler_that_raises_ends_the_wait);
    tcase_add_test(interruption, trigger_while_the_interrupted_one_is_ready_is_not_lost);
    tcase_add_test(interruption, cancel_while_the_interrupted_one_is_ready_is_not_lost);
    tcase_add_test(interruption, handler_may_wait_and_the_outer_wait_notes_what_comes_meanwhile);
    tcase_add_test(interruption, interrupting_one_that_does_not_wait_does_nothing);
    suite_add_tcase(suite, interruption);
    return suite;
}
