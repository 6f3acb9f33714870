/* SPDX-License-Identifier: MIT */
/* A micro-thread: what the scheduler knows of it. The host embeds it in its own object. */
#ifndef MT_THREAD_H
#define MT_THREAD_H

#include "base/mt_base.h"
#include "base/mt_list.h"
#include "core/mt_deferred.h"
#include "core/mt_stack.h"

struct mt_sched;

enum mt_thread_state {
    MT_THREAD_NEW,     /* not started */
    MT_THREAD_READY,   /* in the run queue */
    MT_THREAD_RUNNING, /* the scheduler's current one */
    MT_THREAD_WAITING, /* parked in a wait */
    MT_THREAD_DONE
};

struct mt_thread {
    struct mt_thread *ready_next; /* in the run queue, or in the scheduler's list of dead ones */
    struct mt_link live;          /* in the scheduler's list of started, unfinished ones */
    struct mt_sched *sched;       /* its home; NULL until it is started */
    struct mt_stack *stack;       /* NULL until it first runs and once it is done */
    struct mt_wait *wait;         /* the innermost wait it is in, on its own stack, or NULL */
    struct mt_deferred done;      /* fires when it ends; reused for nothing else */
    void *const *ahead;           /* what the host reads soon after it goes on, and what the first word
                                     there points to; NULL: nothing */
    uint64_t id;                  /* unique in the process; 0: given when it is started */
    uint32_t stack_size;          /* bytes of the slot it wants; 0: the scheduler's usual */
    uint8_t state;                /* enum mt_thread_state */
    bool is_pending;              /* the host has something to raise in it at its next wait */
    bool is_interrupted;          /* woken to run signal handlers; its wait goes on */
    bool is_direct;               /* it destroys a file: its calls on files do not park */
};

/* A new one, not started. */
void
mt_thread_init(struct mt_thread *thread);

static inline bool
mt_thread_is_done(const struct mt_thread *thread)
{
    return thread->state == MT_THREAD_DONE;
}

/* End the innermost wait of a parked one with MT_ECANCELED. Does nothing if it is not parked, or
   if its wait has been ended already: what was handed over is returned first. */
void
mt_thread_cancel_wait(struct mt_thread *thread);

/* Wake a parked one to let it run the host's signal handlers; its wait goes on after that. */
void
mt_thread_interrupt(struct mt_thread *thread);

#endif
