/* SPDX-License-Identifier: MIT */
/* Sending. */
#include "python/mtpy_socket.h"

#include "io/mt_socket.h"

/* What is sent: bytes as they are, anything else as a buffer. */
struct payload {
    const void *data;
    size_t size;
    Py_buffer view; /* view.obj: NULL for bytes */
};

static inline int
payload_open(struct payload *payload, PyObject *object)
{
    if (MT_LIKELY(PyBytes_CheckExact(object))) {
        payload->view.obj = NULL;
        payload->data = PyBytes_AS_STRING(object);
        payload->size = (size_t)PyBytes_GET_SIZE(object);
        return 0;
    }
    if (PyObject_GetBuffer(object, &payload->view, PyBUF_SIMPLE) < 0)
        return -1;
    payload->data = payload->view.buf;
    payload->size = (size_t)payload->view.len;
    return 0;
}

static inline void
payload_close(struct payload *payload)
{
    if (payload->view.obj)
        PyBuffer_Release(&payload->view);
}

/* data and flags of send() and sendall(). */
static inline int
parse_send(const char *function, PyObject *const *args, Py_ssize_t nargs, struct payload *payload,
           int *flags)
{
    *flags = 0;
    if (mtpy_socket_check_count(function, nargs, 1, 2) < 0 ||
        (nargs > 1 && !PyArg_Parse(args[1], "i", flags)))
        return -1;
    return payload_open(payload, args[0]);
}

static PyObject *
socket_send(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    struct payload payload;
    int flags;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched || parse_send("send", args, nargs, &payload, &flags) < 0)
        return NULL;
    ssize_t count = mt_socket_send(sched->core, self->fd, payload.data, payload.size, flags,
                                   self->timeout);
    payload_close(&payload);
    return MT_LIKELY(count >= 0) ? PyLong_FromSsize_t(count) : mtpy_raise((int)count);
}

static PyObject *
socket_sendall(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    struct payload payload;
    int flags;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched || parse_send("sendall", args, nargs, &payload, &flags) < 0)
        return NULL;
    size_t sent = 0;
    int error = mt_socket_send_all(sched->core, self->fd, payload.data, payload.size, flags, &sent,
                                   self->timeout);
    payload_close(&payload);
    if (MT_UNLIKELY(error))
        return mtpy_raise(error);
    Py_RETURN_NONE;
}

static PyObject *
socket_sendto(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    int flags = 0;
    if (mtpy_socket_check_count("sendto", nargs, 2, 3) < 0 ||
        (nargs > 2 && !PyArg_Parse(args[1], "i", &flags)))
        return NULL;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    PyObject *to = args[nargs - 1];
    struct mtpy_sockaddr address;
    int is_parsed = mtpy_socket_address(self, &to, &address);
    if (is_parsed < 0)
        return NULL;
    struct payload payload;
    PyObject *result = NULL;
    if (!is_parsed) {
        result = PyObject_CallMethod(object, "_sendto_otherwise", "OiO", args[0], flags, to);
    } else if (PySys_Audit("socket.sendto", "OO", object, to) == 0 &&
               payload_open(&payload, args[0]) == 0) {
        ssize_t count =
            mt_socket_sendto(sched->core, self->fd, payload.data, payload.size, flags,
                             (struct sockaddr *)&address.storage, address.size, self->timeout);
        payload_close(&payload);
        result = count >= 0 ? PyLong_FromSsize_t(count) : mtpy_raise((int)count);
    }
    Py_DECREF(to);
    return result;
}

static PyObject *
socket_sendfile(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    int file;
    long long offset;
    Py_ssize_t size;
    if (mtpy_socket_check_count("_sendfile", nargs, 3, 3) < 0 ||
        !PyArg_Parse(args[0], "i", &file) || !PyArg_Parse(args[1], "L", &offset) || !PyArg_Parse(args[2], "n", &size))
        return NULL;
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    off_t from = (off_t)offset;
    ssize_t count =
        mt_socket_sendfile(sched->core, self->fd, file, &from, (size_t)size, self->timeout);
    return count >= 0 ? PyLong_FromSsize_t(count) : mtpy_raise((int)count);
}

#define CAST(function) (PyCFunction)(void (*)(void))(function)

PyMethodDef mtpy_socket_send_methods[] = {
    {"send", CAST(socket_send), METH_FASTCALL,
     "send($self, data, flags=0, /)\n--\n\n"
     "Send what fits now, at least a byte; returns how many."},
    {"sendall", CAST(socket_sendall), METH_FASTCALL,
     "sendall($self, data, flags=0, /)\n--\n\n"
     "Send all of it. After an error there is no telling how much went."},
    {"sendto", CAST(socket_sendto), METH_FASTCALL,
     "sendto($self, data, flags_or_address, address=None, /)\n--\n\n"
     "sendto(data, [flags, ]address): as send(), to that address."},
    {"_sendfile", CAST(socket_sendfile), METH_FASTCALL,
     "_sendfile($self, fd, offset, count, /)\n--\n\n"
     "Copy from a file, as os.sendfile(); 0 at its end."},
    {0},
};
