/* SPDX-License-Identifier: MIT */
/* Interpreters, each in an OS thread of its own with a scheduler and a loop of its own. Here is what
   the OS thread does from its first moment to its last, and the object by which the package knows a
   worker. What a worker does with requests is in the package: _worker.py there, interpreters.py
   here. */
#include "python/mtpy_interp.h"

#include "python/mtpy_channel.h"
#include "python/mtpy_compat_interp.h"

#include "base/mt_alloc.h"
#include "group/mt_realm.h"

#include <string.h>

struct mtpy_worker {
    PyObject_HEAD
    struct mt_realm *core; /* a reference */
};

/* What an interruption needs of a worker; on the stack of its OS thread. */
struct home {
    PyThreadState *tstate;
    struct mtpy_state *state;
    struct mtpy_sched *sched; /* its scheduler */
    unsigned long thread;     /* the OS thread as Python numbers it */
};

/* How long a busy one may keep a shared GIL: the default of sys.setswitchinterval(). */
enum { TURN = 5 * MT_MILLISECOND };

static void
drop_message(void *message)
{
    mt_message_free(message);
}

/* ---- the OS thread ---- */

/* sys.path becomes that of the creator: the paths come one after the other, each with its 0, and an
   empty one ends them. Returns 0 or -1 with an exception. */
static int
set_path(const char *paths)
{
    PyObject *list = PyList_New(0);
    for (const char *path = paths; list && *path; path += strlen(path) + 1) {
        PyObject *text = PyUnicode_DecodeFSDefault(path);
        if (!text || PyList_Append(list, text) < 0)
            Py_CLEAR(list);
        Py_XDECREF(text);
    }
    int failed = list ? PySys_SetObject("path", list) : -1;
    Py_XDECREF(list);
    return failed;
}

/* The text of the error indicator, which is cleared, for the creator. */
static void
keep_error(struct mt_realm *realm)
{
    PyObject *exception = mtpy_error_take();
    PyObject *text = exception ? PyUnicode_FromFormat("%s: %S", Py_TYPE(exception)->tp_name, exception)
                               : NULL;
    const char *bytes = text ? PyUnicode_AsUTF8(text) : NULL;
    snprintf(realm->error, sizeof realm->error, "%s", bytes ? bytes : "no reason given");
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(exception);
}

/* In an OS thread without a thread state. Whoever else waits for the GIL may get it when this
   one has it. Returns whether it was busy. */
static bool
make_it_give_way(struct mt_realm *realm)
{
    struct home *home = realm->host;
    if (atomic_load_explicit(&home->sched->core->is_polling, memory_order_relaxed))
        return false;
    PyThreadState *tstate = PyThreadState_New(PyThreadState_GetInterpreter(home->tstate));
    if (tstate) {
        PyEval_RestoreThread(tstate);
        PyThreadState_Clear(tstate);
        PyThreadState_DeleteCurrent();
    }
    return true;
}

/* Import the package and serve requests until told to stop. */
static void
serve(struct mt_realm *realm, struct home *home)
{
    PyObject *core = set_path(realm->argument) < 0 ? NULL
                                                    : PyImport_ImportModule("microthread._core");
    PyObject *package = core ? PyImport_ImportModule("microthread._worker") : NULL;
    struct mtpy_sched *sched = package ? mtpy_sched_get(mtpy_state_of(core)) : NULL;
    if (sched) {
        home->state = sched->state;
        home->sched = sched;
        home->state->realm = realm;
        realm->host = home;
        Py_BEGIN_ALLOW_THREADS
        mt_realm_set_living(realm, true);
        if (mtpy_interp_is_greedy && !realm->is_apart)
            (void)mt_realm_attend(realm, make_it_give_way, TURN); /* without, others wait longer */
        Py_END_ALLOW_THREADS
        PyObject *result = PyObject_CallMethod(package, "serve", NULL);
        if (!result && atomic_load(&realm->is_ready))
            PyErr_WriteUnraisable(package);
        Py_XDECREF(result);
        mtpy_channel_close_all(home->state);
        Py_BEGIN_ALLOW_THREADS
        mt_realm_set_living(realm, false);
        Py_END_ALLOW_THREADS
        mtpy_interp_interrupt(home->thread, NULL);
    }
    if (PyErr_Occurred())
        keep_error(realm);
    Py_XDECREF(package);
    Py_XDECREF(core);
}

static void
worker_body(struct mt_realm *realm)
{
    struct mtpy_interp interp;
    struct home home = {0};
    if (mtpy_interp_begin(&interp, realm->is_apart, realm->error, sizeof realm->error) == 0) {
        home.tstate = interp.tstate;
        home.thread = PyThread_get_thread_ident();
        atomic_store(&realm->id, PyInterpreterState_GetID(PyInterpreterState_Get()));
        serve(realm, &home);
        mtpy_interp_end(&interp);
    }
    mt_channel_close(realm->requests, MT_CHANNEL_RECV); /* those that came late can reach nobody */
    if (!atomic_load(&realm->is_ready))
        mt_realm_announce(realm);
}

/* ---- stopping ---- */

enum { GENTLE_INTERRUPTIONS = 10 }; /* as often as one that waits is told to leave */

/* Whether it is of the import system. An exception from nowhere would leave that with its locks held,
   of which one is the whole process's on 3.11; or nobody could catch it, and stderr would tell. */
static bool
is_of_imports(PyFrameObject *frame)
{
    static const char start[] = "<frozen importlib._bootstrap", end[] = "/microthread/_imports.py";
    PyCodeObject *code = PyFrame_GetCode(frame);
    Py_ssize_t size = 0;
    const char *name = PyUnicode_AsUTF8AndSize(code->co_filename, &size);
    if (!name)
        PyErr_Clear();
    size_t length = (size_t)size, tail = sizeof end - 1;
    bool is_it = name && (strncmp(name, start, sizeof start - 1) == 0 ||
                          (length >= tail && strcmp(name + length - tail, end) == 0));
    Py_DECREF(code);
    return is_it;
}

/* The trace function that no code can catch its exception from for long: each line raises it
   again, until the first frame of the micro-thread with this id is left. */
static int
raise_always(PyObject *id, PyFrameObject *frame, int what, PyObject *arg)
{
    struct mtpy_sched *sched = mtpy_sched_here;
    PyFrameObject *caller = PyFrame_GetBack(frame);
    bool is_left = what == PyTrace_RETURN && !caller && !arg;
    Py_XDECREF(caller);
    if (!sched || is_left || sched->core->current->id != PyLong_AsUnsignedLongLong(id)) {
        PyEval_SetTrace(NULL, NULL);
        return 0;
    }
    if ((what != PyTrace_LINE && what != PyTrace_CALL) || is_of_imports(frame))
        return 0;
    PyErr_SetNone(sched->state->MicroThreadExit);
    return -1;
}

/* The running micro-thread goes on, whatever is raised in it. */
static void
insist(struct mtpy_sched *sched)
{
    PyObject *id = PyLong_FromUnsignedLongLong(sched->core->current->id);
    if (id)
        mtpy_interp_trace(sched->tstate, raise_always, id);
    else
        PyErr_Clear();
    Py_XDECREF(id);
}

/* Whether the Python code that an OS thread runs is of the import system. The GIL is held. */
static bool
is_importing(PyThreadState *tstate)
{
    PyFrameObject *frame = PyThreadState_GetFrame(tstate);
    bool is_it = frame && is_of_imports(frame);
    Py_XDECREF(frame);
    return is_it;
}

/* In an OS thread without a thread state. One that has not gone on to anything else since the last visit
   and does not wait for anything is in the middle of something long. */
static void
interrupt_if_stuck(struct mt_realm *realm)
{
    struct home *home = realm->host;
    PyThreadState *tstate = PyThreadState_New(PyThreadState_GetInterpreter(home->tstate));
    if (!tstate)
        return;
    PyEval_RestoreThread(tstate);
    struct mt_sched *core = home->sched->core;
    uint64_t progress = core->switches + core->polls + atomic_load(&core->idles) + 1;
    if (progress != realm->progress)
        realm->interruptions = 0;
    else if (!core->is_polling) {
        if (!is_importing(home->tstate))
            mtpy_interp_interrupt(home->thread, home->state->MicroThreadExit);
        if (++realm->interruptions > GENTLE_INTERRUPTIONS && core->current != core->main)
            insist(home->sched);
    }
    realm->progress = progress;
    PyThreadState_Clear(tstate);
    PyThreadState_DeleteCurrent();
}

static void
interrupt_stuck_ones(void)
{
    enum { MOST = 256 };
    struct mt_realm *realms[MOST];
    size_t count = mt_realm_list(realms, MOST);
    for (size_t i = 0; i < count && i < MOST; i++) {
        mt_realm_visit(realms[i], interrupt_if_stuck);
        mt_realm_unref(realms[i]);
    }
}

/* _stop_workers(), at the end of the main interpreter: no more from now on; wait until those that there
   are have ended. */
static PyObject *
stop_workers(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    if (PyInterpreterState_Get() != PyInterpreterState_Main())
        Py_RETURN_NONE;
    Py_BEGIN_ALLOW_THREADS
    mt_realm_refuse();
    while (!mt_realm_wait_all(50 * MT_MILLISECOND))
        interrupt_stuck_ones();
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* _is_ending(): the process ends, and with it all workers. */
static PyObject *
is_ending(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyBool_FromLong(mt_realm_is_refusing());
}

/* _is_leaving(): all micro-threads of this OS thread have been told to leave. */
static PyObject *
is_leaving(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return PyBool_FromLong(mtpy_sched_here && mtpy_sched_here->is_exiting);
}

/* ---- the object ---- */

/* Steals the reference. New, or NULL. */
static PyObject *
wrap_worker(struct mtpy_state *state, struct mt_realm *core)
{
    struct mtpy_worker *self =
        (struct mtpy_worker *)state->worker_type->tp_alloc(state->worker_type, 0);
    if (self)
        self->core = core;
    else
        mt_realm_unref(core);
    return (PyObject *)self;
}

static void
worker_dealloc(PyObject *object)
{
    struct mtpy_worker *self = (struct mtpy_worker *)object;
    PyTypeObject *type = Py_TYPE(object);
    mt_realm_unref(self->core);
    type->tp_free(object);
    Py_DECREF(type);
}

static struct mt_realm *
core_of(PyObject *object)
{
    return ((struct mtpy_worker *)object)->core;
}

/* One more end of one of its channels, for this interpreter. */
static PyObject *
open_end(PyObject *object, struct mt_channel *channel, enum mt_channel_side side)
{
    mt_channel_open(channel, side);
    return mtpy_end_wrap(mtpy_state_by_type(Py_TYPE(object)), channel, side);
}

static PyObject *
worker_requests(PyObject *object, PyObject *unused)
{
    (void)unused;
    return open_end(object, core_of(object)->requests, MT_CHANNEL_SEND);
}

static PyObject *
worker_hello(PyObject *object, PyObject *unused)
{
    (void)unused;
    return open_end(object, core_of(object)->hello, MT_CHANNEL_RECV);
}

static PyObject *
worker_ended(PyObject *object, PyObject *unused)
{
    (void)unused;
    return open_end(object, core_of(object)->ended, MT_CHANNEL_RECV);
}

static PyObject *
worker_stop(PyObject *object, PyObject *unused)
{
    (void)unused;
    mt_realm_stop(core_of(object));
    Py_RETURN_NONE;
}

/* interrupt(): if it has done nothing but one long thing since the last time, interrupt that. */
static PyObject *
worker_interrupt(PyObject *object, PyObject *unused)
{
    (void)unused;
    int error = mt_realm_visit_soon(core_of(object), interrupt_if_stuck);
    return error ? mtpy_raise(error) : Py_NewRef(Py_None);
}

static PyObject *
worker_begin(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(!atomic_exchange(&core_of(object)->is_busy, true));
}

static PyObject *
worker_end(PyObject *object, PyObject *unused)
{
    (void)unused;
    atomic_store(&core_of(object)->is_busy, false);
    Py_RETURN_NONE;
}

static PyObject *
worker_take_ends(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mt_realm *core = core_of(object);
    PyObject *requests = open_end(object, core->requests, MT_CHANNEL_RECV);
    PyObject *stop = open_end(object, core->stop, MT_CHANNEL_RECV);
    PyObject *pair = requests && stop ? PyTuple_Pack(2, requests, stop) : NULL;
    Py_XDECREF(requests);
    Py_XDECREF(stop);
    return pair;
}

static PyObject *
worker_announce(PyObject *object, PyObject *unused)
{
    (void)unused;
    atomic_store(&core_of(object)->is_ready, true);
    mt_realm_announce(core_of(object));
    Py_RETURN_NONE;
}

static PyObject *
get_id(PyObject *object, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(atomic_load(&core_of(object)->id));
}

static PyObject *
get_error(PyObject *object, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(core_of(object)->error);
}

static PyObject *
get_is_ready(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(atomic_load(&core_of(object)->is_ready));
}

static PyObject *
get_is_stopping(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(atomic_load(&core_of(object)->is_stopping));
}

static PyObject *
get_is_busy(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(atomic_load(&core_of(object)->is_busy));
}

static PyGetSetDef worker_getset[] = {
    {"id", get_id, NULL, "The interpreter's id; -1 before it has one.", NULL},
    {"error", get_error, NULL, "Why it did not come up.", NULL},
    {"is_ready", get_is_ready, NULL, "It has come up.", NULL},
    {"is_stopping", get_is_stopping, NULL, "It has been told to stop.", NULL},
    {"is_busy", get_is_busy, NULL, "Between begin() and end().", NULL},
    {0},
};

static PyMethodDef worker_methods[] = {
    {"requests", worker_requests, METH_NOARGS, "The sending end of its requests."},
    {"hello", worker_hello, METH_NOARGS, "A receiving end that ends when it is ready or failed."},
    {"ended", worker_ended, METH_NOARGS, "A receiving end that ends when nothing of it is left."},
    {"stop", worker_stop, METH_NOARGS, "Tell it to stop."},
    {"interrupt", worker_interrupt, METH_NOARGS,
     "Interrupt what it runs, if that is the same as the last time and waits for nothing."},
    {"begin", worker_begin, METH_NOARGS, "Make it busy; False if it is."},
    {"end", worker_end, METH_NOARGS, "It is busy no longer."},
    {"take_ends", worker_take_ends, METH_NOARGS,
     "For the worker itself, once: the receiving ends of its requests and of the word to stop."},
    {"announce", worker_announce, METH_NOARGS, "For the worker itself: it is ready."},
    {0},
};

static PyType_Slot worker_slots[] = {
    {Py_tp_doc, "The OS thread of an interpreter, as the package sees it."},
    {Py_tp_dealloc, worker_dealloc},
    {Py_tp_methods, worker_methods},
    {Py_tp_getset, worker_getset},
    {0, NULL},
};

static PyType_Spec worker_spec = {
    .name = "microthread._core.worker",
    .basicsize = sizeof(struct mtpy_worker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = worker_slots,
};

/* ---- functions ---- */

/* _start_worker(paths, own_gil): paths as bytes, each with a 0 behind it. */
static PyObject *
start_worker(PyObject *module, PyObject *args)
{
    const char *paths;
    Py_ssize_t size;
    int own_gil;
    if (!PyArg_ParseTuple(args, "y#p:_start_worker", &paths, &size, &own_gil))
        return NULL;
    char *argument = mt_alloc((size_t)size + 1);
    if (!argument)
        return PyErr_NoMemory();
    memcpy(argument, paths, (size_t)size);
    argument[size] = 0;
    struct mt_realm *realm;
    int error = mt_realm_start(worker_body, argument, own_gil && mtpy_interp_is_parallel,
                                drop_message, &realm);
    if (error == MT_ECLOSED) {
        PyErr_SetString(PyExc_RuntimeError, "cannot create an interpreter: the process is ending");
        return NULL;
    }
    return error ? mtpy_raise(error) : wrap_worker(mtpy_state_of(module), realm);
}

static PyObject *
list_workers(PyObject *module, PyObject *unused)
{
    (void)unused;
    size_t most = 64, count;
    struct mt_realm **realms = NULL;
    for (;;) {
        PyMem_Free(realms);
        realms = PyMem_New(struct mt_realm *, most);
        if (!realms)
            return PyErr_NoMemory();
        count = mt_realm_list(realms, most);
        if (count <= most)
            break;
        for (size_t i = 0; i < most; i++)
            mt_realm_unref(realms[i]);
        most = 2 * count;
    }
    PyObject *list = PyList_New(0);
    for (size_t i = 0; i < count; i++) {
        PyObject *worker = wrap_worker(mtpy_state_of(module), realms[i]);
        if (list && (!worker || PyList_Append(list, worker) < 0))
            Py_CLEAR(list);
        Py_XDECREF(worker);
    }
    PyMem_Free(realms);
    return list;
}

static PyObject *
worker_here(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_state *state = mtpy_state_of(module);
    return state->realm ? wrap_worker(state, mt_realm_ref(state->realm)) : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"_start_worker", start_worker, METH_VARARGS, NULL},
    {"_workers", list_workers, METH_NOARGS, NULL},
    {"_worker_here", worker_here, METH_NOARGS, NULL},
    {"_is_ending", is_ending, METH_NOARGS, NULL},
    {"_is_leaving", is_leaving, METH_NOARGS, NULL},
    {"_stop_workers", stop_workers, METH_NOARGS, NULL},
    {0},
};

int
mtpy_interp_add(struct mtpy_state *state)
{
    PyObject *type = PyType_FromModuleAndSpec(state->module, &worker_spec, NULL);
    state->worker_type = (PyTypeObject *)type;
    if (!type || PyModule_AddType(state->module, state->worker_type) < 0 ||
        PyModule_AddObjectRef(state->module, "_PARALLEL",
                              mtpy_interp_is_parallel ? Py_True : Py_False) < 0)
        return -1;
    return PyModule_AddFunctions(state->module, functions);
}

void
mtpy_interp_after_fork(struct mtpy_state *state)
{
    state->realm = NULL;
    mt_realm_after_fork();
}
