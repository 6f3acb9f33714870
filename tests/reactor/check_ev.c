/* SPDX-License-Identifier: MIT */
#include "support/mt_test_host.h"

#include "io/mt_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EBADF_ERROR mt_error_from_errno(EBADF)

static void
put_byte(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

static void
take_byte(int fd)
{
    char byte;
    ck_assert_int_eq(read(fd, &byte, 1), 1);
}

/* One wait of a micro-thread. */
struct wait {
    int fd;
    int events;
    bool is_kept;
    mt_time timeout; /* 0: for ever */
    int result;      /* 1 until it has returned */
    const char *name;
};

static void
wait_here(void *argument)
{
    struct wait *wait = argument;
    mt_time timeout = wait->timeout ? wait->timeout : MT_FOREVER;
    wait->result = 1;
    wait->result = mt_io_wait(host.sched, wait->fd, wait->events,
                              mt_sched_deadline(host.sched, timeout), wait->is_kept);
    if (wait->name)
        mt_test_log(wait->name);
}

static void
wait_and_take(void *argument)
{
    struct wait *wait = argument;
    wait_here(wait);
    take_byte(wait->fd);
}

/* Spawn the wait and let it park. */
static struct mt_test_thread *
park(struct wait *wait)
{
    struct mt_test_thread *thread = mt_test_spawn(wait_here, wait);
    mt_test_settle();
    return thread;
}

static void
poll_now(mt_time timeout)
{
    host.sched->reactor_ops->poll(host.sched->reactor, timeout);
}

static bool
is_watching(void)
{
    return host.sched->reactor_ops->is_watching(host.sched->reactor);
}

static bool
has_waiters(void)
{
    return host.sched->reactor_ops->has_waiters(host.sched->reactor);
}

static void
open_pipe(int ends[2])
{
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
}

static void
open_pair(int ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
}

/* ---- readiness ---- */

START_TEST(reader_parks_until_there_is_data)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct wait wait = {.fd = ends[0], .events = MT_FD_READ, .is_kept = _i};
    struct mt_test_thread *thread = park(&wait);
    ck_assert_int_eq(wait.result, 1);
    put_byte(ends[1]);
    mt_test_join(thread);
    ck_assert_int_eq(wait.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(end_of_file_wakes_the_reader)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct wait wait = {.fd = ends[0], .events = MT_FD_READ, .is_kept = _i};
    struct mt_test_thread *thread = park(&wait);
    close(ends[1]);
    mt_test_join(thread);
    ck_assert_int_eq(wait.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(writer_parks_until_there_is_room)
{
    int ends[2];
    char block[4096] = {0};
    open_pipe(ends);
    while (write(ends[1], block, sizeof block) > 0)
        ;
    mt_test_open(&mt_reactor_ev);
    struct wait wait = {.fd = ends[1], .events = MT_FD_WRITE, .is_kept = _i};
    struct mt_test_thread *thread = park(&wait);
    ck_assert_int_eq(wait.result, 1);
    while (read(ends[0], block, sizeof block) > 0) /* whatever the kernel lets it hold */
        ;
    mt_test_join(thread);
    ck_assert_int_eq(wait.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(reader_and_writer_of_one_descriptor_wait_apart)
{
    int ends[2];
    open_pair(ends);
    mt_test_open(&mt_reactor_ev);
    struct wait reader = {.fd = ends[0], .events = MT_FD_READ, .is_kept = _i};
    struct wait writer = {.fd = ends[0], .events = MT_FD_WRITE, .is_kept = _i};
    struct mt_test_thread *reading = park(&reader);
    struct mt_test_thread *writing = mt_test_spawn(wait_here, &writer);
    mt_test_join(writing);
    ck_assert_int_eq(writer.result, 0);
    ck_assert_int_eq(reader.result, 1);
    put_byte(ends[1]);
    mt_test_join(reading);
    ck_assert_int_eq(reader.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(one_event_wakes_one_reader_in_order_of_arrival)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct wait waits[3];
    const char *names[] = {"a", "b", "c"};
    struct mt_test_thread *threads[3];
    for (int i = 0; i < 3; i++) {
        waits[i] = (struct wait){
            .fd = ends[0], .events = MT_FD_READ, .is_kept = _i, .name = names[i]};
        threads[i] = park(&waits[i]);
    }
    put_byte(ends[1]);
    poll_now(MT_SECOND);
    take_byte(ends[0]);
    mt_test_settle();
    ck_assert_str_eq(host.log, "a");
    put_byte(ends[1]);
    mt_test_join(threads[1]);
    mt_test_join(threads[2]); /* the byte is still there: the next poll is the last one's */
    ck_assert_str_eq(host.log, "abc");
    mt_test_close();
}
END_TEST

START_TEST(cancelled_waiter_is_passed_over)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct wait first = {.fd = ends[0], .events = MT_FD_READ, .is_kept = _i};
    struct wait second = first;
    struct mt_test_thread *cancelled = park(&first);
    struct mt_test_thread *other = park(&second);
    mt_test_cancel(cancelled);
    put_byte(ends[1]);
    mt_test_join(cancelled);
    mt_test_join(other);
    ck_assert_int_eq(first.result, MT_ECANCELED);
    ck_assert_int_eq(second.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(time_out_ends_the_wait_and_the_next_one_works)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct wait wait = {
        .fd = ends[0], .events = MT_FD_READ, .is_kept = _i, .timeout = MT_MILLISECOND};
    mt_time before = mt_sched_now(host.sched);
    mt_test_join(park(&wait));
    ck_assert_int_eq(wait.result, MT_ETIMEDOUT);
    ck_assert_int_ge(mt_sched_now(host.sched) - before, MT_MILLISECOND);
    wait.timeout = 0;
    struct mt_test_thread *thread = park(&wait);
    put_byte(ends[1]);
    mt_test_join(thread);
    ck_assert_int_eq(wait.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(regular_file_is_always_ready)
{
    char path[] = "/tmp/check_ev.XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    unlink(path);
    mt_test_open(&mt_reactor_ev);
    struct wait waits[] = {{.fd = fd, .events = MT_FD_READ, .is_kept = _i},
                           {.fd = fd, .events = MT_FD_WRITE, .is_kept = _i},
                           {.fd = fd, .events = MT_FD_READ, .is_kept = _i}};
    for (int i = 0; i < 3; i++) {
        mt_test_join(park(&waits[i]));
        ck_assert_int_eq(waits[i].result, 0);
    }
    mt_test_close();
}
END_TEST

START_TEST(five_hundred_descriptors_are_served_at_once)
{
    enum { COUNT = 500 };
    static int ends[COUNT][2];
    static struct wait waits[COUNT];
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    mt_test_open(&mt_reactor_ev);
    for (int i = 0; i < COUNT; i++) {
        open_pipe(ends[i]);
        waits[i] = (struct wait){.fd = ends[i][0], .events = MT_FD_READ, .is_kept = true};
        mt_test_spawn(wait_here, &waits[i]);
    }
    mt_test_settle();
    for (int i = 0; i < COUNT; i++)
        put_byte(ends[i][1]);
    mt_test_join_all();
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(waits[i].result, 0);
    mt_test_close();
}
END_TEST

/* ---- watchers ---- */

START_TEST(kept_watcher_stays_armed_until_it_fires_for_nobody)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct wait wait = {.fd = ends[0], .events = MT_FD_READ, .is_kept = true};
    struct mt_test_thread *thread = mt_test_spawn(wait_and_take, &wait);
    mt_test_settle();
    put_byte(ends[1]);
    mt_test_join(thread);
    poll_now(0);
    ck_assert(is_watching());
    ck_assert(!has_waiters());
    put_byte(ends[1]);
    poll_now(0);
    ck_assert(!is_watching());
    poll_now(0);
    mt_test_join(park(&wait));
    ck_assert_int_eq(wait.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(watcher_that_is_not_kept_stops_after_the_wake)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct wait wait = {.fd = ends[0], .events = MT_FD_READ};
    struct mt_test_thread *thread = park(&wait);
    ck_assert(is_watching());
    ck_assert(has_waiters());
    put_byte(ends[1]);
    mt_test_join(thread);
    ck_assert(!is_watching());
    ck_assert(!has_waiters());
    mt_test_close();
}
END_TEST

START_TEST(kept_and_unkept_waits_mix_on_one_descriptor)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    for (int i = 0; i < 8; i++) {
        struct wait first = {.fd = ends[0], .events = MT_FD_READ, .is_kept = i & 1};
        struct wait second = {.fd = ends[0], .events = MT_FD_READ, .is_kept = i & 2};
        struct mt_test_thread *threads[] = {park(&first), park(&second)};
        put_byte(ends[1]);
        mt_test_join(threads[0]);
        mt_test_join(threads[1]);
        ck_assert_int_eq(first.result, 0);
        ck_assert_int_eq(second.result, 0);
        if (i & 4)
            poll_now(0);
        take_byte(ends[0]);
    }
    mt_test_close();
}
END_TEST

/* ---- closed descriptors and numbers that come again ---- */

START_TEST(waiting_for_a_closed_descriptor_is_ebadf)
{
    int ends[2];
    mt_test_open(&mt_reactor_ev);
    open_pipe(ends);
    close(ends[0]);
    ck_assert_int_eq(mt_io_wait(host.sched, ends[0], MT_FD_READ, MT_FOREVER, false), EBADF_ERROR);
    ck_assert_int_eq(mt_io_wait(host.sched, -1, MT_FD_READ, MT_FOREVER, false), EBADF_ERROR);
    ck_assert_int_eq(mt_io_wait(host.sched, -1, MT_FD_READ, MT_FOREVER, true), EBADF_ERROR);
    ck_assert_ptr_null(host.main.base.wait);
    mt_test_close();
}
END_TEST

START_TEST(forget_wakes_all_who_wait_with_ebadf)
{
    int ends[2];
    open_pair(ends);
    char block[4096] = {0};
    while (write(ends[0], block, sizeof block) > 0)
        ;
    mt_test_open(&mt_reactor_ev);
    struct wait waits[] = {{.fd = ends[0], .events = MT_FD_READ, .is_kept = true},
                           {.fd = ends[0], .events = MT_FD_READ, .is_kept = true},
                           {.fd = ends[0], .events = MT_FD_WRITE, .is_kept = true}};
    for (int i = 0; i < 3; i++)
        park(&waits[i]);
    mt_io_forget(host.sched, ends[0]);
    close(ends[0]);
    mt_test_join_all();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(waits[i].result, EBADF_ERROR);
    ck_assert(!is_watching());
    mt_test_close();
}
END_TEST

START_TEST(forgetting_what_nobody_knows_is_harmless)
{
    mt_test_open(&mt_reactor_ev);
    mt_io_forget(host.sched, 5);
    mt_io_forget(host.sched, -1);
    mt_io_forget(host.sched, 1 << 30);
    mt_test_close();
}
END_TEST

START_TEST(close_between_the_event_and_the_turn_is_ebadf)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct wait wait = {.fd = ends[0], .events = MT_FD_READ, .is_kept = true};
    struct mt_test_thread *thread = park(&wait);
    put_byte(ends[1]);
    poll_now(MT_SECOND);
    ck_assert_int_eq(thread->base.state, MT_THREAD_READY);
    mt_io_forget(host.sched, ends[0]);
    mt_test_join(thread);
    ck_assert_int_eq(wait.result, EBADF_ERROR);
    mt_test_close();
}
END_TEST

/* Put a new pipe's read end at the number of an old one. */
static void
replace(int number, int ends[2])
{
    open_pipe(ends);
    ck_assert_int_eq(dup2(ends[0], number), number);
    close(ends[0]);
    ends[0] = number;
}

START_TEST(number_that_means_another_file_is_registered_anew)
{
    int old[2], new[2];
    open_pipe(old);
    mt_test_open(&mt_reactor_ev);
    struct wait wait = {
        .fd = old[0], .events = MT_FD_READ, .timeout = MT_MILLISECOND, .is_kept = _i};
    mt_test_join(park(&wait)); /* timed out: its watcher is armed still */
    ck_assert(is_watching());
    if (wait.is_kept)
        mt_io_forget(host.sched, old[0]);
    replace(old[0], new);
    wait.timeout = 0;
    struct mt_test_thread *thread = park(&wait);
    put_byte(new[1]);
    mt_test_join(thread);
    ck_assert_int_eq(wait.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(event_of_a_file_that_left_its_number_wakes_nobody)
{
    int old[2], new[2];
    open_pipe(old);
    mt_test_open(&mt_reactor_ev);
    struct wait wait = {
        .fd = old[0], .events = MT_FD_READ, .timeout = MT_MILLISECOND, .is_kept = _i};
    mt_test_join(park(&wait));
    int kept_open = dup(old[0]); /* so the kernel keeps what it was told about the old file */
    if (wait.is_kept)
        mt_io_forget(host.sched, old[0]);
    replace(old[0], new);
    wait.timeout = 0;
    struct mt_test_thread *thread = park(&wait);
    poll_now(0);
    put_byte(old[1]);
    for (int i = 0; i < 3; i++) {
        poll_now(0);
        mt_test_settle();
        ck_assert_int_eq(wait.result, 1);
    }
    put_byte(new[1]);
    mt_test_join(thread);
    ck_assert_int_eq(wait.result, 0);
    close(kept_open);
    mt_test_close();
}
END_TEST

START_TEST(descriptor_closed_before_the_kernel_was_told_is_ebadf)
{
    int ends[2];
    open_pipe(ends);
    mt_test_open(&mt_reactor_ev);
    struct wait wait = {.fd = ends[0], .events = MT_FD_READ, .is_kept = _i};
    struct mt_test_thread *thread = park(&wait);
    close(ends[0]);
    mt_test_join(thread);
    ck_assert_int_eq(wait.result, EBADF_ERROR);
    mt_test_close();
}
END_TEST

START_TEST(descriptor_closed_without_a_word_ends_the_wait_not_the_process)
{
    int ends[2], other[2];
    open_pair(ends);
    open_pipe(other);
    mt_test_open(&mt_reactor_ev);
    /* Both directions are in the kernel, and a copy keeps the file alive. */
    char block[4096] = {0};
    while (write(ends[0], block, sizeof block) > 0)
        ;
    struct wait reader = {.fd = ends[0], .events = MT_FD_READ, .is_kept = _i};
    struct wait writer = {.fd = ends[0], .events = MT_FD_WRITE, .is_kept = _i};
    struct wait bystander = {.fd = other[0], .events = MT_FD_READ, .is_kept = true};
    park(&reader);
    park(&writer);
    struct mt_test_thread *last = park(&bystander);
    poll_now(0);
    int copy = dup(ends[0]);
    close(ends[0]);
    put_byte(ends[1]);
    for (int i = 0; i < 3; i++)
        poll_now(0);
    mt_test_settle();
    ck_assert_int_eq(reader.result, EBADF_ERROR);
    ck_assert_int_eq(writer.result, EBADF_ERROR);
    put_byte(other[1]);
    mt_test_join(last);
    ck_assert_int_eq(bystander.result, 0);
    close(copy);
    mt_test_close();
}
END_TEST

START_TEST(closed_descriptor_survives_a_rebuild_of_the_kernel_state)
{
    int silent[2], old[2], new[2], other[2];
    open_pipe(silent);
    open_pipe(old);
    open_pipe(other);
    mt_test_open(&mt_reactor_ev);
    struct wait closed = {.fd = silent[0], .events = MT_FD_READ, .is_kept = _i};
    struct wait moved = {.fd = old[0], .events = MT_FD_READ, .timeout = MT_MILLISECOND};
    struct wait bystander = {.fd = other[0], .events = MT_FD_READ, .is_kept = true};
    struct mt_test_thread *victim = park(&closed);
    struct mt_test_thread *last = park(&bystander);
    mt_test_join(park(&moved));
    int copy = dup(old[0]);
    replace(old[0], new);
    close(silent[0]); /* nobody tells */
    moved.timeout = 0;
    struct mt_test_thread *again = park(&moved);
    poll_now(0);
    put_byte(old[1]); /* an event with a stale generation: libev begins anew */
    poll_now(0);
    mt_test_join(victim);
    ck_assert_int_eq(closed.result, EBADF_ERROR);
    put_byte(other[1]);
    mt_test_join(last);
    put_byte(new[1]);
    mt_test_join(again);
    ck_assert_int_eq(bystander.result, 0);
    ck_assert_int_eq(moved.result, 0);
    close(copy);
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("reactor/ev");
    TCase *ready = tcase_create("readiness");
    tcase_add_loop_test(ready, reader_parks_until_there_is_data, 0, 2);
    tcase_add_loop_test(ready, end_of_file_wakes_the_reader, 0, 2);
    tcase_add_loop_test(ready, writer_parks_until_there_is_room, 0, 2);
    tcase_add_loop_test(ready, reader_and_writer_of_one_descriptor_wait_apart, 0, 2);
    tcase_add_loop_test(ready, one_event_wakes_one_reader_in_order_of_arrival, 0, 2);
    tcase_add_loop_test(ready, cancelled_waiter_is_passed_over, 0, 2);
    tcase_add_loop_test(ready, time_out_ends_the_wait_and_the_next_one_works, 0, 2);
    tcase_add_loop_test(ready, regular_file_is_always_ready, 0, 2);
    tcase_add_test(ready, five_hundred_descriptors_are_served_at_once);
    suite_add_tcase(suite, ready);
    TCase *watchers = tcase_create("watchers");
    tcase_add_test(watchers, kept_watcher_stays_armed_until_it_fires_for_nobody);
    tcase_add_test(watchers, watcher_that_is_not_kept_stops_after_the_wake);
    tcase_add_test(watchers, kept_and_unkept_waits_mix_on_one_descriptor);
    suite_add_tcase(suite, watchers);
    TCase *closed = tcase_create("closed");
    tcase_add_test(closed, waiting_for_a_closed_descriptor_is_ebadf);
    tcase_add_test(closed, forget_wakes_all_who_wait_with_ebadf);
    tcase_add_test(closed, forgetting_what_nobody_knows_is_harmless);
    tcase_add_test(closed, close_between_the_event_and_the_turn_is_ebadf);
    tcase_add_loop_test(closed, number_that_means_another_file_is_registered_anew, 0, 2);
    tcase_add_loop_test(closed, event_of_a_file_that_left_its_number_wakes_nobody, 0, 2);
    tcase_add_loop_test(closed, descriptor_closed_before_the_kernel_was_told_is_ebadf, 0, 2);
    tcase_add_loop_test(closed, descriptor_closed_without_a_word_ends_the_wait_not_the_process, 0, 2);
    tcase_add_loop_test(closed, closed_descriptor_survives_a_rebuild_of_the_kernel_state, 0, 2);
    suite_add_tcase(suite, closed);
    return suite;
}
