/* SPDX-License-Identifier: MIT */
/* A FIFO of messages between micro-threads of any OS threads. One lock for each channel, a queue, and
   for either side a list of those who wait, oldest first; a wait names the scheduler to wake.

   In an unbounded channel senders wait for nothing, so receivers need to know of them only when there
   is nothing inside: they take over what was sent, all at once, into a second queue with a lock of its
   own. A memory line that two cores write in turns costs more than all the rest of a message.

   Whoever can serve a waiter claims its turn, hands over, and has it told: by a letter to its
   scheduler, which is woken only if it sleeps; straight away if that is the caller's own. A wait may
   stand in several channels at once and in lists of its own scheduler: the turn is what only one of
   them gets. So a wait that is cancelled or runs out of time either has not happened anywhere, or has
   been claimed before, and then it has happened.

   Messages are the caller's; a channel only drops those that can reach nobody. Every call may be made
   from any OS thread; the ones with a `sched` on a running micro-thread of that scheduler. */
#ifndef MT_CHANNEL_H
#define MT_CHANNEL_H

#include "base/mt_base.h"
#include "base/mt_list.h"
#include "base/mt_ring.h"
#include "core/mt_mailbox.h"
#include "core/mt_sched.h"
#include "core/mt_wait.h"

#include <pthread.h>
#include <stdatomic.h>

#define MT_CHANNEL_UNBOUNDED SIZE_MAX

enum mt_channel_side {
    MT_CHANNEL_RECV,
    MT_CHANNEL_SEND
};

/* An end that is open in some interpreter. */
struct mt_channel_seat {
    struct mt_link link; /* in channel->seats; under its lock */
    int64_t owner;       /* the interpreter's id */
};

struct mt_channel {
    pthread_mutex_t lock;         /* for all that follows up to seats */
    struct mt_ring messages;      /* sent, not yet received or taken over; owned */
    struct mt_list waiters[2];    /* struct mt_channel_case, by side */
    struct mt_list seats[2];      /* struct mt_channel_seat, by side */
    size_t open[2];               /* open ends: those with a seat, and those inside messages */
    size_t capacity;              /* 0: a rendezvous; MT_CHANNEL_UNBOUNDED */
    void (*drop)(void *message);  /* called without the lock, in any OS thread */
    _Atomic size_t refs;
    uint64_t id;                  /* unique in the process */
    uint32_t forks;               /* of the process when it was made; another one now: all is lost */
    char apart[64];               /* what follows is in no memory line of the others */
    pthread_mutex_t taking;       /* for taken; acquired before lock. Only of an unbounded one */
    struct mt_ring taken;         /* taken over: older than all of messages; owned */
};

/* ---- waits ---- */

struct mt_channel_turn;

/* One side of one channel in a wait. */
struct mt_channel_case {
    struct mt_clause clause;        /* of the wait; triggered in its own OS thread */
    struct mt_link link;            /* in channel->waiters; under its lock */
    struct mt_channel *channel;     /* kept alive by the caller */
    struct mt_channel_turn *turn;
    struct mt_channel_case *next;   /* in turn->cases, by address of the channel */
    enum mt_channel_side side;
    void *message;                  /* to send, the caller's until result is 0; or what was received */
    int result;                     /* 0 or MT_ECLOSED once it is the turn's winner */
};

/* What all cases of a wait have in common. Lies on the waiter's stack. */
struct mt_channel_turn {
    struct mt_mail mail;            /* tells the waiter's scheduler of the winner */
    _Atomic int claim;              /* wait->turn: whoever changes it from 0 ends the wait */
    struct mt_sched *sched;         /* the waiter's */
    struct mt_wait *wait;
    struct mt_channel_case *cases;
    struct mt_channel_case *winner; /* written by whoever claims */
    bool is_told;                   /* the letter has come; only the waiter's OS thread looks */
};

void
mt_channel_turn_init(struct mt_channel_turn *turn, struct mt_wait *wait, struct mt_sched *sched);

/* Where a caller wants its waits noted: in a list of its own, from which it may end them. */
struct mt_channel_home {
    struct mt_list waits; /* struct mt_clause; under the lock that protects the scheduler */
};

/* Add a case to the wait and the turn, and its clause to the home; nothing else happens yet. */
void
mt_channel_turn_add(struct mt_channel_turn *turn, struct mt_channel_case *its,
                    struct mt_channel *channel, enum mt_channel_side side, void *message,
                    struct mt_channel_home *home);

/* End all waits of a home with MT_EGONE, but for those that have happened. Any OS thread that holds the
   lock that protects their schedulers. */
void
mt_channel_home_leave(struct mt_channel_home *home);

/* Let the first case that can go ahead do so, else join all lists. Returns the one that went
   ahead, with its result, or NULL: park now. */
struct mt_channel_case *
mt_channel_turn_begin(struct mt_channel_turn *turn);

/* After parking, however that ended: leave all lists. Returns the case that has happened, or NULL. */
struct mt_channel_case *
mt_channel_turn_end(struct mt_channel_turn *turn);

/* ---- life ---- */

/* With one end open on either side, and one reference. NULL when there is no memory. */
struct mt_channel *
mt_channel_new(size_t capacity, void (*drop)(void *message));

static inline void
mt_channel_ref(struct mt_channel *channel)
{
    atomic_fetch_add_explicit(&channel->refs, 1, memory_order_relaxed);
}

void
mt_channel_unref(struct mt_channel *channel);

/* One more open end. */
void
mt_channel_open(struct mt_channel *channel, enum mt_channel_side side);

/* One less. After the last sender receivers drain what is inside and get MT_ECLOSED; after the last
   receiver what is inside is dropped and senders get MT_ECLOSED. */
void
mt_channel_close(struct mt_channel *channel, enum mt_channel_side side);

/* An open end lies in an interpreter from now on; or no longer. */
void
mt_channel_sit(struct mt_channel *channel, enum mt_channel_side side, struct mt_channel_seat *seat);
void
mt_channel_rise(struct mt_channel *channel, struct mt_channel_seat *seat);

/* The owners of the seats of one side, each once, the earliest first. Returns how many there are, of
   which the first `most` are stored. */
size_t
mt_channel_owners(struct mt_channel *channel, enum mt_channel_side side, int64_t *owners,
                  size_t most);

/* Whether an end of that side is open that does not lie in `owner`. */
bool
mt_channel_is_elsewhere(struct mt_channel *channel, enum mt_channel_side side, int64_t owner);

/* Messages inside, those of waiting senders not among them. */
size_t
mt_channel_count(struct mt_channel *channel);

/* ---- messages ---- */

/* Never parks. On success the channel owns the message.
   Returns 0, MT_EFULL, MT_ECLOSED or MT_ENOMEM. sched: the caller's, or NULL. */
int
mt_channel_try_send(struct mt_sched *sched, struct mt_channel *channel, void *message);

/* Never parks. *message: the caller's on success, untouched on error.
   Returns 0, MT_EEMPTY, or MT_ECLOSED when closed and empty. */
int
mt_channel_try_recv(struct mt_sched *sched, struct mt_channel *channel, void **message);

/* As the two above, but they heed what is pending, give way now and then, and park until deadline:
   monotonic ns, MT_FOREVER, or 0: not at all. The home outlives the call. Also return MT_EGONE or an
   error of mt_wait_park(): then nothing has happened. */
int
mt_channel_send(struct mt_sched *sched, struct mt_channel *channel, void *message,
                mt_time deadline, struct mt_channel_home *home);
int
mt_channel_recv(struct mt_sched *sched, struct mt_channel *channel, void **message,
                mt_time deadline, struct mt_channel_home *home);

#endif
