/* SPDX-License-Identifier: MIT */
/* A waiter lies on its own stack. It stays in the list until whoever notifies takes it out, posts a letter
   to its scheduler, and only then lets go of the lock; or until it takes itself out. So the scheduler
   exists while a letter is posted, and a waiter that was taken out waits for its letter. */
#include "group/mt_shared.h"

#include "base/mt_alloc.h"
#include "base/mt_list.h"

#include <pthread.h>
#include <string.h>

enum { BUCKETS = 64, ALIGNMENT = 64 };

struct waiter {
    struct mt_mail mail;
    struct mt_link link;          /* in its bucket; under the bucket's lock */
    struct mt_clause clause;
    struct mt_sched *sched;       /* whose micro-thread waits */
    const _Atomic int64_t *word;
    bool is_notified;             /* taken out by somebody; under the bucket's lock */
    bool is_told;                 /* the letter has come; only its own OS thread looks */
};

struct bucket {
    pthread_mutex_t lock;
    struct mt_link waiters; /* head of a list; NULL pointers: empty and never used */
};

static struct bucket buckets[BUCKETS] = {
    [0 ... BUCKETS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER},
};

static struct bucket *
bucket_of(const _Atomic int64_t *word)
{
    return &buckets[(uintptr_t)word / sizeof(*word) % BUCKETS];
}

/* ---- memory ---- */

static void
shared_free(struct mt_body *body)
{
    mt_alloc_free(MT_CONTAINER_OF(body, struct mt_shared, body));
}

struct mt_shared *
mt_shared_new(size_t size)
{
    if (size > PTRDIFF_MAX - sizeof(struct mt_shared) - ALIGNMENT)
        return NULL;
    struct mt_shared *shared = mt_alloc_zeroed(sizeof(*shared) + ALIGNMENT + size);
    if (!shared)
        return NULL;
    mt_body_init(&shared->body, shared_free);
    uintptr_t data = (uintptr_t)(shared + 1);
    shared->data = (unsigned char *)shared + sizeof(*shared) + (ALIGNMENT - data % ALIGNMENT);
    shared->size = size;
    return shared;
}

struct readonly {
    struct mt_shared shared;
    struct mt_shared *other; /* one reference */
};

static void
readonly_free(struct mt_body *body)
{
    struct readonly *readonly = MT_CONTAINER_OF(body, struct readonly, shared.body);
    mt_shared_unref(readonly->other);
    mt_alloc_free(readonly);
}

struct mt_shared *
mt_shared_new_readonly(struct mt_shared *other)
{
    struct readonly *readonly = mt_alloc(sizeof(*readonly));
    if (!readonly)
        return NULL;
    readonly->shared = (struct mt_shared){.data = other->data, .size = other->size, .is_readonly = true};
    mt_body_init(&readonly->shared.body, readonly_free);
    (void)mt_body_ref(&other->body);
    readonly->other = other;
    return &readonly->shared;
}

/* ---- waiting ---- */

static void
tell(struct mt_mail *mail)
{
    struct waiter *waiter = MT_CONTAINER_OF(mail, struct waiter, mail);
    waiter->is_told = true;
    if (waiter->clause.wait->result == MT_PENDING)
        mt_trigger(&waiter->clause, 0);
}

/* Join the list if the word is as expected. Returns whether it was. */
static bool
join(struct bucket *bucket, struct waiter *waiter, int64_t expected)
{
    pthread_mutex_lock(&bucket->lock);
    bool is_equal = atomic_load(waiter->word) == expected;
    if (is_equal) {
        if (!bucket->waiters.next)
            mt_link_init(&bucket->waiters);
        waiter->link.next = &bucket->waiters;
        waiter->link.prev = bucket->waiters.prev;
        bucket->waiters.prev->next = &waiter->link;
        bucket->waiters.prev = &waiter->link;
    }
    pthread_mutex_unlock(&bucket->lock);
    return is_equal;
}

int
mt_shared_wait(struct mt_sched *sched, const _Atomic int64_t *word, int64_t expected,
               mt_time deadline, void *clause_object)
{
    int error = mt_heed(sched, 1);
    if (error)
        return error;
    if (deadline == 0 || atomic_load(word) != expected) {
        error = atomic_load(word) == expected ? MT_ETIMEDOUT : MT_EEMPTY;
        mt_spend(sched, 1);
        return error;
    }
    struct bucket *bucket = bucket_of(word);
    struct mt_wait wait;
    struct waiter waiter = {.mail.deliver = tell, .sched = sched, .word = word};
    mt_wait_init(&wait, sched);
    mt_wait_add(&wait, &waiter.clause, MT_WAIT_WORD, clause_object);
    if (!join(bucket, &waiter, expected)) {
        mt_wait_withdraw(&wait);
        return MT_EEMPTY;
    }
    error = mt_wait_park(&wait, deadline);
    pthread_mutex_lock(&bucket->lock);
    bool is_notified = waiter.is_notified;
    if (!is_notified)
        mt_list_remove(&waiter.link);
    pthread_mutex_unlock(&bucket->lock);
    if (!is_notified)
        return error;
    while (!waiter.is_told) /* it was posted under the lock; it lies on our stack */
        mt_mailbox_drain(&sched->mailbox);
    return 0;
}

size_t
mt_shared_notify(struct mt_sched *sched, const _Atomic int64_t *word, size_t most)
{
    struct bucket *bucket = bucket_of(word);
    size_t count = 0;
    pthread_mutex_lock(&bucket->lock);
    struct mt_link *link = bucket->waiters.next;
    while (link && link != &bucket->waiters && count < most) {
        struct waiter *waiter = MT_CONTAINER_OF(link, struct waiter, link);
        link = link->next;
        /* One of our own that was cancelled meanwhile has not waited. */
        if (waiter->word != word ||
            (waiter->sched == sched && waiter->clause.wait->result != MT_PENDING))
            continue;
        mt_list_remove(&waiter->link);
        waiter->is_notified = true;
        count++;
        if (waiter->sched == sched)
            tell(&waiter->mail);
        else
            mt_sched_post(waiter->sched, &waiter->mail);
    }
    pthread_mutex_unlock(&bucket->lock);
    return count;
}

void
mt_shared_forget(const struct mt_sched *sched)
{
    for (int i = 0; i < BUCKETS; i++) {
        pthread_mutex_lock(&buckets[i].lock);
        struct mt_link *link = buckets[i].waiters.next;
        while (link && link != &buckets[i].waiters) {
            struct waiter *waiter = MT_CONTAINER_OF(link, struct waiter, link);
            link = link->next;
            if (waiter->sched == sched)
                mt_list_remove(&waiter->link);
        }
        pthread_mutex_unlock(&buckets[i].lock);
    }
}

void
mt_shared_after_fork(void)
{
    memset(buckets, 0, sizeof(buckets));
    for (int i = 0; i < BUCKETS; i++)
        pthread_mutex_init(&buckets[i].lock, NULL);
}
