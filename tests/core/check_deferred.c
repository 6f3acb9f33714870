/* SPDX-License-Identifier: MIT */
#include "support/mt_test_host.h"

#include "core/mt_deferred.h"

static struct mt_deferred deferred;
static int value;

static void
setup(void)
{
    mt_test_open(&mt_reactor_virtual);
    mt_deferred_init(&deferred);
}

struct waiter {
    mt_time timeout;
    int result; /* 1 until it has returned */
    const char *name;
};

static void
wait_here(void *argument)
{
    struct waiter *waiter = argument;
    waiter->result = 1;
    waiter->result = mt_deferred_wait(host.sched, &deferred,
                                      mt_sched_deadline(host.sched, waiter->timeout),
                                      MT_WAIT_DEFERRED, &deferred);
    if (waiter->name)
        mt_test_log(waiter->name);
}

static struct mt_test_thread *
park(struct waiter *waiter)
{
    struct mt_test_thread *thread = mt_test_spawn(wait_here, waiter);
    mt_test_settle();
    return thread;
}

START_TEST(waiters_get_the_result_in_the_order_they_came)
{
    struct waiter waiters[3];
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        waiters[i] = (struct waiter){.timeout = MT_FOREVER, .name = names[i]};
        park(&waiters[i]);
    }
    ck_assert_int_eq(mt_deferred_fire(&deferred, MT_DEFERRED_VALUE, &value), 0);
    ck_assert_str_eq(host.log, ""); /* firing does not switch */
    mt_test_join_all();
    ck_assert_str_eq(host.log, "abc");
    ck_assert_ptr_eq(deferred.value, &value);
    ck_assert_int_eq(deferred.state, MT_DEFERRED_VALUE);
    ck_assert_uint_eq(deferred.waiting, 0);
    mt_test_close();
}
END_TEST

START_TEST(fired_one_lets_waiters_through_at_once)
{
    struct waiter waiter = {.timeout = 0};
    ck_assert_int_eq(mt_deferred_fire(&deferred, MT_DEFERRED_ERROR, &value), 0);
    wait_here(&waiter);
    ck_assert_int_eq(waiter.result, 0);
    ck_assert_int_eq(deferred.state, MT_DEFERRED_ERROR);
    mt_test_close();
}
END_TEST

START_TEST(firing_twice_is_an_error_and_keeps_the_first_result)
{
    ck_assert_int_eq(mt_deferred_fire(&deferred, MT_DEFERRED_VALUE, &value), 0);
    ck_assert_int_eq(mt_deferred_fire(&deferred, MT_DEFERRED_ERROR, NULL), MT_EFIRED);
    ck_assert_ptr_eq(deferred.value, &value);
    ck_assert_int_eq(deferred.state, MT_DEFERRED_VALUE);
    mt_test_close();
}
END_TEST

START_TEST(time_out_and_cancel_leave_it_as_it_was)
{
    struct waiter late = {.timeout = MT_SECOND};
    struct waiter cancelled = {.timeout = MT_FOREVER};
    struct mt_test_thread *first = park(&late);
    struct mt_test_thread *second = park(&cancelled);
    mt_test_cancel(second);
    mt_test_join(first);
    mt_test_join(second);
    ck_assert_int_eq(late.result, MT_ETIMEDOUT);
    ck_assert_int_eq(cancelled.result, MT_ECANCELED);
    ck_assert_int_eq(deferred.state, MT_DEFERRED_PENDING);
    ck_assert_uint_eq(deferred.waiting, 0);
    ck_assert(mt_list_is_empty(&deferred.waiters));
    mt_test_close();
}
END_TEST

START_TEST(reset_while_somebody_waits_is_an_error)
{
    struct waiter waiter = {.timeout = MT_FOREVER};
    struct mt_test_thread *thread = park(&waiter);
    ck_assert_int_eq(mt_deferred_reset(&deferred), MT_EBUSY);
    ck_assert_int_eq(mt_deferred_fire(&deferred, MT_DEFERRED_VALUE, &value), 0);
    ck_assert_int_eq(mt_deferred_reset(&deferred), MT_EBUSY); /* it has not read it yet */
    mt_test_join(thread);
    ck_assert_int_eq(mt_deferred_reset(&deferred), 0);
    ck_assert_int_eq(deferred.state, MT_DEFERRED_PENDING);
    ck_assert_ptr_null(deferred.value);
    mt_test_close();
}
END_TEST

START_TEST(reset_one_can_be_fired_and_waited_for_again)
{
    for (int i = 0; i < 3; i++) {
        struct waiter waiter = {.timeout = MT_FOREVER};
        struct mt_test_thread *thread = park(&waiter);
        ck_assert_int_eq(mt_deferred_fire(&deferred, MT_DEFERRED_VALUE, &value), 0);
        mt_test_join(thread);
        ck_assert_int_eq(waiter.result, 0);
        ck_assert_int_eq(mt_deferred_reset(&deferred), 0);
    }
    mt_test_close();
}
END_TEST

START_TEST(failed_allocation_in_a_wait_leaves_it_as_it_was)
{
    struct waiter waiter = {.timeout = MT_SECOND};
    mt_alloc_fail_nth(1);
    wait_here(&waiter);
    mt_alloc_fail_nth(0);
    ck_assert_int_eq(waiter.result, MT_ENOMEM);
    ck_assert_uint_eq(deferred.waiting, 0);
    ck_assert(mt_list_is_empty(&deferred.waiters));
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("core/deferred");
    TCase *tests = tcase_create("deferred");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, waiters_get_the_result_in_the_order_they_came);
    tcase_add_test(tests, fired_one_lets_waiters_through_at_once);
    tcase_add_test(tests, firing_twice_is_an_error_and_keeps_the_first_result);
    tcase_add_test(tests, time_out_and_cancel_leave_it_as_it_was);
    tcase_add_test(tests, reset_while_somebody_waits_is_an_error);
    tcase_add_test(tests, reset_one_can_be_fired_and_waited_for_again);
    tcase_add_test(tests, failed_allocation_in_a_wait_leaves_it_as_it_was);
    suite_add_tcase(suite, tests);
    return suite;
}
