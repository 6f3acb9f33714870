/* SPDX-License-Identifier: MIT */
/* Arenas, guards and the pool of slots. */
#include "core/mt_stack.h"

#include "arch/mt_sanitizer.h"
#include "base/mt_alloc.h"

#include <sys/mman.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

enum {
    ARENA_SIZE = 64 * 1024 * 1024,
    MPROTECT_MOST = 30000, /* each splits a mapping; stock kernels allow 65,530 in a process */
    TRIM_KEEP = 64,        /* free slots that always keep their pages */
    TRIM_MOST = 512,       /* slots trimmed in one call: an idle moment is short */
    COLD_ROOM = 1024       /* entries that pool->cold grows by at first */
};

struct mt_stack_arena {
    struct mt_stack_arena *next;
    char *memory;
    size_t size;
};

/* The bytes above the C stack: scratch, control block and host state. */
static size_t
overhead(const struct mt_stack_config *config)
{
    size_t bytes = config->scratch_size + sizeof(struct mt_stack) + config->host_size;
    return (bytes + 63) & ~(size_t)63;
}

void
mt_stack_pool_init(struct mt_stack_pool *pool, const struct mt_stack_config *config)
{
    assert(config->slot_size >= MT_STACK_LEAST && config->slot_size <= MT_STACK_MOST);
    assert((config->slot_size & (config->slot_size - 1)) == 0);
    assert(config->scratch_size % 16 == 0);
    *pool = (struct mt_stack_pool){.config = *config, .has_guard_install = true};
}

void
mt_stack_pool_fini(struct mt_stack_pool *pool)
{
    while (pool->arenas) {
        struct mt_stack_arena *arena = pool->arenas;
        pool->arenas = arena->next;
        /* Frames that were abandoned leave their poison behind; the next mapping must not see it. */
        mt_sanitizer_unpoison(arena->memory, arena->size);
        munmap(arena->memory, arena->size);
        mt_alloc_free(arena);
    }
    mt_alloc_free(pool->cold);
    /* Not by init: one that was never initialised, only zeroed, is accepted. */
    *pool = (struct mt_stack_pool){.config = pool->config, .has_guard_install = true};
}

static bool
add_arena(struct mt_stack_pool *pool)
{
    struct mt_stack_arena *arena = mt_alloc(sizeof *arena);
    if (!arena)
        return false;
    size_t size = pool->config.slot_size > ARENA_SIZE ? pool->config.slot_size : ARENA_SIZE;
    void *memory = MAP_FAILED;
    if (!mt_alloc_should_fail())
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        mt_alloc_free(arena);
        return false;
    }
    /* A huge page would make the first touch of one stack resident for eight of them. */
    (void)madvise(memory, size, MADV_NOHUGEPAGE);
    *arena = (struct mt_stack_arena){.next = pool->arenas, .memory = memory, .size = size};
    pool->arenas = arena;
    pool->fresh = memory;
    pool->fresh_end = pool->fresh + size;
    pool->mapped += size;
    return true;
}

/* A slot without a guard is better than none: the kernel may refuse, or run out of mappings. */
static void
install_guard(struct mt_stack_pool *pool, char *page)
{
    if (pool->has_guard_install) {
        if (madvise(page, MT_STACK_PAGE, MADV_GUARD_INSTALL) == 0)
            return;
        pool->has_guard_install = false;
    }
    if (pool->mprotected < MPROTECT_MOST && mprotect(page, MT_STACK_PAGE, PROT_NONE) == 0)
        pool->mprotected++;
}

/* Write the control block of a slot whose pages are fresh or were given back. */
static struct mt_stack *
make_block(const struct mt_stack_pool *pool, char *slot)
{
    char *scratch = slot + pool->config.slot_size - overhead(&pool->config);
    struct mt_stack *stack = (struct mt_stack *)(void *)(scratch + pool->config.scratch_size);
    stack->bottom = slot + MT_STACK_PAGE;
    stack->size = (size_t)(scratch - stack->bottom);
    stack->scratch = scratch;
    return stack;
}

static char *
slot_of(const struct mt_stack_pool *pool, const struct mt_stack *stack)
{
    /* By distance, not by masking: a mapping is aligned to pages only. */
    const char *end = (const char *)stack - pool->config.scratch_size + overhead(&pool->config);
    return (char *)(uintptr_t)(end - pool->config.slot_size);
}

struct mt_stack *
mt_stack_get(struct mt_stack_pool *pool)
{
    struct mt_stack *stack = pool->warm;
    if (MT_LIKELY(stack != NULL)) {
        pool->warm = stack->next;
        if (--pool->warm_count < pool->warm_least)
            pool->warm_least = pool->warm_count;
    } else if (pool->cold_count) {
        stack = make_block(pool, slot_of(pool, pool->cold[--pool->cold_count]));
    } else {
        if (pool->fresh == pool->fresh_end && !add_arena(pool))
            return NULL;
        install_guard(pool, pool->fresh);
        stack = make_block(pool, pool->fresh);
        pool->fresh += pool->config.slot_size;
    }
    pool->used_count++;
    return stack;
}

void
mt_stack_put(struct mt_stack_pool *pool, struct mt_stack *stack)
{
    stack->next = pool->warm;
    pool->warm = stack;
    pool->warm_count++;
    pool->used_count--;
}

/* Room for one more cold slot. Returns false when there is no memory. */
static bool
make_cold_room(struct mt_stack_pool *pool)
{
    if (pool->cold_count < pool->cold_room)
        return true;
    size_t room = pool->cold_room ? pool->cold_room * 2 : COLD_ROOM;
    struct mt_stack **grown = mt_alloc_resize(pool->cold, room * sizeof *grown);
    if (!grown)
        return false;
    pool->cold = grown;
    pool->cold_room = room;
    return true;
}

/* All pages but the guard go back; the kernel will hand out zeroed ones. */
static void
chill(struct mt_stack_pool *pool, struct mt_stack *stack)
{
    char *start = slot_of(pool, stack) + MT_STACK_PAGE;
    size_t size = pool->config.slot_size - MT_STACK_PAGE;
    pool->cold[pool->cold_count++] = stack;
    pool->warm_count--;
    mt_sanitizer_unpoison(start, size);
    (void)madvise(start, size, MADV_DONTNEED);
}

bool
mt_stack_pool_trim(struct mt_stack_pool *pool, const void *here)
{
    size_t unused = pool->warm_least > TRIM_KEEP ? pool->warm_least - TRIM_KEEP : 0;
    size_t most = unused < TRIM_MOST ? unused : TRIM_MOST;
    if (most == 0) {
        pool->warm_least = pool->warm_count;
        return false;
    }
    /* The warm ones at the front were in use lately; the unused ones lie behind them. */
    struct mt_stack **link = &pool->warm;
    for (size_t recent = pool->warm_count - unused; recent; recent--)
        link = &(*link)->next;
    while (most-- && *link && make_cold_room(pool)) {
        struct mt_stack *stack = *link;
        if ((const char *)here >= stack->bottom && (const char *)here < stack->scratch) {
            link = &stack->next;
            continue;
        }
        *link = stack->next;
        chill(pool, stack);
    }
    pool->warm_least = pool->warm_count;
    return pool->warm_count > TRIM_KEEP;
}
