/* SPDX-License-Identifier: MIT */
/* A message on its way between interpreters: one block of bytes, and bodies that are shared, not
   copied. Plain memory of the C library: whoever has a message may pass it on, or free it, in any OS
   thread, with or without a GIL. What the bytes say is the business of whoever writes and reads them. */
#ifndef MT_MESSAGE_H
#define MT_MESSAGE_H

#include "base/mt_base.h"

#include <stdatomic.h>

/* What several messages and objects of several interpreters refer to. The first member of
   something larger. */
struct mt_body {
    atomic_size_t refs;                /* whoever takes the last one away calls free */
    void (*free)(struct mt_body *body); /* in any OS thread, without a GIL */
};

/* A body with one reference. */
static inline void
mt_body_init(struct mt_body *body, void (*free)(struct mt_body *))
{
    atomic_init(&body->refs, 1);
    body->free = free;
}

static inline struct mt_body *
mt_body_ref(struct mt_body *body)
{
    atomic_fetch_add_explicit(&body->refs, 1, memory_order_relaxed);
    return body;
}

/* Give a reference back; NULL is allowed. */
static inline void
mt_body_unref(struct mt_body *body)
{
    if (body && atomic_fetch_sub_explicit(&body->refs, 1, memory_order_acq_rel) == 1)
        body->free(body);
}

/* A block of memory that is its own body. */
struct mt_block {
    struct mt_body body;
    size_t size;                       /* of data */
    _Alignas(16) unsigned char data[]; /* not initialized */
};

/* A block with one reference, or NULL. */
struct mt_block *
mt_block_new(size_t size);

struct mt_message {
    struct mt_message *next;  /* for whoever queues it */
    size_t size;              /* bytes used */
    size_t capacity;          /* bytes there are */
    struct mt_body **bodies;  /* what travels beside the bytes; each one a reference; or NULL */
    uint32_t body_count;
    uint32_t body_capacity;
    unsigned char bytes[];
};

/* An empty message, or NULL. */
struct mt_message *
mt_message_new(size_t capacity);

/* Make room for `more` bytes after those in use. Returns 0, or MT_ENOMEM and then nothing has
   changed; the message moves. */
int
mt_message_grow(struct mt_message **message, size_t more);

/* Add a body; takes over the caller's reference on success. Returns its index, or MT_ENOMEM. */
int64_t
mt_message_attach(struct mt_message *message, struct mt_body *body);

/* Free the message and drop its references; NULL is allowed. Any OS thread, no GIL. */
void
mt_message_free(struct mt_message *message);

/* ---- small messages ----

   A stream of messages is made in one OS thread and freed in another, and then both stand in line for
   the lock of the C library's heap, and sleep. So each side has a cache, and those given back come to
   the other one by the chain. */

enum { MT_MESSAGE_SMALL = 200 }; /* bytes */

/* For whoever holds one lock, such as an interpreter's GIL. All zero at first. */
struct mt_message_cache {
    struct mt_message *given; /* back here, the last one first */
    struct mt_message *first; /* of those, the one that was given first */
    unsigned given_count;
    struct mt_message *taken; /* from other caches, not used yet */
};

/* An empty message of MT_MESSAGE_SMALL bytes, or NULL. */
struct mt_message *
mt_message_take(struct mt_message_cache *cache);

/* As mt_message_free(), but a small one is kept for mt_message_take(). */
void
mt_message_give(struct mt_message_cache *cache, struct mt_message *message);

/* Free what it keeps. It is empty after that and may be used again. */
void
mt_message_cache_fini(struct mt_message_cache *cache);

#endif
