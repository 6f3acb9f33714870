/* SPDX-License-Identifier: MIT */
#include "check_main.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "group/mt_trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/check_trace-XXXXXX";
static char text[1 << 16];

static void
make_file(void)
{
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void
remove_file(void)
{
    unlink(path);
}

static void
read_file(void)
{
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
}

static struct mt_trace *
open_trace(void)
{
    struct mt_trace *trace = NULL;
    ck_assert_int_eq(mt_trace_open(path, &trace), 0);
    return trace;
}

START_TEST(trace_without_notes_is_an_empty_array)
{
    ck_assert_int_eq(mt_trace_close(open_trace()), 0);
    read_file();
    ck_assert_str_eq(text, "[\n\n]\n");
}
END_TEST

START_TEST(run_becomes_a_slice_and_what_it_waits_for)
{
    struct mt_trace *trace = open_trace();
    mt_trace_put(trace, &(struct mt_trace_note){.kind = MT_TRACE_RUN,
                                                .loop = 7,
                                                .id = ((uint64_t)3 << 40) + 5,
                                                .from = 1000001,
                                                .until = 1002501,
                                                .waits = MT_WAIT_READ,
                                                .number = 9,
                                                .more = 1});
    ck_assert_int_eq(mt_trace_close(trace), 0);
    read_file();
    ck_assert_str_eq(text, "[\n{\"ph\":\"X\",\"pid\":7,\"tid\":5,\"name\":\"running\","
                           "\"ts\":1000.001,\"dur\":2.500},\n"
                           "{\"ph\":\"i\",\"pid\":7,\"tid\":5,\"s\":\"t\",\"ts\":1002.501,"
                           "\"name\":\"waits: read fd 9 or 1 more\"}\n]\n");
}
END_TEST

START_TEST(name_is_escaped_and_cut_between_characters)
{
    struct mt_trace *trace = open_trace();
    char *name = mt_alloc(1000);
    strcpy(name, "a\"\\\n");
    for (int i = 0; i < 200; i++)
        strcat(name, "\xc3\xa9");
    mt_trace_put(trace, &(struct mt_trace_note){.kind = MT_TRACE_NAME, .loop = 1, .name = name});
    ck_assert_int_eq(mt_trace_close(trace), 0);
    read_file();
    ck_assert_ptr_nonnull(strstr(text, "{\"name\":\"a\\\"\\\\\\u000a\xc3\xa9"));
    ck_assert_ptr_nonnull(strstr(text, "\xc3\xa9\"}}\n]\n"));
}
END_TEST

START_TEST(notes_beyond_the_ring_are_counted_not_waited_for)
{
    struct mt_trace *trace = NULL;
    ck_assert_int_eq(mt_trace_open("/dev/full", &trace), 0); /* the writer goes on all the same */
    for (int i = 0; i < 1 << 20; i++)
        mt_trace_put(trace, &(struct mt_trace_note){.kind = MT_TRACE_FINISH, .until = i});
    ck_assert_int_eq(mt_trace_close(trace), mt_error_from_errno(ENOSPC));
}
END_TEST

START_TEST(folder_that_is_not_there_is_a_system_error)
{
    struct mt_trace *trace = NULL;
    ck_assert_int_eq(mt_trace_open("/nowhere/at/all", &trace), mt_error_from_errno(ENOENT));
    ck_assert_ptr_null(trace);
}
END_TEST

START_TEST(no_memory_is_said)
{
    struct mt_trace *trace = NULL;
    for (unsigned long nth = 1; nth <= 2; nth++) {
        mt_alloc_fail_nth(nth);
        ck_assert_int_eq(mt_trace_open(path, &trace), MT_ENOMEM);
    }
    ck_assert_ptr_null(trace);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("trace");
    TCase *tcase = tcase_create("trace");
    tcase_add_checked_fixture(tcase, make_file, remove_file);
    tcase_add_test(tcase, trace_without_notes_is_an_empty_array);
    tcase_add_test(tcase, run_becomes_a_slice_and_what_it_waits_for);
    tcase_add_test(tcase, name_is_escaped_and_cut_between_characters);
    tcase_add_test(tcase, no_memory_is_said);
    suite_add_tcase(suite, tcase);
    TCase *other = tcase_create("no file");
    tcase_add_test(other, notes_beyond_the_ring_are_counted_not_waited_for);
    tcase_add_test(other, folder_that_is_not_there_is_a_system_error);
    suite_add_tcase(suite, other);
    return suite;
}
