/* SPDX-License-Identifier: MIT */
/* A message goes straight to a waiting receiver; a waiting sender's moves up as soon as there is room. So
   receivers wait only while nothing is inside, and senders only while it is full.

   Lock order: a wait in several channels locks them by rising address, and of each one `taking` before
   `lock`; everybody else holds locks of one channel at a time. Waking a scheduler is a system call and
   made after the lock is let go of. */
#include "group/mt_channel.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"
#include "group/mt_global.h"

enum claim {
    CLAIM_NOBODY = 0, /* the wait goes on */
    CLAIM_HERE = 1,   /* its own scheduler has ended it; mt_wait_claim() writes this */
    CLAIM_CHANNEL     /* a channel has: turn->winner is set and the letter is on its way */
};

static enum mt_channel_side
other(enum mt_channel_side side)
{
    return side == MT_CHANNEL_RECV ? MT_CHANNEL_SEND : MT_CHANNEL_RECV;
}

/* False in the child of a fork: who held the lock, and who was on the other side, is gone. */
static inline bool
is_usable(const struct mt_channel *channel)
{
    return MT_LIKELY(channel->forks == mt_global_forks());
}

static inline bool
is_unbounded(const struct mt_channel *channel)
{
    return channel->capacity == MT_CHANNEL_UNBOUNDED;
}

static void
lock_all(struct mt_channel *channel)
{
    if (is_unbounded(channel))
        pthread_mutex_lock(&channel->taking);
    pthread_mutex_lock(&channel->lock);
}

static void
unlock_all(struct mt_channel *channel)
{
    pthread_mutex_unlock(&channel->lock);
    if (is_unbounded(channel))
        pthread_mutex_unlock(&channel->taking);
}

/* Under all locks: take the oldest message out. Returns whether there was one. */
static bool
pop(struct mt_channel *channel, void **message)
{
    struct mt_ring *ring = channel->taken.count ? &channel->taken : &channel->messages;
    if (!ring->count)
        return false;
    *message = mt_ring_pop(ring);
    return true;
}

/* ---- telling the waiter ---- */

static void
tell(struct mt_mail *mail)
{
    struct mt_channel_turn *turn = MT_CONTAINER_OF(mail, struct mt_channel_turn, mail);
    turn->is_told = true;
    if (turn->wait->result == MT_PENDING)
        mt_trigger(&turn->winner->clause, turn->winner->result);
}

/* The first waiter of a side whose turn can be had, claimed and out of the list; or NULL. */
static struct mt_channel_case *
claim_first(struct mt_channel *channel, enum mt_channel_side side)
{
    struct mt_link *link;
    while ((link = mt_list_front(&channel->waiters[side]))) {
        struct mt_channel_case *its = MT_CONTAINER_OF(link, struct mt_channel_case, link);
        mt_list_remove(link);
        int nobody = CLAIM_NOBODY;
        if (atomic_compare_exchange_strong(&its->turn->claim, &nobody, CLAIM_CHANNEL))
            return its;
    }
    return NULL;
}

/* A claimed one has been served. Under the channel's lock, so that whoever leaves the list knows that
   the letter has been posted. Returns the scheduler to wake once the lock is let go of, or NULL. */
static struct mt_sched *
notify(struct mt_sched *here, struct mt_channel_case *its, int result)
{
    struct mt_channel_turn *turn = its->turn;
    struct mt_sched *sched = turn->sched;
    its->result = result;
    turn->winner = its;
    if (sched == here) {
        tell(&turn->mail);
        return NULL;
    }
    return mt_sched_post_begin(sched, &turn->mail) ? sched : NULL;
}

static inline void
wake(struct mt_sched *sched)
{
    if (sched)
        mt_sched_post_end(sched);
}

/* ---- one step, under the lock; to receive, under all ---- */

static int
step_send(struct mt_sched *here, struct mt_channel *channel, void *message,
          struct mt_sched **sleeper)
{
    if (channel->open[MT_CHANNEL_RECV] == 0)
        return MT_ECLOSED;
    struct mt_channel_case *receiver = claim_first(channel, MT_CHANNEL_RECV);
    if (receiver) {
        receiver->message = message;
        *sleeper = notify(here, receiver, 0);
        return 0;
    }
    if (channel->messages.count >= channel->capacity)
        return MT_EFULL;
    return mt_ring_push(&channel->messages, message);
}

static int
step_recv(struct mt_sched *here, struct mt_channel *channel, void **message,
          struct mt_sched **sleeper)
{
    bool is_inside = pop(channel, message);
    struct mt_channel_case *sender = claim_first(channel, MT_CHANNEL_SEND);
    if (sender && is_inside) {
        int error = mt_ring_push(&channel->messages, sender->message);
        assert(!error); /* there is the room of the one just popped */
        (void)error;
    } else if (sender) {
        *message = sender->message;
    }
    if (sender)
        *sleeper = notify(here, sender, 0);
    if (is_inside || sender)
        return 0;
    return channel->open[MT_CHANNEL_SEND] ? MT_EEMPTY : MT_ECLOSED;
}

static int
step(struct mt_sched *here, struct mt_channel_case *its, struct mt_sched **sleeper)
{
    return its->side == MT_CHANNEL_SEND
               ? step_send(here, its->channel, its->message, sleeper)
               : step_recv(here, its->channel, &its->message, sleeper);
}

int
mt_channel_try_send(struct mt_sched *sched, struct mt_channel *channel, void *message)
{
    if (!is_usable(channel))
        return MT_ECLOSED;
    struct mt_sched *sleeper = NULL;
    pthread_mutex_lock(&channel->lock);
    int error = step_send(sched, channel, message, &sleeper);
    pthread_mutex_unlock(&channel->lock);
    wake(sleeper);
    return error;
}

/* Under `taking` of an unbounded one, when nothing is taken. Returns 0, MT_EEMPTY or MT_ECLOSED. */
static int
take_over(struct mt_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    mt_ring_swap(&channel->messages, &channel->taken);
    bool is_open = channel->open[MT_CHANNEL_SEND] > 0;
    pthread_mutex_unlock(&channel->lock);
    return channel->taken.count ? 0 : is_open ? MT_EEMPTY : MT_ECLOSED;
}

int
mt_channel_try_recv(struct mt_sched *sched, struct mt_channel *channel, void **message)
{
    if (!is_usable(channel))
        return MT_ECLOSED;
    struct mt_sched *sleeper = NULL;
    int error = 0;
    if (is_unbounded(channel)) {
        pthread_mutex_lock(&channel->taking);
        if (channel->taken.count == 0)
            error = take_over(channel);
        if (!error)
            *message = mt_ring_pop(&channel->taken);
        pthread_mutex_unlock(&channel->taking);
    } else {
        pthread_mutex_lock(&channel->lock);
        error = step_recv(sched, channel, message, &sleeper);
        pthread_mutex_unlock(&channel->lock);
    }
    wake(sleeper);
    return error;
}

/* ---- a wait in channels ---- */

void
mt_channel_turn_init(struct mt_channel_turn *turn, struct mt_wait *wait, struct mt_sched *sched)
{
    turn->mail.deliver = tell;
    atomic_init(&turn->claim, CLAIM_NOBODY);
    turn->sched = sched;
    turn->wait = wait;
    turn->cases = NULL;
    turn->winner = NULL;
    turn->is_told = false;
    wait->turn = &turn->claim;
}

void
mt_channel_turn_add(struct mt_channel_turn *turn, struct mt_channel_case *its,
                    struct mt_channel *channel, enum mt_channel_side side, void *message,
                    struct mt_channel_home *home)
{
    mt_wait_add(turn->wait, &its->clause, side == MT_CHANNEL_SEND ? MT_WAIT_SEND : MT_WAIT_RECV,
                home);
    mt_list_append(&home->waits, &its->clause.link);
    mt_link_init(&its->link);
    its->channel = channel;
    its->turn = turn;
    its->side = side;
    its->message = message;
    its->result = 0;
    struct mt_channel_case **place = &turn->cases;
    while (*place && (uintptr_t)(*place)->channel < (uintptr_t)channel)
        place = &(*place)->next;
    its->next = *place;
    *place = its;
}

void
mt_channel_home_leave(struct mt_channel_home *home)
{
    struct mt_link *link;
    while ((link = mt_list_front(&home->waits)))
        mt_trigger(MT_CONTAINER_OF(link, struct mt_clause, link), MT_EGONE);
}

/* Whether it is the first of several cases with this channel, which alone locks and unlocks. */
static bool
is_first_of(const struct mt_channel_case *before, const struct mt_channel_case *its)
{
    return !before || before->channel != its->channel;
}

struct mt_channel_case *
mt_channel_turn_begin(struct mt_channel_turn *turn)
{
    struct mt_channel_case *done = NULL, *before = NULL;
    struct mt_sched *sleeper = NULL;
    for (struct mt_channel_case *its = turn->cases; its; its = its->next) {
        if (!is_usable(its->channel)) { /* so are all others */
            its->result = MT_ECLOSED;
            atomic_store(&turn->claim, CLAIM_HERE);
            return its;
        }
    }
    for (struct mt_channel_case *its = turn->cases; its; before = its, its = its->next)
        if (is_first_of(before, its))
            lock_all(its->channel);
    for (struct mt_channel_case *its = turn->cases; its && !done; its = its->next) {
        its->result = step(turn->sched, its, &sleeper);
        if (its->result != MT_EFULL && its->result != MT_EEMPTY)
            done = its;
    }
    if (done)
        atomic_store(&turn->claim, CLAIM_HERE);
    before = NULL;
    for (struct mt_channel_case *its = turn->cases; !done && its; its = its->next)
        mt_list_append(&its->channel->waiters[its->side], &its->link);
    /* From the first unlock on others may claim the turn, but none of what is read here changes. */
    for (struct mt_channel_case *its = turn->cases; its; before = its, its = its->next)
        if (is_first_of(before, its))
            unlock_all(its->channel);
    wake(sleeper);
    return done;
}

struct mt_channel_case *
mt_channel_turn_end(struct mt_channel_turn *turn)
{
    int claim = CLAIM_NOBODY;
    (void)atomic_compare_exchange_strong(&turn->claim, &claim, CLAIM_HERE);
    for (struct mt_channel_case *its = turn->cases; its; its = its->next) {
        if (turn->is_told && its == turn->winner)
            continue; /* whoever claimed it has taken it out */
        pthread_mutex_lock(&its->channel->lock);
        mt_list_remove(&its->link);
        pthread_mutex_unlock(&its->channel->lock);
    }
    if (claim != CLAIM_CHANNEL)
        return NULL;
    /* It was posted before the lock was let go of that we have held since; it lies on our stack. */
    while (!turn->is_told)
        mt_mailbox_drain(&turn->sched->mailbox);
    if (MT_UNLIKELY(turn->wait->result == MT_EHOST))
        turn->sched->hooks->postpone(turn->sched);
    return turn->winner;
}

/* Park for one case. Returns its result, or an error of mt_wait_park(). */
static int
wait_for(struct mt_sched *sched, struct mt_channel *channel, enum mt_channel_side side,
         void **message, mt_time deadline, struct mt_channel_home *home)
{
    struct mt_wait wait;
    struct mt_channel_turn turn;
    struct mt_channel_case its;
    mt_wait_init(&wait, sched);
    mt_channel_turn_init(&turn, &wait, sched);
    mt_channel_turn_add(&turn, &its, channel, side, *message, home);
    int error = 0;
    struct mt_channel_case *done = mt_channel_turn_begin(&turn);
    if (done) {
        mt_wait_withdraw(&wait);
    } else {
        error = mt_wait_park(&wait, deadline);
        done = mt_channel_turn_end(&turn);
    }
    if (!done)
        return error;
    *message = its.message;
    return its.result;
}

int
mt_channel_send(struct mt_sched *sched, struct mt_channel *channel, void *message,
                mt_time deadline, struct mt_channel_home *home)
{
    int error = mt_heed(sched, 1);
    if (MT_LIKELY(!error))
        error = mt_channel_try_send(sched, channel, message);
    if (MT_LIKELY(!error)) {
        mt_spend(sched, 1);
        return 0;
    }
    if (error != MT_EFULL || deadline == 0)
        return error;
    return wait_for(sched, channel, MT_CHANNEL_SEND, &message, deadline, home);
}

int
mt_channel_recv(struct mt_sched *sched, struct mt_channel *channel, void **message,
                mt_time deadline, struct mt_channel_home *home)
{
    int error = mt_heed(sched, 1);
    if (MT_LIKELY(!error))
        error = mt_channel_try_recv(sched, channel, message);
    if (MT_LIKELY(!error)) {
        mt_spend(sched, 1);
        return 0;
    }
    if (error != MT_EEMPTY || deadline == 0)
        return error;
    void *received = NULL;
    error = wait_for(sched, channel, MT_CHANNEL_RECV, &received, deadline, home);
    if (!error)
        *message = received;
    return error;
}

/* ---- life ---- */

struct mt_channel *
mt_channel_new(size_t capacity, void (*drop)(void *message))
{
    struct mt_channel *channel = mt_alloc_zeroed(sizeof *channel);
    if (!channel)
        return NULL;
    pthread_mutex_init(&channel->lock, NULL);
    pthread_mutex_init(&channel->taking, NULL);
    mt_ring_init(&channel->messages);
    mt_ring_init(&channel->taken);
    for (int side = 0; side < 2; side++) {
        mt_list_init(&channel->waiters[side]);
        mt_list_init(&channel->seats[side]);
        channel->open[side] = 1;
    }
    channel->capacity = capacity;
    channel->drop = drop;
    atomic_init(&channel->refs, 1);
    channel->id = mt_global_next_channel();
    channel->forks = mt_global_forks();
    return channel;
}

void
mt_channel_unref(struct mt_channel *channel)
{
    if (atomic_fetch_sub_explicit(&channel->refs, 1, memory_order_acq_rel) > 1)
        return;
    void *message;
    while (pop(channel, &message))
        channel->drop(message);
    mt_ring_fini(&channel->messages);
    mt_ring_fini(&channel->taken);
    if (is_usable(channel)) {
        pthread_mutex_destroy(&channel->lock);
        pthread_mutex_destroy(&channel->taking);
    }
    mt_alloc_free(channel);
}

void
mt_channel_open(struct mt_channel *channel, enum mt_channel_side side)
{
    if (!is_usable(channel))
        return;
    pthread_mutex_lock(&channel->lock);
    channel->open[side]++;
    pthread_mutex_unlock(&channel->lock);
}

static bool
pop_locked(struct mt_channel *channel, void **message)
{
    lock_all(channel);
    bool is_inside = pop(channel, message);
    unlock_all(channel);
    return is_inside;
}

void
mt_channel_close(struct mt_channel *channel, enum mt_channel_side side)
{
    if (!is_usable(channel))
        return;
    pthread_mutex_lock(&channel->lock);
    assert(channel->open[side] > 0);
    bool is_last = --channel->open[side] == 0;
    struct mt_channel_case *waiter;
    while (is_last && (waiter = claim_first(channel, other(side))))
        wake(notify(NULL, waiter, MT_ECLOSED));
    pthread_mutex_unlock(&channel->lock);
    void *message = NULL;
    while (is_last && side == MT_CHANNEL_RECV && pop_locked(channel, &message))
        channel->drop(message); /* it may hold ends of channels */
}

void
mt_channel_sit(struct mt_channel *channel, enum mt_channel_side side, struct mt_channel_seat *seat)
{
    mt_link_init(&seat->link);
    if (!is_usable(channel))
        return;
    pthread_mutex_lock(&channel->lock);
    mt_list_append(&channel->seats[side], &seat->link);
    pthread_mutex_unlock(&channel->lock);
}

void
mt_channel_rise(struct mt_channel *channel, struct mt_channel_seat *seat)
{
    if (!is_usable(channel))
        return;
    pthread_mutex_lock(&channel->lock);
    mt_list_remove(&seat->link);
    pthread_mutex_unlock(&channel->lock);
}

size_t
mt_channel_owners(struct mt_channel *channel, enum mt_channel_side side, int64_t *owners,
                  size_t most)
{
    if (!is_usable(channel))
        return 0;
    size_t count = 0;
    struct mt_list *seats = &channel->seats[side];
    pthread_mutex_lock(&channel->lock);
    for (struct mt_link *link = mt_list_front(seats); link; link = mt_list_after(seats, link)) {
        if (count < most)
            owners[count] = MT_CONTAINER_OF(link, struct mt_channel_seat, link)->owner;
        count++;
    }
    pthread_mutex_unlock(&channel->lock);
    return count;
}

bool
mt_channel_is_elsewhere(struct mt_channel *channel, enum mt_channel_side side, int64_t owner)
{
    if (!is_usable(channel))
        return false;
    struct mt_list *seats = &channel->seats[side];
    pthread_mutex_lock(&channel->lock);
    size_t elsewhere = channel->open[side];
    for (struct mt_link *link = mt_list_front(seats); link; link = mt_list_after(seats, link))
        if (MT_CONTAINER_OF(link, struct mt_channel_seat, link)->owner == owner)
            elsewhere--;
    pthread_mutex_unlock(&channel->lock);
    return elsewhere > 0;
}

size_t
mt_channel_count(struct mt_channel *channel)
{
    if (!is_usable(channel))
        return 0;
    lock_all(channel);
    size_t count = channel->taken.count + channel->messages.count;
    unlock_all(channel);
    return count;
}
