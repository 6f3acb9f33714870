/* SPDX-License-Identifier: MIT */
#include "support/mt_test_host.h"

#include "group/mt_owner.h"
#include "group/mt_shared.h"

#include <sched.h>

static struct mt_shared *shared;

static _Atomic int64_t *
word(size_t index)
{
    return (_Atomic int64_t *)(void *)shared->data + index;
}

static void
setup(void)
{
    shared = mt_shared_new(64);
    ck_assert_ptr_nonnull(shared);
}

static void
teardown(void)
{
    mt_shared_unref(shared);
}

/* ---- memory ---- */

START_TEST(memory_is_zeroed_aligned_and_shared_by_its_readers)
{
    ck_assert_uint_eq((uintptr_t)shared->data % 64, 0);
    for (size_t i = 0; i < 64; i++)
        ck_assert_uint_eq(shared->data[i], 0);
    struct mt_shared *reader = mt_shared_new_readonly(shared);
    ck_assert(reader->is_readonly && reader->data == shared->data && reader->size == 64);
    mt_shared_unref(reader);
    ck_assert_ptr_null(mt_shared_new(SIZE_MAX));
    mt_alloc_fail_nth(1);
    ck_assert_ptr_null(mt_shared_new_readonly(shared));
    mt_shared_unref(NULL);
}
END_TEST

/* ---- waiting ---- */

enum { ROUNDS = 2000 };

/* The other OS thread: counts word 1 up to what word 0 says. */
static void *
answer(void *unused)
{
    for (int64_t n = 1; n <= ROUNDS; n++) {
        while (atomic_load(word(0)) < n)
            sched_yield();
        atomic_store(word(1), n);
        (void)mt_shared_notify(NULL, word(1), SIZE_MAX);
    }
    return unused;
}

START_TEST(other_os_thread_wakes_a_waiter_and_no_notice_is_lost)
{
    mt_test_open(&mt_reactor_ev);
    pthread_t other;
    ck_assert_int_eq(pthread_create(&other, NULL, answer, NULL), 0);
    host.sched->external++;
    for (int64_t n = 1; n <= ROUNDS; n++) {
        atomic_store(word(0), n);
        while (atomic_load(word(1)) < n) {
            int error = mt_shared_wait(host.sched, word(1), n - 1, MT_FOREVER, NULL);
            ck_assert(error == 0 || error == MT_EEMPTY);
        }
    }
    host.sched->external--;
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    mt_test_close();
}
END_TEST

static void
wait_briefly(void *argument)
{
    int *result = argument;
    *result = mt_shared_wait(host.sched, word(0), 0, mt_sched_now(host.sched) + MT_SECOND, NULL);
}

START_TEST(waiter_that_ran_out_of_time_is_gone_and_others_stay)
{
    mt_test_open(&mt_reactor_virtual);
    int results[3] = {1, 1, 1};
    for (int i = 0; i < 3; i++)
        mt_test_spawn(wait_briefly, &results[i]);
    mt_test_settle();
    ck_assert_uint_eq(mt_shared_notify(host.sched, word(1), 5), 0);
    ck_assert_uint_eq(mt_shared_notify(host.sched, word(0), 1), 1);
    mt_test_join_all();
    ck_assert_int_eq(results[0], 0);
    ck_assert_int_eq(results[1], MT_ETIMEDOUT);
    ck_assert_int_eq(results[2], MT_ETIMEDOUT);
    ck_assert_uint_eq(mt_shared_notify(host.sched, word(0), 5), 0);
    ck_assert_int_eq(mt_shared_wait(host.sched, word(0), 1, MT_FOREVER, NULL), MT_EEMPTY);
    ck_assert_int_eq(mt_shared_wait(host.sched, word(0), 0, 0, NULL), MT_ETIMEDOUT);
    mt_test_close();
}
END_TEST

static void
wait_for_good(void *unused)
{
    (void)unused;
    (void)mt_shared_wait(host.sched, word(0), 0, MT_FOREVER, NULL);
}

START_TEST(waiters_of_a_scheduler_that_ends_are_forgotten)
{
    mt_test_open(&mt_reactor_virtual);
    mt_test_spawn(wait_for_good, NULL);
    mt_test_settle();
    mt_shared_forget(host.sched);
    ck_assert_uint_eq(mt_shared_notify(NULL, word(0), 5), 0);
    mt_test_tear_down();
}
END_TEST

/* ---- loans ---- */

enum { LOANS = 1000 };

static struct mt_loan loans[LOANS];
static size_t collected;

static void
collect(struct mt_owner *owner)
{
    for (struct mt_loan *loan = mt_owner_take(owner); loan; loan = loan->next) {
        ck_assert(!loan->next || loan->next == loan + 1); /* the oldest first */
        collected++;
    }
}

static void *
give_back_all(void *unused)
{
    for (int i = 0; i < LOANS; i++)
        ck_assert(mt_owner_give_back(&loans[i]));
    return unused;
}

static struct mt_owner *
lend_all(void)
{
    struct mt_owner *owner = mt_owner_new(NULL, collect);
    for (int i = 0; i < LOANS; i++)
        mt_owner_lend(owner, &loans[i]);
    return owner;
}

START_TEST(loans_come_back_to_their_owner)
{
    mt_test_open(&mt_reactor_ev);
    struct mt_owner *owner = lend_all();
    mt_owner_set_sched(owner, host.sched);
    pthread_t other;
    ck_assert_int_eq(pthread_create(&other, NULL, give_back_all, NULL), 0);
    while (collected < LOANS)
        ck_assert_int_eq(mt_sleep(host.sched, MT_MILLISECOND), 0);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    mt_owner_close(owner);
    mt_owner_unref(owner);
    mt_test_close();
}
END_TEST

START_TEST(loans_wait_for_a_scheduler_and_late_ones_are_left_alone)
{
    struct mt_owner *owner = lend_all();
    for (int i = 1; i < LOANS; i++)
        ck_assert(mt_owner_give_back(&loans[i]));
    ck_assert_uint_eq(collected, 0);
    mt_test_open(&mt_reactor_virtual);
    mt_owner_set_sched(owner, host.sched);
    ck_assert_int_eq(mt_sched_yield(host.sched), 0);
    ck_assert_uint_eq(collected, LOANS - 1);
    mt_owner_set_sched(owner, NULL);
    mt_owner_close(owner);
    mt_owner_unref(owner);
    ck_assert(!mt_owner_give_back(&loans[0]));
    ck_assert_uint_eq(collected, LOANS - 1);
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("group/shared");
    TCase *tests = tcase_create("shared");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, memory_is_zeroed_aligned_and_shared_by_its_readers);
    tcase_add_test(tests, other_os_thread_wakes_a_waiter_and_no_notice_is_lost);
    tcase_add_test(tests, waiter_that_ran_out_of_time_is_gone_and_others_stay);
    tcase_add_test(tests, waiters_of_a_scheduler_that_ends_are_forgotten);
    tcase_add_test(tests, loans_come_back_to_their_owner);
    tcase_add_test(tests, loans_wait_for_a_scheduler_and_late_ones_are_left_alone);
    suite_add_tcase(suite, tests);
    return suite;
}
