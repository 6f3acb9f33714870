/* SPDX-License-Identifier: MIT */
/* The yardstick: an echo server in C on libev, one thread, no Python. It reads, writes at once, and
   arms a write watcher only when the kernel takes less than everything. Prints "PORT n" and serves
   127.0.0.1 until it is killed. With --version it prints libev's version and leaves. */

#define _GNU_SOURCE /* accept4 */

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024, CHUNK = 65536 };

/* One client. Owned by its watchers; freed by connection_close. */
struct connection {
    ev_io reading;  /* armed while nothing is pending */
    ev_io writing;  /* armed while something is */
    char *pending;  /* what the kernel did not take yet; owned, NULL when nothing */
    size_t start;   /* first byte of pending not written */
    size_t length;  /* end of pending */
};

static char buffer[CHUNK]; /* every read lands here: there is one thread */

static void
connection_close(struct ev_loop *loop, struct connection *c)
{
    ev_io_stop(loop, &c->reading);
    ev_io_stop(loop, &c->writing);
    close(c->reading.fd);
    free(c->pending);
    free(c);
}

static void
on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct connection *c = watcher->data;
    ssize_t n = send(watcher->fd, c->pending + c->start, c->length - c->start, MSG_NOSIGNAL);
    (void)events;
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            connection_close(loop, c);
        }
        return;
    }
    c->start += (size_t)n;
    if (c->start == c->length) {
        free(c->pending);
        c->pending = NULL;
        ev_io_stop(loop, &c->writing);
        ev_io_start(loop, &c->reading);
    }
}

static void
on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct connection *c = watcher->data;
    ssize_t got = recv(watcher->fd, buffer, sizeof buffer, 0);
    (void)events;
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        connection_close(loop, c);
        return;
    }
    ssize_t sent = send(watcher->fd, buffer, (size_t)got, MSG_NOSIGNAL);
    if (sent == got) {
        return;
    }
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            connection_close(loop, c);
            return;
        }
        sent = 0;
    }
    c->start = 0;
    c->length = (size_t)(got - sent);
    c->pending = malloc(c->length);
    if (c->pending == NULL) {
        connection_close(loop, c);
        return;
    }
    memcpy(c->pending, buffer + sent, c->length);
    ev_io_stop(loop, &c->reading);
    ev_io_start(loop, &c->writing);
}

static void
on_connection(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)events;
    for (;;) {
        int one = 1;
        int fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = calloc(1, sizeof *c);
        if (c == NULL) {
            close(fd);
            return;
        }
        ev_io_init(&c->reading, on_readable, fd, EV_READ);
        ev_io_init(&c->writing, on_writable, fd, EV_WRITE);
        c->reading.data = c->writing.data = c;
        ev_io_start(loop, &c->reading);
    }
}

int
main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("%d.%02d\n", ev_version_major(), ev_version_minor());
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
        listen(listener, BACKLOG) < 0 || getsockname(listener, (struct sockaddr *)&address, &size) < 0) {
        perror("echo_libev: listen");
        return 1;
    }
    printf("PORT %d\n", ntohs(address.sin_port));
    fflush(stdout);

    struct ev_loop *loop = ev_default_loop(EVFLAG_AUTO);
    ev_io accepting;
    ev_io_init(&accepting, on_connection, listener, EV_READ);
    ev_io_start(loop, &accepting);
    ev_run(loop, 0);
    return 0;
}
