/* SPDX-License-Identifier: MIT */
/* A growing FIFO of pointers that it does not own. A ring of one costs no allocation, and one that a burst
   has made large gives its memory back when it is empty again. */
#ifndef MT_RING_H
#define MT_RING_H

#include "base/mt_base.h"

struct mt_ring {
    void **slots;  /* a power of two of them; &single at first */
    void *single;  /* the only slot until more are needed */
    size_t mask;   /* number of slots - 1 */
    size_t first;  /* index of the oldest */
    size_t count;  /* how many are inside */
};

void
mt_ring_init(struct mt_ring *ring);

/* Frees the slots; what is still inside is the caller's to drop first. */
void
mt_ring_fini(struct mt_ring *ring);

/* Exchange what is inside two of them. */
void
mt_ring_swap(struct mt_ring *a, struct mt_ring *b);

/* Double the slots. Returns 0 or MT_ENOMEM, and then nothing has changed. */
int
mt_ring_grow(struct mt_ring *ring);

/* Returns 0 or MT_ENOMEM, and then nothing has changed. */
static inline int
mt_ring_push(struct mt_ring *ring, void *value)
{
    if (MT_UNLIKELY(ring->count > ring->mask)) {
        int error = mt_ring_grow(ring);
        if (error)
            return error;
    }
    ring->slots[(ring->first + ring->count++) & ring->mask] = value;
    return 0;
}

enum { MT_RING_KEPT = 4096 }; /* the most slots that an empty ring keeps */

/* The oldest; the ring must not be empty. */
static inline void *
mt_ring_pop(struct mt_ring *ring)
{
    assert(ring->count > 0);
    void *value = ring->slots[ring->first];
    ring->first = (ring->first + 1) & ring->mask;
    if (--ring->count == 0 && MT_UNLIKELY(ring->mask >= MT_RING_KEPT))
        mt_ring_fini(ring);
    return value;
}

/* The nth oldest, 0 the oldest; n must be below count. */
static inline void *
mt_ring_at(const struct mt_ring *ring, size_t n)
{
    assert(n < ring->count);
    return ring->slots[(ring->first + n) & ring->mask];
}

#endif
