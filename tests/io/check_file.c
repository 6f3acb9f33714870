/* SPDX-License-Identifier: MIT */
#include "support/mt_test_host.h"

#include "io/mt_file.h"
#include "io/mt_file_means.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const PREFERENCES[] = {NULL, "uring", "threads"};

static struct mt_files *files;
static char folder[] = "/tmp/check_file.XXXXXX";
static char path[64];

static void
open_files(int preference)
{
    mt_test_open(&mt_reactor_ev);
    ck_assert_int_eq(mt_files_new(host.sched, PREFERENCES[preference], &files), 0);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
}

static void
close_files(void)
{
    mt_files_free(files);
    mt_test_close();
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

START_TEST(written_file_is_read_back)
{
    open_files(_i);
    char read[10] = "";
    int fd = mt_file_open(files, path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mt_file_write(files, fd, MT_FILE_UNKNOWN, "hello", 5), 5);
    ck_assert_int_eq(mt_file_sync(files, fd), 0);
    ck_assert_int_eq(mt_file_truncate(files, fd, 4), 0);
    ck_assert_int_eq(mt_file_flush(files, fd), 0);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_int_eq(mt_file_read(files, fd, MT_FILE_REGULAR, read, sizeof read), 4);
    ck_assert_str_eq(read, "hell");
    ck_assert_int_eq(mt_file_read(files, fd, MT_FILE_REGULAR, read, sizeof read), 0);
    ck_assert_int_eq(host.sched->external, 0);
    close(fd);
    close_files();
}
END_TEST

START_TEST(errors_are_those_of_the_system_calls)
{
    open_files(_i);
    char byte;
    ck_assert_int_eq(mt_file_open(files, path, O_RDONLY, 0), mt_error_from_errno(ENOENT));
    ck_assert_int_eq(mt_file_read(files, -1, MT_FILE_REGULAR, &byte, 1), mt_error_from_errno(EBADF));
    ck_assert_int_eq(mt_file_write(files, -1, MT_FILE_STREAM, &byte, 1), mt_error_from_errno(EBADF));
    ck_assert_int_eq(mt_file_sync(files, -1), mt_error_from_errno(EBADF));
    close_files();
}
END_TEST

START_TEST(failed_allocation_is_an_error_or_does_no_harm)
{
    open_files(_i);
    for (unsigned long nth = 1; nth < 8; nth++) {
        mt_alloc_fail_nth(nth);
        int fd = mt_file_open(files, path, O_RDWR | O_CREAT, 0600);
        ssize_t count = fd < 0 ? fd : mt_file_write(files, fd, MT_FILE_UNKNOWN, "x", 1);
        mt_alloc_fail_nth(0);
        ck_assert(count == 1 || count == MT_ENOMEM || count == mt_error_from_errno(EAGAIN));
        if (fd >= 0)
            close(fd);
    }
    close_files();
}
END_TEST

/* ---- a job that takes its time ---- */

struct slow {
    struct mt_job job;
    sem_t begun;
    sem_t may_end;
    int result; /* of mt_files_run() */
    bool has_run;
};

static void
run_slowly(struct mt_job *job)
{
    struct slow *slow = MT_CONTAINER_OF(job, struct slow, job);
    sem_post(&slow->begun);
    sem_wait(&slow->may_end);
    slow->has_run = true;
}

static void
ask(void *argument)
{
    struct slow *slow = argument;
    slow->job.run = run_slowly;
    slow->job.errand.verb = "wait";
    slow->result = 1;
    slow->result = mt_files_run(files, &slow->job);
}

static void
init_slow(struct slow *slow)
{
    memset(slow, 0, sizeof *slow);
    sem_init(&slow->begun, 0, 0);
    sem_init(&slow->may_end, 0, 0);
}

START_TEST(cancelled_while_a_worker_is_at_it_waits_for_the_end)
{
    open_files(2);
    struct slow slow;
    init_slow(&slow);
    struct mt_test_thread *thread = mt_test_spawn(ask, &slow);
    mt_test_settle();
    sem_wait(&slow.begun);
    mt_test_cancel(thread);
    mt_test_settle();
    ck_assert_int_eq(slow.result, 1);
    sem_post(&slow.may_end);
    mt_test_join(thread);
    ck_assert_int_eq(slow.result, 0);
    ck_assert(slow.has_run);
    close_files();
}
END_TEST

START_TEST(cancelled_before_a_worker_takes_it_is_never_run)
{
    enum { MANY = 40 }; /* more than there are workers */
    open_files(2);
    static struct slow slow[MANY];
    struct mt_test_thread *threads[MANY];
    for (int i = 0; i < MANY; i++) {
        init_slow(&slow[i]);
        threads[i] = mt_test_spawn(ask, &slow[i]);
    }
    mt_test_settle();
    sem_wait(&slow[0].begun);
    mt_test_cancel(threads[MANY - 1]);
    mt_test_cancel(threads[MANY / 2]);
    mt_test_join(threads[MANY - 1]);
    mt_test_join(threads[MANY / 2]);
    ck_assert_int_eq(slow[MANY - 1].result, MT_ECANCELED);
    ck_assert_int_eq(slow[MANY / 2].result, MT_ECANCELED);
    for (int i = 0; i < MANY; i++)
        sem_post(&slow[i].may_end);
    mt_test_join_all();
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(slow[i].has_run, i != MANY - 1 && i != MANY / 2);
    ck_assert_int_eq(host.sched->external, 0);
    close_files();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("io/file");
    TCase *calls = tcase_create("calls");
    tcase_add_loop_test(calls, written_file_is_read_back, 0, 3);
    tcase_add_loop_test(calls, errors_are_those_of_the_system_calls, 0, 3);
    tcase_add_loop_test(calls, failed_allocation_is_an_error_or_does_no_harm, 0, 3);
    suite_add_tcase(suite, calls);
    TCase *workers = tcase_create("workers");
    tcase_add_test(workers, cancelled_while_a_worker_is_at_it_waits_for_the_end);
    tcase_add_test(workers, cancelled_before_a_worker_takes_it_is_never_run);
    suite_add_tcase(suite, workers);
    return suite;
}
