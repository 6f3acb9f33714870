/* SPDX-License-Identifier: MIT */
#include "support/mt_test_host.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

struct mt_test_host host;

static struct mt_test_thread *
thread_of(struct mt_thread *thread)
{
    return MT_CONTAINER_OF(thread, struct mt_test_thread, base);
}

/* ---- the hooks ---- */

static void
enter(struct mt_sched *sched, struct mt_stack *stack)
{
    ck_assert_ptr_eq(stack, sched->current->stack);
    if (stack->scratch)
        memset(stack->scratch, 0xa5, host.scratch_size);
    host.owner = sched->current;
}

static void
leave(struct mt_sched *sched, struct mt_stack *stack)
{
    ck_assert_ptr_eq(host.owner, sched->current);
    ck_assert_ptr_eq(stack, sched->current->stack);
    memcpy(stack->host, &host.owner, sizeof host.owner);
}

static void
resume(struct mt_sched *sched, struct mt_stack *stack)
{
    memcpy(&host.owner, stack->host, sizeof host.owner);
    ck_assert_ptr_eq(host.owner, sched->current);
    for (size_t i = 0; stack->scratch && i < host.scratch_size; i++)
        ck_assert_int_eq((unsigned char)stack->scratch[i], 0xa5);
}

static void
run(struct mt_sched *sched, struct mt_thread *thread, int error)
{
    struct mt_test_thread *self = thread_of(thread);
    self->error = error;
    if (error)
        return;
    ck_assert_ptr_eq(sched->current, thread);
    self->has_run = true;
    self->function(self->argument);
    ck_assert_ptr_eq(sched->current, thread);
    ck_assert_ptr_eq(host.owner, thread);
}

static void
drop(struct mt_sched *sched, struct mt_thread *thread)
{
    (void)sched;
    struct mt_test_thread *self = thread_of(thread);
    ck_assert(!self->is_dropped);
    self->is_dropped = true;
    host.dropped++;
    if (host.on_drop)
        host.on_drop(self);
}

static int
check(struct mt_sched *sched, struct mt_thread *thread)
{
    ck_assert_ptr_eq(sched->current, thread);
    thread->is_pending = false;
    return MT_ECANCELED;
}

static int
interrupted(struct mt_sched *sched, const struct mt_wait *wait)
{
    ck_assert_ptr_eq(sched->current, sched->main);
    return host.on_interrupt ? host.on_interrupt(wait) : 0;
}

static void
postpone(struct mt_sched *sched)
{
    ck_assert_ptr_eq(sched->current, sched->main);
    host.postponed++;
}

static bool
deadlock(struct mt_sched *sched)
{
    (void)sched;
    host.deadlocks++;
    return host.on_deadlock && host.on_deadlock();
}

static void
poll_begin(void *sched)
{
    ck_assert_ptr_eq(sched, host.sched);
    host.polls_begun++;
    pthread_mutex_unlock(&host.lock);
}

static void
poll_end(void *sched)
{
    pthread_mutex_lock(&host.lock);
    ck_assert_ptr_eq(sched, host.sched);
    host.polls_ended++;
}

/* ---- what the tests call ---- */

int
mt_test_try_open(const struct mt_reactor_ops *ops)
{
    struct mt_hooks *hooks = malloc(sizeof *hooks);
    *hooks = (struct mt_hooks){
        .enter = enter,
        .leave = leave,
        .resume = resume,
        .run = run,
        .drop = drop,
        .check = check,
        .interrupted = interrupted,
        .postpone = postpone,
        .deadlock = deadlock,
        .poll_begin = poll_begin,
        .poll_end = poll_end,
    };
    struct mt_sched_config config = {
        .hooks = hooks,
        .reactor_ops = ops,
        .host = &host,
        .stack_size = host.stack_size ? host.stack_size : MT_STACK_LEAST,
        .host_size = sizeof host.owner,
        .scratch_size = host.scratch_size,
        .first_id = 1,
    };
    mt_thread_init(&host.main.base);
    int error = mt_sched_new(&config, &host.main.base, &host.sched);
    if (error) {
        free(hooks);
        return error;
    }
    host.owner = &host.main.base;
    pthread_mutex_init(&host.lock, NULL);
    pthread_mutex_lock(&host.lock);
    return 0;
}

void
mt_test_open(const struct mt_reactor_ops *ops)
{
    ck_assert_int_eq(mt_test_try_open(ops), 0);
}

void
mt_test_tear_down(void)
{
    void *hooks = (void *)(uintptr_t)host.sched->hooks;
    mt_sched_free(host.sched);
    host.sched = NULL;
    free(hooks);
    while (host.threads) {
        struct mt_test_thread *thread = host.threads;
        host.threads = thread->next;
        free(thread);
    }
    pthread_mutex_unlock(&host.lock);
    pthread_mutex_destroy(&host.lock);
}

void
mt_test_close(void)
{
    ck_assert_uint_eq(host.sched->live_count, 1);
    ck_assert_ptr_eq(host.sched->current, &host.main.base);
    ck_assert_ptr_null(host.main.base.wait);
    ck_assert_ptr_null(host.sched->ready_head);
    ck_assert_uint_eq(host.sched->timers.count, 0);
    ck_assert_uint_eq(host.polls_begun, host.polls_ended);
    mt_test_tear_down();
}

struct mt_test_thread *
mt_test_spawn_sized(void (*function)(void *argument), void *argument, uint32_t stack_size)
{
    struct mt_test_thread *thread = calloc(1, sizeof *thread);
    mt_thread_init(&thread->base);
    thread->base.stack_size = stack_size;
    thread->function = function;
    thread->argument = argument;
    thread->next = host.threads;
    host.threads = thread;
    mt_sched_spawn(host.sched, &thread->base);
    return thread;
}

struct mt_test_thread *
mt_test_spawn(void (*function)(void *argument), void *argument)
{
    return mt_test_spawn_sized(function, argument, 0);
}

void
mt_test_join(struct mt_test_thread *thread)
{
    int error = mt_deferred_wait(host.sched, &thread->base.done, MT_FOREVER, MT_WAIT_THREAD, thread);
    ck_assert_int_eq(error, 0);
    ck_assert_int_eq(thread->base.state, MT_THREAD_DONE);
}

void
mt_test_join_all(void)
{
    for (struct mt_test_thread *thread = host.threads; thread; thread = thread->next)
        mt_test_join(thread);
}

void
mt_test_settle(void)
{
    do
        mt_sched_pass(host.sched);
    while (host.sched->ready_head);
}

void
mt_test_cancel(struct mt_test_thread *thread)
{
    struct mt_thread *base = &thread->base;
    if (base->state == MT_THREAD_WAITING && base->wait->result == MT_PENDING)
        mt_thread_cancel_wait(base);
    else
        base->is_pending = true;
}

void
mt_test_log(const char *text)
{
    ck_assert_uint_lt(strlen(host.log) + strlen(text), sizeof host.log);
    strcat(host.log, text);
}

int
mt_test_count_fds(void)
{
    DIR *folder = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(folder);
    int count = 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}
