/* SPDX-License-Identifier: MIT */
/* What happens when nobody can run: timers, mail from other OS threads, the deadlock hook. */
#include "support/mt_test_host.h"

#include "io/mt_io.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void
setup(void)
{
    mt_test_open(&mt_reactor_virtual);
}

/* ---- timers ---- */

struct sleeper {
    mt_time span;
    mt_time woken_at;
    int rank; /* the how-manieth to wake */
};

static int next_rank;

static void
sleep_once(void *argument)
{
    struct sleeper *sleeper = argument;
    ck_assert_int_eq(mt_sleep(host.sched, sleeper->span), 0);
    sleeper->woken_at = mt_sched_now(host.sched);
    sleeper->rank = next_rank++;
}

START_TEST(sleepers_wake_at_their_time_in_order)
{
    enum { COUNT = 2000 };
    static struct sleeper sleepers[COUNT];
    mt_time before = mt_sched_now(host.sched);
    srand(3);
    for (int i = 0; i < COUNT; i++) {
        sleepers[i].span = (rand() % 500) * MT_SECOND;
        mt_test_spawn(sleep_once, &sleepers[i]);
    }
    mt_test_join_all();
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(sleepers[i].woken_at, before + sleepers[i].span);
        int j = rand() % COUNT;
        if (sleepers[i].span < sleepers[j].span)
            ck_assert_int_lt(sleepers[i].rank, sleepers[j].rank);
        if (sleepers[i].span == sleepers[j].span && i < j)
            ck_assert_int_lt(sleepers[i].rank, sleepers[j].rank);
    }
    mt_test_close();
}
END_TEST

static const struct mt_hooks *usual_hooks;
static uint64_t seen_in_poll; /* by another OS thread that looks again only when that has ended */

static void
look_in_poll(void *sched)
{
    seen_in_poll = mt_sched_progress(sched);
    usual_hooks->poll_begin(sched);
}

START_TEST(poll_is_no_time_of_the_one_that_goes_on_after_it)
{
    usual_hooks = host.sched->hooks;
    struct mt_hooks hooks = *usual_hooks;
    hooks.poll_begin = look_in_poll;
    host.sched->hooks = &hooks;
    ck_assert(mt_sched_goes_on(host.sched, mt_sched_progress(host.sched)));
    ck_assert_int_eq(mt_sleep(host.sched, MT_SECOND), 0); /* alone: it goes on without a switch */
    ck_assert(!mt_sched_goes_on(host.sched, seen_in_poll));
    host.sched->hooks = usual_hooks;
    mt_test_close();
}
END_TEST

static void
cancel_all(void *argument)
{
    struct mt_test_thread **threads = argument;
    ck_assert_int_eq(mt_sleep(host.sched, MT_SECOND), 0);
    for (int i = 0; threads[i]; i++)
        mt_test_cancel(threads[i]);
}

static void
sleep_in_vain(void *argument)
{
    (void)argument;
    ck_assert_int_eq(mt_sleep(host.sched, 1000 * MT_SECOND), MT_ECANCELED);
}

START_TEST(cancelled_sleepers_leave_no_timer)
{
    struct mt_test_thread *threads[101] = {0};
    for (int i = 0; i < 100; i++)
        threads[i] = mt_test_spawn(sleep_in_vain, NULL);
    mt_time before = mt_sched_now(host.sched);
    mt_test_spawn(cancel_all, threads);
    mt_test_join_all();
    ck_assert_int_eq(mt_sched_now(host.sched), before + MT_SECOND);
    ck_assert_uint_eq(host.sched->timers.count, 0);
    mt_test_close();
}
END_TEST

static mt_time rung_at;

static void
note_ring(struct mt_timer *timer)
{
    ck_assert(!mt_timer_is_set(timer));
    rung_at = mt_sched_now(host.sched);
}

static void
set_again(struct mt_timer *timer)
{
    mt_time now = mt_sched_now(host.sched);
    mt_test_log(".");
    if (host.log[4] == 0)
        ck_assert_int_eq(mt_timer_set(host.sched, timer, now + MT_SECOND), 0);
}

START_TEST(timer_rings_once_at_its_time_unless_unset)
{
    struct mt_timer timer = {.ring = note_ring};
    mt_time before = mt_sched_now(host.sched);
    ck_assert_int_eq(mt_timer_set(host.sched, &timer, before + MT_SECOND), 0);
    ck_assert(mt_timer_is_set(&timer));
    mt_timer_unset(host.sched, &timer);
    mt_timer_unset(host.sched, &timer);
    ck_assert_int_eq(mt_sleep(host.sched, 3 * MT_SECOND), 0);
    ck_assert_int_eq(rung_at, 0);
    ck_assert_int_eq(mt_timer_set(host.sched, &timer, before + 5 * MT_SECOND), 0);
    ck_assert_int_eq(mt_sleep(host.sched, 9 * MT_SECOND), 0);
    ck_assert_int_eq(rung_at, before + 5 * MT_SECOND);
    mt_test_close();
}
END_TEST

START_TEST(timer_may_be_set_again_while_it_rings)
{
    struct mt_timer timer = {.ring = set_again};
    ck_assert_int_eq(mt_timer_set(host.sched, &timer, 0), 0);
    ck_assert_int_eq(mt_sleep(host.sched, 10 * MT_SECOND), 0);
    ck_assert_str_eq(host.log, ".....");
    mt_test_close();
}
END_TEST

START_TEST(timer_for_which_there_is_no_memory_is_not_set)
{
    struct mt_timer timer = {.ring = note_ring};
    mt_alloc_fail_nth(1);
    ck_assert_int_eq(mt_timer_set(host.sched, &timer, MT_SECOND), MT_ENOMEM);
    mt_alloc_fail_nth(0);
    ck_assert(!mt_timer_is_set(&timer));
    mt_test_close();
}
END_TEST

/* ---- alarms ---- */

static mt_time alarmed_at;

static void
note_alarm(struct mt_alarm *alarm)
{
    ck_assert_int_eq(alarm->deadline, MT_FOREVER);
    ck_assert_int_eq(alarmed_at, 0);
    alarmed_at = mt_sched_now(host.sched);
}

/* An alarm that was set for the next second and taken back, and rests in the heap. */
static void
rest(struct mt_alarm *alarm)
{
    mt_alarm_init(alarm, note_alarm);
    mt_time now = mt_sched_now(host.sched);
    ck_assert_int_eq(mt_alarm_set(host.sched, alarm, now + MT_SECOND), 0);
    ck_assert_int_eq(mt_alarm_set(host.sched, alarm, MT_FOREVER), 0);
    ck_assert_uint_eq(host.sched->resting, 1);
}

START_TEST(alarm_rings_at_its_last_deadline_only)
{
    static const mt_time deadlines[] = {5 * MT_SECOND, 2 * MT_SECOND, 3 * MT_SECOND, 4 * MT_SECOND};
    struct mt_alarm alarm;
    mt_alarm_init(&alarm, note_alarm);
    mt_time before = mt_sched_now(host.sched);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(mt_alarm_set(host.sched, &alarm, before + deadlines[i]), 0);
    ck_assert_uint_eq(host.sched->timers.count, 1);
    ck_assert_int_eq(mt_sleep(host.sched, 9 * MT_SECOND), 0);
    ck_assert_int_eq(alarmed_at, before + 4 * MT_SECOND);
    ck_assert_uint_eq(host.sched->timers.count, 0);
    mt_test_close();
}
END_TEST

START_TEST(alarm_that_was_taken_back_never_rings_and_leaves_the_heap)
{
    struct mt_alarm alarm;
    rest(&alarm);
    ck_assert_int_eq(mt_sleep(host.sched, 9 * MT_SECOND), 0);
    ck_assert_int_eq(alarmed_at, 0);
    ck_assert_uint_eq(host.sched->timers.count, 0);
    ck_assert_uint_eq(host.sched->resting, 0);
    mt_test_close();
}
END_TEST

START_TEST(resting_alarm_that_is_set_again_rings_at_the_new_deadline)
{
    struct mt_alarm alarm;
    rest(&alarm);
    mt_time deadline = mt_sched_now(host.sched) + MT_SECOND + (_i ? MT_SECOND : -1);
    ck_assert_int_eq(mt_alarm_set(host.sched, &alarm, deadline), 0);
    ck_assert_uint_eq(host.sched->timers.count, 1);
    ck_assert_uint_eq(host.sched->resting, 0);
    ck_assert_int_eq(mt_sleep(host.sched, 9 * MT_SECOND), 0);
    ck_assert_int_eq(alarmed_at, deadline);
    mt_test_close();
}
END_TEST

START_TEST(alarm_whose_memory_goes_is_out_of_the_heap)
{
    struct mt_alarm alarm;
    rest(&alarm);
    if (_i)
        ck_assert_int_eq(mt_alarm_set(host.sched, &alarm, MT_SECOND), 0);
    mt_alarm_fini(&alarm);
    mt_alarm_fini(&alarm);
    ck_assert_uint_eq(host.sched->timers.count, 0);
    ck_assert_uint_eq(host.sched->resting, 0);
    mt_test_close();
}
END_TEST

START_TEST(alarm_for_which_there_is_no_memory_is_not_set)
{
    struct mt_alarm alarm;
    mt_alarm_init(&alarm, note_alarm);
    mt_alloc_fail_nth(1);
    ck_assert_int_eq(mt_alarm_set(host.sched, &alarm, MT_SECOND), MT_ENOMEM);
    mt_alloc_fail_nth(0);
    ck_assert_int_eq(alarm.deadline, MT_FOREVER);
    ck_assert_uint_eq(host.sched->timers.count, 0);
    mt_test_close();
}
END_TEST

START_TEST(data_that_came_in_time_wins_over_a_time_out_noticed_late)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    mt_test_close();
    mt_test_open(&mt_reactor_ev);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    /* Past already when it is first looked at: as after somebody has kept the loop for long. */
    mt_time deadline = mt_sched_now(host.sched) - MT_SECOND;
    ck_assert_int_eq(mt_io_wait(host.sched, ends[0], MT_FD_READ, deadline, false), 0);
    mt_test_close();
}
END_TEST

/* ---- the deadlock hook ---- */

static struct mt_deferred never;

static int
wait_for_ever(void)
{
    mt_deferred_init(&never);
    return mt_deferred_wait(host.sched, &never, MT_FOREVER, MT_WAIT_DEFERRED, NULL);
}

static bool
cancel_main(void)
{
    mt_test_cancel(&host.main);
    return true;
}

START_TEST(main_that_nobody_can_wake_is_told)
{
    host.on_deadlock = cancel_main;
    ck_assert_int_eq(wait_for_ever(), MT_ECANCELED);
    ck_assert_uint_eq(host.deadlocks, 1);
    ck_assert_uint_eq(host.polls_begun, 0);
    mt_test_close();
}
END_TEST

static void
wait_in_vain(void *argument)
{
    int error = mt_deferred_wait(host.sched, argument, MT_FOREVER, MT_WAIT_DEFERRED, NULL);
    ck_assert_int_eq(error, MT_ECANCELED);
}

START_TEST(deadlock_is_seen_from_the_stack_of_a_finished_one_too)
{
    struct mt_deferred deferred;
    mt_deferred_init(&deferred);
    host.on_deadlock = cancel_main;
    struct mt_test_thread *parked = mt_test_spawn(wait_in_vain, &deferred);
    ck_assert_int_eq(wait_for_ever(), MT_ECANCELED);
    mt_test_cancel(parked);
    ck_assert_int_eq(wait_for_ever(), MT_ECANCELED);
    ck_assert_uint_eq(host.deadlocks, 2);
    mt_test_close();
}
END_TEST

static void
fire_later(void *argument)
{
    ck_assert_int_eq(mt_sleep(host.sched, MT_SECOND), 0);
    ck_assert_int_eq(mt_deferred_fire(argument, MT_DEFERRED_VALUE, NULL), 0);
}

START_TEST(timer_of_anybody_is_no_deadlock)
{
    mt_test_spawn(fire_later, &never);
    ck_assert_int_eq(wait_for_ever(), 0);
    ck_assert_uint_eq(host.deadlocks, 0);
    mt_test_close();
}
END_TEST

START_TEST(alarm_without_a_deadline_wakes_nobody)
{
    struct mt_alarm alarm;
    rest(&alarm);
    host.on_deadlock = cancel_main;
    ck_assert_int_eq(wait_for_ever(), MT_ECANCELED);
    ck_assert_uint_eq(host.deadlocks, 1);
    mt_alarm_fini(&alarm);
    mt_test_close();
}
END_TEST

static void
wait_for_pipe(void *argument)
{
    int error = mt_io_wait(host.sched, *(int *)argument, MT_FD_READ, MT_FOREVER, true);
    ck_assert(error == 0 || error == MT_ECANCELED);
    mt_deferred_fire(&never, MT_DEFERRED_VALUE, NULL);
}

static void *
write_later(void *argument)
{
    nanosleep(&(struct timespec){.tv_nsec = 5 * MT_MILLISECOND}, NULL);
    return write(*(int *)argument, "x", 1) == 1 ? argument : NULL;
}

START_TEST(descriptor_that_somebody_waits_for_is_no_deadlock)
{
    int ends[2];
    pthread_t other;
    ck_assert_int_eq(pipe(ends), 0);
    mt_test_close();
    mt_test_open(&mt_reactor_ev);
    host.on_deadlock = cancel_main;
    mt_test_spawn(wait_for_pipe, &ends[0]);
    ck_assert_int_eq(pthread_create(&other, NULL, write_later, &ends[1]), 0);
    ck_assert_int_eq(wait_for_ever(), 0);
    ck_assert_uint_eq(host.deadlocks, 0);
    /* The watcher is still armed, but nobody waits for it. */
    ck_assert_int_eq(wait_for_ever(), MT_ECANCELED);
    ck_assert_uint_eq(host.deadlocks, 1);
    pthread_join(other, NULL);
    mt_test_join_all();
    mt_test_close();
}
END_TEST

/* ---- mail ---- */

enum { POSTERS = 4, LETTERS = 20000 };

struct letter {
    struct mt_mail mail;
    int poster;
    int number;
};

static struct letter letters[POSTERS][LETTERS];
static int received[POSTERS];
static int out_of_order;
static int expected_letters;

static void
receive(struct mt_mail *mail)
{
    struct letter *letter = MT_CONTAINER_OF(mail, struct letter, mail);
    out_of_order += letter->number != received[letter->poster];
    received[letter->poster]++;
    if (--expected_letters == 0)
        (void)mt_deferred_fire(&never, MT_DEFERRED_VALUE, NULL);
}

static void
post(int poster, int number)
{
    struct letter *letter = &letters[poster][number];
    *letter = (struct letter){.mail.deliver = receive, .poster = poster, .number = number};
    mt_sched_post(host.sched, &letter->mail);
}

static void *
post_all(void *argument)
{
    int poster = *(int *)argument;
    for (int i = 0; i < LETTERS; i++)
        post(poster, i);
    return NULL;
}

/* _i: the reactor. */
static const struct mt_reactor_ops *const reactors[] = {&mt_reactor_virtual, &mt_reactor_ev};

START_TEST(mail_of_many_posters_comes_whole_and_in_order)
{
    pthread_t threads[POSTERS];
    int numbers[POSTERS];
    mt_test_close();
    mt_test_open(reactors[_i]);
    expected_letters = POSTERS * LETTERS;
    for (int i = 0; i < POSTERS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_all, &numbers[i]), 0);
    }
    host.sched->external++;
    ck_assert_int_eq(wait_for_ever(), 0);
    host.sched->external--;
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(received[i], LETTERS);
    }
    ck_assert_int_eq(out_of_order, 0);
    ck_assert_uint_eq(host.deadlocks, 0);
    mt_test_close();
}
END_TEST

static void *
post_slowly(void *argument)
{
    (void)argument;
    for (int i = 0; i < 20; i++) {
        nanosleep(&(struct timespec){.tv_nsec = MT_MILLISECOND}, NULL);
        post(0, i);
    }
    return NULL;
}

START_TEST(each_letter_wakes_a_sleeping_scheduler)
{
    pthread_t thread;
    mt_test_close();
    mt_test_open(reactors[_i]);
    expected_letters = 20;
    ck_assert_int_eq(pthread_create(&thread, NULL, post_slowly, NULL), 0);
    host.sched->external++;
    ck_assert_int_eq(wait_for_ever(), 0);
    host.sched->external--;
    pthread_join(thread, NULL);
    mt_test_close();
}
END_TEST

START_TEST(mail_reaches_a_busy_scheduler_within_a_round)
{
    expected_letters = 2;
    post(0, 0);
    for (int i = 0; i < 3; i++)
        mt_sched_pass(host.sched);
    ck_assert_int_eq(received[0], 1);
    post(0, 1); /* nobody delivers it */
    mt_test_close();
    ck_assert_int_eq(received[0], 2); /* but the end does */
}
END_TEST

static void *
fire_with_lock(void *argument)
{
    nanosleep(&(struct timespec){.tv_nsec = 5 * MT_MILLISECOND}, NULL);
    pthread_mutex_lock(&host.lock);
    (void)mt_deferred_fire(argument, MT_DEFERRED_VALUE, NULL);
    pthread_mutex_unlock(&host.lock);
    return NULL;
}

START_TEST(other_os_thread_with_the_lock_makes_one_ready)
{
    pthread_t thread;
    mt_test_close();
    mt_test_open(reactors[_i]);
    ck_assert_int_eq(pthread_create(&thread, NULL, fire_with_lock, &never), 0);
    host.sched->external++;
    ck_assert_int_eq(wait_for_ever(), 0);
    host.sched->external--;
    pthread_join(thread, NULL);
    mt_test_close();
}
END_TEST

/* ---- signals ---- */

static atomic_int handled;

static int
count_handled(const struct mt_wait *wait)
{
    (void)wait;
    return ++handled == 3 ? MT_EHOST : 0;
}

static void *
signal_thrice(void *argument)
{
    bool is_written = true;
    for (int i = 0; i < 3; i++) {
        while (handled < i)
            nanosleep(&(struct timespec){.tv_nsec = MT_MILLISECOND}, NULL);
        is_written = is_written && write(*(int *)argument, "", 1) == 1;
    }
    return is_written ? argument : NULL;
}

START_TEST(signals_run_handlers_in_main_while_everybody_waits)
{
    struct mt_deferred deferred;
    pthread_t thread;
    mt_deferred_init(&deferred);
    mt_test_close();
    mt_test_open(&mt_reactor_ev);
    host.on_interrupt = count_handled;
    int fd = host.sched->reactor_ops->signal_fd(host.sched->reactor, &host.sched->is_signalled);
    struct mt_test_thread *parked = mt_test_spawn(wait_in_vain, &deferred);
    ck_assert_int_eq(pthread_create(&thread, NULL, signal_thrice, &fd), 0);
    ck_assert_int_eq(wait_for_ever(), MT_EHOST);
    ck_assert_int_eq(atomic_load(&handled), 3);
    pthread_join(thread, NULL);
    mt_test_cancel(parked);
    mt_test_join(parked);
    mt_test_close();
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("core/sched_idle");
    TCase *timers = tcase_create("timers");
    tcase_add_checked_fixture(timers, setup, NULL);
    tcase_add_test(timers, sleepers_wake_at_their_time_in_order);
    tcase_add_test(timers, poll_is_no_time_of_the_one_that_goes_on_after_it);
    tcase_add_test(timers, cancelled_sleepers_leave_no_timer);
    tcase_add_test(timers, timer_rings_once_at_its_time_unless_unset);
    tcase_add_test(timers, timer_may_be_set_again_while_it_rings);
    tcase_add_test(timers, timer_for_which_there_is_no_memory_is_not_set);
    tcase_add_test(timers, alarm_rings_at_its_last_deadline_only);
    tcase_add_test(timers, alarm_that_was_taken_back_never_rings_and_leaves_the_heap);
    tcase_add_loop_test(timers, resting_alarm_that_is_set_again_rings_at_the_new_deadline, 0, 2);
    tcase_add_loop_test(timers, alarm_whose_memory_goes_is_out_of_the_heap, 0, 2);
    tcase_add_test(timers, alarm_for_which_there_is_no_memory_is_not_set);
    tcase_add_test(timers, data_that_came_in_time_wins_over_a_time_out_noticed_late);
    suite_add_tcase(suite, timers);
    TCase *deadlock = tcase_create("deadlock");
    tcase_add_checked_fixture(deadlock, setup, NULL);
    tcase_add_test(deadlock, main_that_nobody_can_wake_is_told);
    tcase_add_test(deadlock, deadlock_is_seen_from_the_stack_of_a_finished_one_too);
    tcase_add_test(deadlock, timer_of_anybody_is_no_deadlock);
    tcase_add_test(deadlock, alarm_without_a_deadline_wakes_nobody);
    tcase_add_test(deadlock, descriptor_that_somebody_waits_for_is_no_deadlock);
    suite_add_tcase(suite, deadlock);
    TCase *mail = tcase_create("mail");
    tcase_add_checked_fixture(mail, setup, NULL);
    tcase_add_loop_test(mail, mail_of_many_posters_comes_whole_and_in_order, 0, 2);
    tcase_add_loop_test(mail, each_letter_wakes_a_sleeping_scheduler, 0, 2);
    tcase_add_test(mail, mail_reaches_a_busy_scheduler_within_a_round);
    tcase_add_loop_test(mail, other_os_thread_with_the_lock_makes_one_ready, 0, 2);
    tcase_add_test(mail, signals_run_handlers_in_main_while_everybody_waits);
    suite_add_tcase(suite, mail);
    return suite;
}
