/* SPDX-License-Identifier: MIT */
#include "support/mt_test_host.h"

#include "core/mt_pipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mt_pipe the_pipe;
static int dropped;

static void
drop_value(void *value)
{
    (void)value;
    dropped++;
}

static void *
number(uintptr_t n)
{
    return (void *)n;
}

static void
open_pipe(size_t capacity)
{
    mt_test_open(&mt_reactor_virtual);
    mt_pipe_init(&the_pipe, host.sched, capacity);
}

static void
close_all(void)
{
    mt_pipe_fini(&the_pipe, drop_value);
    mt_test_close();
}

/* One call of a micro-thread. The log gets its name and its value or error. */
struct call {
    const char *name;
    uintptr_t value;
    mt_time timeout; /* 0: for ever */
    int error;       /* 1 until it has returned */
};

static void
finish_call(struct call *call, int error, uintptr_t value)
{
    char text[32];
    call->error = error;
    snprintf(text, sizeof text, error ? "%s! " : "%s%d ", call->name, (int)value);
    mt_test_log(text);
}

static mt_time
deadline_of(const struct call *call)
{
    return mt_sched_deadline(host.sched, call->timeout ? call->timeout : MT_FOREVER);
}

static void
put_one(void *argument)
{
    struct call *call = argument;
    call->error = 1;
    int error = mt_pipe_put(&the_pipe, number(call->value), deadline_of(call));
    finish_call(call, error, call->value);
}

static void
take_one(void *argument)
{
    struct call *call = argument;
    call->error = 1;
    void *value = NULL;
    int error = mt_pipe_take(&the_pipe, &value, deadline_of(call));
    finish_call(call, error, (uintptr_t)value);
}

static struct mt_test_thread *
park(void (*function)(void *argument), struct call *call)
{
    struct mt_test_thread *thread = mt_test_spawn(function, call);
    mt_test_settle();
    return thread;
}

static int
try_take(void)
{
    void *value = NULL;
    int error = mt_pipe_try_take(&the_pipe, &value);
    return error ? error : (int)(uintptr_t)value;
}

/* ---- without waiting ---- */

START_TEST(values_come_out_in_the_order_they_went_in)
{
    open_pipe(MT_PIPE_UNBOUNDED);
    for (uintptr_t i = 1; i <= 1000; i++)
        ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(i)), 0);
    for (int i = 1; i <= 1000; i++)
        ck_assert_int_eq(try_take(), i);
    ck_assert_int_eq(try_take(), MT_EEMPTY);
    close_all();
}
END_TEST

START_TEST(full_and_empty_are_errors_of_the_calls_that_do_not_wait)
{
    open_pipe(2);
    ck_assert_int_eq(try_take(), MT_EEMPTY);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(1)), 0);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(2)), 0);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(3)), MT_EFULL);
    ck_assert_int_eq(try_take(), 1);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(3)), 0);
    ck_assert_int_eq(try_take(), 2);
    ck_assert_int_eq(try_take(), 3);
    close_all();
}
END_TEST

START_TEST(peak_is_the_most_it_ever_held)
{
    open_pipe(MT_PIPE_UNBOUNDED);
    ck_assert_uint_eq(the_pipe.peak, 0);
    for (int round = 1; round <= 5; round++) {
        for (int i = 0; i < round; i++)
            ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(1)), 0);
        while (try_take() != MT_EEMPTY)
            ;
    }
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(1)), 0);
    ck_assert_uint_eq(the_pipe.peak, 5);
    close_all();
}
END_TEST

START_TEST(value_handed_straight_to_a_reader_does_not_count_for_the_peak)
{
    struct call reader = {.name = "r"};
    open_pipe(1);
    park(take_one, &reader);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(4)), 0);
    ck_assert_uint_eq(the_pipe.peak, 0);
    ck_assert_uint_eq(the_pipe.items.count, 0);
    mt_test_join_all();
    ck_assert_str_eq(host.log, "r4 ");
    close_all();
}
END_TEST

START_TEST(fini_drops_what_is_left)
{
    open_pipe(MT_PIPE_UNBOUNDED);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(1)), 0);
    ck_assert_int_eq(try_take(), 1);
    close_all();
    ck_assert_int_eq(dropped, 19);
}
END_TEST

/* ---- waiting ---- */

START_TEST(readers_are_served_in_the_order_they_came)
{
    struct call readers[] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
    open_pipe((size_t)_i);
    for (int i = 0; i < 3; i++)
        park(take_one, &readers[i]);
    for (uintptr_t i = 1; i <= 3; i++)
        ck_assert_int_eq(mt_pipe_put(&the_pipe, number(i), MT_FOREVER), 0);
    mt_test_join_all();
    ck_assert_str_eq(host.log, "a1 b2 c3 ");
    close_all();
}
END_TEST

START_TEST(writers_are_served_in_the_order_they_came)
{
    struct call writers[] = {{.name = "a", .value = 1},
                             {.name = "b", .value = 2},
                             {.name = "c", .value = 3}};
    open_pipe(1);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(9)), 0);
    for (int i = 0; i < 3; i++)
        park(put_one, &writers[i]);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(8)), MT_EFULL); /* nobody jumps the queue */
    ck_assert_str_eq(host.log, "");
    ck_assert_int_eq(try_take(), 9);
    mt_test_settle();
    ck_assert_str_eq(host.log, "a1 ");
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(8)), MT_EFULL);
    ck_assert_int_eq(try_take(), 1);
    ck_assert_int_eq(try_take(), 2);
    mt_test_settle();
    ck_assert_str_eq(host.log, "a1 b2 c3 ");
    ck_assert_int_eq(try_take(), 3);
    ck_assert_int_eq(try_take(), MT_EEMPTY);
    mt_test_join_all();
    close_all();
}
END_TEST

START_TEST(put_in_a_rendezvous_returns_when_the_value_was_taken)
{
    struct call writer = {.name = "w", .value = 5};
    open_pipe(0);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(1)), MT_EFULL);
    struct mt_test_thread *thread = park(put_one, &writer);
    ck_assert_int_eq(writer.error, 1);
    ck_assert_int_eq(try_take(), 5);
    mt_test_join(thread);
    ck_assert_int_eq(writer.error, 0);
    ck_assert_uint_eq(the_pipe.peak, 0);
    close_all();
}
END_TEST

enum { COUNT = 3000 };

static int puts_done;
static int takes_done;

static void
put_all(void *argument)
{
    (void)argument;
    for (uintptr_t i = 1; i <= COUNT; i++) {
        ck_assert_int_eq(mt_pipe_put(&the_pipe, number(i), MT_FOREVER), 0);
        puts_done++;
        if (the_pipe.capacity != MT_PIPE_UNBOUNDED)
            ck_assert_uint_le(the_pipe.items.count, the_pipe.capacity);
    }
}

static void
take_all(void *argument)
{
    (void)argument;
    for (uintptr_t i = 1; i <= COUNT; i++) {
        void *value = NULL;
        ck_assert_int_eq(mt_pipe_take(&the_pipe, &value, MT_FOREVER), 0);
        ck_assert_ptr_eq(value, number(i));
        takes_done++;
    }
}

START_TEST(everything_that_is_put_is_taken_once_in_order)
{
    const size_t capacities[] = {0, 1, 2, 128, MT_PIPE_UNBOUNDED};
    open_pipe(capacities[_i / 2]);
    if (_i % 2) {
        mt_test_spawn(put_all, NULL);
        mt_test_spawn(take_all, NULL);
    } else {
        mt_test_spawn(take_all, NULL);
        mt_test_spawn(put_all, NULL);
    }
    mt_test_join_all();
    ck_assert_int_eq(puts_done, COUNT);
    ck_assert_int_eq(takes_done, COUNT);
    ck_assert_uint_le(the_pipe.peak, capacities[_i / 2]);
    close_all();
}
END_TEST

START_TEST(pipe_that_is_always_ready_starves_nobody)
{
    struct call other = {.name = "o"};
    open_pipe(MT_PIPE_UNBOUNDED);
    mt_test_spawn(put_one, &other);
    for (uintptr_t i = 0; i < 2 * MT_BUDGET; i++) {
        void *value = NULL;
        ck_assert_int_eq(mt_pipe_put(&the_pipe, number(1), MT_FOREVER), 0);
        ck_assert_int_eq(mt_pipe_take(&the_pipe, &value, MT_FOREVER), 0);
    }
    ck_assert_str_eq(host.log, "o0 ");
    mt_test_join_all();
    close_all();
}
END_TEST

START_TEST(cancelled_one_whose_pipe_is_always_ready_hears_of_it)
{
    open_pipe(MT_PIPE_UNBOUNDED);
    mt_test_cancel(&host.main);
    int error = 0;
    void *value = NULL;
    uintptr_t next = 1;
    for (; !error; next++) {
        ck_assert_uint_lt(next, 2 * MT_BUDGET);
        error = _i ? mt_pipe_put(&the_pipe, number(next), MT_FOREVER)
                   : mt_pipe_try_put(&the_pipe, number(next));
        if (!error && !_i)
            error = mt_pipe_take(&the_pipe, &value, MT_FOREVER);
    }
    ck_assert_int_eq(error, MT_ECANCELED);
    /* What the call was about did not happen. */
    if (_i)
        ck_assert_uint_eq(the_pipe.items.count, next - 2);
    else
        ck_assert_int_eq(try_take(), (int)next - 1);
    close_all();
}
END_TEST

/* ---- time-outs and cancellation ---- */

START_TEST(time_out_leaves_the_pipe_as_if_never_asked)
{
    struct call reader = {.name = "r", .timeout = MT_SECOND};
    struct call writer = {.name = "w", .value = 1, .timeout = MT_SECOND};
    open_pipe(0);
    mt_test_join(park(take_one, &reader));
    mt_test_join(park(put_one, &writer));
    ck_assert_int_eq(reader.error, MT_ETIMEDOUT);
    ck_assert_int_eq(writer.error, MT_ETIMEDOUT);
    ck_assert(mt_list_is_empty(&the_pipe.readers));
    ck_assert(mt_list_is_empty(&the_pipe.writers));
    ck_assert_int_eq(try_take(), MT_EEMPTY);
    close_all();
}
END_TEST

START_TEST(cancelled_reader_loses_no_value)
{
    struct call readers[] = {{.name = "a"}, {.name = "b"}};
    open_pipe(MT_PIPE_UNBOUNDED);
    struct mt_test_thread *first = park(take_one, &readers[0]);
    park(take_one, &readers[1]);
    mt_test_cancel(first);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(1)), 0);
    mt_test_join_all();
    ck_assert_str_eq(host.log, "a! b1 ");
    ck_assert_int_eq(readers[0].error, MT_ECANCELED);
    close_all();
}
END_TEST

START_TEST(reader_cancelled_after_the_hand_over_has_the_value)
{
    struct call reader = {.name = "r"};
    open_pipe(MT_PIPE_UNBOUNDED);
    struct mt_test_thread *thread = park(take_one, &reader);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(1)), 0);
    mt_test_cancel(thread);
    mt_test_join(thread);
    ck_assert_str_eq(host.log, "r1 ");
    close_all();
}
END_TEST

START_TEST(cancelled_writer_keeps_its_value)
{
    struct call writers[] = {{.name = "a", .value = 1}, {.name = "b", .value = 2}};
    open_pipe(0);
    struct mt_test_thread *first = park(put_one, &writers[0]);
    park(put_one, &writers[1]);
    mt_test_cancel(first);
    mt_test_join(first);
    ck_assert_int_eq(writers[0].error, MT_ECANCELED);
    ck_assert_int_eq(try_take(), 2);
    ck_assert_int_eq(try_take(), MT_EEMPTY);
    mt_test_join_all();
    close_all();
}
END_TEST

static long put_sum;
static long taken_sum;

static void
put_until_cancelled(void *argument)
{
    (void)argument;
    for (uintptr_t i = 1; i <= 50; i++) {
        if (mt_pipe_put(&the_pipe, number(i), deadline_of(&(struct call){.timeout = 3})))
            return;
        put_sum += (long)i;
    }
}

static void
take_until_cancelled(void *argument)
{
    (void)argument;
    void *value;
    while (!mt_pipe_take(&the_pipe, &value, deadline_of(&(struct call){.timeout = 5})))
        taken_sum += (long)(uintptr_t)value;
}

START_TEST(cancelling_at_random_loses_and_doubles_nothing)
{
    const size_t capacities[] = {0, 1, 5};
    open_pipe(capacities[_i % 3]);
    srand((unsigned)_i);
    for (int round = 0; round < 300; round++) {
        mt_test_spawn(rand() % 2 ? put_until_cancelled : take_until_cancelled, NULL);
        for (int i = rand() % 4; i > 0; i--)
            mt_sched_pass(host.sched);
        for (struct mt_test_thread *thread = host.threads; thread; thread = thread->next)
            if (rand() % 4 == 0 && !mt_thread_is_done(&thread->base))
                mt_test_cancel(thread);
    }
    mt_test_join_all();
    void *value;
    while (!mt_pipe_try_take(&the_pipe, &value))
        taken_sum += (long)(uintptr_t)value;
    ck_assert_int_eq(put_sum, taken_sum);
    close_all();
}
END_TEST

/* ---- closing ---- */

START_TEST(close_lets_readers_drain_first)
{
    open_pipe(MT_PIPE_UNBOUNDED);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(1)), 0);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(2)), 0);
    mt_pipe_close(&the_pipe);
    mt_pipe_close(&the_pipe);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(3)), MT_ECLOSED);
    ck_assert_int_eq(mt_pipe_put(&the_pipe, number(3), MT_FOREVER), MT_ECLOSED);
    ck_assert_int_eq(try_take(), 1);
    void *value = NULL;
    ck_assert_int_eq(mt_pipe_take(&the_pipe, &value, MT_FOREVER), 0);
    ck_assert_ptr_eq(value, number(2));
    ck_assert_int_eq(mt_pipe_take(&the_pipe, &value, MT_FOREVER), MT_ECLOSED);
    ck_assert_ptr_eq(value, number(2)); /* untouched */
    ck_assert_int_eq(try_take(), MT_ECLOSED);
    close_all();
}
END_TEST

START_TEST(close_wakes_every_waiting_reader)
{
    struct call readers[] = {{.name = "a"}, {.name = "b", .timeout = MT_SECOND}};
    open_pipe((size_t)_i);
    park(take_one, &readers[0]);
    park(take_one, &readers[1]);
    mt_pipe_close(&the_pipe);
    mt_test_join_all();
    ck_assert_int_eq(readers[0].error, MT_ECLOSED);
    ck_assert_int_eq(readers[1].error, MT_ECLOSED);
    close_all();
}
END_TEST

START_TEST(close_wakes_every_waiting_writer_and_takes_nothing_from_it)
{
    struct call writers[] = {{.name = "a", .value = 1}, {.name = "b", .value = 2}};
    open_pipe(1);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(9)), 0);
    park(put_one, &writers[0]);
    park(put_one, &writers[1]);
    mt_pipe_close(&the_pipe);
    mt_test_join_all();
    ck_assert_int_eq(writers[0].error, MT_ECLOSED);
    ck_assert_int_eq(writers[1].error, MT_ECLOSED);
    ck_assert_int_eq(try_take(), 9);
    ck_assert_int_eq(try_take(), MT_ECLOSED);
    close_all();
}
END_TEST

/* ---- out of memory ---- */

START_TEST(failed_allocation_in_a_put_loses_nothing)
{
    int failures = 0;
    uintptr_t next = 1;
    open_pipe(MT_PIPE_UNBOUNDED);
    while (failures < 8) {
        mt_alloc_fail_nth(1);
        int error = mt_pipe_put(&the_pipe, number(next), MT_FOREVER);
        mt_alloc_fail_nth(0);
        if (error) {
            ck_assert_int_eq(error, MT_ENOMEM);
            failures++;
            ck_assert_int_eq(mt_pipe_put(&the_pipe, number(next), MT_FOREVER), 0);
        }
        ck_assert_uint_eq(the_pipe.peak, next);
        next++;
    }
    for (int i = 1; i < (int)next; i++)
        ck_assert_int_eq(try_take(), i);
    close_all();
}
END_TEST

START_TEST(failed_allocation_for_a_deadline_is_reported)
{
    struct call call = {.name = "x", .value = 1, .timeout = MT_SECOND};
    open_pipe(0);
    mt_alloc_fail_nth(1);
    put_one(&call);
    ck_assert_int_eq(call.error, MT_ENOMEM);
    mt_alloc_fail_nth(1);
    take_one(&call);
    mt_alloc_fail_nth(0);
    ck_assert_int_eq(call.error, MT_ENOMEM);
    ck_assert(mt_list_is_empty(&the_pipe.readers));
    ck_assert(mt_list_is_empty(&the_pipe.writers));
    close_all();
}
END_TEST

START_TEST(taking_with_writers_waiting_needs_no_memory)
{
    struct call writers[] = {{.name = "a", .value = 1}, {.name = "b", .value = 2}};
    open_pipe(1);
    ck_assert_int_eq(mt_pipe_try_put(&the_pipe, number(9)), 0);
    park(put_one, &writers[0]);
    park(put_one, &writers[1]);
    mt_alloc_fail_nth(1);
    ck_assert_int_eq(try_take(), 9);
    ck_assert_int_eq(try_take(), 1);
    ck_assert_int_eq(try_take(), 2);
    mt_alloc_fail_nth(0);
    mt_test_join_all();
    close_all();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("core/pipe");
    TCase *plain = tcase_create("without waiting");
    tcase_add_test(plain, values_come_out_in_the_order_they_went_in);
    tcase_add_test(plain, full_and_empty_are_errors_of_the_calls_that_do_not_wait);
    tcase_add_test(plain, peak_is_the_most_it_ever_held);
    tcase_add_test(plain, value_handed_straight_to_a_reader_does_not_count_for_the_peak);
    tcase_add_test(plain, fini_drops_what_is_left);
    suite_add_tcase(suite, plain);
    TCase *waiting = tcase_create("waiting");
    tcase_add_loop_test(waiting, readers_are_served_in_the_order_they_came, 0, 4);
    tcase_add_test(waiting, writers_are_served_in_the_order_they_came);
    tcase_add_test(waiting, put_in_a_rendezvous_returns_when_the_value_was_taken);
    tcase_add_loop_test(waiting, everything_that_is_put_is_taken_once_in_order, 0, 10);
    tcase_add_test(waiting, pipe_that_is_always_ready_starves_nobody);
    tcase_add_loop_test(waiting, cancelled_one_whose_pipe_is_always_ready_hears_of_it, 0, 2);
    tcase_add_test(waiting, time_out_leaves_the_pipe_as_if_never_asked);
    tcase_add_test(waiting, cancelled_reader_loses_no_value);
    tcase_add_test(waiting, reader_cancelled_after_the_hand_over_has_the_value);
    tcase_add_test(waiting, cancelled_writer_keeps_its_value);
    tcase_add_loop_test(waiting, cancelling_at_random_loses_and_doubles_nothing, 0, 9);
    suite_add_tcase(suite, waiting);
    TCase *closing = tcase_create("closing");
    tcase_add_test(closing, close_lets_readers_drain_first);
    tcase_add_loop_test(closing, close_wakes_every_waiting_reader, 0, 2);
    tcase_add_test(closing, close_wakes_every_waiting_writer_and_takes_nothing_from_it);
    suite_add_tcase(suite, closing);
    TCase *memory = tcase_create("out of memory");
    tcase_add_test(memory, failed_allocation_in_a_put_loses_nothing);
    tcase_add_test(memory, failed_allocation_for_a_deadline_is_reported);
    tcase_add_test(memory, taking_with_writers_waiting_needs_no_memory);
    suite_add_tcase(suite, memory);
    return suite;
}
