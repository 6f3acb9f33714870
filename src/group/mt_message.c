/* SPDX-License-Identifier: MIT */
#include "group/mt_message.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"

#include <string.h>

/* Large messages come one after another, and their memory costs a page fault for each page when the C
   library has given it back meanwhile: keep one. */
enum { SPARE_LEAST = 32 * 1024, SPARE_MOST = 8 * 1024 * 1024 };

static _Atomic(struct mt_message *) spare;

/* A kept block for a message of at least this capacity, or NULL. */
static struct mt_message *
take_spare(size_t capacity)
{
    if (capacity < SPARE_LEAST || capacity > SPARE_MOST)
        return NULL;
    struct mt_message *block = atomic_exchange(&spare, NULL);
    if (block && block->capacity < capacity) {
        mt_alloc_free(block);
        block = NULL;
    }
    return block;
}

static void
block_free(struct mt_body *body)
{
    mt_alloc_free(MT_CONTAINER_OF(body, struct mt_block, body));
}

struct mt_block *
mt_block_new(size_t size)
{
    if (size > PTRDIFF_MAX - sizeof(struct mt_block))
        return NULL;
    struct mt_block *block = mt_alloc(sizeof(struct mt_block) + size);
    if (!block)
        return NULL;
    mt_body_init(&block->body, block_free);
    block->size = size;
    return block;
}

struct mt_message *
mt_message_new(size_t capacity)
{
    struct mt_message *message = mt_alloc(sizeof(struct mt_message) + capacity);
    if (!message)
        return NULL;
    *message = (struct mt_message){.capacity = capacity};
    return message;
}

int
mt_message_grow(struct mt_message **message, size_t more)
{
    struct mt_message *old = *message;
    if (old->capacity - old->size >= more)
        return 0;
    if (more > PTRDIFF_MAX / 4 - old->size)
        return MT_ENOMEM;
    size_t capacity = 2 * old->capacity > old->size + more ? 2 * old->capacity : old->size + more;
    struct mt_message *kept = take_spare(capacity);
    if (kept) {
        size_t size = kept->capacity;
        memcpy(kept, old, sizeof(*old) + old->size);
        kept->capacity = size;
        mt_alloc_free(old);
        *message = kept;
        return 0;
    }
    struct mt_message *grown = mt_alloc_resize(old, sizeof(struct mt_message) + capacity);
    if (!grown)
        return MT_ENOMEM;
    grown->capacity = capacity;
    *message = grown;
    return 0;
}

int64_t
mt_message_attach(struct mt_message *message, struct mt_body *body)
{
    if (message->body_count == message->body_capacity) {
        if (message->body_capacity > UINT32_MAX / 2)
            return MT_ENOMEM;
        uint32_t capacity = message->body_capacity ? 2 * message->body_capacity : 4;
        struct mt_body **bodies =
            mt_alloc_resize(message->bodies, capacity * sizeof(struct mt_body *));
        if (!bodies)
            return MT_ENOMEM;
        message->bodies = bodies;
        message->body_capacity = capacity;
    }
    message->bodies[message->body_count] = body;
    return message->body_count++;
}

static void
drop_bodies(struct mt_message *message)
{
    for (uint32_t i = 0; i < message->body_count; i++)
        mt_body_unref(message->bodies[i]);
    mt_alloc_free(message->bodies);
}

void
mt_message_free(struct mt_message *message)
{
    if (!message)
        return;
    drop_bodies(message);
    if (message->capacity >= SPARE_LEAST && message->capacity <= SPARE_MOST)
        message = atomic_exchange(&spare, message);
    mt_alloc_free(message);
}

/* ---- small messages ---- */

enum { CHAIN = 32, DEPOT_MOST = 64 * CHAIN }; /* messages */

/* What caches have too many of, linked by next. Chains are put in front, and all are taken at once, so
   that nobody looks behind a first one that another has taken meanwhile. */
static _Atomic(struct mt_message *) depot;
static atomic_uint depot_count; /* about */

static void
free_chain(struct mt_message *message)
{
    while (message) {
        struct mt_message *next = message->next;
        mt_alloc_free(message);
        message = next;
    }
}

struct mt_message *
mt_message_take(struct mt_message_cache *cache)
{
    struct mt_message *message = cache->given;
    if (message) {
        cache->given = message->next;
        cache->given_count--;
    } else {
        if (!cache->taken && atomic_load_explicit(&depot, memory_order_relaxed)) {
            cache->taken = atomic_exchange_explicit(&depot, NULL, memory_order_acquire);
            atomic_store_explicit(&depot_count, 0, memory_order_relaxed);
        }
        message = cache->taken;
        if (!message)
            return mt_message_new(MT_MESSAGE_SMALL);
        cache->taken = message->next;
    }
    *message = (struct mt_message){.capacity = MT_MESSAGE_SMALL};
    return message;
}

/* Let others have what was given. */
static void
pass_on(struct mt_message_cache *cache)
{
    struct mt_message *chain = cache->given;
    cache->given = NULL;
    cache->given_count = 0;
    if (atomic_load_explicit(&depot_count, memory_order_relaxed) >= DEPOT_MOST) {
        free_chain(chain);
        return;
    }
    struct mt_message *front = atomic_load_explicit(&depot, memory_order_relaxed);
    do
        cache->first->next = front;
    while (!atomic_compare_exchange_weak_explicit(&depot, &front, chain, memory_order_release,
                                                  memory_order_relaxed));
    atomic_fetch_add_explicit(&depot_count, CHAIN, memory_order_relaxed);
}

void
mt_message_give(struct mt_message_cache *cache, struct mt_message *message)
{
    if (message->capacity != MT_MESSAGE_SMALL) {
        mt_message_free(message);
        return;
    }
    drop_bodies(message);
    message->next = cache->given;
    if (!message->next)
        cache->first = message;
    cache->given = message;
    if (++cache->given_count == CHAIN)
        pass_on(cache);
}

void
mt_message_cache_fini(struct mt_message_cache *cache)
{
    free_chain(cache->given);
    free_chain(cache->taken);
    *cache = (struct mt_message_cache){0};
}
