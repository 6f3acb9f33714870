/* SPDX-License-Identifier: MIT */
/* What microthread._seeing looks at: every micro-thread of the interpreter, what each waits for and
   where it stands; and stats(). Nothing here runs the user's code, so that what one call returns is of
   one moment. */
#include "python/mtpy_sync.h"

struct mtpy_thread *
mtpy_thread_by_id(struct mtpy_state *state, uint64_t id)
{
    for (struct mtpy_sched *sched = state->scheds; sched; sched = sched->next) {
        const struct mt_list *live = &sched->core->live;
        for (struct mt_link *link = mt_list_front(live); link; link = mt_list_after(live, link)) {
            struct mt_thread *thread = MT_CONTAINER_OF(link, struct mt_thread, live);
            if (thread->id == id)
                return mtpy_thread_of(thread);
        }
    }
    return NULL;
}

/* Started, unfinished ones, the main one first; with_ending: those, too, that are done but for their
   callbacks; no more than `most`. New list, or NULL. */
static PyObject *
list_threads(const struct mtpy_sched *sched, bool with_ending, Py_ssize_t most)
{
    PyObject *list = PyList_New(0);
    if (!list)
        return NULL;
    /* The main one is the first of the list; after a fork it may stand elsewhere. */
    struct mt_thread *main = sched->core->main;
    if (PyList_Append(list, (PyObject *)mtpy_thread_of(main)) < 0)
        goto failed;
    for (struct mt_link *link = mt_list_front(&sched->core->live); link;
         link = mt_list_after(&sched->core->live, link)) {
        struct mt_thread *thread = MT_CONTAINER_OF(link, struct mt_thread, live);
        if (thread == main)
            continue;
        if (!with_ending && mtpy_thread_of(thread)->outcome != MTPY_OUTCOME_NONE)
            continue;
        if (PyList_GET_SIZE(list) >= most)
            break;
        if (PyList_Append(list, (PyObject *)mtpy_thread_of(thread)) < 0)
            goto failed;
    }
    return list;
failed:
    Py_DECREF(list);
    return NULL;
}

static PyObject *
look_threads(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    return sched ? list_threads(sched, false, PY_SSIZE_T_MAX) : NULL;
}

static PyObject *
look_all_threads(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_state *state = mtpy_state_of(module);
    PyObject *result = PyList_New(0);
    int was_enabled = PyGC_Disable(); /* a finalizer could end an OS thread's scheduler */
    for (struct mtpy_sched *sched = state->scheds; result && sched; sched = sched->next) {
        PyObject *threads = list_threads(sched, true, PY_SSIZE_T_MAX);
        PyObject *pair = threads ? Py_BuildValue("(kN)", sched->tstate->thread_id, threads) : NULL;
        if (!pair || PyList_Append(result, pair) < 0)
            Py_CLEAR(result);
        Py_XDECREF(pair);
    }
    if (result && PyList_Reverse(result) < 0) /* the oldest first */
        Py_CLEAR(result);
    if (was_enabled)
        PyGC_Enable();
    return result;
}

/* The argument, if it is a micro_thread; else NULL with an exception. */
static struct mtpy_thread *
check_thread(PyObject *module, PyObject *object)
{
    if (PyObject_TypeCheck(object, mtpy_state_of(module)->thread_type))
        return (struct mtpy_thread *)object;
    PyErr_Format(PyExc_TypeError, "a micro_thread is needed, got %.200s", Py_TYPE(object)->tp_name);
    return NULL;
}

static PyObject *
look_wait(PyObject *module, PyObject *object)
{
    struct mtpy_thread *thread = check_thread(module, object);
    PyObject *text = thread ? mtpy_thread_describe_wait(thread) : NULL;
    PyObject *how = NULL;
    if (!text)
        return NULL;
    uint64_t blocker = 0;
    const struct mt_wait *wait = text == Py_None ? NULL : thread->core.wait;
    const struct mt_clause *clause = wait ? wait->clauses : NULL;
    if (clause && (clause->sibling || mt_timer_is_set(&wait->timer)))
        clause = NULL; /* there is another way out */
    if (clause && clause->kind == MT_WAIT_THREAD) {
        blocker = ((struct mt_thread *)clause->object)->id;
        how = PyUnicode_FromString("the end of");
    } else if (clause && clause->kind == MT_WAIT_LOCK) {
        struct mt_lock *lock = clause->object;
        blocker = lock->owner;
        how = PyUnicode_FromFormat("the %s held by",
                                   mtpy_sync_type_name(MT_CONTAINER_OF(lock, struct mtpy_lock, core)));
    } else {
        how = Py_NewRef(Py_None);
    }
    if (!how) {
        Py_DECREF(text);
        return NULL;
    }
    return Py_BuildValue("(NNK)", text, how, (unsigned long long)blocker);
}

static PyObject *
look_frames(PyObject *module, PyObject *object)
{
    struct mtpy_thread *thread = check_thread(module, object);
    return thread ? mtpy_thread_frames(thread) : NULL;
}

/* ---- counts ---- */

static PyObject *
look_stats(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    if (!sched)
        return NULL;
    const struct mt_sched *core = sched->core;
    size_t stacks, bytes;
    mt_sched_count_stacks(core, &stacks, &bytes);
    return Py_BuildValue(
        "{s:n,s:n,s:n,s:n,s:K,s:K,s:K,s:n,s:n}", "threads", (Py_ssize_t)core->live_count, "ready",
        (Py_ssize_t)core->ready_count, "waiting",
        (Py_ssize_t)(core->live_count - core->ready_count - 1), /* the caller runs */
        "timers", (Py_ssize_t)(core->timers.count - core->resting), "spawned", (unsigned long long)core->spawned,
        "switches", (unsigned long long)core->switches, "polls", (unsigned long long)core->polls,
        "stacks", (Py_ssize_t)stacks, "stack_bytes", (Py_ssize_t)bytes);
}

/* New dict, or NULL. */
static PyObject *
describe_loop(const struct mtpy_sched *sched, Py_ssize_t most)
{
    const struct mt_sched *core = sched->core;
    PyObject *threads = list_threads(sched, true, most);
    size_t running = core->current->state == MT_THREAD_RUNNING;
    return !threads ? NULL : Py_BuildValue(
        "{s:k,s:k,s:n,s:n,s:n,s:K,s:K,s:K,s:K,s:N}", "ident", sched->tstate->thread_id, "os_thread",
        sched->tstate->native_thread_id, "threads", (Py_ssize_t)core->live_count, "ready",
        (Py_ssize_t)core->ready_count, "waiting",
        (Py_ssize_t)(core->live_count - core->ready_count - running), "spawned",
        (unsigned long long)core->spawned, "switches", (unsigned long long)core->switches, "turns",
        (unsigned long long)atomic_load(&core->turns), "polls", (unsigned long long)core->polls,
        "micro_threads", threads);
}

static PyObject *
look_loops(PyObject *module, PyObject *most)
{
    Py_ssize_t number = PyLong_AsSsize_t(most);
    PyObject *result = number == -1 && PyErr_Occurred() ? NULL : PyList_New(0);
    int was_enabled = PyGC_Disable(); /* a finalizer could end an OS thread's scheduler */
    struct mtpy_sched *sched = mtpy_state_of(module)->scheds;
    for (; result && sched; sched = sched->next) {
        PyObject *loop = describe_loop(sched, number);
        if (!loop || PyList_Append(result, loop) < 0)
            Py_CLEAR(result);
        Py_XDECREF(loop);
    }
    if (result && PyList_Reverse(result) < 0) /* the oldest first */
        Py_CLEAR(result);
    if (was_enabled)
        PyGC_Enable();
    return result;
}

PyMethodDef mtpy_look_functions[] = {
    {"threads", look_threads, METH_NOARGS,
     "threads()\n--\n\n"
     "A list of this OS thread's started, unfinished micro-threads, the main one first."},
    {"stats", look_stats, METH_NOARGS,
     "stats()\n--\n\n"
     "Counts of this OS thread's scheduler, as a dict of ints.\n\n"
     "threads: started, unfinished micro-threads, and those whose done callbacks still run; ready: those\n"
     "in the run queue; waiting: those that wait; timers: pending times; spawned, switches, polls: started micro-threads, switches of\n"
     "stacks and looks at the descriptors so far; stacks: C stacks in use, the OS thread's own not\n"
     "counted; stack_bytes: address space that is mapped for stacks."},
    {"_all_threads", look_all_threads, METH_NOARGS,
     "[(OS thread's ident, its micro-threads), ...] of this interpreter, with those in their callbacks."},
    {"_loops", look_loops, METH_O,
     "A dict for each OS thread of this interpreter: counts, and the first few micro-threads."},
    {"_wait_of", look_wait, METH_O,
     "(text, how, id): what a micro-thread waits for; which one alone can end that, and by what."},
    {"_frames_of", look_frames, METH_O, "[(frame, line number), ...], the outermost first."},
    {0},
};
