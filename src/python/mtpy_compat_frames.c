/* SPDX-License-Identifier: MIT */
/* What the frames of a parked execution refer to, for the garbage collector.
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
