/* SPDX-License-Identifier: MIT */
/* Polling, wake-ups, signals, forks and failures; descriptors are in check_ev.c. */
#include "support/mt_test_host.h"

#include "io/mt_io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void
poll_now(mt_time timeout)
{
    host.sched->reactor_ops->poll(host.sched->reactor, timeout);
}

static void
wake(void)
{
    host.sched->reactor_ops->wake(host.sched->reactor);
}

static void
pause_for(mt_time span)
{
    nanosleep(&(struct timespec){.tv_nsec = span}, NULL);
}

static void
open_pipe(int ends[2])
{
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
}

static void
put_byte(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

/* One wait for a kept descriptor to be readable. */
struct reader {
    int fd;
    int result; /* 1 until it has returned */
};

static void
read_ready(void *argument)
{
    struct reader *reader = argument;
    reader->result = 1;
    reader->result = mt_io_wait(host.sched, reader->fd, MT_FD_READ, MT_FOREVER, true);
}

static struct mt_test_thread *
park(struct reader *reader)
{
    struct mt_test_thread *thread = mt_test_spawn(read_ready, reader);
    mt_test_settle();
    return thread;
}

/* ---- polling ---- */

START_TEST(poll_that_may_not_wait_keeps_the_lock)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct reader reader = {.fd = ends[0]};
    struct mt_test_thread *thread = park(&reader);
    poll_now(0);
    put_byte(ends[1]);
    poll_now(0);
    ck_assert_uint_eq(host.polls_begun, 0);
    mt_test_join(thread);
    ck_assert_int_eq(reader.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(poll_that_may_wait_lets_go_of_the_lock_exactly_once)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    poll_now(MT_MILLISECOND);
    ck_assert_uint_eq(host.polls_begun, 1);
    wake();
    poll_now(MT_FOREVER);
    ck_assert_uint_eq(host.polls_begun, 2);
    struct reader reader = {.fd = ends[0]};
    struct mt_test_thread *thread = park(&reader);
    put_byte(ends[1]);
    poll_now(MT_FOREVER);
    ck_assert_uint_eq(host.polls_begun, 3);
    ck_assert_uint_eq(host.polls_ended, 3);
    mt_test_join(thread);
    mt_test_close();
}
END_TEST

START_TEST(descriptor_that_died_unseen_ends_a_poll_at_once)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct reader reader = {.fd = ends[0]};
    struct mt_test_thread *thread = park(&reader);
    close(ends[0]);
    poll_now(MT_FOREVER);
    ck_assert_uint_eq(host.polls_begun, 1);
    mt_test_join(thread);
    ck_assert_int_eq(reader.result, mt_error_from_errno(EBADF));
    mt_test_close();
}
END_TEST

START_TEST(poll_with_nothing_to_watch_waits_until_its_time_is_up)
{
    mt_test_open(&mt_reactor_ev);
    mt_time passed = MT_SECOND;
    for (int i = 0; i < 20 && passed >= MT_SECOND; i++) { /* the machine may make one late, not all */
        pause_for(3 * MT_MILLISECOND); /* libev's idea of the time is old by now */
        mt_time before = mt_sched_now(host.sched);
        poll_now(5 * MT_MILLISECOND);
        passed = mt_sched_now(host.sched) - before;
        ck_assert_int_ge(passed, 5 * MT_MILLISECOND);
    }
    ck_assert_int_lt(passed, MT_SECOND);
    mt_test_close();
}
END_TEST

START_TEST(sleep_lasts_at_least_its_span)
{
    mt_test_open(&mt_reactor_ev);
    mt_time before = mt_sched_now(host.sched);
    ck_assert_int_eq(mt_sleep(host.sched, 4 * MT_MILLISECOND), 0);
    ck_assert_int_ge(mt_sched_now(host.sched) - before, 4 * MT_MILLISECOND);
    mt_test_close();
}
END_TEST

/* ---- wake-ups ---- */

static void *
wake_later(void *argument)
{
    (void)argument;
    pause_for(5 * MT_MILLISECOND);
    wake();
    return NULL;
}

START_TEST(other_os_thread_ends_a_poll_without_limit)
{
    pthread_t other;
    mt_test_open(&mt_reactor_ev);
    ck_assert_int_eq(pthread_create(&other, NULL, wake_later, NULL), 0);
    poll_now(MT_FOREVER);
    pthread_join(other, NULL);
    mt_test_close();
}
END_TEST

START_TEST(wake_before_the_poll_is_not_lost)
{
    mt_test_open(&mt_reactor_ev);
    wake();
    wake();
    poll_now(MT_FOREVER);
    wake();
    poll_now(0); /* sees it, but could not have waited */
    poll_now(MT_FOREVER);
    mt_time before = mt_sched_now(host.sched);
    poll_now(2 * MT_MILLISECOND); /* both are used up */
    ck_assert_int_ge(mt_sched_now(host.sched) - before, 2 * MT_MILLISECOND);
    mt_test_close();
}
END_TEST

/* ---- signals ---- */

START_TEST(byte_in_the_signal_descriptor_ends_the_poll_and_raises_the_flag)
{
    volatile bool flag = false;
    mt_test_open(&mt_reactor_ev);
    int fd = host.sched->reactor_ops->signal_fd(host.sched->reactor, &flag);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    for (int i = 0; i < 3; i++) {
        flag = false;
        for (int j = 0; j < 100; j++)
            put_byte(fd);
        poll_now(MT_FOREVER);
        ck_assert(flag);
        flag = false;
        poll_now(0); /* all were drained */
        ck_assert(!flag);
    }
    ck_assert_int_eq(host.sched->reactor_ops->signal_fd(host.sched->reactor, &flag), fd);
    mt_test_close();
}
END_TEST

/* ---- forks ---- */

static void
abandon(struct mt_thread *thread)
{
    MT_CONTAINER_OF(thread, struct mt_test_thread, base)->is_abandoned = true;
}

static void
expect_success_of(pid_t child)
{
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}

static void
require(bool condition)
{
    if (!condition)
        _exit(1);
}

START_TEST(child_of_a_fork_disturbs_no_watcher_of_its_parent)
{
    int ends[2], own[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct reader reader = {.fd = ends[0]};
    struct mt_test_thread *thread = park(&reader);
    poll_now(0);
    pid_t child = fork();
    if (child == 0) {
        require(mt_sched_after_fork(host.sched, abandon) == 0);
        require(thread->is_abandoned);
        mt_io_forget(host.sched, ends[0]);
        close(ends[0]);
        open_pipe(own); /* takes the number that the parent still watches */
        require(own[0] == ends[0]);
        struct reader ours = {.fd = own[0]};
        struct mt_test_thread *mine = park(&ours);
        require(ours.result == 1);
        put_byte(own[1]);
        mt_test_join(mine);
        require(ours.result == 0);
        mt_io_forget(host.sched, own[0]);
        _exit(0);
    }
    expect_success_of(child);
    poll_now(0);
    ck_assert_int_eq(reader.result, 1);
    put_byte(ends[1]);
    mt_test_join(thread);
    ck_assert_int_eq(reader.result, 0);
    mt_test_close();
}
END_TEST

static pid_t child_of_handler;

static void
put_byte_later(void *argument)
{
    (void)mt_sleep(host.sched, MT_MILLISECOND);
    put_byte(*(int *)argument);
}

static int pipe_of_handler[2];

static int
fork_in_handler(const struct mt_wait *wait)
{
    (void)wait;
    host.on_interrupt = NULL; /* a poll that ends for nothing is an interruption, too */
    child_of_handler = fork();
    if (child_of_handler == 0) {
        require(mt_sched_after_fork(host.sched, abandon) == 0);
        mt_test_spawn(put_byte_later, &pipe_of_handler[1]);
    }
    return 0;
}

START_TEST(wait_in_whose_signal_handler_the_fork_was_goes_on_in_the_child)
{
    open_pipe(pipe_of_handler);
    mt_test_open(&mt_reactor_ev);
    host.on_interrupt = fork_in_handler;
    int fd = host.sched->reactor_ops->signal_fd(host.sched->reactor, &host.sched->is_signalled);
    put_byte(fd);
    mt_time deadline = mt_sched_deadline(host.sched, 3600 * MT_SECOND);
    /* The child's byte ends the wait of the parent, too. */
    int result = mt_io_wait(host.sched, pipe_of_handler[0], MT_FD_READ, deadline, true);
    if (child_of_handler == 0) {
        mt_test_join_all();
        _exit(result ? 1 : 0);
    }
    ck_assert_int_eq(result, 0);
    expect_success_of(child_of_handler);
    mt_test_close();
}
END_TEST

START_TEST(signal_descriptor_of_the_child_is_its_own)
{
    volatile bool flag = false;
    mt_test_open(&mt_reactor_ev);
    int fd = host.sched->reactor_ops->signal_fd(host.sched->reactor, &flag);
    pid_t child = fork();
    if (child == 0) {
        require(mt_sched_after_fork(host.sched, abandon) == 0);
        put_byte(fd);
        poll_now(MT_FOREVER);
        require(flag);
        require(host.sched->reactor_ops->signal_fd(host.sched->reactor, &flag) == fd);
        put_byte(fd);
        _exit(0);
    }
    expect_success_of(child);
    poll_now(0);
    ck_assert(!flag);
    put_byte(fd);
    poll_now(MT_FOREVER);
    ck_assert(flag);
    mt_test_close();
}
END_TEST

START_TEST(child_can_be_woken_by_its_own_os_threads)
{
    mt_test_open(&mt_reactor_ev);
    poll_now(0);
    pid_t child = fork();
    if (child == 0) {
        pthread_t other;
        require(mt_sched_after_fork(host.sched, abandon) == 0);
        require(pthread_create(&other, NULL, wake_later, NULL) == 0);
        poll_now(MT_FOREVER);
        pthread_join(other, NULL);
        _exit(0);
    }
    expect_success_of(child);
    mt_test_close();
}
END_TEST

/* ---- failures ---- */

START_TEST(any_failed_allocation_at_opening_leaves_nothing_behind)
{
    int before = mt_test_count_fds();
    for (unsigned long nth = 1;; nth++) {
        mt_alloc_fail_nth(nth);
        int error = mt_test_try_open(&mt_reactor_ev);
        mt_alloc_fail_nth(0);
        if (!error)
            break;
        ck_assert_int_eq(error, MT_ENOMEM);
        ck_assert_int_eq(mt_test_count_fds(), before);
        ck_assert_uint_lt(nth, 20);
    }
    mt_test_close();
    ck_assert_int_eq(mt_test_count_fds(), before);
}
END_TEST

START_TEST(any_failed_allocation_in_a_wait_is_reported_and_the_next_wait_works)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    put_byte(ends[1]);
    unsigned long nth = 1;
    for (int error = MT_ENOMEM; error; nth++) {
        mt_alloc_fail_nth(nth);
        error = mt_io_wait(host.sched, ends[0], MT_FD_READ,
                           mt_sched_deadline(host.sched, MT_SECOND), false);
        mt_alloc_fail_nth(0);
        if (error)
            ck_assert_int_eq(error, MT_ENOMEM);
        ck_assert_ptr_null(host.main.base.wait);
    }
    ck_assert_uint_ge(nth, 4); /* the table, the slot, the timers; then it went well */
    mt_test_close();
}
END_TEST

START_TEST(opening_without_descriptors_is_an_error)
{
    struct rlimit limit;
    int fds[2];
    open_pipe(fds);
    close(fds[0]);
    close(fds[1]);
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int left = 0; left < 2; left++) {
        limit.rlim_cur = (rlim_t)(fds[0] + left);
        setrlimit(RLIMIT_NOFILE, &limit);
        ck_assert_int_eq(mt_test_try_open(&mt_reactor_ev), mt_error_from_errno(EMFILE));
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    mt_test_open(&mt_reactor_ev);
    mt_test_close();
}
END_TEST

START_TEST(opening_and_closing_leaks_no_descriptor)
{
    int before = mt_test_count_fds();
    volatile bool flag;
    for (int i = 0; i < 20; i++) {
        mt_test_open(&mt_reactor_ev);
        ck_assert_int_ge(host.sched->reactor_ops->signal_fd(host.sched->reactor, &flag), 0);
        poll_now(0);
        mt_test_close();
    }
    ck_assert_int_eq(mt_test_count_fds(), before);
}
END_TEST

START_TEST(closing_with_micro_threads_parked_frees_all)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct reader readers[] = {{.fd = ends[0]}, {.fd = ends[0]}};
    park(&readers[0]);
    park(&readers[1]);
    poll_now(0);
    mt_test_tear_down();
    ck_assert_int_eq(readers[1].result, 1);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("reactor/ev_loop");
    TCase *polling = tcase_create("polling");
    tcase_add_test(polling, poll_that_may_not_wait_keeps_the_lock);
    tcase_add_test(polling, poll_that_may_wait_lets_go_of_the_lock_exactly_once);
    tcase_add_test(polling, descriptor_that_died_unseen_ends_a_poll_at_once);
    tcase_add_test(polling, poll_with_nothing_to_watch_waits_until_its_time_is_up);
    tcase_add_test(polling, sleep_lasts_at_least_its_span);
    tcase_add_test(polling, other_os_thread_ends_a_poll_without_limit);
    tcase_add_test(polling, wake_before_the_poll_is_not_lost);
    tcase_add_test(polling, byte_in_the_signal_descriptor_ends_the_poll_and_raises_the_flag);
    suite_add_tcase(suite, polling);
    TCase *forks = tcase_create("forks");
    tcase_add_test(forks, child_of_a_fork_disturbs_no_watcher_of_its_parent);
    tcase_add_test(forks, wait_in_whose_signal_handler_the_fork_was_goes_on_in_the_child);
    tcase_add_test(forks, signal_descriptor_of_the_child_is_its_own);
    tcase_add_test(forks, child_can_be_woken_by_its_own_os_threads);
    suite_add_tcase(suite, forks);
    TCase *failures = tcase_create("failures");
    tcase_add_test(failures, any_failed_allocation_at_opening_leaves_nothing_behind);
    tcase_add_test(failures, any_failed_allocation_in_a_wait_is_reported_and_the_next_wait_works);
    tcase_add_test(failures, opening_without_descriptors_is_an_error);
    tcase_add_test(failures, opening_and_closing_leaks_no_descriptor);
    tcase_add_test(failures, closing_with_micro_threads_parked_frees_all);
    suite_add_tcase(suite, failures);
    return suite;
}
