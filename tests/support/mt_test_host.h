/* SPDX-License-Identifier: MIT */
/* A host language in plain C for the tests: micro-threads are C functions with an argument, the
   lock is a mutex. It checks that the core saves and restores the right state at each switch.
   One host in a test program; Check runs each test in a process of its own. */
#ifndef MT_TEST_HOST_H
#define MT_TEST_HOST_H

#include "check_main.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "core/mt_sched.h"
#include "reactor/reactor_ev.h"
#include "reactor/reactor_virtual.h"

#include <pthread.h>

struct mt_test_thread {
    struct mt_thread base;
    void (*function)(void *argument);
    void *argument;
    int error;                   /* what run was told: 0 or MT_ENOMEM */
    bool has_run;                /* function was called */
    bool is_dropped;             /* the scheduler's reference is gone */
    bool is_abandoned;           /* by a fork */
    struct mt_test_thread *next; /* in the host's list */
};

struct mt_test_host {
    struct mt_sched *sched;
    struct mt_test_thread main;
    struct mt_test_thread *threads; /* all that were spawned, freed at the end */
    struct mt_thread *owner;        /* the running state: whose it is */
    pthread_mutex_t lock;           /* what a host calls the GIL */
    unsigned polls_begun;           /* calls of poll_begin */
    unsigned polls_ended;           /* calls of poll_end */
    unsigned dropped;               /* calls of drop */
    unsigned deadlocks;             /* calls of the deadlock hook */
    unsigned postponed;             /* calls of the postpone hook */
    bool (*on_deadlock)(void);      /* NULL: no; what the hook returns */
    int (*on_interrupt)(const struct mt_wait *wait); /* NULL: 0; what interrupted returns */
    void (*on_drop)(struct mt_test_thread *thread);  /* NULL: nothing */
    size_t scratch_size;            /* for the next open */
    size_t stack_size;              /* for the next open; 0: 64 KiB */
    char log[256];                  /* what the micro-threads have written */
};

extern struct mt_test_host host;

/* A scheduler on this reactor, with the test function as its main micro-thread. The lock is held. */
void
mt_test_open(const struct mt_reactor_ops *ops);

/* As mt_test_open(), but returns the error of mt_sched_new(). */
int
mt_test_try_open(const struct mt_reactor_ops *ops);

/* Everybody must be done but main. */
void
mt_test_close(void);

/* The scheduler is freed with micro-threads parked in it. */
void
mt_test_tear_down(void);

/* The object lives until the host is closed. */
struct mt_test_thread *
mt_test_spawn(void (*function)(void *argument), void *argument);

struct mt_test_thread *
mt_test_spawn_sized(void (*function)(void *argument), void *argument, uint32_t stack_size);

/* Wait for the end of one, or of all but main. */
void
mt_test_join(struct mt_test_thread *thread);
void
mt_test_join_all(void);

/* Let everybody who is ready run until nobody but main is. */
void
mt_test_settle(void);

/* The end of its wait with MT_ECANCELED, or of its next one. */
void
mt_test_cancel(struct mt_test_thread *thread);

/* Append text to host.log. */
void
mt_test_log(const char *text);

/* How many descriptors this process has open. */
int
mt_test_count_fds(void);

#endif
