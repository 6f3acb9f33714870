/* SPDX-License-Identifier: MIT */
/* An extension module over the C API of microthread: Tally, a number that interpreters share;
   later(), whose answer comes from an OS thread that knows nothing of Python; is_prime(), which
   computes in a worker.
   build.py compiles it, docs/c_api.md explains it. */
#include <microthread/microthread.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- later(seconds, text): an answer from another OS thread ---- */

struct request {
    mt_deferred *answer; /* a reference */
    double seconds;
    char text[];
};

/* In the interpreter: the value, out of what the OS thread has left. */
static PyObject *
make_answer(void *arg)
{
    struct request *request = arg;
    PyObject *text = PyUnicode_FromString(request->text);
    free(request);
    return text;
}

/* In an OS thread of its own, as a library would call it back. */
static void *
answer_later(void *arg)
{
    struct request *request = arg;
    mt_deferred *answer = request->answer;
    time_t whole = (time_t)request->seconds;
    struct timespec span = {whole, (long)((request->seconds - (double)whole) * 1e9)};
    nanosleep(&span, NULL);
    mt_deferred_post(answer, make_answer, request, free);
    mt_deferred_unref(answer);
    return NULL;
}

static PyObject *
tally_later(PyObject *module, PyObject *args)
{
    (void)module;
    double seconds;
    const char *text;
    if (!PyArg_ParseTuple(args, "ds:later", &seconds, &text))
        return NULL;
    mt_deferred *answer = mt_deferred_new();
    if (!answer)
        return NULL;
    struct request *request = malloc(sizeof *request + strlen(text) + 1);
    if (!request) {
        mt_deferred_unref(answer);
        return PyErr_NoMemory();
    }
    request->answer = mt_deferred_ref(answer); /* the OS thread's */
    request->seconds = seconds;
    strcpy(request->text, text);
    pthread_t thread;
    int failure = pthread_create(&thread, NULL, answer_later, request);
    if (failure) {
        mt_deferred_unref(request->answer);
        free(request);
        mt_deferred_unref(answer);
        errno = failure;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    pthread_detach(thread);
    PyObject *result = mt_deferred_object(answer); /* a microthread.deferred */
    mt_deferred_unref(answer);
    return result;
}

/* ---- is_prime(number): work without the GIL ---- */

struct question {
    unsigned long long number;
    int is_prime;
};

static void
divide(void *arg)
{
    struct question *question = arg;
    question->is_prime = question->number > 1;
    for (unsigned long long n = 2; n <= question->number / n && question->is_prime; n++)
        question->is_prime = question->number % n != 0;
}

static PyObject *
tally_is_prime(PyObject *module, PyObject *number)
{
    (void)module;
    struct question question = {.number = PyLong_AsUnsignedLongLong(number)};
    if (PyErr_Occurred() || mt_run_blocking(divide, &question) < 0)
        return NULL;
    return PyBool_FromLong(question.is_prime);
}

/* ---- Tally: all copies, in whichever interpreter, are one number ---- */

struct tally {
    PyObject_HEAD
    mt_body *body; /* a reference; its data is an atomic_llong */
};

static PyObject *
wrap(PyTypeObject *type, mt_body *body)
{
    struct tally *self = (struct tally *)type->tp_alloc(type, 0);
    if (self)
        self->body = mt_body_ref(body);
    return (PyObject *)self;
}

static mt_body *
reduce(PyObject *self)
{
    return mt_body_ref(((struct tally *)self)->body);
}

static PyObject *
new_tally(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Tally", names))
        return NULL;
    atomic_llong *number = calloc(1, sizeof *number);
    if (!number)
        return PyErr_NoMemory();
    mt_body *body = mt_body_new(number, free);
    if (!body) {
        free(number);
        return NULL;
    }
    PyObject *self = wrap(type, body);
    mt_body_unref(body); /* self has its own */
    return self;
}

static void
free_tally(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    mt_body_unref(((struct tally *)self)->body);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
add(PyObject *self, PyObject *number)
{
    long long more = PyLong_AsLongLong(number);
    if (more == -1 && PyErr_Occurred())
        return NULL;
    atomic_llong *total = mt_body_data(((struct tally *)self)->body);
    return PyLong_FromLongLong(atomic_fetch_add(total, more) + more);
}

static PyMethodDef methods[] = {
    {"add", add, METH_O, "add($self, number, /)\n--\n\nAdd to the total, and return it."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A number that all its copies share."},
    {Py_tp_new, new_tally},
    {Py_tp_dealloc, free_tally},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "tally.Tally",
    .basicsize = sizeof(struct tally),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

/* ---- the module ---- */

static int
exec_module(PyObject *module)
{
    if (mt_import() < 0)
        return -1;
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (!type)
        return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type) < 0 ||
                 mt_register_clone((PyTypeObject *)type, reduce, wrap) < 0;
    Py_DECREF(type);
    return failed ? -1 : 0;
}

static PyMethodDef functions[] = {
    {"later", tally_later, METH_VARARGS,
     "later(seconds, text, /)\n--\n\nA deferred that fires with text when the time has passed."},
    {"is_prime", tally_is_prime, METH_O, "is_prime(number, /)\n--\n\nWhether it is one."},
    {0},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, exec_module},
#ifdef Py_mod_multiple_interpreters /* CPython 3.12 and later */
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tally",
    .m_doc = "What an extension module can do over microthread's C API.",
    .m_methods = functions,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit_tally(void)
{
    return PyModuleDef_Init(&module);
}
