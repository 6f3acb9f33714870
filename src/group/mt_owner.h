/* SPDX-License-Identifier: MIT */
/* What must go back to where it came from: things lent to others, which only their owner may let go
   of. They are given back in any OS thread, and collected in one of the owner's. */
#ifndef MT_OWNER_H
#define MT_OWNER_H

#include "core/mt_sched.h"

#include <pthread.h>
#include <stdatomic.h>

struct mt_owner;

/* A thing that is lent; a member of something larger. */
struct mt_loan {
    struct mt_loan *next;    /* among those given back */
    struct mt_owner *owner;  /* one reference, until it is given back */
    void (*come_home)(struct mt_loan *loan, bool is_late); /* the host's: what to do with it; late:
                                                              the owner ends */
};

struct mt_owner {
    struct mt_mail mail;           /* tells sched */
    pthread_mutex_t lock;          /* for all that follows */
    struct mt_sched *sched;        /* of an OS thread of the owner's; NULL: there is none */
    struct mt_loan *given_back;    /* not yet collected, the oldest first; NULL: none */
    struct mt_loan *latest;        /* the last of these; valid while there are any */
    struct mt_sched *posted_to;    /* who has the mail; NULL: nobody */
    bool is_closed;                /* the owner is gone; nothing can come back any more */
    void *host;                    /* the host's own */
    void (*collect)(struct mt_owner *owner); /* in sched's OS thread, under its lock; must not park */
    _Atomic size_t refs;
};

/* With one reference. NULL without memory. */
struct mt_owner *
mt_owner_new(void *host, void (*collect)(struct mt_owner *owner));

static inline struct mt_owner *
mt_owner_ref(struct mt_owner *owner)
{
    atomic_fetch_add_explicit(&owner->refs, 1, memory_order_relaxed);
    return owner;
}

void
mt_owner_unref(struct mt_owner *owner);

/* Who is told from now on; NULL: nobody. While a scheduler is entered here it must not be freed. */
void
mt_owner_set_sched(struct mt_owner *owner, struct mt_sched *sched);

/* The loan begins. */
void
mt_owner_lend(struct mt_owner *owner, struct mt_loan *loan);

/* It ends; any OS thread. Returns whether the owner has it now; false: the owner is gone. */
bool
mt_owner_give_back(struct mt_loan *loan);

/* What was given back: the caller's, a list, the oldest first. For the owner itself only. */
struct mt_loan *
mt_owner_take(struct mt_owner *owner);

/* In the child of a fork, whose only scheduler this is, or NULL. */
void
mt_owner_after_fork(struct mt_owner *owner, struct mt_sched *sched);

/* The owner ends. */
void
mt_owner_close(struct mt_owner *owner);

#endif
