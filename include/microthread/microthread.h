/* SPDX-License-Identifier: MIT */
/* The C API of microthread: what an extension module needs to wait as a micro-thread, to be woken
   by a library's own OS threads, and to have its types sent between interpreters. docs/c_api.md
   shows it at work.

   C11 or later, and C++11 or later; the limited API of CPython will do. Nothing is linked:
   mt_import(), in the module's Py_mod_exec function, finds a table of functions. That table is one
   and constant in the whole process, and the functions find the interpreter that they are called
   in, so an extension may be imported in any number of interpreters at once. The pointer to it is
   one for each shared object, however many of its files include this one.

   "Attached": called by an OS thread that holds the GIL (has an attached thread state) of the
   interpreter that the deferred was made in. Functions that are not marked so may be called by any
   OS thread of the process at any time, but not in a signal handler. Those marked "waits" suspend
   the calling micro-thread while others run, are attached, and may run any Python code meanwhile.
   They also raise what is thrown into the micro-thread: microthread.Cancelled and the like.

   Unless a comment says otherwise: int functions return 0, or -1 with an exception set; functions
   that return a pointer return a new reference, or NULL with an exception set; arguments are
   borrowed. */
#ifndef MICROTHREAD_H
#define MICROTHREAD_H

#include <Python.h>

#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What this header wants. A later microthread serves earlier versions, as long as it can. */
#define MT_API_VERSION 1

/* For timeouts, which are in seconds: 0 never waits, this one has no limit, negative is a
   ValueError. */
#define MT_NO_TIMEOUT ((double)HUGE_VAL)

/* What mt_wait_fd() waits for; may be combined. */
#define MT_READABLE 1
#define MT_WRITABLE 2

/* A result that comes later, for C code: a reference-counted handle of a microthread.deferred. */
typedef struct mt_api_deferred mt_deferred;

/* A thing of yours that objects of several interpreters have in common; reference-counted. */
typedef struct mt_api_body mt_body;

/* The table. It only ever grows at its end. */
struct mt_api {
    int version; /* of the microthread that is there */
    int oldest;  /* the oldest MT_API_VERSION that it still serves */
    mt_deferred *(*deferred_new)(void);
    mt_deferred *(*deferred_ref)(mt_deferred *deferred);
    void (*deferred_unref)(mt_deferred *deferred);
    PyObject *(*deferred_object)(mt_deferred *deferred);
    int (*deferred_callback)(mt_deferred *deferred, PyObject *value);
    int (*deferred_errback)(mt_deferred *deferred, PyObject *exception);
    int (*deferred_post)(mt_deferred *deferred, PyObject *(*make)(void *arg), void *arg,
                         void (*drop)(void *arg));
    PyObject *(*deferred_wait)(mt_deferred *deferred, double timeout);
    int (*wait_fd)(int fd, int events, double timeout);
    int (*sleep)(double seconds);
    int (*run_blocking)(void (*function)(void *arg), void *arg);
    mt_body *(*body_new)(void *data, void (*destroy)(void *data));
    mt_body *(*body_ref)(mt_body *body);
    void (*body_unref)(mt_body *body);
    void *(*body_data)(mt_body *body);
    int (*register_clone)(PyTypeObject *type, mt_body *(*reduce)(PyObject *object),
                          PyObject *(*rebuild)(PyTypeObject *type, mt_body *body));
};

/* microthread itself knows the table without what follows. */
#ifndef MT_API_TABLE_ONLY

/* One for each shared object; set by mt_import(). */
__attribute__((weak, visibility("hidden"))) const struct mt_api *mt_api_table;

static inline const struct mt_api *
mt_api_get(void)
{
    const struct mt_api *table = __atomic_load_n(&mt_api_table, __ATOMIC_ACQUIRE);
    if (!table)
        Py_FatalError("microthread's C API is used, but mt_import() has not been called");
    return table;
}

/* Find the table; call it in each interpreter before anything else, in Py_mod_exec. Attached.
   -1: ImportError when microthread is not there, or is one that this header cannot work with; the
   message says which version is wanted and which is there. */
static inline int
mt_import(void)
{
    PyObject *module = PyImport_ImportModule("microthread._core");
    if (!module) {
        if (PyErr_ExceptionMatches(PyExc_ImportError)) {
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            PyErr_Format(PyExc_ImportError,
                         "version %d of microthread's C API is wanted, but microthread is not "
                         "there: %S",
                         MT_API_VERSION, value ? value : type);
            Py_XDECREF(type);
            Py_XDECREF(value);
            Py_XDECREF(traceback);
        }
        return -1;
    }
    PyObject *capsule = PyObject_GetAttrString(module, "_C_API");
    Py_DECREF(module);
    if (!capsule) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError))
            PyErr_Format(PyExc_ImportError,
                         "version %d of microthread's C API is wanted, but the microthread that is "
                         "there has no C API",
                         MT_API_VERSION);
        return -1;
    }
    const struct mt_api *table =
        (const struct mt_api *)PyCapsule_GetPointer(capsule, "microthread._core._C_API");
    Py_DECREF(capsule);
    if (!table)
        return -1;
    if (table->version < MT_API_VERSION || table->oldest > MT_API_VERSION) {
        PyErr_Format(PyExc_ImportError,
                     "version %d of microthread's C API is wanted, but the microthread that is "
                     "there has version %d, and serves from version %d on",
                     MT_API_VERSION, table->version, table->oldest);
        return -1;
    }
    __atomic_store_n(&mt_api_table, table, __ATOMIC_RELEASE);
    return 0;
}

/* ---- deferreds ---- */

/* A pending one, for the calling interpreter, with one reference. Attached. While it has not fired
   DeadlockError is not raised in that interpreter: somebody in C may still fire it. */
static inline mt_deferred *
mt_deferred_new(void)
{
    return mt_api_get()->deferred_new();
}

/* One more reference; returns the same. */
static inline mt_deferred *
mt_deferred_ref(mt_deferred *deferred)
{
    return mt_api_get()->deferred_ref(deferred);
}

/* Give a reference back; NULL is allowed. If it was the last one and nothing was fired, whoever
   waits in Python gets RuntimeError. May run Python code if the caller is attached. */
static inline void
mt_deferred_unref(mt_deferred *deferred)
{
    mt_api_get()->deferred_unref(deferred);
}

/* The microthread.deferred behind it: to be returned to Python, waited for, selected, given
   callbacks. Attached. */
static inline PyObject *
mt_deferred_object(mt_deferred *deferred)
{
    return mt_api_get()->deferred_object(deferred);
}

/* Fire it with a value. Attached, in any OS thread of the interpreter. Runs callbacks that Python
   code has added. RuntimeError when it was fired before. One that Python code has cancelled ignores
   it. */
static inline int
mt_deferred_callback(mt_deferred *deferred, PyObject *value)
{
    return mt_api_get()->deferred_callback(deferred, value);
}

/* The same with an exception, an instance or a class; NULL: the one that is set, which is taken
   away. */
static inline int
mt_deferred_errback(mt_deferred *deferred, PyObject *exception)
{
    return mt_api_get()->deferred_errback(deferred, exception);
}

/* Fire it from an OS thread that knows nothing of Python. make(arg) is called later by an OS thread
   of the deferred's interpreter, attached: it returns the value (a new reference), or NULL with the
   exception that is fired instead; it must not wait. make NULL: the value is None.
   drop(arg) is called instead of it, by any OS thread, attached or not, when nobody can get the
   value: it was fired before, or cancelled, or its interpreter has ended; it must not call Python.
   drop NULL: there is nothing to free.
   So exactly one of the two is called, once, whatever is returned. Allocates nothing, blocks for a
   short lock at most.
   Returns 0; -1, without an exception, when it had been fired before or its interpreter has
   ended. */
static inline int
mt_deferred_post(mt_deferred *deferred, PyObject *(*make)(void *arg), void *arg,
                 void (*drop)(void *arg))
{
    return mt_api_get()->deferred_post(deferred, make, arg, drop);
}

/* Its value, or its exception raised. Waits; any number of micro-threads may. TimeoutError when the
   time is up, and then nothing has changed. */
static inline PyObject *
mt_deferred_wait(mt_deferred *deferred, double timeout)
{
    return mt_api_get()->deferred_wait(deferred, timeout);
}

/* ---- waiting for other things ---- */

/* Until a descriptor can be read or written. Waits. Returns which of the events it is, at least
   one; or -1 with an exception: TimeoutError, or OSError(EBADF) if it is closed. */
static inline int
mt_wait_fd(int fd, int events, double timeout)
{
    return mt_api_get()->wait_fd(fd, events, timeout);
}

/* For so long; 0 lets the others run once. Waits. */
static inline int
mt_sleep(double seconds)
{
    return mt_api_get()->sleep(seconds);
}

/* Call function(arg) in a worker OS thread, not attached, and wait until it has returned. Waits.
   The function must not call Python, nor end its OS thread. 0: it has run. -1 with an exception: it
   has not run and never will: cancelled, or no memory or OS thread. Once it has begun nothing ends
   the wait, so arg may lie on the caller's stack; a cancellation comes at the next wait. */
static inline int
mt_run_blocking(void (*function)(void *arg), void *arg)
{
    return mt_api_get()->run_blocking(function, arg);
}

/* ---- types that are shared, not copied, when they are sent to another interpreter ---- */

/* A body with one reference. destroy(data) is called once, when the last reference is gone, by any
   OS thread, attached or not: it must not call Python. On failure data stays the caller's.
   Attached. */
static inline mt_body *
mt_body_new(void *data, void (*destroy)(void *data))
{
    return mt_api_get()->body_new(data, destroy);
}

/* One more reference; returns the same. */
static inline mt_body *
mt_body_ref(mt_body *body)
{
    return mt_api_get()->body_ref(body);
}

/* Give a reference back; NULL is allowed. */
static inline void
mt_body_unref(mt_body *body)
{
    mt_api_get()->body_unref(body);
}

/* What it was made with. Several OS threads may have it at once: lock what they change. */
static inline void *
mt_body_data(mt_body *body)
{
    return mt_api_get()->body_data(body);
}

/* Have instances of exactly this type sent by their bodies. Attached; in each interpreter, so best
   in Py_mod_exec. The type must be importable by its __module__ and __qualname__: the receiver
   imports the module if it has not yet.
   reduce: the body of an object, a new reference; or NULL with an exception.
   rebuild: an object of the receiving interpreter around a body, of which it takes a reference of
   its own; type is the receiver's. New, or NULL with an exception. */
static inline int
mt_register_clone(PyTypeObject *type, mt_body *(*reduce)(PyObject *object),
                  PyObject *(*rebuild)(PyTypeObject *type, mt_body *body))
{
    return mt_api_get()->register_clone(type, reduce, rebuild);
}

#endif /* MT_API_TABLE_ONLY */

#ifdef __cplusplus
}
#endif

#endif
