/* SPDX-License-Identifier: MIT */
/* MSG_DONTWAIT goes with every call that takes flags, so that a descriptor which somebody else has
   made blocking (by a duplicate, in another process) cannot stop the loop. The others look first. */
#include "io/mt_socket.h"

#include "base/mt_error.h"
#include "io/mt_io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>

enum {
    /* Asked for by the caller, these never wait on a blocking socket either. */
    NEVER_WAIT_RECV = MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB,
    NEVER_WAIT_SEND = MSG_DONTWAIT,
    FIRST_PAUSE = 1000 * 1000,     /* ns: connecting to a Unix socket whose backlog is full */
    LONGEST_PAUSE = 50 * 1000 * 1000
};

/* One call that is tried until it goes ahead. */
struct call {
    struct mt_sched *sched;
    int fd;
    int events;       /* MT_FD_READ or MT_FD_WRITE */
    mt_time timeout;
    mt_time deadline; /* valid once it has waited */
    bool has_waited;
};

static inline struct call
begin(struct mt_sched *sched, int fd, int events, mt_time timeout)
{
    return (struct call){.sched = sched, .fd = fd, .events = events, .timeout = timeout};
}

/* Whether the caller is cancelled; asked before the call goes ahead. Returns 0 or MT_ECANCELED. */
static inline int
heed(const struct call *call)
{
    return call->timeout ? mt_heed(call->sched, MT_SOCKET_COST) : 0;
}

static mt_time
deadline_of(struct call *call)
{
    if (!call->has_waited) {
        call->has_waited = true;
        call->deadline = mt_sched_deadline(call->sched, call->timeout);
    }
    return call->deadline;
}

static int
wait_ready(struct call *call)
{
    if (call->timeout == 0)
        return mt_error_from_errno(EAGAIN);
    return mt_io_wait(call->sched, call->fd, call->events, deadline_of(call), true);
}

/* The system call failed with errno `number`. Returns 0 to try again, or the error. */
static MT_NOINLINE int
after_failure(struct call *call, int number)
{
    if (number == EAGAIN || number == EWOULDBLOCK)
        return wait_ready(call);
    return number == EINTR ? 0 : mt_error_from_errno(number);
}

/* It went ahead. One that has waited has given way already. */
static inline void
after_success(const struct call *call)
{
    if (!call->has_waited)
        mt_spend(call->sched, MT_SOCKET_COST);
}

/* After each try, with what the system call returned. Returns whether to try again; else *result
   is final. */
static inline bool
must_repeat(struct call *call, ssize_t *result)
{
    if (MT_LIKELY(*result >= 0)) {
        after_success(call);
        return false;
    }
    int error = after_failure(call, errno);
    *result = error;
    return error == 0;
}

static bool
is_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && !(flags & O_NONBLOCK);
}

/* For connect() and sendfile(), of which nobody can tell beforehand whether they will wait. */
static void
make_non_blocking(int fd)
{
    if (is_blocking(fd))
        (void)ioctl(fd, FIONBIO, &(int){1});
}

/* ---- receiving ---- */

static bool
is_stream(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

static ssize_t
recv_all(struct call *call, char *buffer, size_t size, int flags)
{
    size_t count = 0;
    int error = heed(call);
    if (error)
        return error;
    do {
        ssize_t result = recv(call->fd, buffer + count, size - count, flags | MSG_DONTWAIT);
        if (result < 0) {
            error = after_failure(call, errno);
        } else {
            count += (size_t)result;
            if (result == 0 || count == size)
                break;
            /* All that was there is here now. */
            error = wait_ready(call);
        }
    } while (!error);
    /* A cancellation or a handler's exception must come out, even at the cost of the bytes. */
    bool is_lost = count == 0 || mt_error_errno(error) == 0;
    if (error && is_lost)
        return error;
    after_success(call);
    return (ssize_t)count;
}

ssize_t
mt_socket_recv(struct mt_sched *sched, int fd, void *buffer, size_t size, int flags,
               mt_time timeout)
{
    struct call call = begin(sched, fd, MT_FD_READ, flags & NEVER_WAIT_RECV ? 0 : timeout);
    if (MT_UNLIKELY(flags & MSG_WAITALL) && !(flags & MSG_PEEK) && call.timeout == MT_FOREVER &&
        is_stream(fd))
        return recv_all(&call, buffer, size, flags);
    ssize_t count = heed(&call);
    if (MT_UNLIKELY(count))
        return count;
    do
        count = recv(fd, buffer, size, flags | MSG_DONTWAIT);
    while (must_repeat(&call, &count));
    return count;
}

ssize_t
mt_socket_recvfrom(struct mt_sched *sched, int fd, void *buffer, size_t size, int flags,
                   struct sockaddr *address, socklen_t *address_size, mt_time timeout)
{
    struct call call = begin(sched, fd, MT_FD_READ, flags & NEVER_WAIT_RECV ? 0 : timeout);
    ssize_t count = heed(&call);
    if (MT_UNLIKELY(count))
        return count;
    do
        count = recvfrom(fd, buffer, size, flags | MSG_DONTWAIT, address, address_size);
    while (must_repeat(&call, &count));
    return count;
}

ssize_t
mt_socket_recvmsg(struct mt_sched *sched, int fd, struct msghdr *message, int flags,
                  mt_time timeout)
{
    struct call call = begin(sched, fd, MT_FD_READ, flags & NEVER_WAIT_RECV ? 0 : timeout);
    ssize_t count = heed(&call);
    if (MT_UNLIKELY(count))
        return count;
    do
        count = recvmsg(fd, message, flags | MSG_DONTWAIT);
    while (must_repeat(&call, &count));
    return count;
}

/* ---- sending ---- */

ssize_t
mt_socket_send(struct mt_sched *sched, int fd, const void *data, size_t size, int flags,
               mt_time timeout)
{
    struct call call = begin(sched, fd, MT_FD_WRITE, flags & NEVER_WAIT_SEND ? 0 : timeout);
    ssize_t count = heed(&call);
    if (MT_UNLIKELY(count))
        return count;
    do
        count = send(fd, data, size, flags | MSG_DONTWAIT);
    while (must_repeat(&call, &count));
    return count;
}

ssize_t
mt_socket_sendto(struct mt_sched *sched, int fd, const void *data, size_t size, int flags,
                 const struct sockaddr *address, socklen_t address_size, mt_time timeout)
{
    struct call call = begin(sched, fd, MT_FD_WRITE, flags & NEVER_WAIT_SEND ? 0 : timeout);
    ssize_t count = heed(&call);
    if (MT_UNLIKELY(count))
        return count;
    do
        count = sendto(fd, data, size, flags | MSG_DONTWAIT, address, address_size);
    while (must_repeat(&call, &count));
    return count;
}

ssize_t
mt_socket_sendmsg(struct mt_sched *sched, int fd, const struct msghdr *message, int flags,
                  mt_time timeout)
{
    struct call call = begin(sched, fd, MT_FD_WRITE, flags & NEVER_WAIT_SEND ? 0 : timeout);
    ssize_t count = heed(&call);
    if (MT_UNLIKELY(count))
        return count;
    do
        count = sendmsg(fd, message, flags | MSG_DONTWAIT);
    while (must_repeat(&call, &count));
    return count;
}

int
mt_socket_send_all(struct mt_sched *sched, int fd, const void *data, size_t size, int flags,
                   size_t *sent, mt_time timeout)
{
    struct call call = begin(sched, fd, MT_FD_WRITE, flags & NEVER_WAIT_SEND ? 0 : timeout);
    const char *bytes = data;
    *sent = 0;
    int error = heed(&call);
    while (!error) {
        ssize_t count = send(fd, bytes + *sent, size - *sent, flags | MSG_DONTWAIT);
        if (count < 0) {
            error = after_failure(&call, errno);
        } else {
            *sent += (size_t)count;
            if (*sent == size) {
                after_success(&call);
                return 0;
            }
            /* The buffer is full now: another try at once would be for nothing, and waiting gives
               the others their turn. */
            error = wait_ready(&call);
        }
    }
    return error;
}

ssize_t
mt_socket_sendfile(struct mt_sched *sched, int fd, int file, off_t *offset, size_t size,
                   mt_time timeout)
{
    struct call call = begin(sched, fd, MT_FD_WRITE, timeout);
    ssize_t count = heed(&call);
    if (MT_UNLIKELY(count))
        return count;
    make_non_blocking(fd);
    do
        count = sendfile(fd, file, offset, size);
    while (must_repeat(&call, &count));
    return count;
}

/* ---- connections ---- */

/* accept4(), but EAGAIN instead of a wait. */
static int
accept_at_once(int fd, struct sockaddr *address, socklen_t *address_size)
{
    if (MT_UNLIKELY(is_blocking(fd))) {
        struct pollfd polled = {.fd = fd, .events = POLLIN};
        if (poll(&polled, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
    }
    return accept4(fd, address, address_size, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

int
mt_socket_accept(struct mt_sched *sched, int fd, struct sockaddr *address, socklen_t *address_size,
                 mt_time timeout)
{
    struct call call = begin(sched, fd, MT_FD_READ, timeout);
    ssize_t accepted = heed(&call);
    if (MT_UNLIKELY(accepted))
        return (int)accepted;
    do {
        accepted = accept_at_once(fd, address, address_size);
        /* Whoever had this number before may have closed it without a word. */
        if (accepted >= 0)
            mt_io_forget(sched, (int)accepted);
    } while (must_repeat(&call, &accepted));
    return (int)accepted;
}

/* What became of a connection that was being made. */
static int
connection_error(int fd)
{
    int number = 0;
    socklen_t size = sizeof number;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) < 0)
        return mt_error_from_errno(errno);
    return number ? mt_error_from_errno(number) : 0;
}

int
mt_socket_connect(struct mt_sched *sched, int fd, const struct sockaddr *address,
                  socklen_t address_size, mt_time timeout)
{
    struct call call = begin(sched, fd, MT_FD_WRITE, timeout);
    mt_time pause = FIRST_PAUSE;
    int error = heed(&call);
    if (error)
        return error;
    make_non_blocking(fd);
    for (;;) {
        if (connect(fd, address, address_size) == 0) {
            after_success(&call);
            return 0;
        }
        int number = errno;
        if (number == EINPROGRESS || number == EINTR)
            break;
        if (number != EAGAIN || timeout == 0)
            return mt_error_from_errno(number);
        /* The backlog of a Unix socket is full, and no event tells when there is room. */
        mt_time left = deadline_of(&call) == MT_FOREVER ? pause : call.deadline - mt_sched_now(sched);
        if (left <= 0)
            return MT_ETIMEDOUT;
        error = mt_io_pause(sched, fd, left < pause ? left : pause);
        if (error)
            return error;
        pause = pause * 2 < LONGEST_PAUSE ? pause * 2 : LONGEST_PAUSE;
    }
    if (timeout == 0)
        return mt_error_from_errno(EINPROGRESS);
    error = wait_ready(&call);
    return error ? error : connection_error(fd);
}
