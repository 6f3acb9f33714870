/* SPDX-License-Identifier: MIT */
/* fork(): in the child the micro-thread that called it goes on, as the main one, and no other. Handlers of
   other modules may run before ours, and wait or give way: so the others are dropped before any Python
   code runs there, and our handler does what needs Python. */
#include "python/mtpy_fork.h"

#include "python/mtpy_capi.h"
#include "python/mtpy_group.h"
#include "python/mtpy_interp.h"
#include "python/mtpy_owner.h"
#include "python/mtpy_scope.h"
#include "python/mtpy_signal.h"
#include "python/mtpy_trace.h"

#include "group/mt_global.h"
#include "io/mt_file.h"
#include "io/mt_worker.h"

#include <unistd.h>

static void
abandon_thread(struct mt_thread *core)
{
    struct mtpy_thread *thread = mtpy_thread_of(core);
    thread->outcome = MTPY_OUTCOME_CANCELLED;
    mtpy_scope_unset_all(thread);
    if (thread->is_member)
        mtpy_group_forget((struct mtpy_member *)thread);
}

/* The scheduler of the calling OS thread, or NULL. */
static struct mtpy_sched *
find_sched(const struct mtpy_state *state)
{
    struct mtpy_sched *sched = state->scheds;
    while (sched && sched->tstate != PyThreadState_Get())
        sched = sched->next;
    return sched;
}

/* Only the caller goes on. here: the scheduler that is left, or NULL. Runs no Python code. */
static void
begin_again(struct mtpy_state *state, struct mtpy_sched *here)
{
    mt_global_note_fork();
    mtpy_interp_after_fork(state);
    state->scheds = here;
    state->scheds_lock = NULL; /* it may be held by one that is not there any more */
    state->service_threads = 0;
    mtpy_sched_here = here;
    mtpy_owner_after_fork(state, here ? here->core : NULL);
    mtpy_capi_after_fork(state);
    mtpy_trace_after_fork(state, here);
    if (!here)
        return;
    here->next = NULL;
    here->born_in = getpid();
    here->signal_fd = -1;
    here->fork_error = mt_sched_after_fork(here->core, abandon_thread);
    if (here->files)
        mt_files_after_fork(here->files);
    if (here->workers)
        mt_workers_abandon(here->workers);
    here->workers = NULL;
    if (mtpy_thread_current(here) != here->main) /* the old one's reference goes with the dead */
        here->main = (struct mtpy_thread *)Py_NewRef(mtpy_thread_current(here));
}

/* Called by the C library before fork() returns in the child. Who forks without Python's handlers, as C
   code does that goes on with exec(), is left alone. */
static void
child_begins(void)
{
    struct mtpy_sched *here = mtpy_sched_here;
    if (here && here->forking)
        begin_again(here->state, here);
}

static PyObject *
before_fork(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *here = find_sched(mtpy_state_of(module));
    if (here) {
        here->forking++;
        mtpy_sched_here = here;
    }
    Py_RETURN_NONE;
}

static PyObject *
after_fork_in_parent(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *here = find_sched(mtpy_state_of(module));
    if (here && here->forking)
        here->forking--;
    Py_RETURN_NONE;
}

static PyObject *
after_fork_in_child(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_state *state = mtpy_state_of(module);
    struct mtpy_sched *here = find_sched(state);
    if (!here || here->born_in != getpid())
        begin_again(state, here);
    if (!here)
        Py_RETURN_NONE;
    here->forking = 0;
    int error = here->fork_error ? here->fork_error : mtpy_signal_open(here);
    if (error)
        return mtpy_raise(error);
    mtpy_group_drop_queues(mtpy_thread_current(here));
    mt_sched_drop_dead(here->core);
    Py_RETURN_NONE;
}

int
mtpy_fork_prepare(void)
{
    int error = mt_global_at_fork(child_begins);
    if (!error)
        return 0;
    mtpy_raise(error);
    return -1;
}

PyMethodDef mtpy_fork_functions[] = {
    {"_before_fork", before_fork, METH_NOARGS, NULL},
    {"_after_fork_in_parent", after_fork_in_parent, METH_NOARGS, NULL},
    {"_after_fork_in_child", after_fork_in_child, METH_NOARGS, NULL},
    {0},
};

void
mtpy_fork_end_child(struct mtpy_sched *sched, PyObject *result)
{
    PyObject *exception = result ? NULL : mtpy_error_take();
    mtpy_vm_abandon(sched->tstate, sched->core->main_stack);
    Py_XDECREF(result);
    if (exception && mtpy_scope_matches(exception, sched->state->MicroThreadExit))
        Py_CLEAR(exception); /* it ends in silence */
    if (!sched->is_os_main) {
        /* CPython 3.13 and later crash in Py_Exit() when the first OS thread is not there. */
        PyObject *hooks = PyImport_ImportModule("microthread._hooks");
        Py_XDECREF(PyObject_CallMethod(hooks, "end_child", "O", exception ? exception : Py_None));
        PyErr_Print();
        _exit(1);
    }
    if (exception) {
        mtpy_error_raise(exception);
        PyErr_Print(); /* a SystemExit ends the process here, with its status */
    }
    Py_Exit(exception ? 1 : 0);
    abort();
}
