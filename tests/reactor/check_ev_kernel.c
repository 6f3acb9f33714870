/* SPDX-License-Identifier: MIT */
/* What the kernel is told: this program stands in for epoll_ctl(2), counts and refuses, and for
   epoll_wait(2), to see which calls have to wait. */
#include "support/mt_test_host.h"

#include "io/mt_io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int calls;   /* of epoll_ctl */
static int refusal; /* the errno it shall fail with; 0: it works */

__attribute__((visibility("default"))) int
epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    calls++;
    if (refusal) {
        errno = refusal;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

static int blocked; /* calls of epoll_wait with nothing to tell */

__attribute__((visibility("default"))) int
epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    int count = (int)syscall(SYS_epoll_pwait, epoll, events, most, 0, NULL, 0);
    if (count || timeout == 0)
        return count;
    blocked++;
    return (int)syscall(SYS_epoll_pwait, epoll, events, most, timeout, NULL, 0);
}

static int ends[2];

static void
setup(void)
{
    mt_test_open(&mt_reactor_ev);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
}

struct wait {
    int fd;
    int events;
    bool is_kept;
    int result; /* 1 until it has returned */
};

static void
wait_here(void *argument)
{
    struct wait *wait = argument;
    wait->result = 1;
    wait->result = mt_io_wait(host.sched, wait->fd, wait->events, MT_FOREVER, wait->is_kept);
}

enum { MESSAGES = 1000 };

static void
receive_all(void *argument)
{
    struct wait wait = {.fd = ends[0], .events = MT_FD_READ, .is_kept = *(bool *)argument};
    char byte;
    for (int i = 0; i < MESSAGES; i++) {
        wait_here(&wait);
        ck_assert_int_eq(wait.result, 0);
        ck_assert_int_eq(read(ends[0], &byte, 1), 1);
        ck_assert_int_eq(write(ends[0], &byte, 1), 1);
    }
}

static int
count_calls_for_messages(bool is_kept)
{
    struct wait answer = {.fd = ends[1], .events = MT_FD_READ, .is_kept = is_kept};
    struct mt_test_thread *thread = mt_test_spawn(receive_all, &is_kept);
    mt_test_settle();
    calls = 0;
    for (int i = 0; i < MESSAGES; i++) {
        char byte = 'x';
        ck_assert_int_eq(write(ends[1], &byte, 1), 1);
        wait_here(&answer);
        ck_assert_int_eq(read(ends[1], &byte, 1), 1);
    }
    mt_test_join(thread);
    return calls;
}

START_TEST(messages_on_kept_descriptors_cost_no_epoll_ctl)
{
    /* Now and then a poll falls between the wake and the reading. */
    ck_assert_int_lt(count_calls_for_messages(true), MESSAGES / 10);
    mt_test_close();
}
END_TEST

START_TEST(waits_for_other_descriptors_cost_one_each)
{
    int count = count_calls_for_messages(false);
    ck_assert_int_ge(count, 2 * MESSAGES - 2);
    ck_assert_int_lt(count, 2 * MESSAGES + MESSAGES / 5);
    mt_test_close();
}
END_TEST

START_TEST(refusal_of_the_kernel_ends_the_waits_at_once_with_an_error)
{
    struct wait waits[] = {{.fd = ends[0], .events = MT_FD_READ, .is_kept = _i},
                           {.fd = ends[0], .events = MT_FD_READ, .is_kept = _i},
                           {.fd = ends[0], .events = MT_FD_WRITE, .is_kept = _i}};
    host.sched->reactor_ops->poll(host.sched->reactor, 0); /* what libev itself wants is granted */
    refusal = ENOSPC;
    blocked = 0;
    for (int i = 0; i < 3; i++)
        mt_test_spawn(wait_here, &waits[i]);
    mt_test_join_all();
    ck_assert_int_eq(blocked, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(waits[i].result, mt_error_from_errno(ENOSPC));
    ck_assert(!host.sched->reactor_ops->is_watching(host.sched->reactor));
    refusal = 0;
    mt_test_join(mt_test_spawn(wait_here, &waits[2]));
    ck_assert_int_eq(waits[2].result, 0);
    mt_test_close();
}
END_TEST

START_TEST(cancelled_wait_whose_watcher_is_refused_later_is_harmless)
{
    struct wait wait = {.fd = ends[0], .events = MT_FD_READ, .is_kept = _i};
    struct mt_test_thread *thread = mt_test_spawn(wait_here, &wait);
    mt_test_settle();
    mt_test_cancel(thread);
    refusal = ENOSPC;
    host.sched->reactor_ops->poll(host.sched->reactor, 0);
    mt_test_join(thread);
    ck_assert_int_eq(wait.result, MT_ECANCELED);
    mt_test_close();
}
END_TEST

static void
abandon(struct mt_thread *thread)
{
    (void)thread;
}

START_TEST(child_of_a_fork_tells_the_shared_state_nothing)
{
    struct wait waits[] = {{.fd = ends[0], .events = MT_FD_READ, .is_kept = true},
                           {.fd = ends[1], .events = MT_FD_READ, .is_kept = false}};
    struct mt_test_thread *threads[2];
    for (int i = 0; i < 2; i++)
        threads[i] = mt_test_spawn(wait_here, &waits[i]);
    mt_test_settle();
    host.sched->reactor_ops->poll(host.sched->reactor, 0);
    mt_test_cancel(threads[1]);
    pid_t child = fork();
    if (child == 0) {
        calls = 0;
        int error = mt_sched_after_fork(host.sched, abandon);
        mt_io_forget(host.sched, ends[0]);
        _exit(error || calls);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    mt_test_join_all();
    ck_assert_int_eq(waits[0].result, 0);
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("reactor/ev_kernel");
    TCase *tests = tcase_create("kernel");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, messages_on_kept_descriptors_cost_no_epoll_ctl);
    tcase_add_test(tests, waits_for_other_descriptors_cost_one_each);
    tcase_add_loop_test(tests, refusal_of_the_kernel_ends_the_waits_at_once_with_an_error, 0, 2);
    tcase_add_loop_test(tests, cancelled_wait_whose_watcher_is_refused_later_is_harmless, 0, 2);
    tcase_add_test(tests, child_of_a_fork_tells_the_shared_state_nothing);
    suite_add_tcase(suite, tests);
    return suite;
}
