/* SPDX-License-Identifier: MIT */
/* What the binding keeps: one struct mtpy_state for each interpreter (the module's state), one
   struct mtpy_sched for each of its OS threads that ever touched a micro-thread, and the micro_thread
   object. Everything under that interpreter's GIL. */
#ifndef MTPY_STATE_H
#define MTPY_STATE_H

#include "python/mtpy_compat.h"

#include "base/mt_error.h"
#include "core/mt_sched.h"
#include "group/mt_message.h"

struct mt_fault_home;
struct mt_files;
struct mt_owner;
struct mt_pipe;
struct mt_realm;
struct mt_trace;
struct mt_workers;
struct mtpy_scope;
struct mtpy_sched;
struct mtpy_tracer;

/* Types, exceptions and names; the same order in this struct, in mtpy_state_traverse() and in
   mtpy_state_clear(), which one list sees to. */
#define MTPY_STATE_OBJECTS(X) \
    X(PyTypeObject, thread_type)      /* micro_thread */ \
    X(PyTypeObject, member_type)      /* micro_thread, with room for its place in a Group */ \
    X(PyTypeObject, pipe_type)        /* micro_pipe */ \
    X(PyTypeObject, writer_type)      /* the writing end of a pipe */ \
    X(PyTypeObject, ends_type)        /* the ends of several micro-threads */ \
    X(PyTypeObject, deferred_type)    /* deferred */ \
    X(PyTypeObject, timeout_type)     /* timeout */ \
    X(PyTypeObject, move_on_after_type) /* move_on_after */ \
    X(PyTypeObject, shield_type)      /* shield */ \
    X(PyTypeObject, group_type)       /* Group, but for what is written in Python */ \
    X(PyTypeObject, case_type)        /* what select() is given */ \
    X(PyTypeObject, lock_type)        /* Lock */ \
    X(PyTypeObject, rlock_type)       /* RLock */ \
    X(PyTypeObject, waiters_type)     /* those who wait to be told */ \
    X(PyTypeObject, line_type)        /* those who wait for an item, or for room */ \
    X(PyTypeObject, ticket_type)      /* a place among waiters */ \
    X(PyTypeObject, guard_type)       /* a method under its file's lock */ \
    X(PyTypeObject, hook_args_type)   /* what excepthook is given */ \
    X(PyObject, name_append)          /* "append" */ \
    X(PyObject, name_put_slowly)      /* "_put_slowly" */ \
    X(PyObject, name_get_slowly)      /* "_get_slowly" */ \
    X(PyTypeObject, recv_channel_type) /* interpreters.RecvChannel */ \
    X(PyTypeObject, send_channel_type) /* interpreters.SendChannel */ \
    X(PyTypeObject, worker_type)      /* an interpreter's OS thread */ \
    X(PyTypeObject, parcel_type)      /* a message within a message */ \
    X(PyObject, ends_by_number)       /* dict: of an open end: its address, as an int */ \
    X(PyObject, MicroThreadExit)      \
    X(PyObject, Cancelled)            \
    X(PyObject, PipeClosed)           \
    X(PyObject, DeadlockError)        \
    X(PyTypeObject, memory_type)      /* what memoryviews of foreign memory are of */ \
    X(PyTypeObject, shared_type)      /* SharedBuffer */ \
    X(PyObject, CloneError)           \
    X(PyObject, clone_registry)       /* dict: type -> (reduce, rebuild), or a capsule; NULL: none */ \
    X(PyObject, clone_dispatch)       /* copyreg.dispatch_table; NULL, as the next two, until needed */ \
    X(PyObject, clone_newobj)         /* copyreg.__newobj__ */ \
    X(PyObject, clone_newobj_ex)      /* copyreg.__newobj_ex__ */ \
    X(PyObject, name_reduce_ex)       /* "__reduce_ex__", and the like, interned */ \
    X(PyObject, name_setstate)        \
    X(PyObject, name_dict)            \
    X(PyObject, name_module)          \
    X(PyObject, name_qualname)        \
    X(PyObject, number_four)          /* the protocol that __reduce_ex__() is asked for */ \
    X(PyObject, futures_CancelledError)   /* of concurrent.futures; NULL until it is needed */ \
    X(PyObject, futures_InvalidStateError) /* the same */ \
    X(PyTypeObject, socket_base)      /* _socket.socket; NULL, as the next ones, until it is needed */ \
    X(PyTypeObject, socket_class)     /* microthread.socket.socket: what accept() gives */ \
    X(PyObject, socket_get_default)   /* socket.getdefaulttimeout */ \
    X(PyObject, name_closed)          /* "_closed" */ \
    X(PyObject, name_io_refs)         /* "_io_refs" */ \
    X(PyObject, loop_get)             /* asyncio's _get_running_loop; NULL until there is asyncio */ \
    X(PyObject, loop_set)             /* its _set_running_loop */ \
    X(PyObject, loop_task)            /* its current_task */ \
    X(PyObject, loop_swap)            /* its _swap_current_task */ \
    X(PyObject, getsignal)            /* _signal.getsignal */ \
    X(PyObject, ctrl_c_handler)       /* _signal.default_int_handler */ \
    X(PyObject, quiet_handlers)       /* dict: signal -> a handler that wakes nobody */ \
    X(PyObject, loops)                /* id of a micro-thread that was left: its running loop and task */

enum { MTPY_WORDS = 256, MTPY_LONGEST_WORD = 32 };

struct mtpy_state {
#define MTPY_STATE_FIELD_(type, name) type *name;
    MTPY_STATE_OBJECTS(MTPY_STATE_FIELD_)
#undef MTPY_STATE_FIELD_
    PyObject *module;          /* borrowed: the module owns this struct */
    struct mtpy_sched *scheds; /* one for each OS thread, in no order; owned by their OS threads */
    PyThread_type_lock scheds_lock; /* held to change that list, and to read it without the GIL; NULL
                                       until somebody does that */
    uint32_t next_scope;       /* for run() */
    Py_ssize_t socket_family;  /* offsets of int members of _socket.socket */
    Py_ssize_t socket_kind;
    Py_ssize_t socket_proto;
    PyObject *clone_words[MTPY_WORDS]; /* short ASCII strs read lately from messages; owned, or NULL */
    struct mt_message_cache messages;
    struct mt_owner *owner;    /* of what others use and give back; NULL until there is something */
    struct mt_list handles;    /* struct mt_api_deferred: those that have not let go of us */
    struct mt_list ends;       /* struct mtpy_end: the ends of channels that are open here */
    int64_t interpreter_id;
    struct mt_realm *realm;    /* whose interpreter this is; NULL: nobody's. Outlives the interpreter */
    struct mt_trace *trace;    /* the timeline that is being written; NULL: none. Owned */
    uint32_t trace_number;     /* how many there were */
    size_t service_threads;    /* OS threads of our own worker pool; they wake nobody by themselves */
};

enum { MTPY_SCRATCH_SIZE = 64 * 1024 };

/* The binding's side of a scheduler. */
struct mtpy_sched {
    struct mt_sched *core;
    struct mtpy_state *state;
    PyThreadState *tstate;     /* of its OS thread */
    uint64_t serial;           /* unique in the process, never 0 */
    uint32_t random;           /* select()'s generator; never 0 */
    struct mtpy_thread *main;  /* the code that nobody spawned; owned */
    struct mt_list failed;     /* done ones whose exception nobody has fetched, by core.live */
    struct mtpy_sched *next;   /* in state->scheds */
    PyObject *module;          /* keeps the state alive; owned */
    char *scratch;             /* MTPY_SCRATCH_SIZE bytes that nobody holds on to over a wait; or NULL */
    struct mt_fault_home *fault_home; /* explains overflows of stacks; or NULL */
    struct mt_files *files;    /* NULL until a file is used; owned */
    struct mt_workers *workers; /* for C functions that block; NULL until there is one; owned */
    struct mtpy_tracer *tracer; /* while there is a trace; else NULL. Owned */
    int signal_fd;             /* CPython's wake-up descriptor while polling; -1: no signals here */
    uint64_t watched_progress; /* the next three are the watch's: of core, when it looked last */
    mt_time watched_since;     /* since when it is that, monotonic ns; 0: not looked at */
    unsigned forking;          /* calls of fork() whose handlers have begun and not ended */
    pid_t born_in;             /* the process in which it has begun again after a fork; 0: in none */
    int fork_error;            /* and what was wrong with that; 0: nothing */
    bool is_slow_told;         /* and that has been reported */
    bool is_service;           /* of an OS thread that is one of service_threads */
    bool is_os_main;           /* made in the process's first OS thread */
    bool is_exiting;           /* everybody is told to leave */
    bool is_stuck;             /* those who were told wait for what can never come */
    bool is_deadlocked;        /* the main one is woken to be told so */
};

/* In the dict of a thread state: this OS thread is one of service_threads. */
#define MTPY_SERVICE_MARK "microthread.service"

/* The calling OS thread's scheduler, of whichever interpreter used it last; NULL: none yet. */
extern _Thread_local struct mtpy_sched *mtpy_sched_here;

/* Find or make the calling OS thread's scheduler in this interpreter. NULL with an exception. */
struct mtpy_sched *
mtpy_sched_make(struct mtpy_state *state);

/* The running thread state's scheduler, which exists. */
struct mtpy_sched *
mtpy_sched_find(void);

static inline struct mtpy_sched *
mtpy_sched_get(struct mtpy_state *state)
{
    struct mtpy_sched *sched = mtpy_sched_here;
    if (MT_LIKELY(sched && sched->state == state))
        return sched;
    return mtpy_sched_make(state);
}

static inline struct mtpy_sched *
mtpy_sched_of(struct mt_sched *core)
{
    return core->host;
}

static inline struct mtpy_state *
mtpy_state_of(PyObject *module)
{
    return PyModule_GetState(module);
}

/* The state by way of a type of ours or a subclass of one; borrowed, never NULL. */
struct mtpy_state *
mtpy_state_by_type(PyTypeObject *type);

/* The calling interpreter's state: borrowed, or NULL with an exception. */
struct mtpy_state *
mtpy_state_here(void);

/* ---- micro_thread ---- */

enum mtpy_outcome {
    MTPY_OUTCOME_NONE,      /* not done */
    MTPY_OUTCOME_VALUE,     /* core.done.value is what the function returned */
    MTPY_OUTCOME_EXCEPTION, /* core.done.value is the exception */
    MTPY_OUTCOME_CANCELLED  /* core.done.value is the Cancelled, or NULL if it never ran */
};

/* What few micro-threads need. */
struct mtpy_extra {
    struct mtpy_scope *scopes; /* the blocks it is in, innermost first; owned */
    struct mt_alarm alarm;     /* set for the first deadline of those */
    PyObject *name;      /* str; NULL: made from the id */
    PyObject *kwargs;    /* dict or NULL; gone once started */
    PyObject *std_in;    /* stdin: a pipe or NULL */
    PyObject *std_out;   /* stdout: a pipe or NULL */
    PyObject *callbacks; /* list of functions to call when it is done, or NULL */
    PyObject *thrown;    /* list of exceptions, each to raise once, at a wait, or NULL */
    PyObject *cancel_message; /* cancel(msg), or NULL */
};

enum { MTPY_EXITS_MOST = 10 }; /* how often MicroThreadExit is raised again at exit */

struct mtpy_thread {
    PyObject_HEAD
    struct mt_thread core;     /* core.done.value is owned here */
    PyObject *function;        /* NULL once it is done */
    PyObject *args;            /* tuple, or NULL for none */
    PyObject *context;         /* before it runs and after it is done; NULL: empty or in use */
    PyObject *weakrefs;
    struct mtpy_extra *extra;  /* NULL until something in it is needed */
    uint32_t scope;            /* which run() it is below; 0: none */
    uint8_t outcome;           /* enum mtpy_outcome; set before core says done */
    uint8_t exits_swallowed;   /* MicroThreadExit at exit, raised again so often */
    uint8_t traced;            /* the trace that knows its name, or 0 */
    bool is_cancelled : 1;     /* Cancelled comes at each wait from now on */
    bool is_exiting : 1;       /* MicroThreadExit comes at each wait from now on */
    bool is_fetched : 1;       /* its exception went to somebody */
    bool is_member : 1;        /* in a Group: it lies in a struct mtpy_member */
    bool is_queued : 1;        /* a member that waits its turn: not started, but it will be */
    bool is_deaf : 1;          /* nothing is raised in it: it waits for the members of its Group, at exit
                                  for all, or has not begun and is to run all the same */
};

static inline struct mtpy_thread *
mtpy_thread_of(struct mt_thread *core)
{
    return MT_CONTAINER_OF(core, struct mtpy_thread, core);
}

/* The running micro-thread; borrowed. */
static inline struct mtpy_thread *
mtpy_thread_current(const struct mtpy_sched *sched)
{
    return mtpy_thread_of(sched->core->current);
}

/* Whether it was made, but nothing will run it before somebody calls start(). */
static inline bool
mtpy_thread_is_new(const struct mtpy_thread *thread)
{
    return thread->core.state == MT_THREAD_NEW && thread->outcome == MTPY_OUTCOME_NONE &&
           !thread->is_queued;
}

extern PyType_Spec mtpy_thread_spec;
extern PyType_Spec mtpy_member_spec;

/* One of thread_type or member_type, by the arguments of spawn(fn, *args, **kwargs) in vectorcall
   form; with the caller's context, ready for mtpy_thread_launch(). New, or NULL with an exception. */
struct mtpy_thread *
mtpy_thread_make(struct mtpy_sched *sched, PyTypeObject *type, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames);

/* Queue it to run. Steals a reference. Any OS thread that holds the GIL. */
void
mtpy_thread_launch(struct mtpy_sched *sched, struct mtpy_thread *self);

/* The micro_thread of an OS thread's own code. New, or NULL. */
struct mtpy_thread *
mtpy_thread_new_main(struct mtpy_state *state);

/* The hook: run the function to its end. */
void
mtpy_thread_run(struct mtpy_sched *sched, struct mtpy_thread *self, int error);

/* The hook: the scheduler lets go of a finished one. */
void
mtpy_thread_drop(struct mtpy_sched *sched, struct mtpy_thread *self);

/* Its tp_finalize. */
void
mtpy_thread_finalize(PyObject *object);

/* Raise Cancelled in it at each wait from now on, which is now if it is parked. It is not done. */
void
mtpy_thread_cancel(struct mtpy_thread *self);

/* Have an exception raised in it at its next wait, which is now if it is parked. Steals it. */
int
mtpy_thread_throw(struct mtpy_thread *self, PyObject *exception);

/* Whether something is to be raised in the running one at a wait: 0 or MT_ECANCELED. */
int
mtpy_thread_check(struct mtpy_sched *sched, struct mtpy_thread *self);

/* The oldest of the exceptions thrown into it and not raised yet: new, or NULL when there is none. */
PyObject *
mtpy_thread_take_thrown(struct mtpy_thread *self);

/* Raise what mtpy_thread_check() found. Always sets an exception. */
void
mtpy_thread_raise_pending(struct mtpy_sched *sched, struct mtpy_thread *self);

/* Its extra part, made if need be. NULL with an exception. */
struct mtpy_extra *
mtpy_thread_extra(struct mtpy_thread *self);

/* Its exception goes to somebody: it needs no report. */
void
mtpy_thread_note_fetched(struct mtpy_thread *self);

/* Tell excepthook about an exception that nobody has fetched, if there is one. */
void
mtpy_thread_report(struct mtpy_thread *self);

/* Call microthread.excepthook. thread: a micro_thread or None. Leaves the error indicator alone. */
void
mtpy_report(struct mtpy_state *state, PyObject *exception, PyObject *thread);

/* repr's parts, for messages: new str, or NULL. */
PyObject *
mtpy_thread_name(struct mtpy_thread *self);

/* What its innermost wait is for, as text; None when it is in no wait that goes on. One that runs the
   handler of a signal is still in the wait that the signal interrupted. New, or NULL. */
PyObject *
mtpy_thread_describe_wait(struct mtpy_thread *self);

/* Its stack, suspended or running, in whichever OS thread: a list of (frame, line number), the
   outermost first. Runs none of the user's code. New, or NULL. */
PyObject *
mtpy_thread_frames(struct mtpy_thread *self);

/* The started, unfinished one of this interpreter with that id; borrowed, or NULL. */
struct mtpy_thread *
mtpy_thread_by_id(struct mtpy_state *state, uint64_t id);

extern PyGetSetDef mtpy_thread_getset[];
extern PyMethodDef mtpy_thread_methods[];
PyObject *
mtpy_thread_start(PyObject *self, PyObject *unused);
PyObject *
mtpy_thread_stack(PyObject *self, PyObject *unused);

/* ---- the others ---- */

extern PyType_Spec mtpy_pipe_spec;
extern PyType_Spec mtpy_deferred_spec;
extern PyMethodDef mtpy_look_functions[];

/* Add _Watch to the module. Returns 0 or -1. */
int
mtpy_watch_add_type(PyObject *module);


/* repr without the risk of an error: a text for waiting_for. New, or NULL. */
PyObject *
mtpy_pipe_describe(struct mt_pipe *pipe);

/* ---- life of a scheduler ---- */

/* Around a change of state->scheds. */
void
mtpy_state_lock_scheds(struct mtpy_state *state);
void
mtpy_state_unlock_scheds(struct mtpy_state *state);

/* Tell every micro-thread of this OS thread to leave and wait until they have; report what nobody
   fetched. Returns 0, or -1 with an exception that ended the waiting. */
int
mtpy_sched_shut_down(struct mtpy_sched *sched);

/* ---- arguments and errors ---- */

/* 0, or -1 with a TypeError that names the argument fn. */
int
mtpy_check_callable(PyObject *function);

/* A function was given what is no buffer, or none to write to: TypeError, unless the exception that is
   set is something else. Returns -1. */
int
mtpy_refuse_buffer(const char *function, PyObject *object);

/* A time-out in seconds, or None: ns or MT_FOREVER. Returns 0, or -1 with an exception that names
   the argument. */
int
mtpy_parse_timeout(PyObject *object, const char *name, mt_time *timeout);

/* The same without None: a duration. */
int
mtpy_parse_seconds(PyObject *object, const char *name, mt_time *span);

/* The same for a number; object: it as it was given, NULL: a C double. */
int
mtpy_check_seconds(double seconds, PyObject *object, const char *name, mt_time *span);

/* How many fit in, or None: SIZE_MAX. Returns 0, or -1 with an exception that names the argument. */
int
mtpy_parse_capacity(PyObject *object, size_t *capacity);

/* Vectorcall arguments by a PyArg format; for the paths that are not hot. Borrowed results. */
int
mtpy_parse_slowly(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, const char *format,
                  const char *const *names, ...);

/* Raise the Python exception for an error of ours in the running micro-thread. Returns NULL. */
PyObject *
mtpy_raise(int error);

/* CancelledError and InvalidStateError of concurrent.futures; borrowed, or NULL. */
PyObject *
mtpy_futures_error(PyObject **slot, const char *name);

#endif
