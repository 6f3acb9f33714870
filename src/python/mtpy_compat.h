/* SPDX-License-Identifier: MIT */
/* The one file between us and CPython's versions: what of a PyThreadState belongs to a
   micro-thread, saved and restored at a switch, and the few calls that changed between 3.11 and
   3.15. Under the GIL. */
#ifndef MTPY_COMPAT_H
#define MTPY_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/mt_base.h"
#include "core/mt_stack.h"

/* What the module says of itself to versions that ask. */
#if PY_VERSION_HEX >= 0x030C0000
#define MTPY_MODULE_SLOTS {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#else
#define MTPY_MODULE_SLOTS
#endif

/* Bytes that each stack keeps for a saved thread state, and for the first frames of Python. */
extern const size_t mtpy_vm_host_size;
extern const size_t mtpy_vm_scratch_size;

/* The usual size of a slot, and the least that this version of CPython can live with, in bytes. */
extern const size_t mtpy_vm_stack_size;
extern const size_t mtpy_vm_stack_least;

/* Why this interpreter cannot be served, or NULL. */
const char *
mtpy_vm_refusal(void);

/* Up to 3.13 CPython maps and unmaps a chunk of 16 KiB each time a call crosses the end of a data
   stack: keep some of those chunks. Process-wide; once is enough. Returns 0 or MT_ENOMEM. */
int
mtpy_vm_cache_chunks(void);

/* Begin a fresh execution on a stack. Steals context, which may be NULL. */
void
mtpy_vm_enter(PyThreadState *tstate, struct mt_stack *stack, PyObject *context);

/* Save what belongs to the running execution into stack->host. */
void
mtpy_vm_leave(PyThreadState *tstate, struct mt_stack *stack);

/* Make the execution saved in stack->host the running one. */
void
mtpy_vm_resume(PyThreadState *tstate, struct mt_stack *stack);

#if PY_VERSION_HEX >= 0x030C0000
/* When tracing or monitoring changes, CPython instruments the code of all frames it knows of; from
   3.15 on it also reads what it noted there as soon as one of them raises. It does not know of parked
   ones: they are seen to when they go on. */
void
mtpy_vm_instrument(PyThreadState *tstate);
#endif

/* Let the C recursion checks of 3.14 and later know the running stack; is_native: the OS
   thread's own. */
void
mtpy_vm_protect(PyThreadState *tstate, const struct mt_stack *stack, bool is_native);

/* Put the thread state into the shape it had before any frame, on top of what main_stack->host
   saved, so that the interpreter can be finalized from any stack. */
void
mtpy_vm_abandon(PyThreadState *tstate, struct mt_stack *main_stack);

/* Whether the calling OS thread, which it belongs to, runs Python code with it at this moment. Needs no
   GIL. */
static inline bool
mtpy_vm_is_attached(const PyThreadState *tstate)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyThreadState_GetUnchecked() == tstate;
#else
    return _PyThreadState_UncheckedGet() == tstate;
#endif
}

/* The running execution's context: borrowed, or NULL; and taken away, new or NULL. */
PyObject *
mtpy_vm_context(PyThreadState *tstate);
PyObject *
mtpy_vm_take_context(PyThreadState *tstate);

/* Where the running execution's context is kept, or that of a parked one; it owns what is there. NULL
   may be replaced by an empty context. */
PyObject **
mtpy_vm_context_slot(PyThreadState *tstate);
PyObject **
mtpy_vm_parked_context_slot(const struct mt_stack *stack);

/* The innermost Python frame of a parked execution: new, or NULL without an error set. */
PyFrameObject *
mtpy_vm_parked_frame(PyThreadState *tstate, const struct mt_stack *stack);

/* Whether the collector can be told what parked executions refer to. */
#if PY_VERSION_HEX >= 0x030E0000 && !defined(Py_GIL_DISABLED)
bool
mtpy_vm_knows_frames(void);
#else
static inline bool
mtpy_vm_knows_frames(void)
{
    return false;
}
#endif

/* Whether all that the saved state of a parked execution owns can be visited, and do so: frames,
   contextvars, the exception being handled. What C functions on its stack hold is not in it. */
bool
mtpy_vm_can_be_visited(const struct mt_stack *stack);
int
mtpy_vm_visit(const struct mt_stack *stack, visitproc visit, void *arg);

/* Their halves in mtpy_compat_frames.c. */
struct _PyInterpreterFrame;
bool
mtpy_frames_can_be_visited(const struct _PyInterpreterFrame *frame);
int
mtpy_frames_visit(const struct _PyInterpreterFrame *frame, visitproc visit, void *arg);

/* The innermost exception of this type that is being handled in the running execution: borrowed, or
   NULL. */
PyObject *
mtpy_vm_handled(PyThreadState *tstate, PyObject *type);

/* The same in a parked one. */
PyObject *
mtpy_vm_parked_handled(const struct mt_stack *stack, PyObject *type);

/* Have CPython write a byte to this descriptor when a signal comes: once, when the scheduler is made
   (-1 when its loop is gone), and around each poll, as far as the version can. A descriptor that
   the program itself has set stays. Returns 0 or -1 with an exception. */
int
mtpy_signal_install(int fd);
void
mtpy_signal_poll_begin(PyThreadState *tstate, int fd);
void
mtpy_signal_poll_end(int fd);

/* PyErr_CheckSignals(), after which nothing is told about those signals again. */
int
mtpy_signal_check(PyThreadState *tstate);

/* The bytes that an int takes in two's complement, or -1 with an exception; write it, least byte first:
   0 or -1; read it back: new, or NULL. */
Py_ssize_t
mtpy_int_size(PyObject *object);
int
mtpy_int_write(PyObject *object, unsigned char *bytes, Py_ssize_t size);
PyObject *
mtpy_int_read(const unsigned char *bytes, Py_ssize_t size);

/* The value of an int of exactly that type if it has one digit; else false. */
static inline bool
mtpy_int_is_small(PyObject *object, long *value)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)object))
        return false;
    *value = (long)PyUnstable_Long_CompactValue((PyLongObject *)object);
    return true;
#else
    Py_ssize_t size = Py_SIZE(object);
    *value = size * (long)((PyLongObject *)object)->ob_digit[0];
    return size >= -1 && size <= 1;
#endif
}

/* An attribute; *value: new, or NULL when there is none. Returns 1, 0 or -1 with an exception. */
int
mtpy_lookup_attr(PyObject *object, PyObject *name, PyObject **value);

/* Have a str in the form that PyUnicode_DATA() wants. Returns 0 or -1 with an exception. */
int
mtpy_str_ready(PyObject *object);

/* The error indicator's exception, whole and with its traceback; the indicator is cleared. New. */
PyObject *
mtpy_error_take(void);

/* Raise this instance, with the traceback it has. Steals it. */
void
mtpy_error_raise(PyObject *exception);

/* Tell sys.unraisablehook of the exception being raised, which ended a thread's function. */
void
mtpy_error_unraisable_in_thread(PyObject *function);

#endif
