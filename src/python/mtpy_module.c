/* SPDX-License-Identifier: MIT */
/* The extension module microthread._core: its functions, its types and its state. */
#include "python/mtpy_capi.h"
#include "python/mtpy_channel.h"
#include "python/mtpy_clone.h"
#include "python/mtpy_ends.h"
#include "python/mtpy_file.h"
#include "python/mtpy_fork.h"
#include "python/mtpy_group.h"
#include "python/mtpy_interp.h"
#include "python/mtpy_loop.h"
#include "python/mtpy_owner.h"
#include "python/mtpy_parcel.h"
#include "python/mtpy_patch.h"
#include "python/mtpy_pipe.h"
#include "python/mtpy_select.h"
#include "python/mtpy_shared.h"
#include "python/mtpy_signal.h"
#include "python/mtpy_slice.h"
#include "python/mtpy_socket.h"
#include "python/mtpy_sync.h"
#include "python/mtpy_trace.h"

#include "base/mt_alloc.h"
#include "io/mt_io.h"

static struct PyModuleDef module_def;

struct mtpy_state *
mtpy_state_by_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &module_def);
    assert(module);
    return mtpy_state_of(module);
}

struct mtpy_state *
mtpy_state_here(void)
{
    struct mtpy_sched *sched = mtpy_sched_here;
    if (MT_LIKELY(sched && sched->tstate == PyThreadState_Get()))
        return sched->state;
    PyObject *module = PyImport_ImportModule("microthread._core");
    if (!module)
        return NULL;
    bool is_ours = PyModule_Check(module) && PyModule_GetDef(module) == &module_def;
    Py_DECREF(module); /* sys.modules has it */
    if (is_ours)
        return mtpy_state_of(module);
    PyErr_SetString(PyExc_RuntimeError, "sys.modules['microthread._core'] is not what it should be");
    return NULL;
}

/* ---- micro-threads ---- */

static PyObject *
core_spawn(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct mtpy_state *state = mtpy_state_of(module);
    struct mtpy_sched *sched = mtpy_sched_get(state);
    if (!sched)
        return NULL;
    struct mtpy_thread *thread = mtpy_thread_make(sched, state->thread_type, args, nargs, kwnames);
    if (!thread)
        return NULL;
    mtpy_thread_launch(sched, (struct mtpy_thread *)Py_NewRef(thread));
    return (PyObject *)thread;
}

static PyObject *
core_current(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    return sched ? Py_NewRef(mtpy_thread_current(sched)) : NULL;
}

static PyObject *
yield_now(struct mtpy_sched *sched)
{
    int error = mt_sched_yield(sched->core);
    if (MT_UNLIKELY(error))
        return mtpy_raise(error);
    Py_RETURN_NONE;
}

static PyObject *
core_yield_now(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    return sched ? yield_now(sched) : NULL;
}

static PyObject *
core_sleep(PyObject *module, PyObject *seconds)
{
    mt_time span;
    if (mtpy_parse_seconds(seconds, "seconds", &span) < 0)
        return NULL;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    if (!sched)
        return NULL;
    if (span == 0)
        return yield_now(sched);
    int error = mt_sleep(sched->core, span);
    if (MT_UNLIKELY(error))
        return mtpy_raise(error);
    Py_RETURN_NONE;
}

static PyObject *
core_new_scope(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_state *state = mtpy_state_of(module);
    if (++state->next_scope == 0)
        state->next_scope = 1;
    return PyLong_FromUnsignedLong(state->next_scope);
}

/* ---- descriptors ---- */

/* A descriptor number from an int or an object with fileno(); -1 with an exception. */
static int
parse_fd(PyObject *object)
{
    return PyObject_AsFileDescriptor(object);
}

static PyObject *
wait_fd(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int events)
{
    static const char *const names[] = {"fd", "timeout", NULL};
    PyObject *object, *given = NULL;
    mt_time timeout;
    if (mtpy_parse_slowly(args, nargs, kwnames,
                          events == MT_FD_READ ? "O|O:wait_readable" : "O|O:wait_writable", names,
                          &object, &given) < 0 ||
        mtpy_parse_timeout(given, "timeout", &timeout) < 0)
        return NULL;
    int fd = parse_fd(object);
    struct mtpy_sched *sched = fd < 0 ? NULL : mtpy_sched_get(mtpy_state_of(module));
    if (!sched)
        return NULL;
    int error = MT_ETIMEDOUT;
    if (timeout == 0) {
        int is_ready = mtpy_fd_is_ready(fd, (enum mt_fd_events)events);
        if (is_ready < 0)
            return NULL;
        if (is_ready)
            error = 0;
    } else {
        error =
            mt_io_wait(sched->core, fd, events, mt_sched_deadline(sched->core, timeout), false);
    }
    if (error)
        return mtpy_raise(error);
    Py_RETURN_NONE;
}

static PyObject *
core_wait_readable(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return wait_fd(module, args, nargs, kwnames, MT_FD_READ);
}

static PyObject *
core_wait_writable(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return wait_fd(module, args, nargs, kwnames, MT_FD_WRITE);
}

static PyObject *
core_forget_fd(PyObject *module, PyObject *object)
{
    int fd = parse_fd(object);
    if (fd < 0)
        return NULL;
    mtpy_socket_forget(mtpy_state_of(module), fd); /* whoever waits for it, in any OS thread */
    Py_RETURN_NONE;
}

/* ---- select ---- */

static PyObject *
core_select(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return mtpy_select(mtpy_state_of(module), args, nargs, kwnames);
}

static PyObject *
core_readable(PyObject *module, PyObject *object)
{
    int fd = parse_fd(object);
    return fd < 0 ? NULL : mtpy_case_new(mtpy_state_of(module), MTPY_CASE_READABLE, NULL, NULL, fd);
}

static PyObject *
core_writable(PyObject *module, PyObject *object)
{
    int fd = parse_fd(object);
    return fd < 0 ? NULL : mtpy_case_new(mtpy_state_of(module), MTPY_CASE_WRITABLE, NULL, NULL, fd);
}

static PyObject *
core_after(PyObject *module, PyObject *seconds)
{
    mt_time span;
    if (mtpy_parse_seconds(seconds, "seconds", &span) < 0)
        return NULL;
    return mtpy_case_new(mtpy_state_of(module), MTPY_CASE_AFTER, NULL, NULL, span);
}

/* ---- for the package's own Python files ---- */

static PyObject *
core_expect_wake(PyObject *module, PyObject *change)
{
    long number = PyLong_AsLong(change);
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    if (!sched || (number == -1 && PyErr_Occurred()))
        return NULL;
    sched->core->external += (size_t)number;
    Py_RETURN_NONE;
}

static PyObject *
core_tick(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    if (!sched)
        return NULL;
    mt_spend(sched->core, 1);
    Py_RETURN_NONE;
}

/* The next call that goes ahead at once does not give way, whatever has gone ahead before. */
static PyObject *
core_forget_calls(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    if (!sched)
        return NULL;
    sched->core->budget = MT_BUDGET;
    Py_RETURN_NONE;
}

/* Raise what is pending for the running micro-thread, in a call that has nothing to wait for. */
static PyObject *
core_heed(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    if (!sched)
        return NULL;
    struct mt_thread *current = sched->core->current;
    int error = current->is_pending ? sched->core->hooks->check(sched->core, current) : 0;
    if (error)
        return mtpy_raise(error);
    Py_RETURN_NONE;
}

static PyObject *
core_mark_service_thread(PyObject *module, PyObject *unused)
{
    (void)unused;
    PyObject *dict = PyThreadState_GetDict(); /* borrowed */
    if (!dict || PyDict_SetItemString(dict, MTPY_SERVICE_MARK, Py_True) < 0)
        return dict ? NULL : PyErr_NoMemory();
    mtpy_state_of(module)->service_threads++;
    if (mtpy_sched_here)
        mtpy_sched_here->is_service = true;
    Py_RETURN_NONE;
}

static PyObject *
core_shut_down(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_state *state = mtpy_state_of(module);
    PyThreadState *tstate = PyThreadState_Get();
    struct mtpy_sched *sched = state->scheds;
    while (sched && sched->tstate != tstate)
        sched = sched->next;
    int failed = sched ? mtpy_sched_shut_down(sched) : 0;
    PyObject *pending = failed ? mtpy_error_take() : NULL;
    failed |= mtpy_trace_end(state);
    if (pending)
        mtpy_error_raise(pending);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *
core_fail_allocation(PyObject *module, PyObject *nth)
{
    (void)module;
    unsigned long number = PyLong_AsUnsignedLong(nth);
    if (PyErr_Occurred())
        return NULL;
    mt_alloc_fail_nth(number);
    Py_RETURN_NONE;
}

/* ---- the module ---- */

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef module_methods[] = {
    {"spawn", CAST(core_spawn), METH_FASTCALL | METH_KEYWORDS,
     "spawn(fn, /, *args, **kwargs)\n--\n\n"
     "Make a micro_thread that runs fn(*args, **kwargs) and queue it; returns it at once.\n\n"
     "It runs in a copy of the caller's contextvars context. TypeError if fn is not callable."},
    {"current", CAST(core_current), METH_NOARGS,
     "current()\n--\n\nThe running micro_thread; there is always one in each OS thread."},
    {"yield_now", CAST(core_yield_now), METH_NOARGS,
     "yield_now()\n--\n\nGo to the back of the run queue."},
    {"sleep", CAST(core_sleep), METH_O,
     "sleep(seconds, /)\n--\n\n"
     "Suspend for that long while others run; sleep(0) is yield_now().\n\n"
     "ValueError for negative or NaN. Pending timers are kept in a 4-ary heap."},
    {"wait_readable", CAST(core_wait_readable), METH_FASTCALL | METH_KEYWORDS,
     "wait_readable(fd, timeout=None)\n--\n\n"
     "Wait until a descriptor (an int or an object with fileno()) can be read.\n\n"
     "timeout: seconds >= 0, None for no limit. Raises TimeoutError, OSError(EBADF) if it is closed."},
    {"wait_writable", CAST(core_wait_writable), METH_FASTCALL | METH_KEYWORDS,
     "wait_writable(fd, timeout=None)\n--\n\n"
     "Wait until a descriptor (an int or an object with fileno()) can be written.\n\n"
     "timeout: seconds >= 0, None for no limit. Raises TimeoutError, OSError(EBADF) if it is closed."},
    {"select", CAST(core_select), METH_FASTCALL | METH_KEYWORDS,
     "select(*cases, timeout=None)\n--\n\n"
     "Wait for the first of several things; returns (index, value) of exactly one, and the others are\n"
     "left as if never asked. Several ready: each is as likely.\n\n"
     "cases: pipe.taking(), pipe.putting(obj), readable(fd), writable(fd), after(seconds), deferreds\n"
     "and micro_threads. One that would raise is ready, and raises. timeout: seconds >= 0, 0 polls,\n"
     "None for no limit; raises TimeoutError."},
    {"readable", CAST(core_readable), METH_O,
     "readable(fd, /)\n--\n\nA case of select(): a descriptor can be read."},
    {"writable", CAST(core_writable), METH_O,
     "writable(fd, /)\n--\n\nA case of select(): a descriptor can be written."},
    {"after", CAST(core_after), METH_O,
     "after(seconds, /)\n--\n\nA case of select(): so much time has passed."},
    {"_new_scope", CAST(core_new_scope), METH_NOARGS, NULL},
    {"_forget_fd", CAST(core_forget_fd), METH_O, NULL},
    {"_expect_wake", CAST(core_expect_wake), METH_O, NULL},
    {"_tick", CAST(core_tick), METH_NOARGS, NULL},
    {"_forget_calls", CAST(core_forget_calls), METH_NOARGS, NULL},
    {"_heed", CAST(core_heed), METH_NOARGS, NULL},
    {"_keep_running_loop", mtpy_loop_keep, METH_VARARGS, NULL},
    {"_mark_service_thread", CAST(core_mark_service_thread), METH_NOARGS, NULL},
    {"_shut_down", CAST(core_shut_down), METH_NOARGS, NULL},
    {"_make_socket_type", mtpy_socket_make_type, METH_O, NULL},
    {"_set_socket_class", mtpy_socket_set_class, METH_O, NULL},
    {"_fail_allocation", CAST(core_fail_allocation), METH_O, NULL},
    {0},
};

static PyStructSequence_Field hook_args_fields[] = {
    {"exc_type", "The exception's type"},
    {"exc_value", "The exception"},
    {"exc_traceback", "Its traceback, or None"},
    {"micro_thread", "The micro_thread it ended, or None"},
    {0},
};

static PyStructSequence_Desc hook_args_desc = {
    .name = "microthread.ExceptHookArgs",
    .doc = "What microthread.excepthook is called with.",
    .fields = hook_args_fields,
    .n_in_sequence = 4,
};

/* Make an exception class and add it. Returns 0 or -1. */
static int
add_exception(PyObject *module, PyObject **slot, const char *name, const char *doc, PyObject *base)
{
    *slot = PyErr_NewExceptionWithDoc(name, doc, base, NULL);
    return *slot ? PyModule_AddType(module, (PyTypeObject *)*slot) : -1;
}

static int
add_type(PyObject *module, PyTypeObject **slot, PyType_Spec *spec)
{
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *slot ? PyModule_AddType(module, *slot) : -1;
}

static int
module_exec(PyObject *module)
{
    const char *refusal = mtpy_vm_refusal();
    if (refusal) {
        PyErr_SetString(PyExc_ImportError, refusal);
        return -1;
    }
    if (mtpy_vm_cache_chunks()) {
        PyErr_NoMemory();
        return -1;
    }
    struct mtpy_state *state = mtpy_state_of(module);
    state->module = module;
    mt_list_init(&state->handles);
    if (mtpy_fork_prepare() < 0 || mtpy_signal_prepare(state) < 0 ||
        add_type(module, &state->thread_type, &mtpy_thread_spec) < 0 ||
        add_type(module, &state->pipe_type, &mtpy_pipe_spec) < 0 ||
        add_type(module, &state->writer_type, &mtpy_writer_spec) < 0 ||
        add_type(module, &state->ends_type, &mtpy_ends_spec) < 0 ||
        PyModule_AddFunctions(module, mtpy_stdio_functions) < 0 ||
        PyModule_AddFunctions(module, mtpy_look_functions) < 0 ||
        PyModule_AddFunctions(module, mtpy_trace_functions) < 0 ||
        PyModule_AddFunctions(module, mtpy_fork_functions) < 0 ||
        PyModule_AddFunctions(module, mtpy_signal_functions) < 0 ||
        PyModule_AddFunctions(module, mtpy_file_functions) < 0 ||
        add_type(module, &state->guard_type, &mtpy_guard_spec) < 0 ||
        PyModule_AddFunctions(module, mtpy_patch_functions) < 0 ||
        add_type(module, &state->deferred_type, &mtpy_deferred_spec) < 0 ||
        add_type(module, &state->timeout_type, &mtpy_timeout_spec) < 0 ||
        add_type(module, &state->move_on_after_type, &mtpy_move_on_after_spec) < 0 ||
        add_type(module, &state->shield_type, &mtpy_shield_spec) < 0 ||
        add_type(module, &state->group_type, &mtpy_group_spec) < 0 ||
        add_type(module, &state->case_type, &mtpy_case_spec) < 0 ||
        mtpy_watch_add_type(module) < 0 || mtpy_slice_add_type(module) < 0)
        return -1;
    state->member_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &mtpy_member_spec, (PyObject *)state->thread_type);
    if (!state->member_type)
        return -1;
    state->timeout_type->tp_vectorcall = mtpy_timeout_make;
    state->move_on_after_type->tp_vectorcall = mtpy_move_on_after_make;
    if (mtpy_sync_add_types(state) < 0 || mtpy_clone_add(state, module) < 0 ||
        mtpy_shared_add(state, module) < 0)
        return -1;
    state->hook_args_type = PyStructSequence_NewType(&hook_args_desc);
    if (!state->hook_args_type || PyModule_AddType(module, state->hook_args_type) < 0)
        return -1;
    if (add_exception(module, &state->MicroThreadExit, "microthread.MicroThreadExit",
                      "Raised in a micro-thread to end it in silence.", PyExc_BaseException) < 0 ||
        add_exception(module, &state->Cancelled, "microthread.Cancelled",
                      "Raised in a micro-thread that was cancelled.", state->MicroThreadExit) < 0 ||
        add_exception(module, &state->PipeClosed, "microthread.PipeClosed",
                      "A put or send that can reach nobody.", PyExc_BrokenPipeError) < 0 ||
        add_exception(module, &state->DeadlockError, "microthread.DeadlockError",
                      "The main micro-thread waits and nothing can ever wake anyone.",
                      PyExc_RuntimeError) < 0)
        return -1;
    PyObject *sees_frames = mtpy_vm_knows_frames() ? Py_True : Py_False;
    if (PyModule_AddObjectRef(module, "_sees_frames", sees_frames) < 0 || /* for the tests */
        mtpy_channel_add(state) < 0 || mtpy_interp_add(state) < 0 || mtpy_parcel_add(state) < 0 ||
        mtpy_capi_add(state) < 0)
        return -1;
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct mtpy_state *state = mtpy_state_of(module);
#define VISIT_(type, name) Py_VISIT(state->name);
    MTPY_STATE_OBJECTS(VISIT_)
#undef VISIT_
    return 0;
}

static int
module_clear(PyObject *module)
{
    struct mtpy_state *state = mtpy_state_of(module);
#define CLEAR_(type, name) Py_CLEAR(state->name);
    MTPY_STATE_OBJECTS(CLEAR_)
#undef CLEAR_
    for (int i = 0; i < MTPY_WORDS; i++)
        Py_CLEAR(state->clone_words[i]);
    return 0;
}

static void
module_free(void *module)
{
    mtpy_owner_fini(mtpy_state_of(module));
    mtpy_channel_close_all(mtpy_state_of(module));
    (void)module_clear(module);
    mt_message_cache_fini(&mtpy_state_of(module)->messages);
    if (mtpy_state_of(module)->scheds_lock)
        PyThread_free_lock(mtpy_state_of(module)->scheds_lock);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    MTPY_MODULE_SLOTS
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "microthread._core",
    .m_doc = "The C core of microthread; use the package.",
    .m_size = sizeof(struct mtpy_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

extern PyMODINIT_FUNC
PyInit__core(void); /* the import machinery's entry; no header names it */

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module_def);
}
