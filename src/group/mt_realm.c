/* SPDX-License-Identifier: MIT */
#include "group/mt_realm.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"

#include <string.h>
#include <time.h>

/* All realms whose OS thread exists. */
static struct {
    pthread_mutex_t lock;   /* for what follows */
    pthread_cond_t changed; /* one less */
    struct mt_list list;    /* struct mt_realm by link; empty is also what zeroes mean */
    bool is_refusing;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct mt_list *
list_of_all(void)
{
    if (!all.list.head.next)
        mt_list_init(&all.list);
    return &all.list;
}

/* ---- life ---- */

void
mt_realm_unref(struct mt_realm *realm)
{
    if (atomic_fetch_sub_explicit(&realm->refs, 1, memory_order_acq_rel) > 1)
        return;
    struct mt_channel *channels[] = {realm->requests, realm->hello, realm->stop, realm->ended};
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        if (channels[i])
            mt_channel_unref(channels[i]);
    pthread_mutex_destroy(&realm->lock);
    mt_alloc_free(realm->argument);
    mt_alloc_free(realm);
}

void
mt_realm_announce(struct mt_realm *realm)
{
    mt_channel_close(realm->hello, MT_CHANNEL_SEND);
}

/* The last that its OS thread does. */
static void
leave(struct mt_realm *realm)
{
    mt_channel_close(realm->ended, MT_CHANNEL_SEND);
    pthread_mutex_lock(&all.lock);
    mt_list_remove(&realm->link);
    pthread_cond_broadcast(&all.changed);
    pthread_mutex_unlock(&all.lock);
    mt_realm_unref(realm);
}

static void *
thread_main(void *argument)
{
    struct mt_realm *realm = argument;
    realm->body(realm);
    leave(realm);
    return NULL;
}

/* An OS thread that nobody joins. Returns 0 or a system error. */
static int
start_thread(void *(*run)(void *argument), void *argument)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int number = pthread_create(&thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    return number ? mt_error_from_errno(number) : 0;
}

int
mt_realm_start(void (*body)(struct mt_realm *realm), char *argument, bool is_apart,
                void (*drop)(void *message), struct mt_realm **result)
{
    struct mt_realm *realm = mt_alloc_zeroed(sizeof *realm);
    if (!realm) {
        mt_alloc_free(argument);
        return MT_ENOMEM;
    }
    pthread_mutex_init(&realm->lock, NULL);
    mt_link_init(&realm->link);
    atomic_init(&realm->refs, 1);
    atomic_init(&realm->id, -1);
    realm->body = body;
    realm->argument = argument;
    realm->is_apart = is_apart;
    realm->requests = mt_channel_new(MT_CHANNEL_UNBOUNDED, drop);
    realm->hello = mt_channel_new(MT_CHANNEL_UNBOUNDED, drop);
    realm->stop = mt_channel_new(MT_CHANNEL_UNBOUNDED, drop);
    realm->ended = mt_channel_new(MT_CHANNEL_UNBOUNDED, drop);
    int error = MT_ENOMEM;
    if (realm->requests && realm->hello && realm->stop && realm->ended) {
        pthread_mutex_lock(&all.lock);
        error = all.is_refusing ? MT_ECLOSED : 0;
        if (!error) {
            mt_realm_ref(realm); /* the OS thread's */
            mt_list_append(list_of_all(), &realm->link);
            error = start_thread(thread_main, realm);
            if (error) {
                mt_list_remove(&realm->link);
                mt_realm_unref(realm);
            }
        }
        pthread_mutex_unlock(&all.lock);
    }
    if (error)
        mt_realm_unref(realm);
    else
        *result = realm;
    return error;
}

size_t
mt_realm_list(struct mt_realm **realms, size_t most)
{
    size_t count = 0;
    pthread_mutex_lock(&all.lock);
    struct mt_list *list = list_of_all();
    for (struct mt_link *link = mt_list_front(list); link; link = mt_list_after(list, link)) {
        if (count < most)
            realms[count] = mt_realm_ref(MT_CONTAINER_OF(link, struct mt_realm, link));
        count++;
    }
    pthread_mutex_unlock(&all.lock);
    return count;
}

/* ---- stopping ---- */

void
mt_realm_stop(struct mt_realm *realm)
{
    if (!atomic_exchange(&realm->is_stopping, true))
        mt_channel_close(realm->stop, MT_CHANNEL_SEND);
}

void
mt_realm_set_living(struct mt_realm *realm, bool is_living)
{
    pthread_mutex_lock(&realm->lock);
    realm->is_living = is_living;
    pthread_mutex_unlock(&realm->lock);
}

struct visitor {
    struct mt_realm *realm;
    void (*visit)(struct mt_realm *realm);
};

static void *
visitor_main(void *argument)
{
    struct visitor *visitor = argument;
    struct mt_realm *realm = visitor->realm;
    pthread_mutex_lock(&realm->lock);
    if (realm->is_living)
        visitor->visit(realm);
    pthread_mutex_unlock(&realm->lock);
    return NULL;
}

void
mt_realm_visit(struct mt_realm *realm, void (*visit)(struct mt_realm *realm))
{
    struct visitor visitor = {realm, visit};
    pthread_t thread;
    if (pthread_create(&thread, NULL, visitor_main, &visitor) == 0)
        pthread_join(thread, NULL);
}

static void *
late_visitor_main(void *argument)
{
    struct visitor *visitor = argument;
    visitor_main(visitor);
    atomic_store(&visitor->realm->is_visited, false);
    mt_realm_unref(visitor->realm);
    mt_alloc_free(visitor);
    return NULL;
}

int
mt_realm_visit_soon(struct mt_realm *realm, void (*visit)(struct mt_realm *realm))
{
    if (atomic_exchange(&realm->is_visited, true))
        return 0;
    struct visitor *visitor = mt_alloc(sizeof *visitor);
    int error = MT_ENOMEM;
    if (visitor) {
        *visitor = (struct visitor){mt_realm_ref(realm), visit};
        error = start_thread(late_visitor_main, visitor);
        if (error)
            mt_realm_unref(realm);
    }
    if (error) {
        atomic_store(&realm->is_visited, false);
        mt_alloc_free(visitor);
    }
    return error;
}

struct attendant {
    struct mt_realm *realm; /* a reference */
    bool (*visit)(struct mt_realm *realm);
    mt_time span;           /* ns until the next visit while there is something to do */
};

static void *
attendant_main(void *argument)
{
    struct attendant *attendant = argument;
    struct mt_realm *realm = attendant->realm;
    bool is_living = true, is_needed = false;
    while (is_living) {
        mt_time span = is_needed ? attendant->span : 10 * attendant->span;
        nanosleep(&(struct timespec){span / MT_SECOND, span % MT_SECOND}, NULL);
        pthread_mutex_lock(&realm->lock);
        is_living = realm->is_living;
        is_needed = is_living && attendant->visit(realm);
        pthread_mutex_unlock(&realm->lock);
    }
    mt_realm_unref(realm);
    mt_alloc_free(attendant);
    return NULL;
}

int
mt_realm_attend(struct mt_realm *realm, bool (*visit)(struct mt_realm *realm), mt_time span)
{
    struct attendant *attendant = mt_alloc(sizeof *attendant);
    if (!attendant)
        return MT_ENOMEM;
    *attendant = (struct attendant){mt_realm_ref(realm), visit, span};
    int error = start_thread(attendant_main, attendant);
    if (error) {
        mt_realm_unref(realm);
        mt_alloc_free(attendant);
    }
    return error;
}

void
mt_realm_refuse(void)
{
    pthread_mutex_lock(&all.lock);
    all.is_refusing = true;
    struct mt_list *list = list_of_all();
    for (struct mt_link *link = mt_list_front(list); link; link = mt_list_after(list, link))
        mt_realm_stop(MT_CONTAINER_OF(link, struct mt_realm, link));
    pthread_mutex_unlock(&all.lock);
}

bool
mt_realm_is_refusing(void)
{
    pthread_mutex_lock(&all.lock);
    bool is_refusing = all.is_refusing;
    pthread_mutex_unlock(&all.lock);
    return is_refusing;
}

bool
mt_realm_wait_all(mt_time span)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    mt_time end = until.tv_nsec + span;
    until.tv_sec += end / MT_SECOND;
    until.tv_nsec = end % MT_SECOND;
    pthread_mutex_lock(&all.lock);
    int error = 0;
    while (!error && !mt_list_is_empty(list_of_all()))
        error = pthread_cond_timedwait(&all.changed, &all.lock, &until);
    bool is_empty = mt_list_is_empty(list_of_all());
    pthread_mutex_unlock(&all.lock);
    return is_empty;
}

void
mt_realm_after_fork(void)
{
    pthread_mutex_init(&all.lock, NULL);
    pthread_cond_init(&all.changed, NULL);
    mt_list_init(&all.list);
    all.is_refusing = false;
}
