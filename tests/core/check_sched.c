/* SPDX-License-Identifier: MIT */
/* The run queue, stacks bound to micro-threads, timers, mail, the deadlock hook. */
#include "support/mt_test_host.h"

#include <string.h>

static void
setup(void)
{
    mt_test_open(&mt_reactor_virtual);
}

static void
log_name(void *argument)
{
    mt_test_log(argument);
}

static void
log_twice(void *argument)
{
    mt_test_log(argument);
    ck_assert_int_eq(mt_sched_yield(host.sched), 0);
    mt_test_log(argument);
}

/* ---- the run queue ---- */

START_TEST(main_is_the_current_one_from_the_start)
{
    ck_assert_ptr_eq(host.sched->current, &host.main.base);
    ck_assert_int_eq(host.main.base.state, MT_THREAD_RUNNING);
    ck_assert_uint_eq(host.main.base.id, 1);
    ck_assert_uint_eq(host.sched->live_count, 1);
    mt_test_close();
}
END_TEST

START_TEST(spawned_ones_run_in_the_order_of_spawning)
{
    struct mt_test_thread *first = mt_test_spawn(log_name, "a");
    struct mt_test_thread *second = mt_test_spawn(log_name, "b");
    mt_test_spawn(log_name, "c");
    ck_assert_str_eq(host.log, "");
    ck_assert_int_eq(first->base.state, MT_THREAD_READY);
    ck_assert_uint_eq(second->base.id, first->base.id + 1);
    ck_assert_uint_eq(host.sched->live_count, 4);
    mt_test_join_all();
    ck_assert_str_eq(host.log, "abc");
    ck_assert_uint_eq(host.sched->spawned, 3);
    mt_test_close();
}
END_TEST

START_TEST(yield_goes_to_the_back_of_the_queue)
{
    mt_test_spawn(log_twice, "a");
    mt_test_spawn(log_twice, "b");
    mt_test_log("0");
    ck_assert_int_eq(mt_sched_yield(host.sched), 0);
    mt_test_log("1");
    ck_assert_int_eq(mt_sched_yield(host.sched), 0);
    mt_test_log("2");
    ck_assert_str_eq(host.log, "0ab1ab2");
    mt_test_close();
}
END_TEST

START_TEST(yield_alone_returns_without_a_switch)
{
    uint64_t before = host.sched->switches;
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(mt_sched_yield(host.sched), 0);
    ck_assert_uint_eq(host.sched->switches, before);
    mt_test_close();
}
END_TEST

START_TEST(pending_cancel_comes_out_of_yield)
{
    mt_test_cancel(&host.main);
    ck_assert_int_eq(mt_sched_yield(host.sched), MT_ECANCELED);
    ck_assert_int_eq(mt_sched_yield(host.sched), 0);
    mt_test_close();
}
END_TEST

static void
cancel_main(void *argument)
{
    (void)argument;
    mt_test_cancel(&host.main);
}

START_TEST(cancel_during_a_yield_comes_out_of_it)
{
    mt_test_spawn(cancel_main, NULL);
    ck_assert_int_eq(mt_sched_yield(host.sched), MT_ECANCELED);
    mt_test_join_all();
    mt_test_close();
}
END_TEST

static void
spawn_one_more(void *argument)
{
    int *left = argument;
    mt_test_log(".");
    if (--*left > 0)
        mt_test_spawn(spawn_one_more, left);
}

START_TEST(micro_threads_spawn_micro_threads)
{
    int left = 50;
    mt_test_spawn(spawn_one_more, &left);
    mt_test_settle();
    ck_assert_int_eq(left, 0);
    ck_assert_uint_eq(strlen(host.log), 50);
    mt_test_close();
}
END_TEST

static int ticks_of_other;

static void
count_passes(void *argument)
{
    (void)argument;
    for (;;) {
        ticks_of_other++;
        if (mt_sched_yield(host.sched))
            return;
    }
}

START_TEST(calls_that_go_ahead_give_way_after_a_bounded_run)
{
    struct mt_test_thread *thread = mt_test_spawn(count_passes, NULL);
    for (int i = 0; i < 4 * MT_BUDGET; i++)
        mt_spend(host.sched, 1 + (uint32_t)i % 16);
    ck_assert_int_ge(ticks_of_other, 4);
    mt_test_cancel(thread);
    mt_test_join(thread);
    mt_test_close();
}
END_TEST

static int next_number;
static int out_of_order;

/* Runs in two parts, so that new ones and resumed ones stand in one queue. */
static void
expect_number(void *argument)
{
    int number = *(int *)argument;
    out_of_order += next_number++ != number;
    if (number % 3 == 0)
        ck_assert_int_eq(mt_sched_yield(host.sched), 0);
}

START_TEST(long_queue_of_new_and_resumed_ones_keeps_its_order)
{
    enum { COUNT = 5000, ROUNDS = 3 };
    static int numbers[COUNT];
    for (int round = 0; round < ROUNDS; round++) {
        next_number = 0;
        for (int i = 0; i < COUNT; i++) {
            numbers[i] = i;
            mt_test_spawn(expect_number, &numbers[i]);
        }
        ck_assert_uint_eq(host.sched->ready_count, COUNT);
        mt_test_join_all();
        ck_assert_int_eq(next_number, COUNT);
    }
    ck_assert_int_eq(out_of_order, 0);
    mt_test_close();
}
END_TEST

/* ---- stacks ---- */

static size_t most_stacks;

static void
note_stacks(void *argument)
{
    (void)argument;
    if (host.sched->stacks.used_count > most_stacks)
        most_stacks = host.sched->stacks.used_count;
}

START_TEST(batch_that_never_parks_runs_on_one_stack)
{
    for (int i = 0; i < 1000; i++)
        mt_test_spawn(note_stacks, NULL);
    ck_assert_uint_eq(host.sched->stacks.used_count, 0); /* bound at the first run only */
    mt_test_join_all();
    ck_assert_uint_eq(most_stacks, 1);
    ck_assert_uint_eq(host.sched->stacks.used_count, 0);
    mt_test_close();
}
END_TEST

static void
do_nothing(void *argument)
{
    (void)argument;
}

START_TEST(creating_and_finishing_many_maps_nothing_new)
{
    mt_test_join(mt_test_spawn(do_nothing, NULL));
    size_t mapped = host.sched->stacks.mapped;
    for (int i = 0; i < 50000; i++) {
        struct mt_test_thread thread = {.function = do_nothing};
        mt_thread_init(&thread.base);
        mt_sched_spawn(host.sched, &thread.base);
        mt_test_join(&thread);
        ck_assert_int_eq(mt_sched_yield(host.sched), 0); /* drops it */
        if (!thread.is_dropped)
            ck_abort_msg("number %d was not dropped", i);
    }
    ck_assert_uint_eq(host.sched->stacks.mapped, mapped);
    ck_assert_uint_eq(host.sched->live_count, 1);
    mt_test_close();
}
END_TEST

static MT_NOINLINE size_t
dig(size_t kibibytes)
{
    volatile char frame[1024];
    memset((void *)(uintptr_t)frame, (int)kibibytes, sizeof frame);
    if (kibibytes % 64 == 0)
        mt_sched_pass(host.sched);
    size_t below = kibibytes ? dig(kibibytes - 1) : 0;
    return below + (frame[17] == (char)kibibytes);
}

static void
dig_down(void *argument)
{
    size_t *kibibytes = argument;
    *kibibytes = dig(*kibibytes);
}

START_TEST(stacks_of_several_sizes_live_side_by_side)
{
    static size_t depths[60];
    const uint32_t sizes[] = {0, 1 << 20, 1 << 18, 1 << 16, 4 << 20};
    const size_t kibibytes[] = {24, 500, 120, 24, 1500};
    for (int i = 0; i < 60; i++) {
        depths[i] = kibibytes[i % 5];
        mt_test_spawn_sized(dig_down, &depths[i], sizes[i % 5]);
    }
    mt_test_join_all();
    for (int i = 0; i < 60; i++)
        ck_assert_uint_eq(depths[i], kibibytes[i % 5] + 1);
    mt_test_close();
}
END_TEST

START_TEST(size_that_is_the_usual_one_shares_its_pool)
{
    mt_test_spawn_sized(note_stacks, NULL, MT_STACK_LEAST);
    mt_test_spawn_sized(note_stacks, NULL, 0);
    mt_test_join_all();
    ck_assert_uint_eq(most_stacks, 1);
    ck_assert_ptr_null(host.sched->other_stacks);
    mt_test_close();
}
END_TEST

START_TEST(scratch_and_host_state_stay_with_their_stack)
{
    mt_test_close();
    host.scratch_size = 2048;
    mt_test_open(&mt_reactor_virtual); /* the host checks both at each switch */
    for (int i = 0; i < 20; i++)
        mt_test_spawn(log_twice, ".");
    mt_test_join_all();
    ck_assert_uint_eq(strlen(host.log), 40);
    mt_test_close();
}
END_TEST

/* ---- failures ---- */

START_TEST(micro_thread_without_a_stack_ends_and_the_others_run)
{
    for (unsigned long nth = 1; nth <= 2; nth++) {
        mt_alloc_fail_nth(nth);
        struct mt_test_thread *failed = mt_test_spawn(log_name, "x");
        struct mt_test_thread *other = mt_test_spawn(log_name, "a");
        mt_test_join(failed);
        mt_alloc_fail_nth(0);
        mt_test_join(other);
        ck_assert_int_eq(failed->error, MT_ENOMEM);
        ck_assert(!failed->has_run);
        ck_assert_int_eq(failed->base.state, MT_THREAD_DONE);
        ck_assert_int_eq(mt_sched_yield(host.sched), 0);
        ck_assert(failed->is_dropped);
        ck_assert(other->has_run);
        /* Use up what there is, so that the next round maps again. */
        while (host.sched->stacks.fresh < host.sched->stacks.fresh_end)
            (void)mt_stack_get(&host.sched->stacks);
        while (host.sched->stacks.warm)
            (void)mt_stack_get(&host.sched->stacks);
    }
    ck_assert_str_eq(host.log, "aa");
    mt_test_close();
}
END_TEST

static struct mt_test_thread *large_one;

/* Its successor wants another kind of stack and is chosen while this one is ending. */
static void
spawn_a_large_one(void *argument)
{
    large_one = mt_test_spawn_sized(log_name, "L", 1 << 20);
    mt_alloc_fail_nth(*(unsigned long *)argument);
}

START_TEST(large_stack_that_fails_at_the_end_of_another_is_reported)
{
    unsigned long nths[] = {1, 2, 2}; /* the pools, an arena's note, its mapping */
    for (int i = 0; i < 3; i++) {
        mt_test_join(mt_test_spawn(spawn_a_large_one, &nths[i]));
        mt_test_join(large_one);
        mt_alloc_fail_nth(0);
        ck_assert_int_eq(large_one->error, MT_ENOMEM);
    }
    ck_assert_str_eq(host.log, "");
    mt_test_join(mt_test_spawn_sized(log_name, "L", 1 << 20));
    ck_assert_str_eq(host.log, "L");
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("core/sched");
    TCase *queue = tcase_create("queue");
    tcase_add_checked_fixture(queue, setup, NULL);
    tcase_add_test(queue, main_is_the_current_one_from_the_start);
    tcase_add_test(queue, spawned_ones_run_in_the_order_of_spawning);
    tcase_add_test(queue, yield_goes_to_the_back_of_the_queue);
    tcase_add_test(queue, yield_alone_returns_without_a_switch);
    tcase_add_test(queue, pending_cancel_comes_out_of_yield);
    tcase_add_test(queue, cancel_during_a_yield_comes_out_of_it);
    tcase_add_test(queue, micro_threads_spawn_micro_threads);
    tcase_add_test(queue, calls_that_go_ahead_give_way_after_a_bounded_run);
    tcase_add_test(queue, long_queue_of_new_and_resumed_ones_keeps_its_order);
    suite_add_tcase(suite, queue);
    TCase *stacks = tcase_create("stacks");
    tcase_add_checked_fixture(stacks, setup, NULL);
    tcase_add_test(stacks, batch_that_never_parks_runs_on_one_stack);
    tcase_add_test(stacks, creating_and_finishing_many_maps_nothing_new);
    tcase_add_test(stacks, stacks_of_several_sizes_live_side_by_side);
    tcase_add_test(stacks, size_that_is_the_usual_one_shares_its_pool);
    tcase_add_test(stacks, scratch_and_host_state_stay_with_their_stack);
    suite_add_tcase(suite, stacks);
    TCase *failures = tcase_create("failures");
    tcase_add_checked_fixture(failures, setup, NULL);
    tcase_add_test(failures, micro_thread_without_a_stack_ends_and_the_others_run);
    tcase_add_test(failures, large_stack_that_fails_at_the_end_of_another_is_reported);
    suite_add_tcase(suite, failures);
    return suite;
}
