/* SPDX-License-Identifier: MIT */
/* The scheduler of one OS thread: a FIFO run queue, timers, a reactor. There is no hub: the
   micro-thread that blocks picks the next one and switches straight to it; with nothing runnable
   it runs the reactor on its own stack.
   All calls are made under one lock that the host owns (the GIL); it is let go of only around a
   poll that may block. Except where noted only the scheduler's own OS thread calls. */
#ifndef MT_SCHED_H
#define MT_SCHED_H

#include "base/mt_base.h"
#include "base/mt_heap.h"
#include "base/mt_list.h"
#include "core/mt_mailbox.h"
#include "core/mt_reactor.h"
#include "core/mt_stack.h"
#include "core/mt_thread.h"

#include <stdatomic.h>

/* What the scheduler asks of the language above it. None of these may park, except run, drop
   and interrupted. */
struct mt_hooks {
    /* Begin on a stack that has no saved state: the running state becomes a fresh one. */
    void (*enter)(struct mt_sched *sched, struct mt_stack *stack);
    /* Save the running state into stack->host, leaving it in force: another stack is about to run,
       or nothing is and others may want to look. */
    void (*leave)(struct mt_sched *sched, struct mt_stack *stack);
    /* Make the state saved in stack->host the running one. */
    void (*resume)(struct mt_sched *sched, struct mt_stack *stack);

    /* Run the micro-thread's function to its end and store what came of it, if it likes in
       thread->done.value; error: 0, or MT_ENOMEM
       when there is no stack: then only store the failure, on the stack of whoever runs. The core
       fires thread->done after it. */
    void (*run)(struct mt_sched *sched, struct mt_thread *thread, int error);
    /* The scheduler's reference to a finished one ends. */
    void (*drop)(struct mt_sched *sched, struct mt_thread *thread);

    /* thread->is_pending is set and it is about to park or has just been resumed from a yield.
       Returns 0 to go on, or MT_ECANCELED when there is something to raise. */
    int (*check)(struct mt_sched *sched, struct mt_thread *thread);
    /* The main micro-thread was interrupted in `wait`: run signal handlers, which may park.
       Returns 0, or MT_EHOST when one raised; if the wait has ended meanwhile the error must be
       kept for later, and 0 returned, so that what was handed over is not lost. */
    int (*interrupted)(struct mt_sched *sched, const struct mt_wait *wait);
    /* The wait that MT_EHOST has ended turns out to have succeeded before that, in another OS thread:
       keep the error for later. Called with that error in force, in the main micro-thread. */
    void (*postpone)(struct mt_sched *sched);
    /* Nothing of ours can ever wake anyone. Returns true when it has made something ready,
       false to block all the same (another OS thread may do something). */
    bool (*deadlock)(struct mt_sched *sched);
    /* Around a poll that may block, as in mt_reactor.h; the argument is the scheduler. */
    void (*poll_begin)(void *sched);
    void (*poll_end)(void *sched);
};

struct mt_sched {
    struct mt_thread *current;    /* the running one */
    struct mt_thread *ready_head; /* the run queue, oldest first */
    struct mt_thread *ready_tail; /* valid when ready_head is not NULL */
    size_t ready_count;           /* length of the run queue */
    size_t round_left;            /* switches until the next look at the reactor */
    uint32_t budget;              /* how much may yet go ahead at once before the caller gives way */
    _Atomic bool is_polling;      /* inside a poll that may block */
    _Atomic uint64_t turns;       /* how often somebody gave way; anybody reads it */
    _Atomic uint64_t idles;       /* how often a poll that may block has ended; anybody reads it */
    volatile bool is_signalled;   /* a signal came: the main micro-thread shall run handlers */
    struct mt_thread *dead;       /* finished ones whose reference is still to be dropped */
    const struct mt_hooks *hooks;
    void *host;                   /* the host's own */
    struct mt_thread *main;       /* the OS thread's own code */
    struct mt_stack *main_stack;  /* its control block; owned */
    struct mt_list live;          /* started, unfinished ones; main is the first */
    size_t live_count;            /* length of live */
    struct mt_heap timers;        /* struct mt_timer: deadlines of waits, and others */
    size_t resting;               /* those of alarms without a deadline: nothing will happen then */
    const struct mt_reactor_ops *reactor_ops;
    struct mt_reactor *reactor;   /* owned */
    mt_time polled_at;            /* when the reactor was last looked at */
    mt_time trimmed_at;           /* when the stacks were last trimmed */
    bool is_trimming;             /* and there were more to trim */
    size_t external;              /* things under way elsewhere that will wake somebody here */
    struct mt_mailbox mailbox;
    _Atomic uint32_t posting;     /* OS threads between mt_sched_post_begin() and the end of it */
    struct mt_stack_pool stacks;        /* of the usual size */
    struct mt_stack_pool *other_stacks; /* one for each power of two that was asked for; owned */
    uint64_t next_id;             /* for the next micro-thread */
    uint64_t spawned;             /* statistics: started ever */
    uint64_t switches;            /* statistics: stack switches */
    uint64_t polls;               /* statistics: looks at the reactor */
};

struct mt_sched_config {
    const struct mt_hooks *hooks;
    const struct mt_reactor_ops *reactor_ops;
    void *host;          /* kept in sched->host */
    size_t stack_size;   /* bytes of a slot, a power of two */
    size_t host_size;    /* bytes of saved state for each stack */
    size_t scratch_size; /* bytes of scratch for each stack, a multiple of 16 */
    uint64_t first_id;   /* the main micro-thread's; the others count on from it */
};

enum { MT_BUDGET = 256 }; /* so much may go ahead at once before the caller gives way; a plain call is 1 */

/* A scheduler for the calling OS thread, with `main` as its running micro-thread.
   Returns 0, MT_ENOMEM or an error of the reactor's open. */
int
mt_sched_new(const struct mt_sched_config *config, struct mt_thread *main, struct mt_sched **sched);

/* Called on the main micro-thread. Those still live are abandoned where they are. */
void
mt_sched_free(struct mt_sched *sched);

/* Queue a new micro-thread; the host has taken the reference that drop gives back. */
void
mt_sched_spawn(struct mt_sched *sched, struct mt_thread *thread);

/* Go to the back of the run queue. Returns 0 or MT_ECANCELED. */
int
mt_sched_yield(struct mt_sched *sched);

/* Go to the back of the run queue without a look at what is pending. */
void
mt_sched_pass(struct mt_sched *sched);

/* Put a parked micro-thread into its scheduler's run queue. Any OS thread that holds the lock. */
void
mt_sched_ready(struct mt_thread *thread);

/* Give the processor away; returns when somebody has made the caller ready. For mt_wait.c. */
void
mt_sched_leave(struct mt_sched *sched);

/* Any OS thread, without the lock: have mail delivered in the scheduler's OS thread. */
void
mt_sched_post(struct mt_sched *sched, struct mt_mail *mail);

/* The same in two halves, for callers who hold a lock over the first but not over the second, which is
   a system call. The scheduler exists at the first; it is not freed before the second.
   Returns whether mt_sched_post_end() is to be called. */
bool
mt_sched_post_begin(struct mt_sched *sched, struct mt_mail *mail);
void
mt_sched_post_end(struct mt_sched *sched);

/* For one that will never run again: take back its waits, which would still be handed values by those
   who live on. */
void
mt_sched_abandon_waits(struct mt_thread *thread);

/* In the child of a fork, on the micro-thread that forked: it becomes the main one, the others are
   abandoned where they are. Calls `abandon` for each of those after it is out of all lists; it
   must not run any of the language's code. The caller drops their references by
   mt_sched_drop_dead() once its own house is in order.
   Returns 0 or an error of the reactor's after_fork. */
int
mt_sched_after_fork(struct mt_sched *sched, void (*abandon)(struct mt_thread *thread));

/* Drop the references to those that are done. On a running micro-thread; may park. */
void
mt_sched_drop_dead(struct mt_sched *sched);

/* The stacks in use, the OS thread's own not counted, and the bytes of address space behind all. */
void
mt_sched_count_stacks(const struct mt_sched *sched, size_t *used, size_t *mapped);

/* The monotonic clock of this scheduler's reactor. */
static inline mt_time
mt_sched_now(struct mt_sched *sched)
{
    return sched->reactor_ops->now(sched->reactor);
}

/* The deadline for a time-out in ns, saturated; MT_FOREVER stays. */
mt_time
mt_sched_deadline(struct mt_sched *sched, mt_time timeout);

/* Before a call that may go ahead at once and costs so much: in the one after which the caller is to
   give way, what is pending is raised instead, since one that always finds its data ready would never
   hear of it. Returns 0 or MT_ECANCELED. */
static inline int
mt_heed(struct mt_sched *sched, uint32_t cost)
{
    if (!MT_STRESS && MT_LIKELY(sched->budget > cost))
        return 0;
    return sched->current->is_pending ? sched->hooks->check(sched, sched->current) : 0;
}

/* From any OS thread: changes whenever somebody gives way and whenever a poll that may block has ended,
   after which the one that waited in it may go on. */
static inline uint64_t
mt_sched_progress(const struct mt_sched *sched)
{
    return atomic_load(&sched->turns) + atomic_load(&sched->idles);
}

/* From any OS thread: whether one micro-thread has run all the time since progress was that. */
static inline bool
mt_sched_goes_on(const struct mt_sched *sched, uint64_t progress)
{
    /* In this order: a poll that ends between the two looks is progress. */
    return !atomic_load(&sched->is_polling) && mt_sched_progress(sched) == progress;
}

/* A call that costs so much has gone ahead at once: after a bounded run of these the caller gives way. */
static inline void
mt_spend(struct mt_sched *sched, uint32_t cost)
{
    if (!MT_STRESS && MT_LIKELY(sched->budget > cost)) {
        sched->budget -= cost;
        return;
    }
    mt_sched_pass(sched);
}

#endif
