/* SPDX-License-Identifier: MIT */
#include "check_main.h"

#include "base/mt_error.h"

#include <errno.h>
#include <string.h>

START_TEST(errors_are_negative_and_distinct)
{
    int errors[] = {
#define NUMBER_(name, text) MT_##name,
        MT_ERROR_MAP(NUMBER_)
#undef NUMBER_
    };
    size_t count = sizeof errors / sizeof *errors;
    ck_assert_uint_eq(count, MT_N_END - 1);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_lt(errors[i], 0);
        ck_assert_int_gt(errors[i], MT_ESYSTEM);
        for (size_t j = 0; j < i; j++)
            ck_assert_int_ne(errors[i], errors[j]);
    }
}
END_TEST

START_TEST(each_error_has_a_text_of_its_own)
{
    ck_assert_str_eq(mt_error_text(MT_ECLOSED), "the other side is closed");
    ck_assert_str_eq(mt_error_text(0), "no error");
    ck_assert_str_eq(mt_error_text(-999), "unknown error");
    ck_assert_str_eq(mt_error_text(mt_error_from_errno(EBADF)), strerror(EBADF));
}
END_TEST

START_TEST(errno_survives_the_way_there_and_back)
{
    for (int number = 1; number < 200; number++)
        ck_assert_int_eq(mt_error_errno(mt_error_from_errno(number)), number);
    ck_assert_int_eq(mt_error_errno(MT_ETIMEDOUT), 0);
    ck_assert_int_eq(mt_error_errno(0), 0);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("base/error");
    TCase *tests = tcase_create("error");
    tcase_add_test(tests, errors_are_negative_and_distinct);
    tcase_add_test(tests, each_error_has_a_text_of_its_own);
    tcase_add_test(tests, errno_survives_the_way_there_and_back);
    suite_add_tcase(suite, tests);
    return suite;
}
