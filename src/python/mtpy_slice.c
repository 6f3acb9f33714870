/* SPDX-License-Identifier: MIT */
/* _Slicer: preemption. An OS thread of its own sees that a micro-thread has kept the loop for a time
   slice and has CPython run a handler, as if a signal had come: by itself that is the one thing that
   interrupts a running micro-thread between two bytecodes, in the main OS thread only, and lets it go
   on afterwards. The handler gives way. (A pending call would do it, too, but not a second one before
   the first has returned, which is when its micro-thread has its next turn.) */
#include "python/mtpy_slice.h"

#include <string.h>

struct mtpy_slicer {
    PyObject_HEAD
    struct mtpy_state *state;  /* borrowed: the type's module owns it */
    struct mtpy_sched *sched;  /* of the main OS thread; it outlives the helper */
    mt_time slice;             /* ns */
    int signal;                /* the number by which the handler is called */
    PyThread_type_lock stop;   /* held until the helper shall end */
    _Atomic bool is_stopped;   /* and the handler does nothing any more */
    _Atomic uint64_t asked;    /* core's progress + 1 in the turn that lasts too long; 0: none */
    uint64_t collector;        /* the id of who is inside the garbage collector; 0: nobody */
    unsigned collector_depth;  /* how often note_gc() was told of that beginning */
    bool is_boundary[256];     /* opcodes at which the evaluation loop itself looks for signals */
};

/* ---- the helper ---- */

static PyObject *
slicer_run(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_slicer *self = (struct mtpy_slicer *)object;
    const struct mt_sched *core = self->sched->core;
    self->state->service_threads++; /* it wakes nobody: a deadlock is one beside it, too */
    PyThreadState *tstate = PyEval_SaveThread();
    uint64_t before = mt_sched_progress(core);
    while (PyThread_acquire_lock_timed(self->stop, self->slice / 1000, 0) != PY_LOCK_ACQUIRED) {
        if (mt_sched_goes_on(core, before)) {
            atomic_store(&self->asked, before + 1);
            (void)PyErr_SetInterruptEx(self->signal);
            /* Up to 3.12 CPython hears of what another OS thread trips when the GIL changes hands. */
            PyEval_RestoreThread(tstate);
            tstate = PyEval_SaveThread();
        }
        before = mt_sched_progress(core);
    }
    PyThread_release_lock(self->stop);
    PyEval_RestoreThread(tstate);
    self->state->service_threads--;
    Py_RETURN_NONE;
}

static PyObject *
slicer_stop(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mtpy_slicer *self = (struct mtpy_slicer *)object;
    if (!atomic_exchange(&self->is_stopped, true))
        PyThread_release_lock(self->stop);
    Py_RETURN_NONE;
}

/* ---- the handler ---- */

/* Whether the evaluation loop has called us from this frame, and no C function has. After an error
   no, and there is no exception. */
static bool
is_at_boundary(struct mtpy_slicer *self, PyFrameObject *frame)
{
    int place = PyFrame_GetLasti(frame);
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *bytes = PyCode_GetCode(code); /* as it was compiled, whatever has become of it */
    bool result = bytes && place >= 0 && place < PyBytes_GET_SIZE(bytes) &&
                  self->is_boundary[(unsigned char)PyBytes_AS_STRING(bytes)[place]];
    Py_XDECREF(bytes);
    Py_DECREF(code);
    PyErr_Clear();
    return result;
}

static bool
starts_with(PyObject *text, const char *const *starts)
{
    const char *name = text && PyUnicode_Check(text) ? PyUnicode_AsUTF8(text) : NULL;
    for (; name && *starts; starts++)
        if (strncmp(name, *starts, strlen(*starts)) == 0)
            return true;
    PyErr_Clear();
    return false;
}

static bool
is_in_module(PyFrameObject *frame, const char *const *starts)
{
    PyObject *globals = PyFrame_GetGlobals(frame);
    bool result = starts_with(PyDict_GetItemString(globals, "__name__"), starts);
    Py_DECREF(globals);
    return result;
}

/* Whether what runs counts on not being interrupted: destructors, which run anywhere, this package, and
   the import system, which holds locks of OS threads. */
static bool
is_delicate(PyFrameObject *innermost)
{
    static const char *const careful[] = {"microthread.", "importlib._b", "_frozen_importlib", NULL};
    static const char *const calling_out[] = {"microthread._queues", "microthread._sync",
                                              "microthread._imports", NULL};
    static const char *const finalizer[] = {"__del__", NULL};
    if (is_in_module(innermost, careful))
        return true;
    bool result = false;
    PyFrameObject *frame = (PyFrameObject *)Py_NewRef(innermost);
    while (frame && !result) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        result = starts_with(code->co_name, finalizer) || is_in_module(frame, calling_out);
        Py_DECREF(code);
        Py_SETREF(frame, PyFrame_GetBack(frame));
    }
    Py_XDECREF(frame);
    return result;
}

static PyObject *
slicer_preempt(PyObject *object, PyObject *args)
{
    struct mtpy_slicer *self = (struct mtpy_slicer *)object;
    int number;
    PyObject *frame;
    if (!PyArg_ParseTuple(args, "iO:preempt", &number, &frame))
        return NULL;
    struct mtpy_sched *sched = self->sched;
    struct mt_sched *core = sched->core;
    if (atomic_load(&self->is_stopped) || PyThreadState_Get() != sched->tstate ||
        mt_sched_progress(core) + 1 != atomic_load(&self->asked) || !PyFrame_Check(frame))
        Py_RETURN_NONE; /* that turn is over */
    if (!is_at_boundary(self, (PyFrameObject *)frame)) {
        (void)PyErr_SetInterruptEx(self->signal); /* the next look may be the right one */
        Py_RETURN_NONE;
    }
    /* Where it must not be the helper asks again after another slice. */
    struct mtpy_thread *current = mtpy_thread_current(sched);
    if (!current->core.wait && current->outcome == MTPY_OUTCOME_NONE && !current->core.is_direct &&
        !sched->tstate->tracing && current->core.id != self->collector &&
        !is_delicate((PyFrameObject *)frame))
        mt_sched_pass(core);
    Py_RETURN_NONE;
}

/* It is the first and the last of gc.callbacks: those between are part of the collection. */
static PyObject *
slicer_note_gc(PyObject *object, PyObject *args)
{
    struct mtpy_slicer *self = (struct mtpy_slicer *)object;
    const char *phase;
    PyObject *info;
    if (!PyArg_ParseTuple(args, "sO:note_gc", &phase, &info))
        return NULL;
    if (PyThreadState_Get() != self->sched->tstate)
        Py_RETURN_NONE;
    if (strcmp(phase, "start") == 0) {
        self->collector = self->sched->core->current->id;
        self->collector_depth++;
    } else if (self->collector_depth && --self->collector_depth == 0) {
        self->collector = 0;
    }
    Py_RETURN_NONE;
}

/* ---- the type ---- */

static PyObject *
slicer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"slice", "signal", "opcodes", NULL};
    double slice;
    int number;
    const unsigned char *opcodes;
    Py_ssize_t count;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "diy#:_Slicer", names, &slice, &number, &opcodes,
                                     &count))
        return NULL;
    struct mtpy_state *state = mtpy_state_by_type(type);
    struct mtpy_sched *sched = mtpy_sched_get(state);
    struct mtpy_slicer *self = sched ? (struct mtpy_slicer *)type->tp_alloc(type, 0) : NULL;
    if (!self)
        return NULL;
    self->state = state;
    self->sched = sched;
    self->slice = (mt_time)(slice * 1e9);
    self->signal = number;
    for (Py_ssize_t i = 0; i < count; i++)
        self->is_boundary[opcodes[i]] = true;
    self->stop = PyThread_allocate_lock();
    if (!self->stop) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    (void)PyThread_acquire_lock(self->stop, WAIT_LOCK);
    return (PyObject *)self;
}

static void
slicer_dealloc(PyObject *object)
{
    struct mtpy_slicer *self = (struct mtpy_slicer *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->stop)
        PyThread_free_lock(self->stop);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef slicer_methods[] = {
    {"run", slicer_run, METH_NOARGS, "run($self)\n--\n\nThe helper OS thread; until stop()."},
    {"stop", slicer_stop, METH_NOARGS,
     "stop($self)\n--\n\nEnd it, from any OS thread. Twice is allowed."},
    {"preempt", slicer_preempt, METH_VARARGS,
     "preempt($self, signal, frame, /)\n--\n\nThe handler: give way, if the turn has lasted too long."},
    {"note_gc", slicer_note_gc, METH_VARARGS,
     "note_gc($self, phase, info, /)\n--\n\nFor gc.callbacks: nobody gives way inside the collector."},
    {0},
};

static PyType_Slot slicer_slots[] = {
    {Py_tp_doc,
     "_Slicer(slice, signal, opcodes)\n--\n\n"
     "Preemption of the calling OS thread's micro-threads, which must be the main one's: after slice\n"
     "seconds, by the handler of that signal, at one of these opcodes."},
    {Py_tp_new, slicer_new},
    {Py_tp_dealloc, slicer_dealloc},
    {Py_tp_methods, slicer_methods},
    {0, NULL},
};

static PyType_Spec slicer_spec = {
    .name = "microthread._core._Slicer",
    .basicsize = sizeof(struct mtpy_slicer),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slicer_slots,
};

int
mtpy_slice_add_type(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &slicer_spec, NULL);
    int failed = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
    Py_XDECREF(type);
    return failed;
}
