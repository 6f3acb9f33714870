/* SPDX-License-Identifier: MIT */
/* An extension module that hands the functions of the C API to Python, for test_c_api.py. */
#include <microthread/microthread.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static atomic_int made, dropped, runs, bodies;

static void
pause_for(double seconds)
{
    time_t whole = (time_t)seconds;
    struct timespec span = {whole, (long)((seconds - (double)whole) * 1e9)};
    nanosleep(&span, NULL);
}

/* ---- what is posted: a malloc'ed letter ---- */

struct letter {
    char mode; /* 'v': a value, 'e': an exception, 'n': NULL without one */
};

static PyObject *
make(void *arg)
{
    char mode = ((struct letter *)arg)->mode;
    free(arg);
    atomic_fetch_add(&made, 1);
    if (mode == 'v')
        return PyUnicode_FromString("posted");
    if (mode == 'e')
        PyErr_SetString(PyExc_KeyError, "posted");
    return NULL;
}

static void
drop(void *arg)
{
    free(arg);
    atomic_fetch_add(&dropped, 1);
}

static int
post(mt_deferred *deferred, char mode)
{
    if (mode == '0')
        return mt_deferred_post(deferred, NULL, NULL, NULL);
    struct letter *letter = malloc(sizeof *letter);
    if (!letter)
        abort();
    letter->mode = mode;
    return mt_deferred_post(deferred, make, letter, drop);
}

struct errand {
    mt_deferred *deferred; /* a reference */
    char mode;             /* as above; 'u': only give the reference back */
    double delay;          /* seconds */
};

static void *
go(void *arg)
{
    struct errand *errand = arg;
    pause_for(errand->delay);
    if (errand->mode != 'u')
        post(errand->deferred, errand->mode);
    mt_deferred_unref(errand->deferred);
    free(errand);
    return NULL;
}

/* ---- Handle ---- */

struct handle {
    PyObject_HEAD
    mt_deferred *deferred; /* a reference, or NULL */
};

static mt_deferred *
deferred_of(PyObject *self)
{
    return ((struct handle *)self)->deferred;
}

static PyObject *
handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    struct handle *self = (struct handle *)type->tp_alloc(type, 0);
    if (self && !(self->deferred = mt_deferred_new()))
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void
handle_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    mt_deferred_unref(deferred_of(self));
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
none_or_null(int failed)
{
    return failed < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
handle_object(PyObject *self, PyObject *unused)
{
    (void)unused;
    return mt_deferred_object(deferred_of(self));
}

static PyObject *
handle_callback(PyObject *self, PyObject *value)
{
    return none_or_null(mt_deferred_callback(deferred_of(self), value));
}

static PyObject *
handle_errback(PyObject *self, PyObject *exception)
{
    return none_or_null(mt_deferred_errback(deferred_of(self), exception));
}

/* errback_set(exception or None): what is set, or nothing is. */
static PyObject *
handle_errback_set(PyObject *self, PyObject *exception)
{
    if (exception != Py_None)
        PyErr_SetObject(exception, NULL);
    return none_or_null(mt_deferred_errback(deferred_of(self), NULL));
}

static PyObject *
handle_wait(PyObject *self, PyObject *args)
{
    double timeout = MT_NO_TIMEOUT;
    if (!PyArg_ParseTuple(args, "|d", &timeout))
        return NULL;
    return mt_deferred_wait(deferred_of(self), timeout);
}

/* post(mode): what mt_deferred_post() returned. */
static PyObject *
handle_post(PyObject *self, PyObject *mode)
{
    return PyLong_FromLong(post(deferred_of(self), PyUnicode_AsUTF8(mode)[0]));
}

/* send(mode, delay): in an OS thread of its own. */
static PyObject *
handle_send(PyObject *self, PyObject *args)
{
    const char *mode;
    double delay;
    if (!PyArg_ParseTuple(args, "sd", &mode, &delay))
        return NULL;
    struct errand *errand = malloc(sizeof *errand);
    if (!errand)
        return PyErr_NoMemory();
    *errand = (struct errand){mt_deferred_ref(deferred_of(self)), mode[0], delay};
    pthread_t thread;
    if (pthread_create(&thread, NULL, go, errand))
        abort();
    pthread_detach(thread);
    Py_RETURN_NONE;
}

/* Give the reference back now. */
static PyObject *
handle_unref(PyObject *self, PyObject *unused)
{
    (void)unused;
    mt_deferred_unref(deferred_of(self));
    ((struct handle *)self)->deferred = NULL;
    Py_RETURN_NONE;
}

/* A reference, as a number, for lend() in any interpreter. */
static PyObject *
handle_lend(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromVoidPtr(mt_deferred_ref(deferred_of(self)));
}

static PyMethodDef handle_methods[] = {
    {"object", handle_object, METH_NOARGS, NULL},
    {"callback", handle_callback, METH_O, NULL},
    {"errback", handle_errback, METH_O, NULL},
    {"errback_set", handle_errback_set, METH_O, NULL},
    {"wait", handle_wait, METH_VARARGS, NULL},
    {"post", handle_post, METH_O, NULL},
    {"send", handle_send, METH_VARARGS, NULL},
    {"unref", handle_unref, METH_NOARGS, NULL},
    {"lend", handle_lend, METH_NOARGS, NULL},
    {0},
};

static PyType_Slot handle_slots[] = {
    {Py_tp_new, handle_new},
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_methods, handle_methods},
    {0, NULL},
};

static PyType_Spec handle_spec = {
    .name = "capi_probe.Handle",
    .basicsize = sizeof(struct handle),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = handle_slots,
};

/* A Handle around a reference that was lent. */
static PyObject *
borrow(PyObject *module, PyObject *number)
{
    PyObject *type = PyObject_GetAttrString(module, "Handle");
    struct handle *self =
        type ? (struct handle *)((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0) : NULL;
    Py_XDECREF(type);
    if (self)
        self->deferred = PyLong_AsVoidPtr(number);
    return (PyObject *)self;
}

/* ---- Box ---- */

struct box {
    PyObject_HEAD
    mt_body *body; /* a reference */
    char mode;     /* what reduce() does: 'v': well, 'e': an exception, 'n': NULL without one */
};

static void
destroy(void *data)
{
    free(data);
    atomic_fetch_sub(&bodies, 1);
}

static PyObject *
rebuild(PyTypeObject *type, mt_body *body)
{
    char mode = *(char *)mt_body_data(body);
    if (mode == 'r')
        return NULL;
    if (mode == 'x') {
        PyErr_SetString(PyExc_OSError, "not here");
        return NULL;
    }
    struct box *self = (struct box *)type->tp_alloc(type, 0);
    if (self) {
        self->body = mt_body_ref(body);
        self->mode = mode;
    }
    return (PyObject *)self;
}

static mt_body *
reduce(PyObject *object)
{
    struct box *self = (struct box *)object;
    if (self->mode == 'e')
        PyErr_SetString(PyExc_KeyError, "no body");
    return self->mode == 'e' || self->mode == 'n' ? NULL : mt_body_ref(self->body);
}

static PyObject *
box_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)kwargs;
    const char *mode = "v";
    if (!PyArg_ParseTuple(args, "|s", &mode))
        return NULL;
    char *data = malloc(1);
    struct box *self = (struct box *)type->tp_alloc(type, 0);
    if (!data || !self || !(self->body = mt_body_new(data, destroy))) {
        free(data);
        Py_XDECREF(self);
        return NULL;
    }
    self->mode = *data = mode[0];
    atomic_fetch_add(&bodies, 1);
    return (PyObject *)self;
}

static void
box_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    mt_body_unref(((struct box *)self)->body);
    type->tp_free(self);
    Py_DECREF(type);
}

/* The address of what all copies share. */
static PyObject *
box_data(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromVoidPtr(mt_body_data(((struct box *)self)->body));
}

static PyMethodDef box_methods[] = {
    {"data", box_data, METH_NOARGS, NULL},
    {0},
};

static PyType_Slot box_slots[] = {
    {Py_tp_new, box_new},
    {Py_tp_dealloc, box_dealloc},
    {Py_tp_methods, box_methods},
    {0, NULL},
};

static PyType_Spec box_spec = {
    .name = "capi_probe.Box",
    .basicsize = sizeof(struct box),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = box_slots,
};

/* register(class, which): which functions are given, of "both", "reduce", "rebuild". */
static PyObject *
do_register(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *class;
    const char *which;
    if (!PyArg_ParseTuple(args, "Os", &class, &which))
        return NULL;
    return none_or_null(mt_register_clone(class == Py_None ? NULL : (PyTypeObject *)class,
                                          which[0] == 'b' || which[2] == 'd' ? reduce : NULL,
                                          which[0] == 'b' || which[2] == 'b' ? rebuild : NULL));
}

/* ---- functions ---- */

static PyObject *
wait_fd(PyObject *module, PyObject *args)
{
    (void)module;
    int fd, events;
    double timeout = MT_NO_TIMEOUT;
    if (!PyArg_ParseTuple(args, "ii|d", &fd, &events, &timeout))
        return NULL;
    int ready = mt_wait_fd(fd, events, timeout);
    return ready < 0 ? NULL : PyLong_FromLong(ready);
}

static PyObject *
do_sleep(PyObject *module, PyObject *seconds)
{
    (void)module;
    return none_or_null(mt_sleep(PyFloat_AsDouble(seconds)));
}

static void
work(void *arg)
{
    pause_for(*(double *)arg);
    *(double *)arg = 42;
    atomic_fetch_add(&runs, 1);
}

static PyObject *
run_blocking(PyObject *module, PyObject *args)
{
    (void)module;
    double seconds;
    int is_null = 0;
    if (!PyArg_ParseTuple(args, "d|p", &seconds, &is_null))
        return NULL;
    return mt_run_blocking(is_null ? NULL : work, &seconds) < 0 ? NULL
                                                                : PyFloat_FromDouble(seconds);
}

struct reading {
    int fd;
    int begun; /* a descriptor to write a byte to at the beginning, or -1 */
    int byte;  /* what was read, or -1 */
};

static void
read_byte(void *arg)
{
    struct reading *reading = arg;
    char byte = 0;
    if (reading->begun >= 0 && write(reading->begun, &byte, 1) != 1)
        abort();
    reading->byte = read(reading->fd, &byte, 1) == 1 ? byte : -1;
}

static PyObject *
read_blocking(PyObject *module, PyObject *args)
{
    (void)module;
    struct reading reading = {-1, -1, -1};
    if (!PyArg_ParseTuple(args, "i|i", &reading.fd, &reading.begun))
        return NULL;
    return mt_run_blocking(read_byte, &reading) < 0 ? NULL : PyLong_FromLong(reading.byte);
}

/* (made, dropped, runs, bodies) */
static PyObject *
counts(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return Py_BuildValue("iiii", atomic_load(&made), atomic_load(&dropped), atomic_load(&runs),
                         atomic_load(&bodies));
}

static PyMethodDef functions[] = {
    {"borrow", borrow, METH_O, NULL},
    {"register", do_register, METH_VARARGS, NULL},
    {"wait_fd", wait_fd, METH_VARARGS, NULL},
    {"sleep", do_sleep, METH_O, NULL},
    {"run_blocking", run_blocking, METH_VARARGS, NULL},
    {"read_blocking", read_blocking, METH_VARARGS, NULL},
    {"counts", counts, METH_NOARGS, NULL},
    {0},
};

static int
exec_module(PyObject *module)
{
    if (mt_import() < 0)
        return -1;
    PyType_Spec *specs[] = {&handle_spec, &box_spec};
    for (int i = 0; i < 2; i++) {
        PyObject *type = PyType_FromModuleAndSpec(module, specs[i], NULL);
        if (!type)
            return -1;
        int failed = PyModule_AddType(module, (PyTypeObject *)type);
        if (!failed && i == 1)
            failed = mt_register_clone((PyTypeObject *)type, reduce, rebuild);
        Py_DECREF(type);
        if (failed)
            return -1;
    }
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, exec_module},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef probe = {
    PyModuleDef_HEAD_INIT,
    .m_name = "capi_probe",
    .m_methods = functions,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit_capi_probe(void)
{
    return PyModuleDef_Init(&probe);
}
