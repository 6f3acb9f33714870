/* SPDX-License-Identifier: MIT */
/* Life and growth of the ring; the hot operations are in the header. */
#include "base/mt_ring.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"

enum { FIRST_SLOTS = 8 };

void
mt_ring_init(struct mt_ring *ring)
{
    *ring = (struct mt_ring){0};
    ring->slots = &ring->single;
}

void
mt_ring_fini(struct mt_ring *ring)
{
    if (ring->slots != &ring->single)
        mt_alloc_free(ring->slots);
    mt_ring_init(ring);
}

void
mt_ring_swap(struct mt_ring *a, struct mt_ring *b)
{
    struct mt_ring kept = *a;
    *a = *b;
    *b = kept;
    if (a->slots == &b->single)
        a->slots = &a->single;
    if (b->slots == &a->single)
        b->slots = &b->single;
}

int
mt_ring_grow(struct mt_ring *ring)
{
    size_t slots = ring->mask + 1 < FIRST_SLOTS ? FIRST_SLOTS : (ring->mask + 1) * 2;
    if (slots > SIZE_MAX / sizeof(void *))
        return MT_ENOMEM;
    void **grown = mt_alloc(slots * sizeof(void *));
    if (!grown)
        return MT_ENOMEM;
    for (size_t i = 0; i < ring->count; i++)
        grown[i] = mt_ring_at(ring, i);
    if (ring->slots != &ring->single)
        mt_alloc_free(ring->slots);
    ring->slots = grown;
    ring->mask = slots - 1;
    ring->first = 0;
    return 0;
}
