/* SPDX-License-Identifier: MIT */
/* The border between error codes and exceptions, and the arguments that every call shares. */
#include "python/mtpy_state.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>

/* While the caller was parked this OS thread may have run another interpreter. */
static void
raise_pending(void)
{
    struct mtpy_sched *sched = mtpy_sched_here;
    if (!sched || sched->tstate != PyThreadState_Get())
        sched = mtpy_sched_find();
    mtpy_thread_raise_pending(sched, mtpy_thread_current(sched));
}

PyObject *
mtpy_raise(int error)
{
    switch (error) {
    case MT_ETIMEDOUT:
        PyErr_SetString(PyExc_TimeoutError, "timed out");
        return NULL;
    case MT_ECANCELED:
        raise_pending();
        return NULL;
    case MT_EHOST:
        assert(PyErr_Occurred());
        return NULL;
    case MT_ENOMEM:
        return PyErr_NoMemory();
    default:
        if (mt_error_errno(error)) {
            errno = mt_error_errno(error);
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        PyErr_SetString(PyExc_RuntimeError, mt_error_text(error));
        return NULL;
    }
}

int
mtpy_check_callable(PyObject *function)
{
    if (MT_LIKELY(PyCallable_Check(function)))
        return 0;
    PyErr_Format(PyExc_TypeError, "fn must be callable, got %.200s", Py_TYPE(function)->tp_name);
    return -1;
}

int
mtpy_refuse_buffer(const char *function, PyObject *object)
{
    if (PyErr_ExceptionMatches(PyExc_TypeError) || PyErr_ExceptionMatches(PyExc_BufferError))
        PyErr_Format(PyExc_TypeError,
                     "%s() argument must be a read-write bytes-like object, not %.200s", function,
                     Py_TYPE(object)->tp_name);
    return -1;
}

int
mtpy_check_seconds(double seconds, PyObject *object, const char *name, mt_time *span)
{
    if (!(seconds >= 0)) {
        PyObject *value = object ? Py_NewRef(object) : PyFloat_FromDouble(seconds);
        if (value)
            PyErr_Format(PyExc_ValueError, "%s must be >= 0, got %R", name, value);
        Py_XDECREF(value);
        return -1;
    }
    if (MT_UNLIKELY(seconds >= 9e9)) {
        *span = isinf(seconds) ? MT_FOREVER : MT_FOREVER - 1;
    } else {
        mt_time rounded = (mt_time)(seconds * 1e9);
        *span = rounded + (rounded < seconds * 1e9); /* never too short */
    }
    return 0;
}

int
mtpy_parse_seconds(PyObject *object, const char *name, mt_time *span)
{
    long whole;
    if (PyLong_CheckExact(object) && mtpy_int_is_small(object, &whole) && whole >= 0 &&
        whole < INT32_MAX) {
        *span = whole * MT_SECOND;
        return 0;
    }
    double seconds = PyFloat_AsDouble(object);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError, "%s must be an integer or float, in seconds, got %.200s", name,
                         Py_TYPE(object)->tp_name);
            return -1;
        }
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return -1;
        PyErr_Clear(); /* an int beyond float: for ever, or an error just below */
        int is_negative = PyObject_RichCompareBool(object, Py_False, Py_LT);
        if (is_negative < 0)
            return -1;
        seconds = is_negative ? -INFINITY : INFINITY;
    }
    return mtpy_check_seconds(seconds, object, name, span);
}

int
mtpy_parse_timeout(PyObject *object, const char *name, mt_time *timeout)
{
    if (object == NULL || object == Py_None) {
        *timeout = MT_FOREVER;
        return 0;
    }
    return mtpy_parse_seconds(object, name, timeout);
}

int
mtpy_parse_capacity(PyObject *object, size_t *capacity)
{
    *capacity = SIZE_MAX;
    if (object == Py_None)
        return 0;
    PyObject *index = PyNumber_Index(object);
    if (!index) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "capacity must be an int or None, got %.200s",
                         Py_TYPE(object)->tp_name);
        return -1;
    }
    Py_ssize_t number = PyLong_AsSsize_t(index);
    Py_DECREF(index);
    if (number < 0) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "capacity must be >= 0 or None, got %zd", number);
        else if (PyErr_ExceptionMatches(PyExc_OverflowError))
            PyErr_Format(PyExc_ValueError, "capacity must be from 0 to %zd or None, got %R",
                         PY_SSIZE_T_MAX, object);
        return -1;
    }
    *capacity = (size_t)number;
    return 0;
}

int
mtpy_parse_slowly(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, const char *format,
                  const char *const *names, ...)
{
    int result = -1;
    PyObject *tuple = PyTuple_New(nargs);
    PyObject *dict = kwnames ? PyDict_New() : NULL;
    if (!tuple || (kwnames && !dict))
        goto done;
    for (Py_ssize_t i = 0; i < nargs; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
        if (PyDict_SetItem(dict, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]) < 0)
            goto done;
    va_list results;
    va_start(results, names);
    result = PyArg_VaParseTupleAndKeywords(tuple, dict, format, (char **)(uintptr_t)names, results)
                 ? 0
                 : -1;
    va_end(results);
done:
    Py_XDECREF(tuple);
    Py_XDECREF(dict);
    return result;
}

PyObject *
mtpy_futures_error(PyObject **slot, const char *name)
{
    if (!*slot) {
        PyObject *futures = PyImport_ImportModule("concurrent.futures");
        if (!futures)
            return NULL;
        *slot = PyObject_GetAttrString(futures, name);
        Py_DECREF(futures);
    }
    return *slot;
}

void
mtpy_report(struct mtpy_state *state, PyObject *exception, PyObject *thread)
{
    PyObject *pending = mtpy_error_take();
    PyObject *package = PyImport_ImportModule("microthread");
    PyObject *hook = package ? PyObject_GetAttrString(package, "excepthook") : NULL;
    if (hook == Py_None) { /* as threading has it: ours */
        PyObject *hooks = PyImport_ImportModule("microthread._hooks");
        Py_SETREF(hook, hooks ? PyObject_GetAttrString(hooks, "excepthook") : NULL);
        Py_XDECREF(hooks);
    }
    PyObject *args = hook ? PyStructSequence_New(state->hook_args_type) : NULL;
    PyObject *result = NULL;
    if (!hook) {
        /* So late in the interpreter's end that nothing can be imported: at least show it. */
        PyErr_Clear();
        mtpy_error_raise(Py_NewRef(exception));
        hook = Py_NewRef(thread);
    } else if (args) {
        PyObject *traceback = PyException_GetTraceback(exception);
        PyStructSequence_SetItem(args, 0, Py_NewRef(Py_TYPE(exception)));
        PyStructSequence_SetItem(args, 1, Py_NewRef(exception));
        PyStructSequence_SetItem(args, 2, traceback ? traceback : Py_NewRef(Py_None));
        PyStructSequence_SetItem(args, 3, Py_NewRef(thread));
        result = PyObject_CallOneArg(hook, args);
    }
    if (!result)
        PyErr_WriteUnraisable(hook);
    Py_XDECREF(result);
    Py_XDECREF(args);
    Py_XDECREF(hook);
    Py_XDECREF(package);
    if (pending)
        mtpy_error_raise(pending);
}
