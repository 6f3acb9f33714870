/* SPDX-License-Identifier: MIT */
#include "support/mt_test_host.h"

#include "io/mt_io.h"
#include "io/mt_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM(name) mt_error_from_errno(name)

enum {
    BUFFER = 64 * 1024,    /* of each socket: what a system gives by itself may be much */
    MUCH = 4 * 1024 * 1024 /* more than that holds */
};

static int ends[2]; /* a stream between two kept descriptors */

static void
setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    mt_test_open(&mt_reactor_ev);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &(int){BUFFER}, sizeof(int)), 0);
}

static void
close_socket(int fd)
{
    mt_io_forget(host.sched, fd);
    close(fd);
}

/* One call of a micro-thread on ends[0]. */
struct call {
    mt_time timeout; /* 0: for ever */
    size_t size;
    int flags;
    char *data;
    size_t sent;
    ssize_t result; /* 1 << 30 until it has returned */
};

enum { UNFINISHED = 1 << 30 };

static mt_time
timeout_of(const struct call *call)
{
    return call->timeout ? call->timeout : MT_FOREVER;
}

static void
receive(void *argument)
{
    struct call *call = argument;
    call->result = UNFINISHED;
    call->result = mt_socket_recv(host.sched, ends[0], call->data, call->size, call->flags,
                                  timeout_of(call));
}

static void
send_all(void *argument)
{
    struct call *call = argument;
    call->result = UNFINISHED;
    call->result = mt_socket_send_all(host.sched, ends[0], call->data, call->size, call->flags,
                                      &call->sent, timeout_of(call));
}

static struct mt_test_thread *
park(void (*function)(void *argument), struct call *call)
{
    struct mt_test_thread *thread = mt_test_spawn(function, call);
    mt_test_settle();
    return thread;
}

static void
put(const char *text)
{
    ck_assert_int_eq(write(ends[1], text, strlen(text)), (ssize_t)strlen(text));
}

/* ---- receiving ---- */

START_TEST(recv_with_data_there_goes_ahead_without_parking)
{
    char data[8] = "";
    put("hello");
    ck_assert_int_eq(mt_socket_recv(host.sched, ends[0], data, 8, 0, MT_FOREVER), 5);
    ck_assert_str_eq(data, "hello");
    ck_assert(!host.sched->reactor_ops->is_watching(host.sched->reactor));
    mt_test_close();
}
END_TEST

START_TEST(recv_parks_until_data_comes)
{
    char data[8] = "";
    struct call call = {.data = data, .size = 8};
    struct mt_test_thread *thread = park(receive, &call);
    ck_assert_int_eq(call.result, UNFINISHED);
    put("abc");
    mt_test_join(thread);
    ck_assert_int_eq(call.result, 3);
    ck_assert_str_eq(data, "abc");
    mt_test_close();
}
END_TEST

START_TEST(end_of_the_stream_is_zero)
{
    char data[8];
    struct call call = {.data = data, .size = 8};
    struct mt_test_thread *thread = park(receive, &call);
    close(ends[1]);
    mt_test_join(thread);
    ck_assert_int_eq(call.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(time_out_of_zero_or_dontwait_never_parks)
{
    char data[8];
    size_t sent;
    int error = SYSTEM(EAGAIN);
    ck_assert_int_eq(mt_socket_recv(host.sched, ends[0], data, 8, 0, 0), error);
    ck_assert_int_eq(mt_socket_recv(host.sched, ends[0], data, 8, MSG_DONTWAIT, MT_FOREVER), error);
    char *much = calloc(1, MUCH);
    ck_assert_int_eq(mt_socket_send_all(host.sched, ends[0], much, MUCH, 0, &sent, 0), error);
    ck_assert_uint_gt(sent, 0);
    ck_assert_int_eq(mt_socket_send(host.sched, ends[0], much, 8, 0, 0), error);
    ck_assert_int_eq(
        mt_socket_accept(host.sched, ends[0], NULL, NULL, 0), SYSTEM(EINVAL)); /* not listening */
    free(much);
    mt_test_close();
}
END_TEST

START_TEST(time_out_is_an_error_and_nothing_is_received)
{
    char data[8];
    struct call call = {.data = data, .size = 8, .timeout = 2 * MT_MILLISECOND};
    mt_time before = mt_sched_now(host.sched);
    mt_test_join(park(receive, &call));
    ck_assert_int_eq(call.result, MT_ETIMEDOUT);
    ck_assert_int_ge(mt_sched_now(host.sched) - before, 2 * MT_MILLISECOND);
    put("x");
    mt_test_join(park(receive, &call));
    ck_assert_int_eq(call.result, 1);
    mt_test_close();
}
END_TEST

START_TEST(cancel_while_parked_receives_nothing)
{
    char data[8];
    struct call call = {.data = data, .size = 8};
    struct mt_test_thread *thread = park(receive, &call);
    mt_test_cancel(thread);
    put("kept");
    mt_test_join(thread);
    ck_assert_int_eq(call.result, MT_ECANCELED);
    ck_assert_int_eq(mt_socket_recv(host.sched, ends[0], data, 8, 0, 0), 4);
    mt_test_close();
}
END_TEST

START_TEST(closing_wakes_the_receiver_with_ebadf)
{
    char data[8];
    struct call call = {.data = data, .size = 8};
    struct mt_test_thread *thread = park(receive, &call);
    close_socket(ends[0]);
    mt_test_join(thread);
    ck_assert_int_eq(call.result, SYSTEM(EBADF));
    mt_test_close();
}
END_TEST

START_TEST(receiver_never_reads_from_the_next_owner_of_its_number)
{
    char data[8];
    int other[2];
    struct call call = {.data = data, .size = 8};
    struct mt_test_thread *thread = park(receive, &call);
    put("mine");
    host.sched->reactor_ops->poll(host.sched->reactor, MT_SECOND); /* woken, not yet running */
    close_socket(ends[0]);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, other), 0);
    ck_assert_int_eq(other[0], ends[0]);
    ck_assert_int_eq(write(other[1], "other", 5), 5);
    mt_test_join(thread);
    ck_assert_int_eq(call.result, SYSTEM(EBADF));
    ck_assert_int_eq(mt_socket_recv(host.sched, other[0], data, 8, 0, 0), 5);
    mt_test_close();
}
END_TEST

START_TEST(two_receivers_of_one_socket_take_turns)
{
    char data[2][8] = {"", ""};
    struct call calls[] = {{.data = data[0], .size = 1}, {.data = data[1], .size = 1}};
    struct mt_test_thread *first = park(receive, &calls[0]);
    struct mt_test_thread *second = park(receive, &calls[1]);
    put("12");
    mt_test_join(first);
    mt_test_join(second);
    ck_assert_str_eq(data[0], "1");
    ck_assert_str_eq(data[1], "2");
    mt_test_close();
}
END_TEST

START_TEST(waitall_waits_for_all_of_it)
{
    char data[9] = "";
    struct call call = {.data = data, .size = 8, .flags = MSG_WAITALL};
    struct mt_test_thread *thread = park(receive, &call);
    put("abc");
    ck_assert_int_eq(mt_sleep(host.sched, MT_MILLISECOND), 0);
    put("defghijk");
    mt_test_join(thread);
    ck_assert_int_eq(call.result, 8);
    ck_assert_str_eq(data, "abcdefgh");
    mt_test_close();
}
END_TEST

START_TEST(waitall_gives_what_came_before_the_end)
{
    char data[9] = "";
    struct call call = {.data = data, .size = 8, .flags = MSG_WAITALL};
    struct mt_test_thread *thread = park(receive, &call);
    put("abc");
    ck_assert_int_eq(mt_sleep(host.sched, MT_MILLISECOND), 0);
    close(ends[1]);
    mt_test_join(thread);
    ck_assert_int_eq(call.result, 3);
    mt_test_close();
}
END_TEST

START_TEST(bad_descriptors_are_errors_at_once)
{
    char data[8];
    int file = open("/dev/null", O_RDWR);
    close_socket(ends[0]);
    ck_assert_int_eq(mt_socket_recv(host.sched, ends[0], data, 8, 0, MT_FOREVER), SYSTEM(EBADF));
    ck_assert_int_eq(mt_socket_recv(host.sched, file, data, 8, 0, MT_FOREVER), SYSTEM(ENOTSOCK));
    ck_assert_int_eq(mt_socket_send(host.sched, -1, data, 8, 0, MT_FOREVER), SYSTEM(EBADF));
    mt_test_close();
}
END_TEST

/* ---- sending ---- */

/* Empty ends[1] until `size` bytes have come. */
static void
drain(void *argument)
{
    struct call *call = argument;
    static char block[65536];
    while (call->result < (ssize_t)call->size) {
        ssize_t count = mt_socket_recv(host.sched, ends[1], block, sizeof block, 0, MT_FOREVER);
        ck_assert_int_gt(count, 0);
        for (ssize_t i = 0; i < count; i++)
            if (block[i] != call->data[call->result + i])
                ck_abort_msg("byte %zd came out wrong", call->result + i);
        call->result += count;
    }
}

START_TEST(send_all_waits_for_a_slow_reader)
{
    char *much = malloc(MUCH);
    for (int i = 0; i < MUCH; i++)
        much[i] = (char)(i * 7 + i / 1000);
    struct call writer = {.data = much, .size = MUCH};
    struct call reader = {.data = much, .size = MUCH};
    park(send_all, &writer);
    ck_assert_int_eq(writer.result, UNFINISHED);
    ck_assert_uint_gt(writer.sent, 0);
    mt_test_spawn(drain, &reader);
    mt_test_join_all();
    ck_assert_int_eq(writer.result, 0);
    ck_assert_uint_eq(writer.sent, MUCH);
    ck_assert_int_eq(reader.result, MUCH);
    free(much);
    mt_test_close();
}
END_TEST

START_TEST(send_all_that_fails_tells_how_much_went)
{
    char *much = calloc(1, MUCH);
    const char *how[] = {"time-out", "cancel", "close", "reset"};
    struct call call = {.data = much, .size = MUCH};
    if (_i == 0)
        call.timeout = MT_MILLISECOND;
    struct mt_test_thread *thread = park(send_all, &call);
    if (_i == 1)
        mt_test_cancel(thread);
    if (_i == 2)
        close_socket(ends[0]);
    if (_i == 3)
        close(ends[1]);
    mt_test_join(thread);
    const int errors[] = {MT_ETIMEDOUT, MT_ECANCELED, SYSTEM(EBADF), SYSTEM(EPIPE)};
    ck_assert_msg(call.result == errors[_i], "%s gave %d", how[_i], (int)call.result);
    ck_assert_uint_gt(call.sent, 0);
    ck_assert_uint_lt(call.sent, MUCH);
    free(much);
    mt_test_close();
}
END_TEST

START_TEST(send_of_nothing_succeeds)
{
    size_t sent = 7;
    ck_assert_int_eq(mt_socket_send_all(host.sched, ends[0], "", 0, 0, &sent, MT_FOREVER), 0);
    ck_assert_uint_eq(sent, 0);
    ck_assert_int_eq(mt_socket_send(host.sched, ends[0], "", 0, 0, MT_FOREVER), 0);
    mt_test_close();
}
END_TEST

START_TEST(messages_carry_several_parts)
{
    char first[4] = "", second[4] = "";
    struct iovec parts[] = {{"abc", 3}, {"def", 3}};
    struct iovec rooms[] = {{first, 3}, {second, 3}};
    struct msghdr out = {.msg_iov = parts, .msg_iovlen = 2};
    struct msghdr in = {.msg_iov = rooms, .msg_iovlen = 2};
    ck_assert_int_eq(mt_socket_sendmsg(host.sched, ends[0], &out, 0, MT_FOREVER), 6);
    ck_assert_int_eq(mt_socket_recvmsg(host.sched, ends[1], &in, 0, MT_FOREVER), 6);
    ck_assert_str_eq(first, "abc");
    ck_assert_str_eq(second, "def");
    mt_test_close();
}
END_TEST

START_TEST(sendfile_sends_a_file)
{
    char path[] = "/tmp/check_socket.XXXXXX", data[8] = "";
    int file = mkstemp(path);
    unlink(path);
    ck_assert_int_eq(write(file, "0123456789", 10), 10);
    off_t offset = 4;
    ck_assert_int_eq(mt_socket_sendfile(host.sched, ends[0], file, &offset, 100, MT_FOREVER), 6);
    ck_assert_int_eq(offset, 10);
    ck_assert_int_eq(mt_socket_sendfile(host.sched, ends[0], file, &offset, 100, MT_FOREVER), 0);
    ck_assert_int_eq(mt_socket_recv(host.sched, ends[1], data, 8, 0, MT_FOREVER), 6);
    ck_assert_str_eq(data, "456789");
    mt_test_close();
}
END_TEST

/* ---- fairness, failures ---- */

START_TEST(socket_that_is_always_ready_starves_nobody)
{
    char data[1];
    struct call call = {.data = data, .size = 1};
    put("x");
    mt_test_spawn(receive, &call);
    int rounds = 0;
    for (call.result = UNFINISHED; call.result == UNFINISHED; rounds++) {
        ck_assert_int_eq(mt_socket_send(host.sched, ends[0], "y", 1, 0, MT_FOREVER), 1);
        ck_assert_int_eq(mt_socket_recv(host.sched, ends[1], data, 1, 0, MT_FOREVER), 1);
        ck_assert_int_lt(2 * rounds, MT_BUDGET / MT_SOCKET_COST);
    }
    mt_test_join_all();
    mt_test_close();
}
END_TEST

START_TEST(cancelled_one_whose_data_is_always_ready_hears_of_it)
{
    mt_test_cancel(&host.main);
    ssize_t result = 1;
    for (int i = 0; result > 0; i++) {
        result = mt_socket_send(host.sched, ends[0], "y", 1, 0, MT_FOREVER);
        if (result > 0)
            result = mt_socket_recv(host.sched, ends[1], &(char){0}, 1, 0, MT_FOREVER);
        ck_assert_int_le(2 * i, MT_BUDGET / MT_SOCKET_COST);
    }
    ck_assert_int_eq(result, MT_ECANCELED);
    mt_test_close();
}
END_TEST

START_TEST(failed_allocation_in_any_wait_is_reported)
{
    char data[8];
    char *much = calloc(1, MUCH);
    size_t sent;
    unsigned long failures = 0;
    for (unsigned long nth = 1; nth < 5; nth++) {
        mt_alloc_fail_nth(nth);
        ssize_t received = mt_socket_recv(host.sched, ends[0], data, 8, 0, MT_MILLISECOND);
        mt_alloc_fail_nth(nth);
        int error = mt_socket_send_all(host.sched, ends[0], much, MUCH, 0, &sent, MT_MILLISECOND);
        mt_alloc_fail_nth(0);
        ck_assert(received == MT_ENOMEM || received == MT_ETIMEDOUT);
        ck_assert(error == MT_ENOMEM || error == MT_ETIMEDOUT);
        failures += (received == MT_ENOMEM) + (error == MT_ENOMEM);
    }
    ck_assert_uint_ge(failures, 2);
    put("fine");
    ck_assert_int_eq(mt_socket_recv(host.sched, ends[0], data, 8, 0, MT_FOREVER), 4);
    free(much);
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("io/socket");
    TCase *receiving = tcase_create("receiving");
    tcase_add_checked_fixture(receiving, setup, NULL);
    tcase_add_test(receiving, recv_with_data_there_goes_ahead_without_parking);
    tcase_add_test(receiving, recv_parks_until_data_comes);
    tcase_add_test(receiving, end_of_the_stream_is_zero);
    tcase_add_test(receiving, time_out_of_zero_or_dontwait_never_parks);
    tcase_add_test(receiving, time_out_is_an_error_and_nothing_is_received);
    tcase_add_test(receiving, cancel_while_parked_receives_nothing);
    tcase_add_test(receiving, closing_wakes_the_receiver_with_ebadf);
    tcase_add_test(receiving, receiver_never_reads_from_the_next_owner_of_its_number);
    tcase_add_test(receiving, two_receivers_of_one_socket_take_turns);
    tcase_add_test(receiving, waitall_waits_for_all_of_it);
    tcase_add_test(receiving, waitall_gives_what_came_before_the_end);
    tcase_add_test(receiving, bad_descriptors_are_errors_at_once);
    suite_add_tcase(suite, receiving);
    TCase *sending = tcase_create("sending");
    tcase_add_checked_fixture(sending, setup, NULL);
    tcase_add_test(sending, send_all_waits_for_a_slow_reader);
    tcase_add_loop_test(sending, send_all_that_fails_tells_how_much_went, 0, 4);
    tcase_add_test(sending, send_of_nothing_succeeds);
    tcase_add_test(sending, messages_carry_several_parts);
    tcase_add_test(sending, sendfile_sends_a_file);
    suite_add_tcase(suite, sending);
    TCase *fairness = tcase_create("fairness and failures");
    tcase_add_checked_fixture(fairness, setup, NULL);
    tcase_add_test(fairness, socket_that_is_always_ready_starves_nobody);
    tcase_add_test(fairness, cancelled_one_whose_data_is_always_ready_hears_of_it);
    tcase_add_test(fairness, failed_allocation_in_any_wait_is_reported);
    suite_add_tcase(suite, fairness);
    return suite;
}
