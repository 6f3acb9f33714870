/* SPDX-License-Identifier: MIT */
/* The 4-ary heap: half the levels of a binary one, and the four children share a cache line. */
#include "base/mt_heap.h"

#include "base/mt_alloc.h"
#include "base/mt_error.h"

enum { CHILDREN = 4, FIRST_ROOM = 32 };

static bool
is_before(const struct mt_heap_entry *a, const struct mt_heap_entry *b)
{
    return a->key != b->key ? a->key < b->key : a->node->order < b->node->order;
}

static void
place_at(struct mt_heap *heap, size_t index, struct mt_heap_entry entry)
{
    heap->entries[index] = entry;
    entry.node->place = index + 1;
}

static void
sift_up(struct mt_heap *heap, size_t index, struct mt_heap_entry entry)
{
    while (index > 0) {
        size_t parent = (index - 1) / CHILDREN;
        if (!is_before(&entry, &heap->entries[parent]))
            break;
        place_at(heap, index, heap->entries[parent]);
        index = parent;
    }
    place_at(heap, index, entry);
}

static void
sift_down(struct mt_heap *heap, size_t index, struct mt_heap_entry entry)
{
    for (;;) {
        size_t first = index * CHILDREN + 1;
        if (first >= heap->count)
            break;
        size_t end = first + CHILDREN < heap->count ? first + CHILDREN : heap->count;
        size_t least = first;
        for (size_t child = first + 1; child < end; child++)
            if (is_before(&heap->entries[child], &heap->entries[least]))
                least = child;
        if (!is_before(&heap->entries[least], &entry))
            break;
        place_at(heap, index, heap->entries[least]);
        index = least;
    }
    place_at(heap, index, entry);
}

void
mt_heap_init(struct mt_heap *heap)
{
    *heap = (struct mt_heap){0};
}

void
mt_heap_fini(struct mt_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++)
        heap->entries[i].node->place = 0;
    mt_alloc_free(heap->entries);
    mt_heap_init(heap);
}

int
mt_heap_push(struct mt_heap *heap, struct mt_heap_node *node)
{
    assert(node->place == 0);
    if (heap->count == heap->room) {
        size_t room = heap->room ? heap->room * 2 : FIRST_ROOM;
        void *grown = mt_alloc_resize(heap->entries, room * sizeof *heap->entries);
        if (!grown)
            return MT_ENOMEM;
        heap->entries = grown;
        heap->room = room;
    }
    node->order = heap->pushes++;
    sift_up(heap, heap->count++, (struct mt_heap_entry){node->key, node});
    return 0;
}

void
mt_heap_remove(struct mt_heap *heap, struct mt_heap_node *node)
{
    if (node->place == 0)
        return;
    size_t index = node->place - 1;
    assert(index < heap->count && heap->entries[index].node == node);
    node->place = 0;
    struct mt_heap_entry last = heap->entries[--heap->count];
    if (index == heap->count)
        return;
    if (index > 0 && is_before(&last, &heap->entries[(index - 1) / CHILDREN]))
        sift_up(heap, index, last);
    else
        sift_down(heap, index, last);
}
