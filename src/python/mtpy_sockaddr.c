/* SPDX-License-Identifier: MIT */
/* Socket addresses between C and Python, for the families that most programs use. The forms are the
   standard library's. */
#include "python/mtpy_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

/* ---- from Python ---- */

/* The integer at an index of a tuple, if it is one and in range; 0 when the tuple ends before.
   Returns whether that went well. */
static bool
get_number(PyObject *tuple, Py_ssize_t index, unsigned long most, unsigned long *number)
{
    if (index >= PyTuple_GET_SIZE(tuple)) {
        *number = 0;
        return true;
    }
    PyObject *item = PyTuple_GET_ITEM(tuple, index);
    if (!PyLong_Check(item))
        return false;
    *number = PyLong_AsUnsignedLong(item);
    if (*number == (unsigned long)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return *number <= most;
}

/* A numeric host of (host, port, ...), with the port. */
static bool
get_host(PyObject *object, int family, Py_ssize_t longest, void *host, in_port_t *port)
{
    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) < 2 ||
        PyTuple_GET_SIZE(object) > longest || !PyUnicode_Check(PyTuple_GET_ITEM(object, 0)))
        return false;
    PyObject *name = PyTuple_GET_ITEM(object, 0);
    unsigned long number;
    if (!PyUnicode_IS_ASCII(name) || !get_number(object, 1, UINT16_MAX, &number))
        return false;
    const char *text = PyUnicode_DATA(name);
    *port = htons((uint16_t)number);
    return strlen(text) == (size_t)PyUnicode_GET_LENGTH(name) && inet_pton(family, text, host) == 1;
}

static bool
parse_inet(struct mtpy_sockaddr *address, PyObject *object)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&address->storage;
    *in = (struct sockaddr_in){.sin_family = AF_INET};
    address->size = sizeof *in;
    return get_host(object, AF_INET, 2, &in->sin_addr, &in->sin_port);
}

static bool
parse_inet6(struct mtpy_sockaddr *address, PyObject *object)
{
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&address->storage;
    *in = (struct sockaddr_in6){.sin6_family = AF_INET6};
    address->size = sizeof *in;
    unsigned long flow, scope;
    if (!get_host(object, AF_INET6, 4, &in->sin6_addr, &in->sin6_port) ||
        !get_number(object, 2, 0xfffff, &flow) || !get_number(object, 3, UINT32_MAX, &scope))
        return false;
    in->sin6_flowinfo = htonl((uint32_t)flow);
    in->sin6_scope_id = (uint32_t)scope;
    return true;
}

static bool
parse_unix(struct mtpy_sockaddr *address, PyObject *object)
{
    PyObject *path = NULL;
    if (PyBytes_CheckExact(object))
        path = Py_NewRef(object);
    else if (PyUnicode_Check(object))
        path = PyUnicode_EncodeFSDefault(object);
    if (!path) {
        PyErr_Clear();
        return false;
    }
    struct sockaddr_un *un = (struct sockaddr_un *)&address->storage;
    size_t length = (size_t)PyBytes_GET_SIZE(path);
    bool is_abstract = length == 0 || PyBytes_AS_STRING(path)[0] == '\0';
    bool fits = is_abstract ? length <= sizeof un->sun_path : length < sizeof un->sun_path;
    if (fits) {
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, PyBytes_AS_STRING(path), length);
        if (!is_abstract)
            un->sun_path[length++] = '\0';
        address->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    }
    Py_DECREF(path);
    return fits;
}

bool
mtpy_sockaddr_parse(struct mtpy_sockaddr *address, int family, PyObject *object)
{
    switch (family) {
    case AF_INET:
        return parse_inet(address, object);
    case AF_INET6:
        return parse_inet6(address, object);
    case AF_UNIX:
        return parse_unix(address, object);
    default:
        return false;
    }
}

/* ---- to Python ---- */

static PyObject *
host_object(int family, const void *host)
{
    char text[INET6_ADDRSTRLEN];
    if (!inet_ntop(family, host, text, sizeof text))
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyUnicode_FromString(text);
}

static PyObject *
inet_object(const struct sockaddr_in *in)
{
    PyObject *host = host_object(AF_INET, &in->sin_addr);
    PyObject *port = host ? PyLong_FromLong(ntohs(in->sin_port)) : NULL;
    PyObject *pair = port ? PyTuple_New(2) : NULL;
    if (!pair) {
        Py_XDECREF(port);
        Py_XDECREF(host);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, host);
    PyTuple_SET_ITEM(pair, 1, port);
    return pair;
}

static PyObject *
inet6_object(const struct sockaddr_in6 *in)
{
    PyObject *host = host_object(AF_INET6, &in->sin6_addr);
    if (!host)
        return NULL;
    return Py_BuildValue("NiII", host, (int)ntohs(in->sin6_port),
                         (unsigned)ntohl(in->sin6_flowinfo), (unsigned)in->sin6_scope_id);
}

/* Abstract names are bytes, the others str; an unnamed socket's is empty. */
static PyObject *
unix_object(const struct sockaddr_un *un, socklen_t size)
{
    const size_t before = offsetof(struct sockaddr_un, sun_path);
    size_t length = size > before ? size - before : 0;
    if (length > 0 && un->sun_path[0] == '\0')
        return PyBytes_FromStringAndSize(un->sun_path, (Py_ssize_t)length);
    length = strnlen(un->sun_path, length);
    return PyUnicode_DecodeFSDefaultAndSize(un->sun_path, (Py_ssize_t)length);
}

PyObject *
mtpy_sockaddr_object(const struct mtpy_sockaddr *address)
{
    if (address->size == 0)
        Py_RETURN_NONE;
    const void *storage = &address->storage;
    const struct sockaddr *plain = storage;
    switch (plain->sa_family) {
    case AF_INET:
        return inet_object(storage);
    case AF_INET6:
        return inet6_object(storage);
    case AF_UNIX:
        return unix_object(storage, address->size);
    default:
        return Py_BuildValue("iy#", (int)plain->sa_family, plain->sa_data,
                             (Py_ssize_t)sizeof plain->sa_data);
    }
}
