/* SPDX-License-Identifier: MIT */
/* Deferreds that C code fires, in any OS thread. The object is its interpreter's, and is touched
   only at home: by an OS thread that is attached to that interpreter. Elsewhere there is the
   handle, plain memory; a value, and the news that nobody needs the object any more, go home as
   loans that are given back. */
#include "python/mtpy_capi.h"
#include "python/mtpy_deferred.h"
#include "python/mtpy_owner.h"

#include "base/mt_alloc.h"

struct mt_api_deferred {
    atomic_size_t users;        /* the references that C code has */
    atomic_size_t refs;         /* of this memory: the users' one, home's, and that of a letter */
    atomic_bool is_claimed;     /* it was fired, or will be by a letter under way */
    struct mt_owner *owner;     /* home; a reference */
    int64_t interpreter_id;     /* the same, as others know it */
    struct mt_loan letter;      /* brings a value home */
    struct mt_loan farewell;    /* says that there are no users any more */
    PyObject *(*make)(void *);  /* in the letter: what makes the value; or NULL */
    void (*drop)(void *);       /* what frees it instead; or NULL */
    void *arg;                  /* for either of them */
    struct mt_link link;        /* the rest is used at home only; this is in state->handles */
    struct mtpy_state *state;   /* valid while object is there */
    PyObject *object;           /* the deferred, owned; NULL: home has let go of it */
    bool is_lost;               /* who would have fired it is not in this process: it was forked */
};

static void
release(mt_deferred *self)
{
    if (atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) != 1)
        return;
    mt_owner_unref(self->owner);
    mt_alloc_free(self);
}

/* ---- at home ---- */

static void
let_go(mt_deferred *self)
{
    if (!self->object)
        return;
    mt_list_remove(&self->link);
    Py_CLEAR(self->object);
    release(self);
}

static PyObject *
fire_later(PyObject *module, PyObject *args)
{
    PyObject *object, *value;
    int is_error;
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    if (!sched || !PyArg_ParseTuple(args, "OOp", &object, &value, &is_error))
        return NULL;
    mtpy_thread_current(sched)->is_deaf = false;
    if (mtpy_deferred_fire(object, Py_NewRef(value), is_error) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef later_method = {"fire", fire_later, METH_VARARGS, NULL};

/* Fire it in a micro-thread of its own: the functions that were added to it may wait, and whoever
   calls may not, for others are behind it. It begins even when everybody is told to leave. Returns
   whether there was memory for that. */
static bool
fire_apart(mt_deferred *self, PyObject *value, bool is_error)
{
    struct mtpy_state *state = self->state;
    struct mtpy_sched *sched = mtpy_sched_get(state);
    PyObject *function = sched ? PyCFunction_New(&later_method, state->module) : NULL;
    PyObject *call[] = {function, self->object, value, is_error ? Py_True : Py_False};
    struct mtpy_thread *thread =
        function ? mtpy_thread_make(sched, state->thread_type, call, 4, NULL) : NULL;
    Py_XDECREF(function);
    if (!thread) {
        PyErr_Clear();
        return false;
    }
    thread->scope = 0; /* nobody's */
    thread->is_deaf = true;
    mtpy_thread_launch(sched, thread);
    return true;
}

/* What a letter, or the lack of one, comes to. Steals value. */
static void
fire(mt_deferred *self, PyObject *value, bool is_error)
{
    if (mtpy_deferred_has_callbacks(self->object) && fire_apart(self, value, is_error))
        Py_DECREF(value);
    else if (mtpy_deferred_fire(self->object, value, is_error) < 0)
        PyErr_WriteUnraisable(self->object);
}

static void
open_letter(mt_deferred *self)
{
    PyObject *pending = PyErr_Occurred() ? mtpy_error_take() : NULL;
    PyObject *value = self->make ? self->make(self->arg) : Py_NewRef(Py_None);
    if (!value && !PyErr_Occurred())
        PyErr_SetString(PyExc_SystemError,
                        "make() of mt_deferred_post() returned NULL without an exception");
    bool is_error = !value;
    if (is_error)
        value = mtpy_error_take();
    else if (PyErr_Occurred())
        PyErr_WriteUnraisable(NULL);
    fire(self, value, is_error);
    if (pending)
        mtpy_error_raise(pending);
}

static void
letter_comes_home(struct mt_loan *loan, bool is_late)
{
    mt_deferred *self = MT_CONTAINER_OF(loan, mt_deferred, letter);
    if (!is_late && self->object && !mtpy_deferred_has_fired(self->object)) {
        open_letter(self);
    } else if (self->drop) {
        self->drop(self->arg);
    }
    release(self);
}

/* Nobody will fire it any more; tell those who may wait for it. */
static void
break_promise(mt_deferred *self)
{
    PyObject *pending = PyErr_Occurred() ? mtpy_error_take() : NULL;
    PyErr_Format(PyExc_RuntimeError, "%R was given up by the C code that should have fired it",
                 self->object);
    fire(self, mtpy_error_take(), true);
    if (pending)
        mtpy_error_raise(pending);
}

static void
farewell_comes_home(struct mt_loan *loan, bool is_late)
{
    mt_deferred *self = MT_CONTAINER_OF(loan, mt_deferred, farewell);
    if (!is_late && self->object && !atomic_load(&self->is_claimed) &&
        !mtpy_deferred_has_fired(self->object) && Py_REFCNT(self->object) > 1)
        break_promise(self);
    let_go(self);
    release(self);
}

void
mtpy_capi_let_go(struct mtpy_state *state)
{
    struct mt_link *link;
    while ((link = mt_list_front(&state->handles)))
        let_go(MT_CONTAINER_OF(link, mt_deferred, link));
}

bool
mtpy_capi_is_hopeful(struct mtpy_state *state)
{
    for (struct mt_link *link = mt_list_front(&state->handles); link;
         link = mt_list_after(&state->handles, link)) {
        const mt_deferred *handle = MT_CONTAINER_OF(link, mt_deferred, link);
        if (!handle->is_lost && !mtpy_deferred_has_fired(handle->object))
            return true;
    }
    return false;
}

void
mtpy_capi_after_fork(struct mtpy_state *state)
{
    for (struct mt_link *link = mt_list_front(&state->handles); link;
         link = mt_list_after(&state->handles, link))
        MT_CONTAINER_OF(link, mt_deferred, link)->is_lost = true;
}

/* ---- the functions of the API ---- */

mt_deferred *
mtpy_capi_deferred_new(void)
{
    struct mtpy_state *state = mtpy_state_here();
    struct mt_owner *owner = state ? mtpy_owner_get(state) : NULL;
    PyObject *object = owner ? mtpy_deferred_make(state) : NULL;
    if (!object)
        return NULL;
    mt_deferred *self = mt_alloc_zeroed(sizeof *self);
    if (!self) {
        Py_DECREF(object);
        PyErr_NoMemory();
        return NULL;
    }
    atomic_init(&self->users, 1);
    atomic_init(&self->refs, 2);
    self->owner = mt_owner_ref(owner);
    self->interpreter_id = state->interpreter_id;
    self->letter.come_home = letter_comes_home;
    self->farewell.come_home = farewell_comes_home;
    self->state = state;
    self->object = object;
    mt_list_append(&state->handles, &self->link);
    return self;
}

mt_deferred *
mtpy_capi_deferred_ref(mt_deferred *self)
{
    atomic_fetch_add_explicit(&self->users, 1, memory_order_relaxed);
    return self;
}

/* Whether the calling OS thread, which may know nothing of Python, is attached to our
   interpreter. */
static bool
is_home(const mt_deferred *self)
{
    const struct mtpy_sched *here = mtpy_sched_here;
    return here && here->state->interpreter_id == self->interpreter_id &&
           mtpy_vm_is_attached(here->tstate);
}

void
mtpy_capi_deferred_unref(mt_deferred *self)
{
    if (!self || atomic_fetch_sub_explicit(&self->users, 1, memory_order_acq_rel) != 1)
        return;
    /* A letter that is under way comes first. */
    bool is_known = is_home(self) && (!self->object || mtpy_deferred_has_fired(self->object) ||
                                      !atomic_load(&self->is_claimed));
    if (is_known) {
        farewell_comes_home(&self->farewell, false);
        return;
    }
    mt_owner_lend(self->owner, &self->farewell);
    if (!mt_owner_give_back(&self->farewell))
        release(self);
}

/* Returns 0, or -1 with an exception when the caller is attached to another interpreter. */
static int
check_home(const mt_deferred *self)
{
    const struct mtpy_state *state = mtpy_state_here();
    if (!state)
        return -1;
    if (state->interpreter_id == self->interpreter_id && self->object)
        return 0;
    PyErr_Format(PyExc_RuntimeError,
                 "a deferred of interpreter %lld cannot be used in interpreter %lld; "
                 "mt_deferred_post() can fire it from anywhere",
                 (long long)self->interpreter_id, (long long)state->interpreter_id);
    return -1;
}

PyObject *
mtpy_capi_deferred_object(mt_deferred *self)
{
    return check_home(self) < 0 ? NULL : Py_NewRef(self->object);
}

/* Steals value, which may be NULL with an exception. Returns 0, or -1 with an exception. */
static int
fire_here(mt_deferred *self, PyObject *value, bool is_error)
{
    if (!value)
        return -1;
    if (atomic_exchange(&self->is_claimed, true)) {
        PyErr_Format(PyExc_RuntimeError, "%R has been fired already", self->object);
        Py_DECREF(value);
        return -1;
    }
    PyObject *object = Py_NewRef(self->object); /* callbacks may let go of the handle */
    int failed = mtpy_deferred_fire(object, value, is_error);
    Py_DECREF(object);
    return failed;
}

int
mtpy_capi_deferred_callback(mt_deferred *self, PyObject *value)
{
    return check_home(self) < 0 ? -1 : fire_here(self, Py_NewRef(value), false);
}

int
mtpy_capi_deferred_errback(mt_deferred *self, PyObject *exception)
{
    PyObject *taken = NULL;
    if (!exception && PyErr_Occurred())
        exception = taken = mtpy_error_take();
    int result = -1;
    if (check_home(self) == 0) {
        if (exception)
            result = fire_here(self, mtpy_deferred_error(exception), true);
        else
            PyErr_SetString(PyExc_SystemError,
                            "mt_deferred_errback() without an exception, and none is set");
    }
    Py_XDECREF(taken);
    return result;
}

int
mtpy_capi_deferred_post(mt_deferred *self, PyObject *(*make)(void *arg), void *arg,
                        void (*drop)(void *arg))
{
    bool is_first = !atomic_exchange(&self->is_claimed, true);
    if (is_first) {
        self->make = make;
        self->drop = drop;
        self->arg = arg;
        atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
        mt_owner_lend(self->owner, &self->letter);
        if (mt_owner_give_back(&self->letter))
            return 0;
        release(self); /* the interpreter has ended */
    }
    if (drop)
        drop(arg);
    return -1;
}

PyObject *
mtpy_capi_deferred_wait(mt_deferred *self, double timeout)
{
    mt_time span;
    if (check_home(self) < 0 || mtpy_check_seconds(timeout, NULL, "timeout", &span) < 0)
        return NULL;
    PyObject *object = Py_NewRef(self->object);
    PyObject *result = mtpy_deferred_wait(object, span);
    Py_DECREF(object);
    return result;
}
