/* SPDX-License-Identifier: MIT */
#include "check_main.h"

#include "base/mt_alloc.h"

#include <pthread.h>
#include <string.h>

START_TEST(zeroed_memory_is_zero_and_resizing_keeps_it)
{
    char zeros[64] = {0};
    char *block = mt_alloc_zeroed(sizeof zeros);
    ck_assert_mem_eq(block, zeros, sizeof zeros);
    block = mt_alloc_resize(block, 4096);
    ck_assert_mem_eq(block, zeros, sizeof zeros);
    mt_alloc_free(block);
    mt_alloc_free(NULL);
}
END_TEST

START_TEST(only_the_nth_request_fails)
{
    mt_alloc_fail_nth(3);
    void *first = mt_alloc(1);
    void *second = mt_alloc_zeroed(1);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_null(mt_alloc_resize(first, 100));
    first = mt_alloc_resize(first, 100);
    ck_assert_ptr_nonnull(first);
    mt_alloc_free(first);
    mt_alloc_free(second);
}
END_TEST

START_TEST(every_kind_of_request_can_fail)
{
    mt_alloc_fail_nth(1);
    ck_assert_ptr_null(mt_alloc(1));
    mt_alloc_fail_nth(1);
    ck_assert_ptr_null(mt_alloc_zeroed(1));
    mt_alloc_fail_nth(1);
    ck_assert(mt_alloc_should_fail());
    ck_assert(!mt_alloc_should_fail());
}
END_TEST

START_TEST(zero_ends_the_failures)
{
    mt_alloc_fail_nth(1);
    mt_alloc_fail_nth(0);
    ck_assert(!mt_alloc_should_fail());
}
END_TEST

static void *
ask_elsewhere(void *argument)
{
    *(bool *)argument = mt_alloc_should_fail();
    return NULL;
}

START_TEST(failures_belong_to_their_os_thread)
{
    bool has_failed = true;
    pthread_t other;
    mt_alloc_fail_nth(1);
    ck_assert_int_eq(pthread_create(&other, NULL, ask_elsewhere, &has_failed), 0);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    ck_assert(!has_failed);
    ck_assert(mt_alloc_should_fail());
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("base/alloc");
    TCase *tests = tcase_create("alloc");
    tcase_add_test(tests, zeroed_memory_is_zero_and_resizing_keeps_it);
    tcase_add_test(tests, only_the_nth_request_fails);
    tcase_add_test(tests, every_kind_of_request_can_fail);
    tcase_add_test(tests, zero_ends_the_failures);
    tcase_add_test(tests, failures_belong_to_their_os_thread);
    suite_add_tcase(suite, tests);
    return suite;
}
