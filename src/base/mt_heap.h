/* SPDX-License-Identifier: MIT */
/* An intrusive 4-ary min-heap of deadlines; equal ones come out in the order they went in.
   It owns the array, not the nodes. */
#ifndef MT_HEAP_H
#define MT_HEAP_H

#include "base/mt_base.h"

struct mt_heap_node {
    mt_time key;     /* the deadline */
    uint64_t order;  /* decides between equal keys */
    size_t place;    /* index in the heap + 1; 0: in no heap */
};

struct mt_heap_entry {
    mt_time key;               /* a copy: comparing needs no look at the node */
    struct mt_heap_node *node; /* not owned */
};

struct mt_heap {
    struct mt_heap_entry *entries; /* NULL until the first push */
    size_t count;                  /* in use */
    size_t room;                   /* allocated */
    uint64_t pushes;               /* the next node's order */
};

void
mt_heap_init(struct mt_heap *heap);

/* Frees the array; the nodes left inside are marked as out. */
void
mt_heap_fini(struct mt_heap *heap);

/* node->key is set by the caller and the node is in no heap. Returns 0 or MT_ENOMEM. */
int
mt_heap_push(struct mt_heap *heap, struct mt_heap_node *node);

/* Takes the node out; one that is in no heap is left alone. */
void
mt_heap_remove(struct mt_heap *heap, struct mt_heap_node *node);

/* The node with the smallest key, or NULL. */
static inline struct mt_heap_node *
mt_heap_top(const struct mt_heap *heap)
{
    return heap->count ? heap->entries[0].node : NULL;
}

#endif
