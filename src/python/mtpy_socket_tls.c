/* SPDX-License-Identifier: MIT */
/* TLS on a socket: calls of the standard library's SSL object, which never waits since the descriptor
   is non-blocking, repeated when what it asked for has come. The rest is in ssl.py. */
#include "python/mtpy_socket.h"

#include "io/mt_io.h"

enum {
    /* What a call waits for against its own direction may be taken by a call of the other one:
       so often it looks by itself. */
    LOOK_AGAIN = 50 * 1000 * 1000 /* ns */
};

/* Wait until `events` can be done; is_own: only this kind of call waits for that. Returns 0 or an
   error. */
static int
wait_for_tls(struct mtpy_reading *call, int events, bool is_own)
{
    struct mtpy_socket *self = call->socket;
    struct mt_sched *core = call->sched->core;
    if (is_own)
        return mtpy_socket_wait(self, call->sched, events, &call->deadline);
    if (call->deadline == 0)
        call->deadline = mt_sched_deadline(core, self->timeout);
    mt_time soon = mt_sched_deadline(core, LOOK_AGAIN);
    bool is_last = call->deadline <= soon;
    int error = mt_io_wait(core, self->fd, events, is_last ? call->deadline : soon, true);
    return error == MT_ETIMEDOUT && !is_last ? 0 : error;
}

/* _repeat_tls(want_read, want_write, directions, is_drained, function, *args) */
static PyObject *
socket_repeat_tls(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    int directions, is_drained;
    if (mtpy_socket_check_count("_repeat_tls", nargs, 5, 8) < 0 ||
        !PyArg_Parse(args[2], "i", &directions) || (is_drained = PyObject_IsTrue(args[3])) < 0)
        return NULL;
    struct mtpy_reading call;
    int error = mtpy_reading_init(&call, self, 0);
    if (!error && call.may_wait) {
        error = mt_heed(call.sched->core, MT_SOCKET_COST);
        /* Trying is dear: it fails by an exception. */
        if (!error && is_drained)
            error = mtpy_socket_wait(self, call.sched, MT_FD_READ, &call.deadline);
    }
    PyObject *result = NULL;
    while (!error) {
        result = PyObject_Vectorcall(args[4], args + 5, (size_t)(nargs - 5), NULL);
        if (result || !call.may_wait)
            break;
        int events = PyErr_ExceptionMatches(args[0])   ? MT_FD_READ
                     : PyErr_ExceptionMatches(args[1]) ? MT_FD_WRITE
                                                       : 0;
        if (!events)
            break;
        PyErr_Clear();
        error = wait_for_tls(&call, events, (directions & events) != 0);
    }
    if (error)
        return mtpy_raise(error);
    if (result)
        mt_spend(call.sched->core, MT_SOCKET_COST);
    return result;
}

PyMethodDef mtpy_socket_tls_methods[] = {
    {"_repeat_tls", (PyCFunction)(void (*)(void))socket_repeat_tls, METH_FASTCALL,
     "_repeat_tls($self, want_read, want_write, directions, is_drained, function, /, *args)\n--\n\n"
     "function(*args), again after each want_read or want_write unless the socket is non-blocking.\n\n"
     "is_drained: nothing can come before the descriptor is readable."},
    {0},
};
