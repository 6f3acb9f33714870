/* SPDX-License-Identifier: MIT */
/* Datagrams, connections, and a small echo server; streams are in check_socket.c. */
#include "support/mt_test_host.h"

#include "io/mt_io.h"
#include "io/mt_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define SYSTEM(name) mt_error_from_errno(name)

enum { UNFINISHED = 1 << 30 };

static void
setup(void)
{
    mt_test_open(&mt_reactor_ev);
}

static void
close_socket(int fd)
{
    mt_io_forget(host.sched, fd);
    close(fd);
}

static int
open_inet(int type, struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)address, &size), 0);
    return fd;
}

struct datagram {
    int fd;
    char data[16];
    struct sockaddr_in from;
    socklen_t size;
    ssize_t result;
};

static void
receive_datagram(void *argument)
{
    struct datagram *datagram = argument;
    datagram->size = sizeof datagram->from;
    datagram->result = mt_socket_recvfrom(host.sched, datagram->fd, datagram->data, 16, 0,
                                          (struct sockaddr *)&datagram->from, &datagram->size,
                                          MT_FOREVER);
}

START_TEST(datagram_comes_with_its_sender)
{
    struct sockaddr_in here, there;
    int sender = open_inet(SOCK_DGRAM, &there);
    struct datagram datagram = {.fd = open_inet(SOCK_DGRAM, &here)};
    struct mt_test_thread *thread = mt_test_spawn(receive_datagram, &datagram);
    mt_test_settle();
    ck_assert_int_eq(mt_socket_sendto(host.sched, sender, "hi", 3, 0, (struct sockaddr *)&here,
                                      sizeof here, MT_FOREVER),
                     3);
    mt_test_join(thread);
    ck_assert_int_eq(datagram.result, 3);
    ck_assert_str_eq(datagram.data, "hi");
    ck_assert_int_eq(datagram.from.sin_port, there.sin_port);
    mt_test_close();
}
END_TEST

struct acceptance {
    int listener;
    int result;
    struct sockaddr_in from;
};

static void
accept_one(void *argument)
{
    struct acceptance *acceptance = argument;
    socklen_t size = sizeof acceptance->from;
    acceptance->result = mt_socket_accept(host.sched, acceptance->listener,
                                          (struct sockaddr *)&acceptance->from, &size, MT_FOREVER);
}

START_TEST(accept_parks_until_somebody_connects)
{
    struct sockaddr_in address, mine;
    socklen_t size = sizeof mine;
    struct acceptance acceptance = {.listener = open_inet(SOCK_STREAM, &address)};
    ck_assert_int_eq(listen(acceptance.listener, 5), 0);
    struct mt_test_thread *thread = mt_test_spawn(accept_one, &acceptance);
    mt_test_settle();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(mt_socket_connect(host.sched, fd, (struct sockaddr *)&address, sizeof address,
                                       MT_FOREVER),
                     0);
    mt_test_join(thread);
    ck_assert_int_ge(acceptance.result, 0);
    ck_assert_int_ne(fcntl(acceptance.result, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(acceptance.result, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&mine, &size), 0);
    ck_assert_int_eq(acceptance.from.sin_port, mine.sin_port);
    mt_test_close();
}
END_TEST

static void
wait_for_number(void *argument)
{
    int *result = argument;
    int fd = *result;
    *result = mt_io_wait(host.sched, fd, MT_FD_READ, MT_FOREVER, true);
}

START_TEST(accepted_number_has_no_past)
{
    struct sockaddr_in address;
    struct acceptance acceptance = {.listener = open_inet(SOCK_STREAM, &address)};
    ck_assert_int_eq(listen(acceptance.listener, 5), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int stale[2];
    ck_assert_int_eq(pipe(stale), 0);
    int waiting = stale[0];
    mt_test_spawn(wait_for_number, &waiting);
    mt_test_settle();
    host.sched->reactor_ops->poll(host.sched->reactor, 0);
    ck_assert_int_eq(mt_socket_connect(host.sched, fd, (struct sockaddr *)&address, sizeof address,
                                       MT_FOREVER),
                     0);
    close(stale[0]); /* without a word */
    accept_one(&acceptance);
    ck_assert_int_eq(acceptance.result, stale[0]);
    mt_test_join_all();
    ck_assert_int_eq(waiting, SYSTEM(EBADF));
    mt_test_close();
}
END_TEST

START_TEST(refused_connection_is_an_error)
{
    struct sockaddr_in address;
    int taken = open_inet(SOCK_STREAM, &address); /* bound, but nobody listens */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(mt_socket_connect(host.sched, fd, (struct sockaddr *)&address, sizeof address,
                                       MT_FOREVER),
                     SYSTEM(ECONNREFUSED));
    close(taken);
    mt_test_close();
}
END_TEST

START_TEST(connecting_without_waiting_says_in_progress)
{
    struct sockaddr_in address;
    int listener = open_inet(SOCK_STREAM, &address);
    ck_assert_int_eq(listen(listener, 5), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(
        mt_socket_connect(host.sched, fd, (struct sockaddr *)&address, sizeof address, 0),
        SYSTEM(EINPROGRESS));
    mt_test_close();
}
END_TEST

/* A Unix listener whose backlog is full. */
static int
open_full_listener(struct sockaddr_un *address, socklen_t *size)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                        (size_t)snprintf(address->sun_path + 1, 60, "check_socket %d", getpid()));
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)address, *size), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    int fd;
    do
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    while (connect(fd, (struct sockaddr *)address, *size) == 0);
    ck_assert_int_eq(errno, EAGAIN);
    close(fd);
    return listener;
}

struct connection {
    struct sockaddr_un address;
    socklen_t size;
    mt_time timeout;
    int result;
};

static void
connect_unix(void *argument)
{
    struct connection *connection = argument;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connection->result = UNFINISHED;
    connection->result =
        mt_socket_connect(host.sched, fd, (struct sockaddr *)&connection->address,
                          connection->size, connection->timeout);
}

START_TEST(connecting_to_a_full_unix_listener_waits_for_room)
{
    struct connection connection = {.timeout = MT_FOREVER};
    int listener = open_full_listener(&connection.address, &connection.size);
    struct mt_test_thread *thread = mt_test_spawn(connect_unix, &connection);
    ck_assert_int_eq(mt_sleep(host.sched, 5 * MT_MILLISECOND), 0);
    ck_assert_int_eq(connection.result, UNFINISHED);
    ck_assert_int_ge(mt_socket_accept(host.sched, listener, NULL, NULL, MT_FOREVER), 0);
    mt_test_join(thread);
    ck_assert_int_eq(connection.result, 0);
    mt_test_close();
}
END_TEST

START_TEST(connecting_to_a_full_unix_listener_ends_in_time)
{
    struct connection connection = {.timeout = 5 * MT_MILLISECOND};
    open_full_listener(&connection.address, &connection.size);
    mt_test_join(mt_test_spawn(connect_unix, &connection));
    ck_assert_int_eq(connection.result, MT_ETIMEDOUT);
    connection.timeout = 0;
    connect_unix(&connection);
    ck_assert_int_eq(connection.result, SYSTEM(EAGAIN));
    connection.timeout = MT_FOREVER;
    struct mt_test_thread *thread = mt_test_spawn(connect_unix, &connection);
    mt_test_settle();
    mt_test_cancel(thread);
    mt_test_join(thread);
    ck_assert_int_eq(connection.result, MT_ECANCELED);
    mt_test_close();
}
END_TEST

/* ---- a small echo server ---- */

enum { CLIENTS = 50, MESSAGES = 100 };

static int listener;
static struct sockaddr_in server;
static int echoed;

static void
serve_one(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char data[64];
    size_t sent;
    ssize_t count;
    while ((count = mt_socket_recv(host.sched, fd, data, sizeof data, 0, MT_FOREVER)) > 0)
        ck_assert_int_eq(
            mt_socket_send_all(host.sched, fd, data, (size_t)count, 0, &sent, MT_FOREVER), 0);
    ck_assert_int_eq(count, 0);
    close_socket(fd);
}

static void
serve(void *argument)
{
    (void)argument;
    for (int i = 0; i < CLIENTS; i++) {
        int fd = mt_socket_accept(host.sched, listener, NULL, NULL, MT_FOREVER);
        ck_assert_int_ge(fd, 0);
        mt_test_spawn(serve_one, (void *)(intptr_t)fd);
    }
}

static void
talk(void *argument)
{
    (void)argument;
    char data[64];
    size_t sent;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    mt_io_forget(host.sched, fd);
    ck_assert_int_eq(mt_socket_connect(host.sched, fd, (struct sockaddr *)&server, sizeof server,
                                       MT_FOREVER),
                     0);
    for (int i = 0; i < MESSAGES; i++) {
        memset(data, i, sizeof data);
        ck_assert_int_eq(
            mt_socket_send_all(host.sched, fd, data, sizeof data, 0, &sent, MT_FOREVER), 0);
        ck_assert_int_eq(
            mt_socket_recv(host.sched, fd, data, sizeof data, MSG_WAITALL, MT_FOREVER), 64);
        ck_assert_int_eq(data[63], i);
        echoed++;
    }
    close_socket(fd);
}

START_TEST(echo_server_serves_its_clients)
{
    listener = open_inet(SOCK_STREAM, &server);
    ck_assert_int_eq(listen(listener, CLIENTS), 0);
    int before = mt_test_count_fds();
    mt_test_spawn(serve, NULL);
    for (int i = 0; i < CLIENTS; i++)
        mt_test_spawn(talk, NULL);
    while (host.sched->live_count > 1)
        mt_test_join_all();
    ck_assert_int_eq(echoed, CLIENTS * MESSAGES);
    ck_assert_int_eq(mt_test_count_fds(), before);
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("io/connection");
    TCase *connections = tcase_create("connections");
    tcase_add_checked_fixture(connections, setup, NULL);
    tcase_add_test(connections, datagram_comes_with_its_sender);
    tcase_add_test(connections, accept_parks_until_somebody_connects);
    tcase_add_test(connections, accepted_number_has_no_past);
    tcase_add_test(connections, refused_connection_is_an_error);
    tcase_add_test(connections, connecting_without_waiting_says_in_progress);
    tcase_add_test(connections, connecting_to_a_full_unix_listener_waits_for_room);
    tcase_add_test(connections, connecting_to_a_full_unix_listener_ends_in_time);
    tcase_add_test(connections, echo_server_serves_its_clients);
    suite_add_tcase(suite, connections);
    return suite;
}
