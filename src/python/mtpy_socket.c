/* SPDX-License-Identifier: MIT */
/* The socket type: its making, its life, its time-out and its options. */
#include "python/mtpy_socket.h"

#include "io/mt_io.h"

#include <structmember.h>
#include <sys/ioctl.h>
#include <unistd.h>

PyObject *
mtpy_socket_call_base(struct mtpy_socket *self, const char *name, PyObject *argument)
{
    PyObject *base = (PyObject *)self->state->socket_base;
    return PyObject_CallMethod(base, name, argument ? "(OO)" : "(O)", self, argument);
}

void
mtpy_socket_forget(struct mtpy_state *state, int fd)
{
    for (struct mtpy_sched *sched = state->scheds; sched; sched = sched->next)
        mt_io_forget(sched->core, fd);
}

/* FIONBIO on or off. Returns 0 or -1 with an exception. */
static int
set_nonblocking(int fd, int is_nonblocking)
{
    if (ioctl(fd, FIONBIO, &is_nonblocking) == 0)
        return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

/* Seconds or None, as settimeout() takes them. */
static int
parse_timeout(PyObject *object, mt_time *timeout)
{
    if (mtpy_parse_timeout(object, "timeout", timeout) < 0)
        return -1;
    if (*timeout == MT_FOREVER && object != Py_None)
        *timeout = MT_FOREVER - 1; /* a number stays a number */
    return 0;
}

int
mtpy_socket_check_count(const char *function, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most)
{
    if (count >= least && count <= most)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes from %zd to %zd arguments (%zd given)", function,
                 least, most, count);
    return -1;
}

/* ---- birth ---- */

static PyObject *
socket_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct mtpy_state *state = mtpy_state_by_type(type);
    PyObject *object = state->socket_base->tp_new(type, args, kwargs);
    if (!object)
        return NULL;
    struct mtpy_socket *self = mtpy_socket_of(object);
    self->state = state;
    self->timeout = MT_FOREVER;
    self->fd = -1;
    return object;
}

int
mtpy_socket_init_standard(struct mtpy_socket *self, PyObject *args)
{
    struct mtpy_state *state = self->state;
    PyObject *object = (PyObject *)self;
    PyObject *zero = args ? PyLong_FromLong(0) : NULL;
    int result = -1;
    if (zero && state->socket_base->tp_init(object, args, NULL) == 0 &&
        PyObject_SetAttr(object, state->name_io_refs, zero) == 0)
        result = PyObject_SetAttr(object, state->name_closed, Py_False);
    Py_XDECREF(zero);
    Py_XDECREF(args);
    return result;
}

int
mtpy_socket_set_default_timeout(struct mtpy_socket *self)
{
    PyObject *timeout = PyObject_CallNoArgs(self->state->socket_get_default);
    int result = timeout ? parse_timeout(timeout, &self->timeout) : -1;
    Py_XDECREF(timeout);
    return result;
}

static bool
does_linger(int fd)
{
    struct linger linger = {0};
    socklen_t size = sizeof linger;
    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 && linger.l_onoff &&
           linger.l_linger > 0;
}

/* Learn the descriptor that the standard object has now. is_fresh: its number is nobody else's. */
static int
adopt(struct mtpy_socket *self, bool is_fresh)
{
    PyObject *number = mtpy_socket_call_base(self, "fileno", NULL);
    if (!number)
        return -1;
    int fd = (int)PyLong_AsLong(number);
    Py_DECREF(number);
    if (is_fresh) {
        mtpy_socket_forget(self->state, fd);
    } else {
        /* The standard object's time-out becomes 0, too. */
        PyObject *result = mtpy_socket_call_base(self, "setblocking", Py_False);
        if (!result)
            return -1;
        Py_DECREF(result);
        self->may_linger = does_linger(fd);
    }
    self->fd = fd;
    return 0;
}

static int
socket_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"family", "type", "proto", "fileno", NULL};
    int family = -1, type = -1, proto = -1;
    PyObject *fileno = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|iiiO:socket", names, &family, &type, &proto,
                                     &fileno))
        return -1;
    struct mtpy_socket *self = mtpy_socket_of(object);
    bool is_fresh = fileno == Py_None;
    bool never_waits = type != -1 && (type & SOCK_NONBLOCK);
    if (is_fresh) {
        family = family == -1 ? AF_INET : family;
        type = (type == -1 ? SOCK_STREAM : type) | SOCK_NONBLOCK;
        proto = proto == -1 ? 0 : proto;
    }
    if (mtpy_socket_init_standard(self, Py_BuildValue("(iiiO)", family, type, proto, fileno)) < 0 ||
        adopt(self, is_fresh) < 0)
        return -1;
    self->timeout = 0;
    return never_waits ? 0 : mtpy_socket_set_default_timeout(self);
}

/* ---- death ---- */

static PyObject *
real_close(struct mtpy_socket *self)
{
    int fd = self->fd;
    if (fd < 0)
        return mtpy_socket_call_base(self, "close", NULL);
    if (MT_UNLIKELY(self->may_linger) && does_linger(fd))
        return PyObject_CallMethod((PyObject *)self, "_close_lingering", NULL);
    self->fd = -1;
    mtpy_socket_forget(self->state, fd);
    PyObject *number = mtpy_socket_call_base(self, "detach", NULL);
    if (!number)
        return NULL;
    Py_DECREF(number);
    /* As the standard library: the peer's reset is no failure to close. */
    if (close(fd) < 0 && errno != ECONNRESET)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *
socket_real_close(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    (void)args, (void)nargs;
    return real_close(mtpy_socket_of(object));
}

static PyObject *
socket_close(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_socket *self = mtpy_socket_of(object);
    if (PyObject_SetAttr(object, self->state->name_closed, Py_True) < 0)
        return NULL;
    PyObject *refs = PyObject_GetAttr(object, self->state->name_io_refs);
    long count = refs ? PyLong_AsLong(refs) : -1;
    Py_XDECREF(refs);
    if (count == -1 && PyErr_Occurred())
        return NULL;
    if (count > 0)
        Py_RETURN_NONE; /* files made of it keep it open */
    if (MT_LIKELY(Py_TYPE(object) == self->state->socket_class))
        return real_close(self);
    return PyObject_CallMethod(object, "_real_close", NULL);
}

static PyObject *
socket_detach(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_socket *self = mtpy_socket_of(object);
    int fd = self->fd;
    if (fd >= 0) {
        /* Others shall find what a socket with this time-out would leave them. */
        if (self->timeout == MT_FOREVER && set_nonblocking(fd, false) < 0)
            PyErr_Clear(); /* somebody has closed it */
        self->fd = -1;
        mtpy_socket_forget(self->state, fd);
    }
    if (PyObject_SetAttr(object, self->state->name_closed, Py_True) < 0)
        return NULL;
    return mtpy_socket_call_base(self, "detach", NULL);
}

/* Of the standard object: it warns of an open socket and closes it. */
static void
finalize_standard(PyObject *object, destructor ours)
{
    PyTypeObject *type = Py_TYPE(object);
    while (type && type->tp_finalize != ours)
        type = type->tp_base;
    while (type && type->tp_finalize == ours)
        type = type->tp_base;
    if (type && type->tp_finalize)
        type->tp_finalize(object);
}

static void
socket_finalize(PyObject *object)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    if (self->fd >= 0) {
        /* Nobody can wait here. */
        if (self->may_linger)
            (void)setsockopt(self->fd, SOL_SOCKET, SO_LINGER, &(struct linger){0},
                             sizeof(struct linger));
        mtpy_socket_forget(self->state, self->fd);
        self->fd = -1;
    }
    finalize_standard(object, socket_finalize);
}

/* ---- the time-out ---- */

int
mtpy_socket_wait(struct mtpy_socket *self, struct mtpy_sched *sched, int events, mt_time *deadline)
{
    if (self->timeout == 0)
        return mt_error_from_errno(EAGAIN);
    if (*deadline == 0)
        *deadline = mt_sched_deadline(sched->core, self->timeout);
    self->readers += events == MT_FD_READ;
    int error = mt_io_wait(sched->core, self->fd, events, *deadline, true);
    self->readers -= events == MT_FD_READ;
    return error;
}

static PyObject *
set_timeout(struct mtpy_socket *self, mt_time timeout)
{
    /* Whoever detached a duplicate has made this one blocking, too. */
    if (set_nonblocking(self->fd, true) < 0)
        return NULL;
    self->timeout = timeout;
    Py_RETURN_NONE;
}

static PyObject *
socket_settimeout(PyObject *object, PyObject *given)
{
    mt_time timeout;
    return parse_timeout(given, &timeout) < 0 ? NULL : set_timeout(mtpy_socket_of(object), timeout);
}

static PyObject *
socket_setblocking(PyObject *object, PyObject *flag)
{
    int is_blocking = PyObject_IsTrue(flag);
    if (is_blocking < 0)
        return NULL;
    return set_timeout(mtpy_socket_of(object), is_blocking ? MT_FOREVER : 0);
}

static PyObject *
socket_get_timeout(PyObject *object, void *unused)
{
    (void)unused;
    mt_time timeout = mtpy_socket_of(object)->timeout;
    if (timeout == MT_FOREVER)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)timeout / (double)MT_SECOND);
}

static PyObject *
socket_gettimeout(PyObject *object, PyObject *unused)
{
    return socket_get_timeout(object, unused);
}

static PyObject *
socket_getblocking(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(mtpy_socket_of(object)->timeout != 0);
}

/* ---- options ---- */

/* Whether they are three ints that the system call takes. */
static bool
parse_option(PyObject *const *args, int *level, int *option, int *value)
{
    if (PyLong_Check(args[2]) && PyArg_Parse(args[0], "i", level) &&
        PyArg_Parse(args[1], "i", option) && PyArg_Parse(args[2], "i", value))
        return true;
    PyErr_Clear();
    return false;
}

/* setsockopt(level, option, int) is most of them; the others are the standard library's. */
static PyObject *
socket_setsockopt(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    struct mtpy_socket *self = mtpy_socket_of(object);
    int level, option, value;
    if (nargs == 3 && mtpy_sockaddr_knows(mtpy_socket_family(self)) &&
        parse_option(args, &level, &option, &value)) {
        if (setsockopt(self->fd, level, option, &value, sizeof value) < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
        Py_RETURN_NONE;
    }
    self->may_linger = true; /* perhaps; close() looks */
    PyObject *tuple = PyTuple_New(nargs + 1);
    PyObject *function = PyObject_GetAttrString((PyObject *)self->state->socket_base, "setsockopt");
    PyObject *result = NULL;
    if (tuple && function) {
        PyTuple_SET_ITEM(tuple, 0, Py_NewRef(object));
        for (Py_ssize_t i = 0; i < nargs; i++)
            PyTuple_SET_ITEM(tuple, i + 1, Py_NewRef(args[i]));
        result = PyObject_CallObject(function, tuple);
    }
    Py_XDECREF(function);
    Py_XDECREF(tuple);
    return result;
}

/* ---- the type ---- */

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef socket_methods[] = {
    {"settimeout", socket_settimeout, METH_O,
     "settimeout($self, timeout, /)\n--\n\n"
     "Seconds >= 0 for each call: 0 never waits (BlockingIOError), None waits for ever."},
    {"gettimeout", socket_gettimeout, METH_NOARGS, "gettimeout($self, /)\n--\n\nSeconds or None."},
    {"setblocking", socket_setblocking, METH_O,
     "setblocking($self, flag, /)\n--\n\nTrue: settimeout(None); False: settimeout(0)."},
    {"getblocking", socket_getblocking, METH_NOARGS,
     "getblocking($self, /)\n--\n\nWhether the time-out is not 0."},
    {"setsockopt", CAST(socket_setsockopt), METH_FASTCALL,
     "setsockopt($self, level, option, value, optlen=None, /)\n--\n\nAs the standard socket's."},
    {"close", socket_close, METH_NOARGS,
     "close($self, /)\n--\n\nClose it; those who wait on it get OSError(EBADF)."},
    {"detach", socket_detach, METH_NOARGS,
     "detach($self, /)\n--\n\nAs close(), but the descriptor stays open and is returned."},
    {"_real_close", CAST(socket_real_close), METH_FASTCALL, NULL},
    {0},
};

static PyGetSetDef socket_getset[] = {
    {"timeout", socket_get_timeout, NULL, "The time-out in seconds, or None.", NULL},
    {0},
};

static PyType_Slot socket_slots[] = {
    {Py_tp_new, socket_new},
    {Py_tp_init, socket_init},
    {Py_tp_finalize, socket_finalize},
    {Py_tp_methods, socket_methods},
    {Py_tp_getset, socket_getset},
    {0, NULL},
};

static PyType_Spec socket_spec = {
    .name = "microthread._core.socket_type",
    .basicsize = sizeof(struct mtpy_socket),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = socket_slots,
};

/* Where an int member of the standard object is. Returns its offset, or -1 with an exception. */
static Py_ssize_t
find_member(PyTypeObject *base, const char *name)
{
    Py_ssize_t offset = -1;
    PyObject *descriptor = PyObject_GetAttrString((PyObject *)base, name);
    if (descriptor && Py_IS_TYPE(descriptor, &PyMemberDescr_Type))
        offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    else if (descriptor)
        PyErr_Format(PyExc_ImportError, "this CPython's socket has no member %s", name);
    Py_XDECREF(descriptor);
    return offset;
}

static int
look_at_standard(struct mtpy_state *state, PyTypeObject *standard, PyObject *standard_module)
{
    if (standard->tp_basicsize > MTPY_SOCKET_ROOM) {
        PyErr_Format(PyExc_ImportError,
                     "a socket of this CPython has %zd bytes; microthread was built for up to %d",
                     standard->tp_basicsize, MTPY_SOCKET_ROOM);
        return -1;
    }
    PyTypeObject *base = standard->tp_base;
    Py_XSETREF(state->socket_base, (PyTypeObject *)Py_NewRef(base));
    state->socket_family = find_member(base, "family");
    state->socket_kind = find_member(base, "type");
    state->socket_proto = find_member(base, "proto");
    if (state->socket_family < 0 || state->socket_kind < 0 || state->socket_proto < 0)
        return -1;
    Py_XSETREF(state->socket_get_default,
               PyObject_GetAttrString(standard_module, "getdefaulttimeout"));
    Py_XSETREF(state->name_closed, PyUnicode_InternFromString("_closed"));
    Py_XSETREF(state->name_io_refs, PyUnicode_InternFromString("_io_refs"));
    return state->socket_get_default && state->name_closed && state->name_io_refs ? 0 : -1;
}

/* A type has one table of methods; these are in other files. */
static int
add_methods(PyObject *type, PyMethodDef *methods)
{
    int failed = 0;
    for (PyMethodDef *method = methods; method->ml_name && !failed; method++) {
        PyObject *descriptor = PyDescr_NewMethod((PyTypeObject *)type, method);
        failed = !descriptor || PyObject_SetAttrString(type, method->ml_name, descriptor) < 0;
        Py_XDECREF(descriptor);
    }
    return failed ? -1 : 0;
}

PyObject *
mtpy_socket_make_type(PyObject *module, PyObject *standard_module)
{
    struct mtpy_state *state = mtpy_state_of(module);
    PyObject *standard = PyObject_GetAttrString(standard_module, "socket");
    PyObject *type = NULL;
    if (standard && PyType_Check(standard) &&
        look_at_standard(state, (PyTypeObject *)standard, standard_module) == 0)
        type = PyType_FromModuleAndSpec(module, &socket_spec, standard);
    Py_XDECREF(standard);
    if (type && (add_methods(type, mtpy_socket_recv_methods) < 0 ||
                 add_methods(type, mtpy_socket_send_methods) < 0 ||
                 add_methods(type, mtpy_socket_connect_methods) < 0 ||
                 add_methods(type, mtpy_socket_tls_methods) < 0))
        Py_CLEAR(type);
    return type;
}

PyObject *
mtpy_socket_set_class(PyObject *module, PyObject *type)
{
    struct mtpy_state *state = mtpy_state_of(module);
    if (!PyType_Check(type) || ((PyTypeObject *)type)->tp_finalize != socket_finalize) {
        PyErr_Format(PyExc_TypeError, "class must be a subclass of the socket type, got %R", type);
        return NULL;
    }
    Py_XSETREF(state->socket_class, (PyTypeObject *)Py_NewRef(type));
    Py_RETURN_NONE;
}
