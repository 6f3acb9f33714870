/* SPDX-License-Identifier: MIT */
/* The frames of a parked execution: what they refer to, for the garbage collector; and their
   instrumentation, at the end.
   From 3.14 on CPython keeps a frame's stack pointer and its slots exact around each call that may run
   other code, since its own collector reads them. Up to 3.13 the depth of a stack that is in a call
   of C lies in a register of the evaluation loop: there nothing is told, and a parked micro-thread
   keeps what it refers to. */
#include "python/mtpy_compat.h"

#if PY_VERSION_HEX >= 0x030E0000 && !defined(Py_GIL_DISABLED)

#define Py_BUILD_CORE 1
#include <internal/pycore_debug_offsets.h>
#include <internal/pycore_interpframe_structs.h>

/* The build's layout of frames against the running interpreter's, which a micro release may change;
   the table for debuggers stands at the beginning of the exported runtime. */
extern const char _PyRuntime[];

bool
mtpy_vm_knows_frames(void)
{
    const struct _Py_DebugOffsets *its = (const void *)_PyRuntime;
    return its->interpreter_frame.size == sizeof(struct _PyInterpreterFrame) &&
           its->interpreter_frame.previous == offsetof(struct _PyInterpreterFrame, previous) &&
           its->interpreter_frame.owner == offsetof(struct _PyInterpreterFrame, owner) &&
           its->interpreter_frame.localsplus == offsetof(struct _PyInterpreterFrame, localsplus) &&
           its->interpreter_frame.stackpointer ==
               offsetof(struct _PyInterpreterFrame, stackpointer);
}

/* The object that a slot owns a reference to: borrowed, or NULL. The low bits say that it owns none,
   or that it is no object at all. */
static inline PyObject *
owned_by(_PyStackRef slot)
{
    return slot.bits & 3 ? NULL : (PyObject *)slot.bits;
}

bool
mtpy_frames_can_be_visited(const struct _PyInterpreterFrame *frame)
{
    for (; frame; frame = frame->previous) {
        if (frame->owner >= FRAME_OWNED_BY_INTERPRETER)
            continue;
        /* A generator visits its frame itself, and would be finalized while it runs. */
        if (frame->owner != FRAME_OWNED_BY_THREAD || !frame->stackpointer)
            return false;
    }
    return true;
}

int
mtpy_frames_visit(const struct _PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    for (; frame; frame = frame->previous) {
        if (frame->owner >= FRAME_OWNED_BY_INTERPRETER)
            continue;
        Py_VISIT(owned_by(frame->f_executable));
        Py_VISIT(owned_by(frame->f_funcobj));
        Py_VISIT(frame->f_locals);
        Py_VISIT((PyObject *)frame->frame_obj);
        for (const _PyStackRef *slot = frame->localsplus; slot < frame->stackpointer; slot++)
            Py_VISIT(owned_by(*slot));
    }
    return 0;
}

#else

bool
mtpy_frames_can_be_visited(const struct _PyInterpreterFrame *frame)
{
    (void)frame;
    return false;
}

int
mtpy_frames_visit(const struct _PyInterpreterFrame *frame, visitproc visit, void *arg)
{
    (void)frame, (void)visit, (void)arg;
    return 0;
}

#endif

/* ---- instrumentation ---- */

#if PY_VERSION_HEX >= 0x030F0000
extern int
_Py_Instrument(PyCodeObject *code, PyInterpreterState *interpreter) __attribute__((weak));

void
mtpy_vm_instrument(PyThreadState *tstate)
{
    PyFrameObject *frame = _Py_Instrument ? PyThreadState_GetFrame(tstate) : NULL;
    while (frame) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        if (_Py_Instrument(code, tstate->interp) < 0)
            PyErr_Clear();
        Py_DECREF(code);
        Py_SETREF(frame, PyFrame_GetBack(frame));
    }
}
#elif PY_VERSION_HEX >= 0x030C0000
/* A tool of sys.monitoring that nobody uses, or -1. */
static int
borrow_tool(PyObject *monitoring)
{
    static const int tools[] = {4, 3, 5, 2, 1, 0};
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
        PyObject *result =
            PyObject_CallMethod(monitoring, "use_tool_id", "is", tools[i], "microthread");
        Py_XDECREF(result);
        if (result)
            return tools[i];
        PyErr_Clear();
    }
    return -1;
}

/* To change which events one code object has of its own brings it up to date. */
void
mtpy_vm_instrument(PyThreadState *tstate)
{
    PyObject *pending = PyErr_GetRaisedException();
    PyObject *monitoring = PySys_GetObject("monitoring");
    int tool = monitoring ? borrow_tool(monitoring) : -1;
    PyFrameObject *frame = tool >= 0 ? PyThreadState_GetFrame(tstate) : NULL;
    while (frame) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        for (int events = 1; events >= 0; events--)
            Py_XDECREF(PyObject_CallMethod(monitoring, "set_local_events", "iOi", tool, code, events));
        PyErr_Clear();
        Py_DECREF(code);
        Py_SETREF(frame, PyFrame_GetBack(frame));
    }
    if (tool >= 0)
        Py_XDECREF(PyObject_CallMethod(monitoring, "free_tool_id", "i", tool));
    PyErr_SetRaisedException(pending);
}
#endif
