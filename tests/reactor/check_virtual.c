/* SPDX-License-Identifier: MIT */
#include "support/mt_test_host.h"

#include "io/mt_io.h"

#include <errno.h>

static void
poll_now(mt_time timeout)
{
    host.sched->reactor_ops->poll(host.sched->reactor, timeout);
}

START_TEST(clock_stands_still_while_micro_threads_run)
{
    mt_test_open(&mt_reactor_virtual);
    mt_time before = mt_sched_now(host.sched);
    for (int i = 0; i < 1000; i++)
        mt_sched_pass(host.sched);
    poll_now(0);
    ck_assert_int_eq(mt_sched_now(host.sched), before);
    ck_assert_uint_eq(host.polls_begun, 0);
    mt_test_close();
}
END_TEST

START_TEST(poll_with_a_time_out_moves_the_clock_by_just_that)
{
    mt_test_open(&mt_reactor_virtual);
    mt_time before = mt_sched_now(host.sched);
    poll_now(1000000 * MT_SECOND);
    poll_now(7);
    ck_assert_int_eq(mt_sched_now(host.sched), before + 1000000 * MT_SECOND + 7);
    ck_assert_uint_eq(host.polls_begun, 2);
    ck_assert_uint_eq(host.polls_ended, 2);
    mt_test_close();
}
END_TEST

START_TEST(poll_without_limit_returns_and_leaves_the_clock_alone)
{
    mt_test_open(&mt_reactor_virtual);
    mt_time before = mt_sched_now(host.sched);
    poll_now(MT_FOREVER);
    ck_assert_int_eq(mt_sched_now(host.sched), before);
    ck_assert_uint_eq(host.polls_begun, 1);
    mt_test_close();
}
END_TEST

START_TEST(woken_poll_leaves_the_clock_alone_once)
{
    mt_test_open(&mt_reactor_virtual);
    mt_time before = mt_sched_now(host.sched);
    host.sched->reactor_ops->wake(host.sched->reactor);
    poll_now(0);
    poll_now(MT_SECOND);
    ck_assert_int_eq(mt_sched_now(host.sched), before);
    poll_now(MT_SECOND);
    ck_assert_int_eq(mt_sched_now(host.sched), before + MT_SECOND);
    mt_test_close();
}
END_TEST

START_TEST(it_has_no_descriptors)
{
    volatile bool flag = false;
    mt_test_open(&mt_reactor_virtual);
    int error = mt_error_from_errno(ENOSYS);
    ck_assert_int_eq(mt_io_wait(host.sched, 0, MT_FD_READ, MT_FOREVER, true), error);
    ck_assert_int_eq(host.sched->reactor_ops->signal_fd(host.sched->reactor, &flag), error);
    mt_io_forget(host.sched, 0);
    ck_assert(!host.sched->reactor_ops->is_watching(host.sched->reactor));
    ck_assert(!host.sched->reactor_ops->has_waiters(host.sched->reactor));
    ck_assert_int_eq(host.sched->reactor_ops->after_fork(host.sched->reactor), 0);
    mt_test_close();
}
END_TEST

START_TEST(failed_allocation_at_opening_is_reported)
{
    unsigned long nth = 1;
    int error = MT_ENOMEM;
    for (; error; nth++) {
        mt_alloc_fail_nth(nth);
        error = mt_test_try_open(&mt_reactor_virtual);
        mt_alloc_fail_nth(0);
        ck_assert(error == 0 || error == MT_ENOMEM);
    }
    ck_assert_uint_ge(nth, 4);
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("reactor/virtual");
    TCase *tests = tcase_create("virtual");
    tcase_add_test(tests, clock_stands_still_while_micro_threads_run);
    tcase_add_test(tests, poll_with_a_time_out_moves_the_clock_by_just_that);
    tcase_add_test(tests, poll_without_limit_returns_and_leaves_the_clock_alone);
    tcase_add_test(tests, woken_poll_leaves_the_clock_alone_once);
    tcase_add_test(tests, it_has_no_descriptors);
    tcase_add_test(tests, failed_allocation_at_opening_is_reported);
    suite_add_tcase(suite, tests);
    return suite;
}
