/* SPDX-License-Identifier: MIT */
#include "group/mt_owner.h"

#include "base/mt_alloc.h"

/* Under the lock: tell somebody if there is something to tell. */
static void
post(struct mt_owner *owner)
{
    if (!owner->given_back || owner->posted_to || !owner->sched)
        return;
    owner->posted_to = owner->sched;
    (void)mt_owner_ref(owner); /* the letter's */
    mt_sched_post(owner->sched, &owner->mail);
}

static void
deliver(struct mt_mail *mail)
{
    struct mt_owner *owner = MT_CONTAINER_OF(mail, struct mt_owner, mail);
    pthread_mutex_lock(&owner->lock);
    bool is_here = owner->posted_to == owner->sched; /* not a last drain of one that ends */
    owner->posted_to = NULL;
    if (!is_here)
        post(owner);
    pthread_mutex_unlock(&owner->lock);
    if (is_here)
        owner->collect(owner);
    mt_owner_unref(owner);
}

struct mt_owner *
mt_owner_new(void *host, void (*collect)(struct mt_owner *owner))
{
    struct mt_owner *owner = mt_alloc_zeroed(sizeof(*owner));
    if (!owner)
        return NULL;
    owner->mail.deliver = deliver;
    pthread_mutex_init(&owner->lock, NULL);
    owner->host = host;
    owner->collect = collect;
    atomic_init(&owner->refs, 1);
    return owner;
}

void
mt_owner_unref(struct mt_owner *owner)
{
    if (!owner || atomic_fetch_sub(&owner->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&owner->lock);
    mt_alloc_free(owner);
}

void
mt_owner_set_sched(struct mt_owner *owner, struct mt_sched *sched)
{
    pthread_mutex_lock(&owner->lock);
    owner->sched = sched;
    post(owner);
    pthread_mutex_unlock(&owner->lock);
}

void
mt_owner_lend(struct mt_owner *owner, struct mt_loan *loan)
{
    loan->owner = mt_owner_ref(owner);
}

bool
mt_owner_give_back(struct mt_loan *loan)
{
    struct mt_owner *owner = loan->owner;
    pthread_mutex_lock(&owner->lock);
    bool is_taken = !owner->is_closed;
    if (is_taken) {
        loan->next = NULL;
        if (owner->given_back)
            owner->latest->next = loan;
        else
            owner->given_back = loan;
        owner->latest = loan;
        post(owner);
    }
    pthread_mutex_unlock(&owner->lock);
    mt_owner_unref(owner);
    return is_taken;
}

struct mt_loan *
mt_owner_take(struct mt_owner *owner)
{
    pthread_mutex_lock(&owner->lock);
    struct mt_loan *loans = owner->given_back;
    owner->given_back = NULL;
    pthread_mutex_unlock(&owner->lock);
    return loans;
}

void
mt_owner_after_fork(struct mt_owner *owner, struct mt_sched *sched)
{
    pthread_mutex_init(&owner->lock, NULL);
    owner->posted_to = NULL;
    mt_owner_set_sched(owner, sched);
}

void
mt_owner_close(struct mt_owner *owner)
{
    pthread_mutex_lock(&owner->lock);
    owner->is_closed = true;
    owner->sched = NULL;
    pthread_mutex_unlock(&owner->lock);
}
