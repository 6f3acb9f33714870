/* SPDX-License-Identifier: MIT */
/* The life of a micro-thread: its end, its reference, cancellation, forks, tear-down half way. */
#include "support/mt_test_host.h"

#include "core/mt_pipe.h"

#include <sys/wait.h>
#include <unistd.h>

static void
setup(void)
{
    mt_test_open(&mt_reactor_virtual);
}

static void
do_nothing(void *argument)
{
    (void)argument;
}

static void
log_name(void *argument)
{
    mt_test_log(argument);
}

static void
sleep_long(void *argument)
{
    int *error = argument;
    *error = mt_sleep(host.sched, 1000 * MT_SECOND);
}

static void
join_it(void *argument)
{
    mt_test_join(argument);
    mt_test_log("j");
}

/* ---- the end ---- */

START_TEST(states_follow_the_life_of_a_micro_thread)
{
    int error = 1;
    struct mt_thread fresh;
    mt_thread_init(&fresh);
    ck_assert_int_eq(fresh.state, MT_THREAD_NEW);
    ck_assert_ptr_null(fresh.sched);
    struct mt_test_thread *thread = mt_test_spawn(sleep_long, &error);
    ck_assert_int_eq(thread->base.state, MT_THREAD_READY);
    ck_assert_ptr_null(thread->base.stack);
    mt_test_settle();
    ck_assert_int_eq(thread->base.state, MT_THREAD_WAITING);
    ck_assert_ptr_nonnull(thread->base.stack);
    ck_assert(!mt_thread_is_done(&thread->base));
    mt_test_cancel(thread);
    ck_assert_int_eq(thread->base.state, MT_THREAD_READY);
    mt_test_join(thread);
    ck_assert(mt_thread_is_done(&thread->base));
    ck_assert_ptr_null(thread->base.stack);
    ck_assert(!mt_link_is_linked(&thread->base.live));
    ck_assert_int_eq(error, MT_ECANCELED);
    mt_test_close();
}
END_TEST

START_TEST(any_number_may_wait_for_the_end)
{
    struct mt_test_thread *thread = mt_test_spawn(log_name, "x");
    for (int i = 0; i < 5; i++)
        mt_test_spawn(join_it, thread);
    mt_test_join_all();
    ck_assert_str_eq(host.log, "xjjjjj");
    mt_test_join(thread); /* and later */
    mt_test_close();
}
END_TEST

START_TEST(each_reference_is_dropped_once_and_soon)
{
    for (int i = 0; i < 100; i++)
        mt_test_spawn(do_nothing, NULL);
    mt_test_settle();
    ck_assert_uint_eq(host.dropped, 100);
    for (struct mt_test_thread *thread = host.threads; thread; thread = thread->next)
        ck_assert(thread->is_dropped);
    ck_assert_ptr_null(host.sched->dead);
    mt_test_close();
}
END_TEST

static void
park_in_drop(struct mt_test_thread *thread)
{
    (void)thread;
    ck_assert_int_eq(mt_sleep(host.sched, MT_MILLISECOND), 0);
    mt_test_log(".");
}

START_TEST(dropping_a_reference_may_park)
{
    host.on_drop = park_in_drop;
    for (int i = 0; i < 10; i++)
        mt_test_spawn(do_nothing, NULL);
    mt_test_join_all();
    ck_assert_int_eq(mt_sleep(host.sched, MT_SECOND), 0);
    ck_assert_uint_eq(host.dropped, 10);
    ck_assert_str_eq(host.log, "..........");
    mt_test_close();
}
END_TEST

static void
spawn_in_drop(struct mt_test_thread *thread)
{
    if (thread->function == do_nothing)
        mt_test_spawn(log_name, "s");
}

START_TEST(dropping_a_reference_may_spawn)
{
    host.on_drop = spawn_in_drop;
    mt_test_spawn(do_nothing, NULL);
    mt_test_spawn(do_nothing, NULL);
    mt_test_settle();
    ck_assert_str_eq(host.log, "ss");
    mt_test_close();
}
END_TEST

START_TEST(cancel_before_the_first_run_comes_at_the_first_wait)
{
    int error = 1;
    struct mt_test_thread *thread = mt_test_spawn(sleep_long, &error);
    mt_test_cancel(thread);
    mt_test_join(thread);
    ck_assert_int_eq(error, MT_ECANCELED);
    mt_test_close();
}
END_TEST

START_TEST(cancelling_a_done_one_changes_nothing)
{
    struct mt_test_thread *thread = mt_test_spawn(do_nothing, NULL);
    mt_test_join(thread);
    mt_thread_cancel_wait(&thread->base);
    mt_thread_interrupt(&thread->base);
    ck_assert_int_eq(thread->base.state, MT_THREAD_DONE);
    ck_assert_ptr_null(host.sched->ready_head);
    mt_test_close();
}
END_TEST

/* ---- forks ---- */

static struct mt_deferred shared;
static struct mt_pipe pipe_of_all;
static int child_status = -1;

static void
wait_for_shared(void *argument)
{
    (void)argument;
    (void)mt_deferred_wait(host.sched, &shared, 50 * MT_SECOND, MT_WAIT_DEFERRED, NULL);
}

static void
take_one(void *argument)
{
    (void)mt_pipe_take(&pipe_of_all, argument, MT_FOREVER);
}

static void
abandon(struct mt_thread *thread)
{
    MT_CONTAINER_OF(thread, struct mt_test_thread, base)->is_abandoned = true;
}

static void
require(bool condition)
{
    if (!condition)
        _exit(1);
}

/* The one that forked is alone, and all it shares with the abandoned ones still works. */
static void
live_on_in_the_child(struct mt_test_thread *self)
{
    require(mt_sched_after_fork(host.sched, abandon) == 0);
    require(host.sched->main == &self->base && host.sched->current == &self->base);
    require(host.sched->live_count == 1 && host.sched->timers.count == 0);
    require(!host.sched->ready_head);
    require(host.main.is_abandoned && host.main.base.state == MT_THREAD_DONE);
    require(mt_list_is_empty(&shared.waiters) && mt_list_is_empty(&pipe_of_all.readers));
    int before = host.dropped;
    void *value = NULL;
    struct mt_test_thread *taker = mt_test_spawn(take_one, &value);
    mt_sched_pass(host.sched);
    require((int)host.dropped > before);
    require(mt_pipe_put(&pipe_of_all, &child_status, MT_FOREVER) == 0);
    mt_test_join(taker);
    require(value == &child_status);
    require(mt_deferred_fire(&shared, MT_DEFERRED_VALUE, NULL) == 0);
    require(mt_sleep(host.sched, MT_SECOND) == 0);
    _exit(7);
}

static void
fork_here(void *argument)
{
    (void)argument;
    pid_t child = fork();
    if (child == 0)
        live_on_in_the_child(MT_CONTAINER_OF(host.sched->current, struct mt_test_thread, base));
    int status = 0;
    waitpid(child, &status, 0);
    child_status = WIFEXITED(status) ? WEXITSTATUS(status) : -2;
}

START_TEST(child_keeps_only_the_one_that_forked)
{
    void *taken = NULL;
    mt_deferred_init(&shared);
    mt_pipe_init(&pipe_of_all, host.sched, MT_PIPE_UNBOUNDED);
    for (int i = 0; i < 3; i++)
        mt_test_spawn(wait_for_shared, NULL);
    mt_test_spawn(take_one, &taken);
    mt_test_settle();
    mt_test_spawn(do_nothing, NULL); /* has not run when the fork comes */
    struct mt_test_thread *forker = mt_test_spawn(fork_here, NULL);
    mt_test_spawn(do_nothing, NULL);
    mt_test_join(forker);
    ck_assert_int_eq(child_status, 7);
    /* Nothing has changed for the parent. */
    ck_assert_int_eq(mt_deferred_fire(&shared, MT_DEFERRED_VALUE, NULL), 0);
    ck_assert_int_eq(mt_pipe_try_put(&pipe_of_all, &taken), 0);
    mt_test_join_all();
    ck_assert_ptr_eq(taken, &taken);
    mt_pipe_fini(&pipe_of_all, NULL);
    mt_test_close();
}
END_TEST

/* ---- tear-down half way ---- */

static void
yield_for_ever(void *argument)
{
    (void)argument;
    while (!mt_sched_yield(host.sched))
        ;
}

/* _i: the reactor. */
START_TEST(scheduler_can_be_freed_with_micro_threads_in_every_state)
{
    static const struct mt_reactor_ops *const reactors[] = {&mt_reactor_virtual, &mt_reactor_ev};
    int error = 1;
    void *taken = NULL;
    mt_test_close();
    mt_test_open(reactors[_i]);
    mt_deferred_init(&shared);
    mt_pipe_init(&pipe_of_all, host.sched, 1);
    mt_test_spawn(sleep_long, &error);
    mt_test_spawn(wait_for_shared, NULL);
    mt_test_spawn(take_one, &taken);
    mt_test_spawn(yield_for_ever, NULL);
    mt_test_spawn_sized(sleep_long, &error, 1 << 20);
    mt_test_spawn(do_nothing, NULL);
    for (int i = 0; i < 5; i++)
        mt_sched_pass(host.sched);
    mt_test_spawn(do_nothing, NULL); /* never runs */
    mt_test_tear_down();
    ck_assert_int_eq(error, 1);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("core/thread");
    TCase *life = tcase_create("life");
    tcase_add_checked_fixture(life, setup, NULL);
    tcase_add_test(life, states_follow_the_life_of_a_micro_thread);
    tcase_add_test(life, any_number_may_wait_for_the_end);
    tcase_add_test(life, each_reference_is_dropped_once_and_soon);
    tcase_add_test(life, dropping_a_reference_may_park);
    tcase_add_test(life, dropping_a_reference_may_spawn);
    tcase_add_test(life, cancel_before_the_first_run_comes_at_the_first_wait);
    tcase_add_test(life, cancelling_a_done_one_changes_nothing);
    tcase_add_test(life, child_keeps_only_the_one_that_forked);
    tcase_add_loop_test(life, scheduler_can_be_freed_with_micro_threads_in_every_state, 0, 2);
    suite_add_tcase(suite, life);
    return suite;
}
