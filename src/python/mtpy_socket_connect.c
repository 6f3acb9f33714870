/* SPDX-License-Identifier: MIT */
/* Sockets that connect and sockets that are connected to. */
#include "python/mtpy_socket.h"

#include "io/mt_socket.h"

#include <unistd.h>

/* A socket.socket for a descriptor that accept() gave. Owns fd from now on. */
static PyObject *
make_accepted(struct mtpy_socket *listener, int fd)
{
    struct mtpy_state *state = listener->state;
    PyObject *none = PyTuple_New(0);
    PyObject *object =
        none ? state->socket_class->tp_new(state->socket_class, none, NULL) : NULL;
    Py_XDECREF(none);
    if (!object) {
        close(fd);
        return NULL;
    }
    /* With SOCK_NONBLOCK the standard object leaves the descriptor alone and its time-out is 0. */
    struct mtpy_socket *self = mtpy_socket_of(object);
    int type = mtpy_socket_field(listener, state->socket_kind) | SOCK_NONBLOCK;
    PyObject *args = Py_BuildValue("(iiii)", mtpy_socket_family(listener), type,
                                   mtpy_socket_field(listener, state->socket_proto), fd);
    if (mtpy_socket_init_standard(self, args) < 0 || mtpy_socket_set_default_timeout(self) < 0) {
        /* Whether the standard object has got it: its finalizer would warn. */
        PyObject *pending = mtpy_error_take();
        Py_XDECREF(mtpy_socket_call_base(self, "detach", NULL));
        mtpy_error_raise(pending);
        close(fd);
        Py_DECREF(object);
        return NULL;
    }
    self->may_linger = listener->may_linger;
    self->fd = fd;
    mtpy_socket_forget(state, fd);
    return object;
}

static PyObject *
socket_accept(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_socket *self = mtpy_socket_of(object);
    if (!mtpy_sockaddr_knows(mtpy_socket_family(self)))
        return PyObject_CallMethod(object, "_accept_otherwise", NULL);
    struct mtpy_sockaddr address;
    struct mtpy_reading reading;
    int error = mtpy_reading_begin(&reading, self, 0);
    int fd = -1;
    while (!error) {
        address.size = sizeof address.storage;
        fd = mt_socket_accept(reading.sched->core, self->fd, (struct sockaddr *)&address.storage,
                              &address.size, 0);
        if (fd >= 0)
            break;
        error = mtpy_reading_failed(&reading, mt_error_errno(fd));
    }
    if (MT_UNLIKELY(error))
        return mtpy_raise(error);
    PyObject *accepted = make_accepted(self, fd);
    PyObject *from = accepted ? mtpy_sockaddr_object(&address) : NULL;
    PyObject *pair = from ? PyTuple_Pack(2, accepted, from) : NULL;
    Py_XDECREF(accepted);
    Py_XDECREF(from);
    return pair;
}

int
mtpy_socket_address(struct mtpy_socket *self, PyObject **object, struct mtpy_sockaddr *address)
{
    int family = mtpy_socket_family(self);
    if (mtpy_sockaddr_parse(address, family, *object)) {
        Py_INCREF(*object);
        return 1;
    }
    *object = PyObject_CallMethod((PyObject *)self, "_resolved", "(O)", *object);
    return *object ? mtpy_sockaddr_parse(address, family, *object) : -1;
}

static PyObject *
socket_connect(PyObject *object, PyObject *given)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    struct mtpy_sched *sched = mtpy_sched_get(self->state);
    if (!sched)
        return NULL;
    struct mtpy_sockaddr address;
    PyObject *resolved = given;
    int is_parsed = mtpy_socket_address(self, &resolved, &address);
    if (is_parsed < 0)
        return NULL;
    PyObject *result = NULL;
    if (!is_parsed) {
        result = PyObject_CallMethod(object, "_connect_otherwise", "(O)", resolved);
    } else if (PySys_Audit("socket.connect", "OO", object, resolved) == 0) {
        int error = mt_socket_connect(sched->core, self->fd, (struct sockaddr *)&address.storage,
                                      address.size, self->timeout);
        result = error ? mtpy_raise(error) : Py_NewRef(Py_None);
    }
    Py_DECREF(resolved);
    return result;
}

PyMethodDef mtpy_socket_connect_methods[] = {
    {"accept", socket_accept, METH_NOARGS,
     "accept($self, /)\n--\n\n"
     "Wait for a connection; returns (socket, address)."},
    {"connect", socket_connect, METH_O,
     "connect($self, address, /)\n--\n\n"
     "Connect to an address; a host name is looked up in a worker."},
    {0},
};
