/* SPDX-License-Identifier: MIT */
/* The run queue, the switch, and the idle moments. */
#include "core/mt_sched.h"

#include "arch/mt_arch.h"
#include "arch/mt_sanitizer.h"
#include "base/mt_alloc.h"
#include "base/mt_error.h"

#include <sched.h>

enum {
    DEADLOCK_INTERVAL = 500 * 1000 * 1000, /* ns until it is asked again whether others may wake us */
    POLL_INTERVAL = 20 * 1000,            /* ns: busy micro-threads leave the reactor alone so long */
    TRIM_INTERVAL = 10 * 1000 * 1000,     /* ns between two looks at unused stacks */
    SIZE_CLASSES = 32                     /* stack pools, one for each power of two */
};

/* ---- the run queue ---- */

static inline void
push_ready(struct mt_sched *sched, struct mt_thread *thread)
{
    thread->state = MT_THREAD_READY;
    thread->ready_next = NULL;
    if (sched->ready_head)
        sched->ready_tail->ready_next = thread;
    else
        sched->ready_head = thread;
    sched->ready_tail = thread;
    sched->ready_count++;
}

enum {
    CACHE_LINE = 64,   /* bytes */
    STACK_LINES = 4,   /* of a parked one's C stack that going on reads first */
    SCRATCH_LINES = 4, /* of the host's frames */
    CONTROL_LINES = 3, /* of the control block and the state behind it */
    AHEAD_LINES = 2    /* of what the host reads first */
};

static inline void
prefetch(const void *memory, int lines)
{
    for (int i = 0; i < lines; i++)
        __builtin_prefetch((const char *)memory + i * CACHE_LINE);
}

/* In a long queue every line is cold. While one runs fetch what the next one goes on with, the
   control block of the second and the struct of the third: each is where the address of the former
   is found. */
static inline void
prefetch_queue(const struct mt_thread *next)
{
    if (next->stack) {
        prefetch(next->stack->context, STACK_LINES);
        prefetch(next->stack->scratch, SCRATCH_LINES);
    }
    if (next->ahead)
        prefetch(*next->ahead, AHEAD_LINES);
    const struct mt_thread *second = next->ready_next;
    if (second) {
        if (second->stack)
            prefetch(second->stack, CONTROL_LINES);
        if (second->ahead)
            prefetch(second->ahead, AHEAD_LINES);
        __builtin_prefetch(second->ready_next);
    }
}

static inline struct mt_thread *
pop_ready(struct mt_sched *sched)
{
    struct mt_thread *thread = sched->ready_head;
    struct mt_thread *next = thread->ready_next;
    sched->ready_head = next;
    sched->ready_count--;
    if (next)
        prefetch_queue(next);
    return thread;
}

void
mt_sched_ready(struct mt_thread *thread)
{
    struct mt_sched *sched = thread->sched;
    push_ready(sched, thread);
    if (MT_UNLIKELY(atomic_load_explicit(&sched->is_polling, memory_order_relaxed)))
        sched->reactor_ops->wake(sched->reactor);
}

/* ---- stacks ---- */

static struct mt_stack_pool *
pool_for(struct mt_sched *sched, size_t size)
{
    if (size == 0 || size == sched->stacks.config.slot_size)
        return &sched->stacks;
    if (!sched->other_stacks) {
        sched->other_stacks = mt_alloc_zeroed(SIZE_CLASSES * sizeof *sched->other_stacks);
        if (!sched->other_stacks)
            return NULL;
    }
    struct mt_stack_pool *pool = &sched->other_stacks[__builtin_ctzl(size)];
    if (pool->config.slot_size == 0) {
        struct mt_stack_config config = sched->stacks.config;
        config.slot_size = size;
        mt_stack_pool_init(pool, &config);
    }
    return pool;
}

static void
put_stack(struct mt_sched *sched, struct mt_stack *stack, size_t size)
{
    mt_stack_put(pool_for(sched, size), stack);
}

/* ---- the switch ---- */

/* The one place where stacks are exchanged, so that the branch predictors know it.
   for_good: nobody will come back to `from`. */
static MT_NOINLINE void
exchange(struct mt_sched *sched, struct mt_stack *from, struct mt_stack *to, bool for_good)
{
    sched->switches++;
    mt_sanitizer_leave(for_good ? NULL : &from->fake, to->fake, to->bottom, to->size);
    mt_arch_switch(&from->context, to->context);
    mt_sanitizer_arrive(from->fake, NULL, NULL);
}

/* The end of a micro-thread, after run: who waits for it is woken, its reference goes. */
static void
finish(struct mt_sched *sched, struct mt_thread *thread)
{
    thread->state = MT_THREAD_DONE;
    mt_list_remove(&thread->live);
    sched->live_count--;
    (void)mt_deferred_fire(&thread->done, MT_DEFERRED_VALUE, thread->done.value);
    thread->ready_next = sched->dead;
    sched->dead = thread;
}

void
mt_sched_drop_dead(struct mt_sched *sched)
{
    while (sched->dead) {
        struct mt_thread *thread = sched->dead;
        sched->dead = thread->ready_next;
        thread->ready_next = NULL;
        sched->hooks->drop(sched, thread);
    }
}

static struct mt_thread *
pick_next(struct mt_sched *sched);

/* The first function on every stack. It runs one micro-thread after the other for as long as the
   next one has no stack of its own yet. */
static void
stack_main(void *argument)
{
    struct mt_sched *sched = argument;
    struct mt_thread *self = sched->current;
    struct mt_stack *stack = self->stack;
    size_t size = self->stack_size;
    const void *old_bottom = NULL;
    size_t old_size = 0;
    mt_sanitizer_arrive(NULL, &old_bottom, &old_size);
    if (old_bottom && !sched->main_stack->bottom) {
        sched->main_stack->bottom = (char *)(uintptr_t)old_bottom;
        sched->main_stack->size = old_size;
    }
    for (;;) {
        sched->hooks->enter(sched, stack);
        self->state = MT_THREAD_RUNNING;
        sched->budget = MT_BUDGET;
        if (MT_UNLIKELY(sched->dead != NULL))
            mt_sched_drop_dead(sched);
        sched->hooks->run(sched, self, 0);
        self->stack = NULL;
        finish(sched, self);
        struct mt_thread *next = pick_next(sched);
        if (next->stack) {
            put_stack(sched, stack, size);
            sched->current = next;
            exchange(sched, stack, next->stack, true);
        }
        assert(next->stack_size == size); /* else pick_next would have given it a stack */
        next->stack = stack;
        sched->current = self = next;
    }
}

/* Give a stack to one that runs for the first time. Returns whether it could be done. */
static bool
bind_stack(struct mt_sched *sched, struct mt_thread *thread)
{
    struct mt_stack_pool *pool = pool_for(sched, thread->stack_size);
    struct mt_stack *stack = pool ? mt_stack_get(pool) : NULL;
    if (!stack)
        return false;
    mt_sanitizer_prepare(&stack->fake);
    stack->context = mt_arch_prepare(mt_stack_top(stack), stack_main, sched);
    thread->stack = stack;
    return true;
}

void
mt_sched_leave(struct mt_sched *sched)
{
    struct mt_thread *self = sched->current;
    struct mt_thread *next = pick_next(sched);
    if (next != self) {
        sched->hooks->leave(sched, self->stack);
        sched->current = next;
        exchange(sched, self->stack, next->stack, false);
        sched->hooks->resume(sched, self->stack);
    }
    self->state = MT_THREAD_RUNNING;
    sched->budget = MT_BUDGET;
    if (MT_UNLIKELY(sched->dead != NULL))
        mt_sched_drop_dead(sched);
}

/* ---- choosing the next one ---- */

static void
fire_timers(struct mt_sched *sched, mt_time now)
{
    struct mt_heap_node *node;
    while ((node = mt_heap_top(&sched->timers)) && node->key <= now) {
        struct mt_timer *timer = MT_CONTAINER_OF(node, struct mt_timer, node);
        mt_timer_unset(sched, timer);
        timer->ring(timer);
    }
}

/* Once a round of the run queue: letters, timers, and descriptors when it is time. */
static void
look_around(struct mt_sched *sched)
{
    mt_mailbox_drain(&sched->mailbox);
    bool is_watching = sched->reactor_ops->is_watching(sched->reactor);
    if (!is_watching && !sched->timers.count)
        return;
    mt_time now = mt_sched_now(sched);
    struct mt_heap_node *first = mt_heap_top(&sched->timers);
    bool is_due = first && first->key <= now;
    /* Descriptors first: who has kept the loop busy must not make late what came in time. */
    if (is_watching && (sched->ready_head || is_due) && now - sched->polled_at >= POLL_INTERVAL) {
        sched->polls++;
        sched->reactor_ops->poll(sched->reactor, 0);
        sched->polled_at = now;
    }
    if (is_due)
        fire_timers(sched, now);
}

static void
poll_begin(void *host)
{
    struct mt_sched *sched = host;
    sched->is_polling = true;
    sched->hooks->poll_begin(sched);
}

static void
poll_end(void *host)
{
    struct mt_sched *sched = host;
    sched->hooks->poll_end(sched);
    /* Whoever looks from outside may have looked before the poll, and not since: see mt_sched_goes_on(). */
    atomic_fetch_add(&sched->idles, 1);
    sched->is_polling = false;
}

static void
trim_stacks(struct mt_sched *sched, mt_time now)
{
    sched->trimmed_at = now;
    bool is_more = mt_stack_pool_trim(&sched->stacks, &now);
    for (int i = 0; sched->other_stacks && i < SIZE_CLASSES; i++)
        if (sched->other_stacks[i].config.slot_size)
            is_more |= mt_stack_pool_trim(&sched->other_stacks[i], &now);
    sched->is_trimming = is_more;
}

/* Nothing is ready: let the reactor wait, on the stack of whoever came here last. */
static void
idle(struct mt_sched *sched)
{
    /* Other OS threads and the deadlock report look at parked ones, the caller among them. */
    if (sched->current->stack)
        sched->hooks->leave(sched, sched->current->stack);
    mt_time now = mt_sched_now(sched);
    if (now - sched->trimmed_at >= TRIM_INTERVAL)
        trim_stacks(sched, now);
    bool is_timed = sched->timers.count > sched->resting;
    struct mt_heap_node *first = is_timed ? mt_heap_top(&sched->timers) : NULL;
    mt_time timeout = !first ? MT_FOREVER : first->key > now ? first->key - now : 0;
    if (timeout == MT_FOREVER && sched->external == 0 &&
        !sched->reactor_ops->has_waiters(sched->reactor)) {
        if (sched->hooks->deadlock(sched))
            return;
        timeout = DEADLOCK_INTERVAL;
    }
    if (sched->is_trimming && timeout > TRIM_INTERVAL)
        timeout = TRIM_INTERVAL; /* come back for the rest */
    if (!mt_mailbox_sleep(&sched->mailbox))
        timeout = 0;
    sched->polls++;
    sched->reactor_ops->poll(sched->reactor, timeout);
    mt_mailbox_rise(&sched->mailbox);
    mt_mailbox_drain(&sched->mailbox);
    sched->polled_at = mt_sched_now(sched);
    if (sched->timers.count)
        fire_timers(sched, sched->polled_at);
    /* A poll that brought nothing may have been interrupted by a signal: that, too, is looked at. */
    if (MT_UNLIKELY(sched->is_signalled || !sched->ready_head)) {
        sched->is_signalled = false;
        mt_thread_interrupt(sched->main);
    }
}

/* The next to run, out of the queue; it has a stack, or can run on the caller's which is done.
   May run the reactor. It may be the caller itself. */
static struct mt_thread *
pick_next(struct mt_sched *sched)
{
    /* Only this OS thread writes it: no need of an atomic addition. */
    uint64_t turns = atomic_load_explicit(&sched->turns, memory_order_relaxed);
    atomic_store_explicit(&sched->turns, turns + 1, memory_order_relaxed);
    for (;;) {
        if (MT_UNLIKELY(!sched->ready_head || sched->round_left == 0)) {
            look_around(sched);
            while (!sched->ready_head)
                idle(sched);
            sched->round_left = sched->ready_count;
        }
        sched->round_left--;
        struct mt_thread *next = pop_ready(sched);
        if (MT_LIKELY(next->stack != NULL))
            return next;
        struct mt_thread *self = sched->current;
        if (self->state == MT_THREAD_DONE && self->stack_size == next->stack_size &&
            self != sched->main)
            return next;
        if (MT_LIKELY(bind_stack(sched, next)))
            return next;
        sched->hooks->run(sched, next, MT_ENOMEM);
        finish(sched, next);
    }
}

/* ---- the calls ---- */

int
mt_sched_new(const struct mt_sched_config *config, struct mt_thread *main, struct mt_sched **result)
{
    struct mt_sched *sched = mt_alloc_zeroed(sizeof *sched);
    if (!sched)
        return MT_ENOMEM;
    sched->main_stack = mt_alloc_zeroed(sizeof *sched->main_stack + config->host_size);
    if (!sched->main_stack) {
        mt_alloc_free(sched);
        return MT_ENOMEM;
    }
    sched->hooks = config->hooks;
    sched->host = config->host;
    sched->reactor_ops = config->reactor_ops;
    sched->next_id = config->first_id;
    sched->budget = MT_BUDGET;
    mt_list_init(&sched->live);
    mt_heap_init(&sched->timers);
    mt_mailbox_init(&sched->mailbox);
    mt_stack_pool_init(&sched->stacks, &(struct mt_stack_config){
                                           .slot_size = config->stack_size,
                                           .scratch_size = config->scratch_size,
                                           .host_size = config->host_size,
                                       });
    struct mt_reactor_host host = {poll_begin, poll_end, sched};
    int error = sched->reactor_ops->open(&host, &sched->reactor);
    if (error) {
        mt_alloc_free(sched->main_stack);
        mt_alloc_free(sched);
        return error;
    }
    main->sched = sched;
    main->id = sched->next_id++;
    main->stack = sched->main_stack;
    main->state = MT_THREAD_RUNNING;
    sched->main = sched->current = main;
    mt_list_append(&sched->live, &main->live);
    sched->live_count = 1;
    *result = sched;
    return 0;
}

void
mt_sched_free(struct mt_sched *sched)
{
    mt_sched_drop_dead(sched);
    mt_mailbox_drain(&sched->mailbox);
    while (atomic_load(&sched->posting)) /* a few instructions from its end */
        sched_yield();
    sched->reactor_ops->close(sched->reactor);
    mt_heap_fini(&sched->timers);
    mt_stack_pool_fini(&sched->stacks);
    for (int i = 0; sched->other_stacks && i < SIZE_CLASSES; i++)
        mt_stack_pool_fini(&sched->other_stacks[i]);
    mt_alloc_free(sched->other_stacks);
    mt_alloc_free(sched->main_stack);
    mt_alloc_free(sched);
}

void
mt_sched_spawn(struct mt_sched *sched, struct mt_thread *thread)
{
    assert(thread->state == MT_THREAD_NEW);
    thread->sched = sched;
    if (thread->id == 0)
        thread->id = sched->next_id++;
    if (thread->stack_size == sched->stacks.config.slot_size)
        thread->stack_size = 0;
    mt_list_append(&sched->live, &thread->live);
    sched->live_count++;
    sched->spawned++;
    mt_sched_ready(thread);
}

void
mt_sched_pass(struct mt_sched *sched)
{
    push_ready(sched, sched->current);
    mt_sched_leave(sched);
}

int
mt_sched_yield(struct mt_sched *sched)
{
    struct mt_thread *self = sched->current;
    if (MT_UNLIKELY(self->is_pending) && sched->hooks->check(sched, self))
        return MT_ECANCELED;
    mt_sched_pass(sched);
    return MT_UNLIKELY(self->is_pending) ? sched->hooks->check(sched, self) : 0;
}

void
mt_sched_post(struct mt_sched *sched, struct mt_mail *mail)
{
    if (mt_sched_post_begin(sched, mail))
        mt_sched_post_end(sched);
}

bool
mt_sched_post_begin(struct mt_sched *sched, struct mt_mail *mail)
{
    atomic_fetch_add(&sched->posting, 1);
    if (mt_mailbox_post(&sched->mailbox, mail))
        return true;
    atomic_fetch_sub(&sched->posting, 1);
    return false;
}

void
mt_sched_post_end(struct mt_sched *sched)
{
    sched->reactor_ops->wake(sched->reactor);
    atomic_fetch_sub(&sched->posting, 1);
}

void
mt_sched_count_stacks(const struct mt_sched *sched, size_t *used, size_t *mapped)
{
    *used = sched->stacks.used_count;
    *mapped = sched->stacks.mapped;
    for (int i = 0; sched->other_stacks && i < SIZE_CLASSES; i++) {
        *used += sched->other_stacks[i].used_count;
        *mapped += sched->other_stacks[i].mapped;
    }
}

mt_time
mt_sched_deadline(struct mt_sched *sched, mt_time timeout)
{
    if (timeout == MT_FOREVER)
        return MT_FOREVER;
    mt_time now = mt_sched_now(sched);
    return timeout > MT_FOREVER - 1 - now ? MT_FOREVER - 1 : now + timeout;
}

void
mt_sched_abandon_waits(struct mt_thread *thread)
{
    for (struct mt_wait *wait = thread->wait; wait; wait = wait->outer) {
        mt_wait_withdraw(wait);
        (void)mt_wait_claim(wait);
        for (struct mt_clause *clause = wait->clauses; clause; clause = clause->sibling)
            if (clause->value &&
                (clause->kind == MT_WAIT_DEFERRED || clause->kind == MT_WAIT_THREAD))
                ((struct mt_deferred *)clause->value)->waiting--;
    }
    thread->wait = NULL;
}

int
mt_sched_after_fork(struct mt_sched *sched, void (*abandon)(struct mt_thread *thread))
{
    struct mt_thread *self = sched->current;
    struct mt_link *link = mt_list_front(&sched->live);
    sched->ready_head = NULL;
    sched->ready_count = 0;
    mt_mailbox_init(&sched->mailbox);
    while (link) {
        struct mt_thread *thread = MT_CONTAINER_OF(link, struct mt_thread, live);
        link = mt_list_after(&sched->live, link);
        if (thread == self)
            continue;
        mt_list_remove(&thread->live);
        sched->live_count--;
        mt_sched_abandon_waits(thread);
        thread->state = MT_THREAD_DONE;
        thread->stack = NULL;
        abandon(thread);
        thread->ready_next = sched->dead;
        sched->dead = thread;
    }
    sched->main = self;
    sched->external = 0;
    return sched->reactor_ops->after_fork(sched->reactor);
}
