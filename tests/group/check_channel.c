/* SPDX-License-Identifier: MIT */
/* Channels: the rules in one scheduler, and none lost or doubled between OS threads, each with a
   scheduler and a lock of its own. */
#include "support/mt_test_host.h"

#include "group/mt_channel.h"

#include <stdint.h>
#include <stdlib.h>

static _Atomic int dropped;

static void
drop_message(void *message)
{
    (void)message;
    dropped++;
}

static void *
number(uintptr_t n)
{
    return (void *)n;
}

static struct mt_channel *channel;
static struct mt_channel_home home;

static void
open_channel(size_t capacity)
{
    mt_test_open(&mt_reactor_virtual);
    mt_list_init(&home.waits);
    channel = mt_channel_new(capacity, drop_message);
    ck_assert_ptr_nonnull(channel);
}

static void
close_channel(void)
{
    mt_channel_unref(channel);
    mt_test_close();
}

struct call {
    uintptr_t value;
    mt_time timeout; /* 0: for ever */
    int error;
};

static void
recv_one(void *argument)
{
    struct call *call = argument;
    void *message = NULL;
    call->error = mt_channel_recv(
        host.sched, channel, &message,
        mt_sched_deadline(host.sched, call->timeout ? call->timeout : MT_FOREVER), &home);
    call->value = (uintptr_t)message;
}

static void
send_one(void *argument)
{
    struct call *call = argument;
    call->error = mt_channel_send(
        host.sched, channel, number(call->value),
        mt_sched_deadline(host.sched, call->timeout ? call->timeout : MT_FOREVER), &home);
}

static int
recv_now(uintptr_t *value)
{
    void *message = NULL;
    int error = mt_channel_try_recv(host.sched, channel, &message);
    *value = (uintptr_t)message;
    return error;
}

START_TEST(message_goes_to_the_receiver_that_waits_longest)
{
    open_channel(MT_CHANNEL_UNBOUNDED);
    struct call first = {0}, second = {0};
    mt_test_spawn(recv_one, &first);
    mt_test_spawn(recv_one, &second);
    mt_test_settle();
    ck_assert_int_eq(mt_channel_try_send(host.sched, channel, number(1)), 0);
    ck_assert_int_eq(mt_channel_try_send(NULL, channel, number(2)), 0);
    mt_test_join_all();
    ck_assert_uint_eq(first.value, 1);
    ck_assert_uint_eq(second.value, 2);
    close_channel();
}
END_TEST

START_TEST(waiting_senders_move_up_in_order)
{
    open_channel(1);
    struct call calls[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
    for (int i = 0; i < 3; i++)
        mt_test_spawn(send_one, &calls[i]);
    mt_test_settle();
    ck_assert_uint_eq(mt_channel_count(channel), 1);
    for (uintptr_t n = 1; n <= 3; n++) {
        uintptr_t value;
        ck_assert_int_eq(recv_now(&value), 0);
        ck_assert_uint_eq(value, n);
    }
    mt_test_join_all();
    close_channel();
}
END_TEST

START_TEST(rendezvous_has_room_only_for_who_meets)
{
    open_channel(0);
    ck_assert_int_eq(mt_channel_try_send(host.sched, channel, number(1)), MT_EFULL);
    struct call call = {.value = 7};
    mt_test_spawn(send_one, &call);
    mt_test_settle();
    uintptr_t value;
    ck_assert_int_eq(recv_now(&value), 0);
    ck_assert_uint_eq(value, 7);
    ck_assert_int_eq(recv_now(&value), MT_EEMPTY);
    mt_test_join_all();
    ck_assert_int_eq(call.error, 0);
    close_channel();
}
END_TEST

START_TEST(time_out_and_cancellation_leave_nothing_behind)
{
    open_channel(0);
    struct call late = {.timeout = MT_SECOND}, cancelled = {0}, sender = {.value = 1, .timeout = 1};
    mt_test_spawn(recv_one, &late);
    struct mt_test_thread *thread = mt_test_spawn(recv_one, &cancelled);
    mt_test_settle();
    mt_test_cancel(thread);
    mt_test_join_all();
    ck_assert_int_eq(late.error, MT_ETIMEDOUT);
    ck_assert_int_eq(cancelled.error, MT_ECANCELED);
    mt_test_spawn(send_one, &sender);
    mt_test_join_all();
    ck_assert_int_eq(sender.error, MT_ETIMEDOUT);
    uintptr_t value;
    ck_assert_int_eq(recv_now(&value), MT_EEMPTY);
    ck_assert_int_eq(mt_channel_try_send(host.sched, channel, number(1)), MT_EFULL);
    ck_assert(mt_list_is_empty(&home.waits));
    close_channel();
}
END_TEST

START_TEST(cancelled_after_it_was_served_keeps_what_it_got)
{
    open_channel(MT_CHANNEL_UNBOUNDED);
    struct call call = {0};
    struct mt_test_thread *thread = mt_test_spawn(recv_one, &call);
    mt_test_settle();
    /* By letter, as from elsewhere: the cancellation comes before the letter is read. */
    ck_assert_int_eq(mt_channel_try_send(NULL, channel, number(5)), 0);
    mt_test_cancel(thread);
    mt_test_join_all();
    ck_assert_int_eq(call.error, 0);
    ck_assert_uint_eq(call.value, 5);
    close_channel();
}
END_TEST

START_TEST(last_sender_gone_drains_and_ends)
{
    open_channel(MT_CHANNEL_UNBOUNDED);
    ck_assert_int_eq(mt_channel_try_send(host.sched, channel, number(1)), 0);
    mt_channel_open(channel, MT_CHANNEL_SEND);
    mt_channel_close(channel, MT_CHANNEL_SEND);
    uintptr_t value;
    ck_assert_int_eq(recv_now(&value), 0);
    ck_assert_int_eq(recv_now(&value), MT_EEMPTY);
    struct call call = {0};
    mt_test_spawn(recv_one, &call);
    mt_test_settle();
    mt_channel_close(channel, MT_CHANNEL_SEND);
    mt_test_join_all();
    ck_assert_int_eq(call.error, MT_ECLOSED);
    ck_assert_int_eq(recv_now(&value), MT_ECLOSED);
    close_channel();
}
END_TEST

START_TEST(last_receiver_gone_drops_and_refuses)
{
    open_channel(1);
    ck_assert_int_eq(mt_channel_try_send(host.sched, channel, number(1)), 0);
    struct call call = {.value = 2};
    mt_test_spawn(send_one, &call);
    mt_test_settle();
    mt_channel_close(channel, MT_CHANNEL_RECV);
    mt_test_join_all();
    ck_assert_int_eq(call.error, MT_ECLOSED);
    ck_assert_int_eq(dropped, 1);
    ck_assert_int_eq(mt_channel_try_send(host.sched, channel, number(1)), MT_ECLOSED);
    close_channel();
}
END_TEST

START_TEST(home_that_is_left_ends_its_waits)
{
    open_channel(MT_CHANNEL_UNBOUNDED);
    struct call call = {0};
    mt_test_spawn(recv_one, &call);
    mt_test_settle();
    mt_channel_home_leave(&home);
    mt_test_join_all();
    ck_assert_int_eq(call.error, MT_EGONE);
    ck_assert_int_eq(mt_channel_try_send(host.sched, channel, number(1)), 0);
    ck_assert_uint_eq(mt_channel_count(channel), 1);
    close_channel();
}
END_TEST

START_TEST(seats_say_who_has_an_end)
{
    open_channel(MT_CHANNEL_UNBOUNDED);
    struct mt_channel_seat seats[2] = {{.owner = 1}, {.owner = 2}};
    ck_assert(mt_channel_is_elsewhere(channel, MT_CHANNEL_SEND, 1)); /* the first one has no seat */
    mt_channel_sit(channel, MT_CHANNEL_SEND, &seats[0]);
    ck_assert(!mt_channel_is_elsewhere(channel, MT_CHANNEL_SEND, 1));
    mt_channel_open(channel, MT_CHANNEL_SEND);
    mt_channel_sit(channel, MT_CHANNEL_SEND, &seats[1]);
    ck_assert(mt_channel_is_elsewhere(channel, MT_CHANNEL_SEND, 1));
    int64_t owners[2];
    ck_assert_uint_eq(mt_channel_owners(channel, MT_CHANNEL_SEND, owners, 1), 2);
    ck_assert_uint_eq(mt_channel_owners(channel, MT_CHANNEL_SEND, owners, 2), 2);
    ck_assert_int_eq(owners[0], 1);
    ck_assert_int_eq(owners[1], 2);
    mt_channel_rise(channel, &seats[0]);
    ck_assert_uint_eq(mt_channel_owners(channel, MT_CHANNEL_SEND, owners, 2), 1);
    mt_channel_rise(channel, &seats[1]);
    close_channel();
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    open_channel(MT_CHANNEL_UNBOUNDED);
    mt_alloc_fail_nth(1);
    ck_assert_ptr_null(mt_channel_new(1, drop_message));
    mt_alloc_fail_nth(0);
    ck_assert_int_eq(mt_channel_try_send(host.sched, channel, number(1)), 0);
    mt_alloc_fail_nth(1);
    ck_assert_int_eq(mt_channel_try_send(host.sched, channel, number(2)), MT_ENOMEM);
    mt_alloc_fail_nth(0);
    uintptr_t value;
    ck_assert_int_eq(recv_now(&value), 0);
    ck_assert_uint_eq(value, 1);
    close_channel();
}
END_TEST

/* ---- several OS threads, each a scheduler with its main micro-thread only ---- */

enum { CHANNELS = 3, THREADS = 3, EACH = 3000 };

static struct mt_channel *channels[CHANNELS];
static _Atomic int received[THREADS * EACH];

static void
nothing(struct mt_sched *sched, struct mt_stack *stack)
{
    (void)sched, (void)stack;
}

static void
release(void *sched)
{
    (void)sched;
}

static bool
no_deadlock(struct mt_sched *sched)
{
    (void)sched;
    return false;
}

static int
no_signals(struct mt_sched *sched, const struct mt_wait *wait)
{
    (void)sched, (void)wait;
    return 0;
}

static const struct mt_hooks bare_hooks = {
    .interrupted = no_signals,
    .leave = nothing,
    .resume = nothing,
    .poll_begin = release,
    .poll_end = release,
    .deadlock = no_deadlock,
};

static struct mt_sched *
open_bare(struct mt_thread *main)
{
    struct mt_sched *sched = NULL;
    mt_thread_init(main);
    ck_assert_int_eq(mt_sched_new(
                         &(struct mt_sched_config){
                             .hooks = &bare_hooks,
                             .reactor_ops = &mt_reactor_ev,
                             .stack_size = 64 * 1024,
                         },
                         main, &sched),
                     0);
    return sched;
}

static void
close_bare(struct mt_sched *sched, struct mt_thread *main)
{
    mt_list_remove(&main->live);
    mt_sched_free(sched);
}

/* One wait in all channels, for a short time at most. Returns the case that happened, or NULL. */
static struct mt_channel_case *
wait_in_all(struct mt_sched *sched, struct mt_channel_case *cases, enum mt_channel_side side,
            void *message, mt_time span)
{
    struct mt_wait wait;
    struct mt_channel_turn turn;
    struct mt_channel_home homes[CHANNELS];
    mt_wait_init(&wait, sched);
    mt_channel_turn_init(&turn, &wait, sched);
    for (int i = 0; i < CHANNELS; i++) {
        mt_list_init(&homes[i].waits);
        mt_channel_turn_add(&turn, &cases[i], channels[i], side, message, &homes[i]);
    }
    struct mt_channel_case *done = mt_channel_turn_begin(&turn);
    if (done) {
        mt_wait_withdraw(&wait);
    } else {
        (void)mt_wait_park(&wait, mt_sched_deadline(sched, span));
        done = mt_channel_turn_end(&turn);
    }
    return done;
}

static void *
sender_main(void *argument)
{
    uintptr_t first = (uintptr_t)argument;
    struct mt_thread main;
    struct mt_sched *sched = open_bare(&main);
    for (uintptr_t n = first; n < first + EACH;) {
        struct mt_channel_case cases[CHANNELS];
        struct mt_channel_case *done =
            wait_in_all(sched, cases, MT_CHANNEL_SEND, number(n + 1), (mt_time)(n % 7) * 1000);
        if (done) {
            ck_assert_int_eq(done->result, 0);
            n++;
        }
    }
    close_bare(sched, &main);
    return NULL;
}

static void *
receiver_main(void *argument)
{
    (void)argument;
    struct mt_thread main;
    struct mt_sched *sched = open_bare(&main);
    for (unsigned rounds = 0;; rounds++) {
        struct mt_channel_case cases[CHANNELS];
        struct mt_channel_case *done =
            wait_in_all(sched, cases, MT_CHANNEL_RECV, NULL, (mt_time)(rounds % 5) * 2000);
        if (done && done->result == MT_ECLOSED)
            break;
        if (done)
            received[(uintptr_t)done->message - 1]++;
    }
    close_bare(sched, &main);
    return NULL;
}

static struct mt_sched *elsewhere;

static void
interrupt_main(void *argument)
{
    (void)argument;
    mt_thread_interrupt(host.sched->main);
}

static int
be_sent_to_and_raise(const struct mt_wait *wait)
{
    (void)wait;
    ck_assert_int_eq(mt_channel_try_send(elsewhere, channel, number(7)), 0);
    return MT_EHOST;
}

START_TEST(handler_that_raises_after_the_message_came_keeps_it_for_later)
{
    open_channel(1);
    struct mt_thread main;
    elsewhere = open_bare(&main);
    host.on_interrupt = be_sent_to_and_raise;
    mt_test_spawn(interrupt_main, NULL);
    struct call call = {0};
    recv_one(&call);
    ck_assert_int_eq(call.error, 0);
    ck_assert_uint_eq(call.value, 7);
    ck_assert_uint_eq(host.postponed, 1);
    close_bare(elsewhere, &main);
    close_channel();
}
END_TEST

START_TEST(selects_of_several_os_threads_lose_and_double_nothing)
{
    for (size_t i = 0; i < CHANNELS; i++)
        channels[i] = mt_channel_new(i, drop_message);
    pthread_t senders[THREADS], receivers[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&senders[i], NULL, sender_main, number(i * EACH));
        pthread_create(&receivers[i], NULL, receiver_main, NULL);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(senders[i], NULL);
    for (int waiting = 1; waiting;) {
        waiting = 0;
        for (int i = 0; i < CHANNELS; i++)
            waiting |= mt_channel_count(channels[i]) > 0;
    }
    for (int i = 0; i < CHANNELS; i++)
        mt_channel_close(channels[i], MT_CHANNEL_SEND);
    for (int i = 0; i < THREADS; i++)
        pthread_join(receivers[i], NULL);
    for (int n = 0; n < THREADS * EACH; n++)
        ck_assert_int_eq(received[n], 1);
    for (int i = 0; i < CHANNELS; i++)
        mt_channel_unref(channels[i]);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("channel");
    TCase *cases = tcase_create("rules");
    tcase_add_test(cases, message_goes_to_the_receiver_that_waits_longest);
    tcase_add_test(cases, waiting_senders_move_up_in_order);
    tcase_add_test(cases, rendezvous_has_room_only_for_who_meets);
    tcase_add_test(cases, time_out_and_cancellation_leave_nothing_behind);
    tcase_add_test(cases, cancelled_after_it_was_served_keeps_what_it_got);
    tcase_add_test(cases, last_sender_gone_drains_and_ends);
    tcase_add_test(cases, last_receiver_gone_drops_and_refuses);
    tcase_add_test(cases, home_that_is_left_ends_its_waits);
    tcase_add_test(cases, seats_say_who_has_an_end);
    tcase_add_test(cases, every_allocation_may_fail);
    tcase_add_test(cases, handler_that_raises_after_the_message_came_keeps_it_for_later);
    suite_add_tcase(suite, cases);
    TCase *threads = tcase_create("threads"); /* no stack is switched: ThreadSanitizer can follow */
    tcase_set_timeout(threads, 300);
    tcase_add_test(threads, selects_of_several_os_threads_lose_and_double_nothing);
    suite_add_tcase(suite, threads);
    return suite;
}
