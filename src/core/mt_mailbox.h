/* SPDX-License-Identifier: MIT */
/* Letters from OS threads that do not hold the scheduler's lock. Posting is lock-free (a Treiber
   stack, emptied whole by the one reader, so there is no ABA); delivery is in the order of posting.
   A sleeping flag, exchanged by the poster, keeps wake-ups rare. */
#ifndef MT_MAILBOX_H
#define MT_MAILBOX_H

#include "base/mt_base.h"

#include <stdatomic.h>

struct mt_mail {
    struct mt_mail *next;
    void (*deliver)(struct mt_mail *mail); /* in the reader's OS thread; may free the mail */
};

struct mt_mailbox {
    _Atomic(struct mt_mail *) newest;
    atomic_bool is_sleeping; /* the reader is about to block, and must be woken */
};

static inline void
mt_mailbox_init(struct mt_mailbox *mailbox)
{
    atomic_init(&mailbox->newest, NULL);
    atomic_init(&mailbox->is_sleeping, false);
}

/* Any OS thread. Returns whether the reader must be woken now. */
static inline bool
mt_mailbox_post(struct mt_mailbox *mailbox, struct mt_mail *mail)
{
    mail->next = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&mailbox->newest, &mail->next, mail))
        ;
    return atomic_exchange(&mailbox->is_sleeping, false);
}

/* The reader. Whether nothing has come since it was drained. */
static inline bool
mt_mailbox_is_empty(const struct mt_mailbox *mailbox)
{
    return atomic_load(&mailbox->newest) == NULL;
}

/* The reader, before it blocks. Returns false when there is mail: do not block then. */
static inline bool
mt_mailbox_sleep(struct mt_mailbox *mailbox)
{
    atomic_store(&mailbox->is_sleeping, true);
    return mt_mailbox_is_empty(mailbox);
}

/* The reader, after it blocked. */
static inline void
mt_mailbox_rise(struct mt_mailbox *mailbox)
{
    atomic_store_explicit(&mailbox->is_sleeping, false, memory_order_relaxed);
}

/* The reader: deliver all that has come. */
static inline void
mt_mailbox_drain(struct mt_mailbox *mailbox)
{
    if (MT_LIKELY(atomic_load_explicit(&mailbox->newest, memory_order_relaxed) == NULL))
        return;
    struct mt_mail *newest = atomic_exchange(&mailbox->newest, NULL);
    struct mt_mail *oldest = NULL;
    while (newest) {
        struct mt_mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct mt_mail *next = oldest->next;
        oldest->deliver(oldest);
        oldest = next;
    }
}

#endif
