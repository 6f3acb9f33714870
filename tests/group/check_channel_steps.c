/* SPDX-License-Identifier: MIT */
/* Channels step by step: the code itself of mt_channel.c, with every lock, claim, letter and
   wake-up of it made a point at which another actor may go on, and all orders of these tried, up
   to a number of switches away from an actor that could have gone on.

   An actor stands for an OS thread with a scheduler and one micro-thread. Here all of them take
   turns in one OS thread; what the scheduler would do for a wait is in step_park() below. */
#include "check_main.h"

#include "arch/mt_arch.h"
#include "arch/mt_sanitizer.h"
#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "group/mt_channel.h"
#include "group/mt_global.h"

#include <stdio.h>
#include <string.h>

enum { ACTORS = 3, CHANNELS = 2, LOCKS = 2 * CHANNELS, MESSAGES = 16, STACK = 64 * 1024, DEPTH = 400 };

/* Switches away from an actor that could go on, by the number of actors. Sanitizers are slow, and so
   are stacks exchanged by system calls; ThreadSanitizer has nothing to find in one OS thread. */
#if defined(MT_TSAN)
enum { OF_TWO = 0, OF_THREE = 0 };
#elif defined(MT_ASAN) || defined(MT_SLOW_SWITCH)
enum { OF_TWO = 3, OF_THREE = 1 };
#else
enum { OF_TWO = 5, OF_THREE = 3 };
#endif

/* Check notes each of its own assertions in a file, which is too slow for millions. */
#define MUST(condition) \
    do { \
        if (!(condition)) \
            ck_abort_msg("%s: not in run %lu of %s", #condition, runs, what_runs()); \
    } while (0)

static unsigned long runs;

static const char *
what_runs(void);

/* ---- actors ---- */

struct actor {
    void *context;               /* where it goes on */
    void *fake;                  /* of a sanitizer */
    const char *script;          /* what it does; see act() */
    struct mt_sched sched;       /* of which only the mailbox is used */
    struct mt_thread thread;
    pthread_mutex_t *wanted;     /* the lock that it is about to take, or NULL */
    struct mt_wait *parked;      /* the wait that it is parked in, or NULL */
    bool is_limited;             /* and its time may run out */
    bool is_woken;               /* and somebody has woken its scheduler */
    bool is_late;                /* its time has run out */
    bool is_done;
    uintptr_t next_message;
    uintptr_t last[ACTORS][CHANNELS]; /* received last, by sender */
};

static struct actor actors[ACTORS];
static struct actor *here; /* the one that runs; NULL: run_once() */
static char stacks[ACTORS][STACK] __attribute__((aligned(64)));
static void *explorer_context, *explorer_fake;
static const void *explorer_bottom; /* of its stack, for a sanitizer; NULL: unknown */
static size_t explorer_size;

static struct mt_channel *channels[CHANNELS];
static pthread_mutex_t *held[LOCKS];        /* locks that somebody has */
static bool is_sent[ACTORS * MESSAGES];     /* by message: its sender was told that it has gone */
static unsigned arrivals[ACTORS * MESSAGES]; /* received or dropped */

static void
switch_to_explorer(void)
{
    mt_sanitizer_leave(&here->fake, explorer_fake, explorer_bottom, explorer_size);
    mt_arch_switch(&here->context, explorer_context);
    mt_sanitizer_arrive(here->fake, NULL, NULL);
}

/* Others may go on here. */
static void
point(void)
{
    if (here)
        switch_to_explorer();
}

/* Where this lock, or room (NULL), is in held; or LOCKS. */
static int
place_of(const pthread_mutex_t *lock)
{
    int place = 0;
    while (place < LOCKS && held[place] != lock)
        place++;
    return place;
}

static bool
is_held(const pthread_mutex_t *lock)
{
    return place_of(lock) < LOCKS;
}

static int
step_lock(pthread_mutex_t *lock)
{
    if (here) {
        here->wanted = lock;
        switch_to_explorer();
        here->wanted = NULL;
    }
    MUST(!is_held(lock));
    held[place_of(NULL)] = lock;
    return 0;
}

static int
step_unlock(pthread_mutex_t *lock)
{
    MUST(is_held(lock));
    held[place_of(lock)] = NULL;
    return 0;
}

static bool
step_post_begin(struct mt_sched *sched, struct mt_mail *mail)
{
    point();
    return mt_mailbox_post(&sched->mailbox, mail);
}

static void
step_post_end(struct mt_sched *sched)
{
    point();
    MT_CONTAINER_OF(sched, struct actor, sched)->is_woken = true;
}

static void
step_drain(struct mt_mailbox *mailbox)
{
    point();
    MUST(atomic_load(&mailbox->newest)); /* else the caller would wait for ever */
    mt_mailbox_drain(mailbox);
}

/* As the scheduler: look at the letters, say that it sleeps, look again, sleep. */
static int
step_park(struct mt_wait *wait, mt_time deadline)
{
    struct mt_mailbox *mailbox = &here->sched.mailbox;
    for (;;) {
        point();
        mt_mailbox_drain(mailbox);
        if (wait->result == MT_PENDING && here->is_late)
            mt_wait_end(wait, MT_ETIMEDOUT);
        if (wait->result != MT_PENDING)
            break;
        point();
        if (mt_mailbox_sleep(mailbox)) {
            here->parked = wait;
            here->is_limited = deadline != MT_FOREVER;
            switch_to_explorer();
            here->parked = NULL;
            here->is_woken = false;
        }
        mt_mailbox_rise(mailbox);
    }
    here->is_late = false;
    return wait->result;
}

#undef atomic_compare_exchange_strong
#define atomic_compare_exchange_strong(object, expected, desired) \
    (point(), atomic_compare_exchange_strong_explicit(object, expected, desired, \
                                                      memory_order_seq_cst, memory_order_seq_cst))
#define pthread_mutex_lock step_lock
#define pthread_mutex_unlock step_unlock
#define mt_sched_post_begin step_post_begin
#define mt_sched_post_end step_post_end
#define mt_mailbox_drain step_drain
#define mt_wait_park step_park
#define mt_heed(sched, cost) ((void)(sched), (void)(cost), 0)
#define mt_spend(sched, cost) ((void)(sched), (void)(cost))
#include "group/mt_channel.c"
#undef mt_mailbox_drain
#undef pthread_mutex_lock
#undef pthread_mutex_unlock

/* ---- what actors do ---- */

static void
drop(void *message)
{
    arrivals[(uintptr_t)message]++;
}

static uintptr_t
new_message(void)
{
    uintptr_t number = (uintptr_t)(here - actors) * MESSAGES + ++here->next_message;
    MUST(here->next_message < MESSAGES);
    return number;
}

static void
note_sent(uintptr_t message, int error)
{
    MUST(error == 0 || error == MT_EFULL || error == MT_ECLOSED || error == MT_ETIMEDOUT);
    is_sent[message] = error == 0;
}

static void
note_received(uintptr_t message, int channel, int error)
{
    MUST(error == 0 || error == MT_EEMPTY || error == MT_ECLOSED || error == MT_ETIMEDOUT);
    MUST(error != MT_ECLOSED || !channels[channel]->open[MT_CHANNEL_RECV] ||
         channels[channel]->taken.count == 0);
    if (error)
        return;
    uintptr_t *last = &here->last[message / MESSAGES][channel];
    MUST(message > *last);
    *last = message;
    arrivals[message]++;
}

/* Two cases, each a channel's letter and in capitals for sending: "aB" receives from a or sends
   to b. */
static void
choose(const char *sides, bool is_limited)
{
    struct mt_wait wait;
    struct mt_channel_turn turn;
    struct mt_channel_case cases[2];
    struct mt_channel_home home;
    uintptr_t messages[2] = {0};
    mt_list_init(&home.waits);
    mt_wait_init(&wait, &here->sched);
    mt_channel_turn_init(&turn, &wait, &here->sched);
    for (int i = 0; i < 2; i++) {
        bool is_sending = sides[i] < 'a';
        if (is_sending)
            messages[i] = new_message();
        mt_channel_turn_add(&turn, &cases[i], channels[(sides[i] | 0x20) - 'a'],
                            is_sending ? MT_CHANNEL_SEND : MT_CHANNEL_RECV,
                            (void *)messages[i], &home);
    }
    struct mt_channel_case *done = mt_channel_turn_begin(&turn);
    if (done) {
        mt_wait_withdraw(&wait);
    } else {
        (void)step_park(&wait, is_limited ? 1 : MT_FOREVER);
        done = mt_channel_turn_end(&turn);
    }
    for (int i = 0; i < 2; i++) {
        int error = done == &cases[i] ? done->result : MT_ETIMEDOUT;
        if (messages[i])
            note_sent(messages[i], error);
        else
            note_received((uintptr_t)cases[i].message, (sides[i] | 0x20) - 'a', error);
    }
    MUST(mt_list_is_empty(&home.waits));
}

/* A script is a row of a letter and what it is done with: s send, r receive; with a limit S, R;
   t and y never wait; c closes the sending end, d the receiving one; ? and ! choose between two,
   ! with a limit. */
static const char *
act(const char *script)
{
    char what = script[0];
    int which = script[1] - 'a';
    struct mt_channel_home home;
    void *received = NULL;
    mt_list_init(&home.waits);
    if (what == '?' || what == '!') {
        choose(script + 1, what == '!');
        return script + 3;
    }
    struct mt_channel *channel = channels[which];
    mt_time deadline = what == 'S' || what == 'R' ? 1 : MT_FOREVER;
    uintptr_t message = strchr("sSt", what) ? new_message() : 0;
    int error;
    switch (what) {
    case 's':
    case 'S':
        error = mt_channel_send(&here->sched, channel, (void *)message, deadline, &home);
        break;
    case 't':
        error = mt_channel_try_send(&here->sched, channel, (void *)message);
        break;
    case 'y':
        error = mt_channel_try_recv(&here->sched, channel, &received);
        break;
    case 'c':
    case 'd':
        mt_channel_close(channel, what == 'c' ? MT_CHANNEL_SEND : MT_CHANNEL_RECV);
        return script + 2;
    default:
        error = mt_channel_recv(&here->sched, channel, &received, deadline, &home);
    }
    if (message)
        note_sent(message, error);
    else
        note_received((uintptr_t)received, which, error);
    MUST(mt_list_is_empty(&home.waits));
    return script + 2;
}

static void
actor_main(void *argument)
{
    struct actor *self = argument;
    mt_sanitizer_arrive(NULL, &explorer_bottom, &explorer_size);
    for (const char *script = self->script; *script;)
        script = act(script);
    self->is_done = true;
    for (;;)
        switch_to_explorer();
}

/* ---- one run ---- */

/* The decisions of this run, and how many there were to choose from each time. */
static struct {
    unsigned char taken, count;
} path[DEPTH];
static size_t path_length, path_known;

/* Which of `count`: as in the run before as far as that is to be repeated, then the first. */
static unsigned
decide(unsigned count)
{
    MUST(path_length < DEPTH);
    if (path_length >= path_known)
        path[path_length].taken = 0;
    path[path_length].count = (unsigned char)count;
    MUST(path[path_length].taken < count); /* else the run before was another */
    return path[path_length++].taken;
}

/* The next path. Returns false when there is none. */
static bool
advance(void)
{
    while (path_length && path[path_length - 1].taken + 1 == path[path_length - 1].count)
        path_length--;
    path_known = path_length;
    if (path_length)
        path[path_length - 1].taken++;
    path_length = 0;
    return path_known > 0;
}

static void
resume(struct actor *actor)
{
    here = actor;
    mt_sanitizer_leave(&explorer_fake, actor->fake, stacks[actor - actors], STACK);
    mt_arch_switch(&explorer_context, actor->context);
    mt_sanitizer_arrive(explorer_fake, NULL, NULL);
    here = NULL;
}

static bool
can_go_on(const struct actor *actor)
{
    if (actor->is_done || (actor->wanted && is_held(actor->wanted)))
        return false;
    return !actor->parked || actor->is_woken || actor->is_limited;
}

/* Nobody can go on: nobody may wait for what is there. */
static void
check_quiet(void)
{
    for (int i = 0; i < ACTORS; i++) {
        MUST(!actors[i].wanted); /* a deadlock */
        /* Else it has been served, and was not woken. */
        MUST(!actors[i].parked || *actors[i].parked->turn == CLAIM_NOBODY);
    }
    for (int i = 0; i < CHANNELS; i++) {
        struct mt_channel *channel = channels[i];
        size_t count = channel->messages.count + channel->taken.count;
        MUST(channel->open[MT_CHANNEL_RECV] || count == 0);
        bool is_receiver = !mt_list_is_empty(&channel->waiters[MT_CHANNEL_RECV]);
        bool is_sender = !mt_list_is_empty(&channel->waiters[MT_CHANNEL_SEND]);
        MUST(!is_receiver || (count == 0 && channel->open[MT_CHANNEL_SEND]));
        MUST(!is_sender ||
             (count >= channel->capacity && channel->open[MT_CHANNEL_RECV]));
        MUST(!is_receiver || !is_sender ||
                  channel->waiters[0].head.next == channel->waiters[0].head.prev); /* a select's */
    }
}

static const char *
what_runs(void)
{
    static char text[200];
    snprintf(text, sizeof text, "%s, %s, %s for capacities %zd, %zd", actors[0].script,
             actors[1].script, actors[2].script, (ssize_t)channels[0]->capacity,
             (ssize_t)channels[1]->capacity);
    return text;
}

static void
set_up(const char *const *scripts, const size_t *capacities)
{
    memset(is_sent, 0, sizeof is_sent);
    memset(arrivals, 0, sizeof arrivals);
    memset(held, 0, sizeof held);
    for (int i = 0; i < CHANNELS; i++) {
        channels[i] = mt_channel_new(capacities[i], drop);
        MUST(channels[i]);
    }
    /* They are locked by address, which must be the same order in each run. */
    if (channels[0] > channels[1]) {
        struct mt_channel *first = channels[0];
        channels[0] = channels[1];
        channels[1] = first;
        for (int i = 0; i < CHANNELS; i++)
            channels[i]->capacity = capacities[i];
    }
    for (int i = 0; i < ACTORS; i++) {
        struct actor *actor = &actors[i];
        void *fake = actor->fake;
        memset(actor, 0, sizeof *actor);
        actor->fake = fake;
        actor->script = scripts[i] ? scripts[i] : "";
        mt_mailbox_init(&actor->sched.mailbox);
        mt_thread_init(&actor->thread);
        actor->thread.sched = &actor->sched;
        actor->sched.current = &actor->thread;
        mt_sanitizer_prepare(&actor->fake);
        actor->context = mt_arch_prepare(stacks[i] + STACK, actor_main, actor);
    }
}

/* Each message has arrived once, or stayed with its sender. */
static void
tear_down(void)
{
    for (int i = 0; i < CHANNELS; i++) {
        MUST(mt_list_is_empty(&channels[i]->waiters[0]));
        MUST(mt_list_is_empty(&channels[i]->waiters[1]));
        mt_channel_unref(channels[i]); /* drops what is inside */
    }
    for (int n = 0; n < ACTORS * MESSAGES; n++)
        MUST(arrivals[n] == is_sent[n]);
}

static void
run_once(const char *const *scripts, const size_t *capacities)
{
    set_up(scripts, capacities);
    struct actor *last = NULL;
    unsigned most = scripts[2] ? OF_THREE : OF_TWO;
    for (unsigned switches = 0;;) {
        struct actor *able[ACTORS];
        unsigned count = 0;
        bool is_last_able = last && can_go_on(last) && !last->parked;
        if (is_last_able)
            able[count++] = last;
        for (int i = 0; i < ACTORS && (!is_last_able || switches < most); i++)
            if (can_go_on(&actors[i]) && !(is_last_able && &actors[i] == last))
                able[count++] = &actors[i];
        if (count == 0) {
            check_quiet();
            for (int i = 0; i < ACTORS; i++)
                actors[i].is_limited |= actors[i].parked != NULL; /* the end: all give up */
            bool is_end = true;
            for (int i = 0; i < ACTORS; i++)
                is_end &= actors[i].is_done;
            if (is_end)
                break;
            continue;
        }
        struct actor *next = able[count == 1 ? 0 : decide(count)];
        switches += is_last_able && next != last;
        if (next->parked && !next->is_woken)
            next->is_late = true;
        resume(next);
        last = next;
    }
    tear_down();
    runs++;
}

/* All orders, for all capacities of the channels that the scripts use. */
static void
explore(const char *first, const char *second, const char *third)
{
    static const size_t capacities[] = {0, 1, MT_CHANNEL_UNBOUNDED};
    const char *scripts[] = {first, second, third};
    bool uses_second = false;
    for (int i = 0; i < ACTORS; i++)
        uses_second |= scripts[i] && strpbrk(scripts[i], "bB");
    for (int a = 0; a < 3; a++) {
        for (int b = 0; b < (uses_second ? 3 : 1); b++) {
            path_known = path_length = 0;
            do
                run_once(scripts, (size_t[]){capacities[a], capacities[b]});
            while (advance());
        }
    }
    ck_assert_uint_gt(runs, OF_TWO ? 100 : 0);
}

/* ---- the tests ---- */

static const struct {
    const char *name;
    const char *scripts[ACTORS];
} cases[] = {
    {"one sends, one receives", {"sasa", "rara"}},
    {"more than are taken over at once", {"tatata", "yayayaya", "ya"}},
    {"a select receives what is taken over", {"tatata", "ya?abya"}},
    {"a receiver closes what is taken over", {"tata", "yada"}},
    {"either may give up", {"SaSa", "RaRa"}},
    {"two send, one receives", {"sa", "sa", "rara"}},
    {"one sends, two receive", {"sasa", "ra", "ra"}},
    {"of three any may give up", {"Sa", "Sa", "RaRa"}},
    {"receivers that give up", {"sasa", "Ra", "Ra"}},
    {"those who never wait", {"tata", "yaya", "ra"}},
    {"a waiting sender and those who never wait", {"sasa", "ya", "yara"}},
    {"senders close", {"saca", "rara"}},
    {"receivers close", {"sasa", "rada"}},
    {"both close", {"Saca", "Rada", "Ra"}},
    {"closed beside a sender and a receiver", {"SaSa", "Ra", "ca"}},
    {"closed by the receiving side beside a sender", {"Sa", "Sa", "da"}},
    {"a select receives from two", {"sa", "sb", "?ab?ab"}},
    {"a select sends to two", {"ra", "rb", "?AB?AB"}},
    {"selects meet", {"?aB", "?bA"}},
    {"selects meet crosswise", {"?AB", "?ab"}},
    {"selects that give up", {"!AB", "!ab", "Ra"}},
    {"three selects", {"!aB", "!bA", "!ab"}},
    {"a select beside a close", {"?ab", "ca", "sb"}},
    {"a select of both sides of one", {"?aA", "sa", "ra"}},
    {"a select of one channel twice", {"?aa", "sa", "Ra"}},
    {"a select gives up beside two senders", {"!ab", "Sa", "Sb"}},
};

START_TEST(every_order_keeps_every_message)
{
    explore(cases[_i].scripts[0], cases[_i].scripts[1], cases[_i].scripts[2]);
}
END_TEST

Suite *
check_suite(void)
{
    Suite *suite = suite_create("channel_steps");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TCase *group = tcase_create(cases[i].name);
        tcase_set_timeout(group, 300);
        tcase_add_loop_test(group, every_order_keeps_every_message, (int)i, (int)i + 1);
        suite_add_tcase(suite, group);
    }
    return suite;
}
