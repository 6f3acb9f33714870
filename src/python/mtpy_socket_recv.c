/* SPDX-License-Identifier: MIT */
/* Receiving. What recv() is asked for is mostly much more than what there is, so it receives into a
   block that the scheduler's micro-threads share, and makes bytes of what came; nothing is held
   while it waits. One that gets much at a time is given bytes of its own. */
#include "python/mtpy_socket.h"

#include "io/mt_socket.h"

enum {
    MUCH = 16 * 1024, /* bytes that the last recv() brought: copying would begin to cost */
    GROWTH = 4        /* how much more than that a stream may bring next */
};

/* ---- arguments ---- */

static int
parse_size(PyObject *object, const char *function, Py_ssize_t *size)
{
    *size = PyNumber_AsSsize_t(object, PyExc_OverflowError);
    if (*size == -1 && PyErr_Occurred())
        return -1;
    if (*size >= 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "negative buffersize in %s: %zd", function, *size);
    return -1;
}

/* bufsize and flags of recv() and recvfrom(). */
static int
parse_receive(const char *function, PyObject *const *args, Py_ssize_t nargs, Py_ssize_t *size,
              int *flags)
{
    *flags = 0;
    if (mtpy_socket_check_count(function, nargs, 1, 2) < 0 ||
        parse_size(args[0], function, size) < 0)
        return -1;
    return nargs < 2 || PyArg_Parse(args[1], "i", flags) ? 0 : -1;
}

/* ---- into bytes ---- */

/* Bytes of our own for what is about to come, or NULL: the shared block will do. *room: in what was
   asked for, out what is offered. *buffer: where it goes; NULL with an exception. */
static PyObject *
choose_buffer(struct mtpy_socket *self, struct mtpy_sched *sched, size_t *room, char **buffer)
{
    bool is_stream = mtpy_socket_field(self, self->state->socket_kind) == SOCK_STREAM;
    if (self->last < MUCH && (is_stream || *room <= MTPY_SCRATCH_SIZE)) {
        if (*room > MTPY_SCRATCH_SIZE)
            *room = MTPY_SCRATCH_SIZE;
        if (MT_UNLIKELY(!sched->scratch) &&
            !(sched->scratch = PyMem_Malloc(MTPY_SCRATCH_SIZE)))
            PyErr_NoMemory();
        *buffer = sched->scratch;
        return NULL;
    }
    if (is_stream && *room > self->last * GROWTH)
        *room = self->last * GROWTH;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)*room);
    *buffer = bytes ? PyBytes_AS_STRING(bytes) : NULL;
    return bytes;
}

/* The bytes of what came. Steals bytes, which may be NULL. The block is free again. */
static inline PyObject *
finish_bytes(struct mtpy_reading *reading, PyObject *bytes, const char *buffer, ssize_t count)
{
    reading->socket->last = (size_t)count;
    if (bytes)
        (void)_PyBytes_Resize(&bytes, count);
    else
        bytes = PyBytes_FromStringAndSize(buffer, count);
    if (MT_LIKELY(bytes != NULL)) /* nobody else is to meet the exception */
        mt_spend(reading->sched->core, MT_SOCKET_COST); /* not before: others use the block, too */
    return bytes;
}

static PyObject *
receive(struct mtpy_socket *self, size_t size)
{
    struct mtpy_reading reading;
    int error = mtpy_reading_begin(&reading, self, 0);
    while (!error) {
        size_t room = size;
        char *buffer;
        PyObject *bytes = choose_buffer(self, reading.sched, &room, &buffer);
        if (MT_UNLIKELY(!buffer))
            return NULL;
        ssize_t count = recv(self->fd, buffer, room, MSG_DONTWAIT);
        int number = errno;
        if (MT_LIKELY(count >= 0))
            return finish_bytes(&reading, bytes, buffer, count);
        Py_XDECREF(bytes);
        error = mtpy_reading_failed(&reading, number);
    }
    return mtpy_raise(error);
}

/* The whole of what was asked for is offered: flags may mean it. */
static PyObject *
receive_with_flags(struct mtpy_socket *self, Py_ssize_t size, int flags)
{
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    PyObject *bytes = sched ? PyBytes_FromStringAndSize(NULL, size) : NULL;
    if (!bytes)
        return NULL;
    ssize_t count = mt_socket_recv(sched->core, self->fd, PyBytes_AS_STRING(bytes), (size_t)size,
                                   flags, self->timeout);
    if (count < 0) {
        Py_DECREF(bytes);
        return mtpy_raise((int)count);
    }
    if (count < size) /* MSG_TRUNC may give more than there was room for */
        (void)_PyBytes_Resize(&bytes, count);
    return bytes;
}

static PyObject *
socket_recv(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    Py_ssize_t size;
    int flags;
    if (parse_receive("recv", args, nargs, &size, &flags) < 0)
        return NULL;
    if (size == 0)
        return PyBytes_FromStringAndSize(NULL, 0);
    return MT_LIKELY(!flags) ? receive(self, (size_t)size) : receive_with_flags(self, size, flags);
}

static PyObject *
socket_recvfrom(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    Py_ssize_t size;
    int flags;
    if (parse_receive("recvfrom", args, nargs, &size, &flags) < 0)
        return NULL;
    if (!mtpy_sockaddr_knows(mtpy_socket_family(self)))
        return PyObject_CallMethod(object, "_recvfrom_otherwise", "ni", size, flags);
    struct mtpy_reading reading;
    int error = mtpy_reading_begin(&reading, self, flags);
    while (!error) {
        size_t room = (size_t)size;
        char *buffer;
        PyObject *bytes = choose_buffer(self, reading.sched, &room, &buffer);
        if (!buffer)
            return NULL;
        struct mtpy_sockaddr address = {.size = sizeof address.storage};
        ssize_t count = recvfrom(self->fd, buffer, room, flags | MSG_DONTWAIT,
                                 (struct sockaddr *)&address.storage, &address.size);
        int number = errno;
        if (count >= 0) {
            if ((size_t)count > room)
                count = (ssize_t)room; /* MSG_TRUNC */
            bytes = finish_bytes(&reading, bytes, buffer, count);
            PyObject *from = bytes ? mtpy_sockaddr_object(&address) : NULL;
            if (!from)
                Py_CLEAR(bytes);
            return from ? Py_BuildValue("NN", bytes, from) : NULL;
        }
        Py_XDECREF(bytes);
        error = mtpy_reading_failed(&reading, number);
    }
    return mtpy_raise(error);
}

/* ---- into a buffer ---- */

/* buffer, nbytes and flags. On success *view is to be released, and *size fits. */
static int
parse_into(const char *format, const char *function, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames, Py_buffer *view, Py_ssize_t *size, int *flags)
{
    static const char *const names[] = {"buffer", "nbytes", "flags", NULL};
    PyObject *buffer;
    *size = 0;
    *flags = 0;
    if (MT_LIKELY(nargs == 1 && !kwnames)) {
        buffer = args[0];
    } else {
        PyObject *given = NULL;
        if (mtpy_parse_slowly(args, nargs, kwnames, format, names, &buffer, &given, flags) < 0 ||
            (given && parse_size(given, function, size) < 0))
            return -1;
    }
    if (PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE) < 0)
        return mtpy_refuse_buffer(function, buffer);
    if (*size == 0) {
        *size = view->len;
    } else if (*size > view->len) {
        PyErr_Format(PyExc_ValueError, "buffer too small for requested bytes: %zd for %zd",
                     view->len, *size);
        PyBuffer_Release(view);
        return -1;
    }
    return 0;
}

/* As mt_socket_recv(). */
static ssize_t
receive_into(struct mtpy_socket *self, void *buffer, size_t size, int flags)
{
    struct mtpy_reading reading;
    int error = mtpy_reading_begin(&reading, self, flags);
    if (!error && MT_UNLIKELY(flags & MSG_WAITALL))
        return mt_socket_recv(reading.sched->core, self->fd, buffer, size, flags, self->timeout);
    while (!error) {
        ssize_t count = recv(self->fd, buffer, size, flags | MSG_DONTWAIT);
        if (MT_LIKELY(count >= 0)) {
            mt_spend(reading.sched->core, MT_SOCKET_COST);
            return count;
        }
        error = mtpy_reading_failed(&reading, errno);
    }
    return error;
}

static PyObject *
socket_recv_into(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_buffer view;
    Py_ssize_t size;
    int flags;
    if (parse_into("O|Oi:recv_into", "recv_into", args, nargs, kwnames, &view, &size, &flags) < 0)
        return NULL;
    ssize_t count = 0;
    if (size > 0)
        count = receive_into(mtpy_socket_of(object), view.buf, (size_t)size, flags);
    PyBuffer_Release(&view);
    return MT_LIKELY(count >= 0) ? PyLong_FromSsize_t(count) : mtpy_raise((int)count);
}

static ssize_t
receive_from_into(struct mtpy_socket *self, void *buffer, size_t size, int flags,
                  struct mtpy_sockaddr *address)
{
    struct mtpy_reading reading;
    int error = mtpy_reading_begin(&reading, self, flags);
    while (!error) {
        address->size = sizeof address->storage;
        ssize_t count = recvfrom(self->fd, buffer, size, flags | MSG_DONTWAIT,
                                 (struct sockaddr *)&address->storage, &address->size);
        if (count >= 0) {
            mt_spend(reading.sched->core, MT_SOCKET_COST);
            return count;
        }
        error = mtpy_reading_failed(&reading, errno);
    }
    return error;
}

static PyObject *
socket_recvfrom_into(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    if (!mtpy_sockaddr_knows(mtpy_socket_family(self))) {
        PyObject *method = PyObject_GetAttrString(object, "_recvfrom_into_otherwise");
        PyObject *result =
            method ? PyObject_Vectorcall(method, args, (size_t)nargs, kwnames) : NULL;
        Py_XDECREF(method);
        return result;
    }
    Py_buffer view;
    Py_ssize_t size;
    int flags;
    if (parse_into("O|Oi:recvfrom_into", "recvfrom_into", args, nargs, kwnames, &view, &size,
                   &flags) < 0)
        return NULL;
    struct mtpy_sockaddr address;
    ssize_t count = receive_from_into(self, view.buf, (size_t)size, flags, &address);
    PyBuffer_Release(&view);
    if (count < 0)
        return mtpy_raise((int)count);
    PyObject *from = mtpy_sockaddr_object(&address);
    return from ? Py_BuildValue("nN", (Py_ssize_t)count, from) : NULL;
}

/* ---- anything else ---- */

/* The standard library's own method, which finds a non-blocking socket. */
static PyObject *
socket_repeat(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    int events, flags;
    if (mtpy_socket_check_count("_repeat", nargs, 3, 8) < 0 ||
        !PyArg_Parse(args[0], "i", &events) || !PyArg_Parse(args[1], "i", &flags))
        return NULL;
    PyObject *tuple = PyTuple_New(nargs - 2);
    if (!tuple)
        return NULL;
    PyTuple_SET_ITEM(tuple, 0, Py_NewRef(object));
    for (Py_ssize_t i = 3; i < nargs; i++)
        PyTuple_SET_ITEM(tuple, i - 2, Py_NewRef(args[i]));
    struct mtpy_reading call;
    int error = events == MT_FD_READ ? mtpy_reading_begin(&call, self, flags)
                                     : mtpy_reading_init(&call, self, flags);
    if (!error && events == MT_FD_WRITE && call.may_wait)
        error = mt_heed(call.sched->core, MT_SOCKET_COST);
    PyObject *result = NULL;
    while (!error) {
        result = PyObject_CallObject(args[2], tuple);
        if (result || !call.may_wait || !PyErr_ExceptionMatches(PyExc_BlockingIOError))
            break;
        PyErr_Clear();
        error = mtpy_socket_wait(self, call.sched, events, &call.deadline);
    }
    Py_DECREF(tuple);
    if (error)
        return mtpy_raise(error);
    if (result)
        mt_spend(call.sched->core, MT_SOCKET_COST);
    return result;
}

#define CAST(function) (PyCFunction)(void (*)(void))(function)

PyMethodDef mtpy_socket_recv_methods[] = {
    {"recv", CAST(socket_recv), METH_FASTCALL,
     "recv($self, bufsize, flags=0, /)\n--\n\n"
     "Receive up to bufsize bytes; b'' when the other side has ended."},
    {"recv_into", CAST(socket_recv_into), METH_FASTCALL | METH_KEYWORDS,
     "recv_into($self, buffer, nbytes=0, flags=0)\n--\n\n"
     "Receive into a writable buffer, up to nbytes or its size; returns how many."},
    {"recvfrom", CAST(socket_recvfrom), METH_FASTCALL,
     "recvfrom($self, bufsize, flags=0, /)\n--\n\n"
     "As recv(); returns (data, address)."},
    {"recvfrom_into", CAST(socket_recvfrom_into), METH_FASTCALL | METH_KEYWORDS,
     "recvfrom_into($self, buffer, nbytes=0, flags=0)\n--\n\n"
     "As recv_into(); returns (count, address)."},
    {"_repeat", CAST(socket_repeat), METH_FASTCALL,
     "_repeat($self, events, flags, function, /, *args)\n--\n\n"
     "function(self, *args), again after each BlockingIOError unless flags say not to wait."},
    {0},
};
