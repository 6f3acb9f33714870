/* SPDX-License-Identifier: MIT */
/* The load generator: one thread, epoll, bounded in messages and in seconds.

       load echo  PORT CONNECTIONS SIZE MESSAGES SECONDS SPIN
       load churn PORT CONNECTIONS SIZE MESSAGES SECONDS SPIN
       load http  PORT CONNECTIONS SIZE MESSAGES SECONDS SPIN
       load wsgi  PORT CONNECTIONS SIZE MESSAGES SECONDS SPIN

   echo: CONNECTIONS sockets, each sends SIZE bytes, waits for the same bytes, sends the next.
   churn: CONNECTIONS clients at a time; each connects, does that once, closes, and again.
   http: as echo, but each sends a GET request and waits for the HTTP_HEAD below and SIZE bytes.
   wsgi: as http, but the response may be any 200 whose length is always that of the first one, with a
   body of SIZE bytes.
   SPIN 1: poll without sleeping, so that the server never pays for waking this process.

   It warms up, prints "READY", waits for a line on stdin, runs, prints one line of JSON, waits for
   another line (the caller reads the server's clock) and closes. Any wrong byte or silence of
   STALL seconds is an error: a message on stderr, exit status 1. Only 127.0.0.1. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

#define HTTP_REQUEST "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"
#define HTTP_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n"

enum { EVENTS = 1024, STALL = 10, SOURCES = 100 };

/* One client. */
struct client {
    int fd;              /* -1 while it has no socket */
    bool armed_to_write; /* epoll watches for room, too */
    size_t sent;         /* bytes of the message under way */
    size_t received;     /* bytes of its reply */
    int64_t started;     /* when it began, ns; in churn, before connect */
};

static struct {
    bool churn;
    bool spin;
    int port;
    size_t clients;
    size_t size;
    size_t most; /* messages in one phase */
    double seconds;
} option;

static struct client *clients;
static char *message;      /* what everybody sends */
static size_t message_size;
static char *expected;     /* what comes back */
static size_t expected_size;
static size_t compared_size; /* so many of its first bytes must be as expected */
static char *reply;        /* where a piece of a reply lands */
static uint32_t *latency;  /* ns of each reply in this phase, option.most of them */
static size_t begun, done; /* messages of this phase */
static size_t phase_most;  /* messages to begin in it */
static int64_t phase_end;  /* no message begins after this */
static int epoll_fd;

static void
die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
watch(struct client *c, int operation, bool to_write)
{
    struct epoll_event event = {.events = EPOLLIN | (to_write ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0) {
        die("epoll_ctl");
    }
    c->armed_to_write = to_write;
}

/* Connect without waiting for anything but the handshake, which loopback finishes inside the call.
   The source address goes round, so that no address runs out of ports in TIME_WAIT. */
static void
client_connect(struct client *c)
{
    static unsigned turn;
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)option.port)};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + turn++ % SOURCES);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        die("socket");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0 ||
        connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0) {
        die("connect");
    }
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0) {
        die("fcntl");
    }
    watch(c, EPOLL_CTL_ADD, false);
}

/* Send what the kernel takes of the message under way. */
static void
client_send(struct client *c)
{
    while (c->sent < message_size) {
        ssize_t n = send(c->fd, message + c->sent, message_size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            die("send");
        }
        c->sent += n > 0 ? (size_t)n : 0;
    }
    bool to_write = c->sent < message_size;
    if (to_write != c->armed_to_write) {
        watch(c, EPOLL_CTL_MOD, to_write);
    }
}

/* Begin the next message, unless the phase is over. */
static void
client_begin(struct client *c)
{
    int64_t t = now();
    if (begun >= phase_most || t >= phase_end) {
        return;
    }
    begun++;
    c->started = t;
    c->sent = c->received = 0;
    if (option.churn) {
        client_connect(c);
    }
    client_send(c);
}

static void
client_receive(struct client *c)
{
    ssize_t n = recv(c->fd, reply, expected_size - c->received, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        if (n == 0) {
            errno = ECONNRESET;
        }
        die("recv");
    }
    size_t rest = c->received < compared_size ? compared_size - c->received : 0;
    if (memcmp(reply, expected + c->received, (size_t)n < rest ? (size_t)n : rest) != 0) {
        errno = EBADMSG;
        die("a reply differs from what was expected");
    }
    c->received += (size_t)n;
    if (c->received < expected_size) {
        return;
    }
    int64_t took = now() - c->started;
    latency[done++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    if (option.churn) {
        close(c->fd);
        c->fd = -1;
        c->armed_to_write = false;
    }
    client_begin(c);
}

/* Let every client begin, and go on until the last reply has come. Returns the seconds it took. */
static double
run(size_t most, double seconds)
{
    struct epoll_event events[EVENTS];
    int64_t start = now(), progress = start;
    size_t seen = 0;
    begun = done = 0;
    phase_most = most;
    phase_end = start + (int64_t)(seconds * 1e9);
    for (size_t i = 0; i < option.clients; i++) {
        client_begin(&clients[i]);
    }
    while (done < begun) {
        int n = epoll_wait(epoll_fd, events, EVENTS, option.spin ? 0 : 1000);
        if (n < 0 && errno != EINTR) {
            die("epoll_wait");
        }
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                client_send(c);
            }
            if (events[i].events & ~(uint32_t)EPOLLOUT) {
                client_receive(c);
            }
        }
        if (n > 0 && done != seen) {
            seen = done;
            progress = now();
        } else if (n <= 0 && now() - progress > (int64_t)STALL * 1000000000) {
            errno = ETIMEDOUT;
            die("no reply");
        }
    }
    return (double)(now() - start) / 1e9;
}

static int
by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double
percentile(double part)
{
    return done == 0 ? 0 : latency[(size_t)((double)(done - 1) * part)] / 1e3;
}

static void
await_line(void)
{
    int c;
    do {
        c = getchar();
    } while (c != '\n' && c != EOF);
}

static double
number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (*end != '\0' || !(value >= least && value <= most)) {
        fprintf(stderr, "load: expected a number from %g to %g, got %s\n", least, most, text);
        exit(2);
    }
    return value;
}

/* option.size bytes of this and that, behind the text `head`. */
static char *
make_text(const char *head, size_t *size)
{
    size_t length = strlen(head);
    char *text = malloc(length + option.size + 1);
    if (text == NULL) {
        die("malloc");
    }
    memcpy(text, head, length);
    for (size_t i = 0; i < option.size; i++) {
        text[length + i] = (char)('A' + i % 57);
    }
    *size = length + option.size;
    return text;
}

/* The bytes of one whole response with a body of option.size bytes, asked for on a connection of its
   own. */
static size_t
measure_response(void)
{
    static char buffer[1 << 16];
    struct client c = {.fd = -1};
    size_t size = 0;
    char *end = NULL;
    client_connect(&c);
    if (fcntl(c.fd, F_SETFL, 0) < 0 ||
        send(c.fd, message, message_size, MSG_NOSIGNAL) != (ssize_t)message_size) {
        die("the first request");
    }
    while (end == NULL || size < (size_t)(end - buffer) + 4 + option.size) {
        ssize_t n = recv(c.fd, buffer + size, sizeof buffer - 1 - size, 0);
        if (n <= 0) {
            die("the first response");
        }
        size += (size_t)n;
        buffer[size] = '\0';
        end = strstr(buffer, "\r\n\r\n");
    }
    close(c.fd);
    return size;
}

static void
make_messages(const char *mode)
{
    if (strcmp(mode, "http") != 0 && strcmp(mode, "wsgi") != 0) {
        message = expected = make_text("", &message_size);
        compared_size = expected_size = message_size;
        return;
    }
    message = strdup(HTTP_REQUEST);
    message_size = strlen(HTTP_REQUEST);
    if (strcmp(mode, "wsgi") == 0) {
        expected = strdup("HTTP/1.1 200 ");
        compared_size = strlen(expected);
        expected_size = measure_response();
        return;
    }
    char head[128];
    snprintf(head, sizeof head, HTTP_HEAD, option.size);
    expected = make_text(head, &expected_size);
    compared_size = expected_size;
}

int
main(int argc, char **argv)
{
    if (argc != 8 || (strcmp(argv[1], "echo") != 0 && strcmp(argv[1], "churn") != 0 &&
                      strcmp(argv[1], "http") != 0 && strcmp(argv[1], "wsgi") != 0)) {
        fprintf(stderr, "usage: load echo|churn|http|wsgi PORT CONNECTIONS SIZE MESSAGES SECONDS SPIN\n");
        return 2;
    }
    option.churn = strcmp(argv[1], "churn") == 0;
    option.port = (int)number(argv[2], 1, 65535);
    option.clients = (size_t)number(argv[3], 1, 20000);
    option.size = (size_t)number(argv[4], 1, 1 << 24);
    option.most = (size_t)number(argv[5], 1, 1e8);
    option.seconds = number(argv[6], 0.01, 600);
    option.spin = number(argv[7], 0, 1) != 0;

    clients = calloc(option.clients, sizeof *clients);
    size_t warm = option.clients * 2 > 500 ? option.clients * 2 : 500;
    latency = malloc((option.most > warm ? option.most : warm) * sizeof *latency);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (clients == NULL || latency == NULL || epoll_fd < 0) {
        die("setup");
    }
    make_messages(argv[1]);
    reply = malloc(expected_size);
    if (reply == NULL) {
        die("malloc");
    }
    for (size_t i = 0; i < option.clients; i++) {
        clients[i].fd = -1;
        if (!option.churn) {
            client_connect(&clients[i]);
        }
    }
    run(warm, option.seconds);
    puts("READY");
    fflush(stdout);
    await_line();

    double took = run(option.most, option.seconds);
    qsort(latency, done, sizeof *latency, by_size);
    printf("{\"messages\": %zu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
           done, took, percentile(0.50), percentile(0.99), percentile(1));
    fflush(stdout);
    await_line();
    return 0;
}
