/* SPDX-License-Identifier: MIT */
/* The C half of microthread.socket.socket: a subclass, made at run time, of the standard library's
   socket.socket, in which a call waits for its micro-thread only. What is not hot is in the Python
   half, python/microthread/socket.py.

   The descriptor below is non-blocking and the standard object's own time-out is 0, always; the
   time-out that the user sees is ours. Every close, and every birth of a descriptor, is told to all
   schedulers of the interpreter, since any OS thread may wait on any socket. */
#ifndef MTPY_SOCKET_H
#define MTPY_SOCKET_H

#include "io/mt_socket.h"
#include "python/mtpy_state.h"

#include <errno.h>
#include <sys/socket.h>

enum {
    MTPY_SOCKET_ROOM = 96 /* bytes: the standard object of every version fits; seen to when made */
};

struct mtpy_socket {
    char standard[MTPY_SOCKET_ROOM]; /* the object of socket.socket */
    struct mtpy_state *state; /* lives as long as the type, which we hold */
    mt_time timeout;          /* ns; 0: never waits; MT_FOREVER: blocking */
    size_t last;              /* bytes that the last recv() brought */
    uint32_t readers;         /* calls that wait to read; later ones queue up behind them */
    int fd;                   /* as in the standard object; -1: closed */
    bool may_linger;          /* SO_LINGER may be on: close() may block */
};

/* Any address that the kernel gives. */
struct mtpy_sockaddr {
    struct sockaddr_storage storage;
    socklen_t size;
};

/* Whether the functions below know this family; the standard library does the others. */
static inline bool
mtpy_sockaddr_knows(int family)
{
    return family == AF_INET || family == AF_INET6 || family == AF_UNIX;
}

/* From Python's form, if it is complete and numeric. Returns whether it was; raises nothing. */
bool
mtpy_sockaddr_parse(struct mtpy_sockaddr *address, int family, PyObject *object);

/* Python's form: new, or NULL with an exception. An empty one gives None. */
PyObject *
mtpy_sockaddr_object(const struct mtpy_sockaddr *address);

static inline struct mtpy_socket *
mtpy_socket_of(PyObject *object)
{
    return (struct mtpy_socket *)object;
}

/* An int field of the standard object. */
static inline int
mtpy_socket_field(const struct mtpy_socket *self, Py_ssize_t offset)
{
    return *(const int *)(const void *)((const char *)self + offset);
}

static inline int
mtpy_socket_family(const struct mtpy_socket *self)
{
    return mtpy_socket_field(self, self->state->socket_family);
}

/* Wait for MT_FD_READ or MT_FD_WRITE within the socket's time-out. *deadline: 0 at first, set when
   it is known. Returns 0, EAGAIN as a system error when the time-out is 0, or what mt_io_wait()
   does. */
int
mtpy_socket_wait(struct mtpy_socket *self, struct mtpy_sched *sched, int events, mt_time *deadline);

/* A call that reads: it tries until it goes ahead, but not before those who wait already.

       struct mtpy_reading reading;
       int error = mtpy_reading_begin(&reading, self, flags);
       while (!error) {
           ssize_t count = recv(self->fd, ..., flags | MSG_DONTWAIT);
           if (count >= 0)
               return ...;
           error = mtpy_reading_failed(&reading, errno);
       }
       return mtpy_raise(error); */
struct mtpy_reading {
    struct mtpy_socket *socket;
    struct mtpy_sched *sched; /* of the calling OS thread */
    mt_time deadline;         /* 0 until it is needed */
    bool may_wait;            /* neither the time-out nor the flags forbid it */
};

/* Without queueing up. Returns 0 or MT_EHOST. */
static inline int
mtpy_reading_init(struct mtpy_reading *reading, struct mtpy_socket *self, int flags)
{
    reading->socket = self;
    reading->sched = mtpy_sched_get(self->state);
    reading->deadline = 0;
    reading->may_wait =
        self->timeout != 0 && !(flags & (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB));
    return MT_LIKELY(reading->sched != NULL) ? 0 : MT_EHOST;
}

/* Returns 0, MT_EHOST, or an error of mt_heed() or of the wait. */
static inline int
mtpy_reading_begin(struct mtpy_reading *reading, struct mtpy_socket *self, int flags)
{
    int error = mtpy_reading_init(reading, self, flags);
    if (MT_LIKELY(!error && reading->may_wait)) {
        error = mt_heed(reading->sched->core, MT_SOCKET_COST);
        if (MT_UNLIKELY(!error && self->readers > 0))
            error = mtpy_socket_wait(self, reading->sched, MT_FD_READ, &reading->deadline);
    }
    return error;
}

/* The system call failed with errno `number`. Returns 0 to try again, or the error. */
static inline int
mtpy_reading_failed(struct mtpy_reading *reading, int number)
{
    if (MT_LIKELY(number == EAGAIN) && reading->may_wait)
        return mtpy_socket_wait(reading->socket, reading->sched, MT_FD_READ, &reading->deadline);
    return number == EINTR ? 0 : mt_error_from_errno(number);
}

/* The addresses of sendto() and connect(), host names looked up: 1: parsed; 0: only the standard
   library can make sense of it, -1: an exception. *object: new reference to what to give it. */
int
mtpy_socket_address(struct mtpy_socket *self, PyObject **object, struct mtpy_sockaddr *address);

/* Whether that many positional arguments are right. Returns 0 or -1 with an exception. */
int
mtpy_socket_check_count(const char *function, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most);

/* ---- methods, each in the file of its kind ---- */

extern PyMethodDef mtpy_socket_recv_methods[];
extern PyMethodDef mtpy_socket_send_methods[];
extern PyMethodDef mtpy_socket_connect_methods[];
extern PyMethodDef mtpy_socket_tls_methods[];

/* For sockets that come from elsewhere, in mtpy_socket.c. */

/* What the standard __init__ does. Steals args, which may be NULL with an exception. */
int
mtpy_socket_init_standard(struct mtpy_socket *self, PyObject *args);

/* The time-out of a new socket whose type does not say SOCK_NONBLOCK. */
int
mtpy_socket_set_default_timeout(struct mtpy_socket *self);

/* Call a method of the C type below the standard class, past anything that overrides it. */
PyObject *
mtpy_socket_call_base(struct mtpy_socket *self, const char *name, PyObject *argument);

/* Tell every scheduler that the descriptor is about to be closed or given away, or has just come
   to life. */
void
mtpy_socket_forget(struct mtpy_state *state, int fd);

/* ---- the module's part ---- */

/* _make_socket_type(socket_module): the C type; called once by the package. */
PyObject *
mtpy_socket_make_type(PyObject *module, PyObject *standard_module);

/* _set_socket_class(class): what accept() makes from now on; a subclass of that type. */
PyObject *
mtpy_socket_set_class(PyObject *module, PyObject *type);

#endif
