/* SPDX-License-Identifier: MIT */
/* C stacks for micro-threads: slots of one size cut out of large arenas, handed out last-in
   first-out, so that a warm one is reused. A slot, from low to high addresses:

       guard page | C stack, growing down | scratch for the host | struct mt_stack | host state

   The last three and the first frames share the top page: a parked micro-thread costs one page.
   Used by one scheduler, under the lock that protects it. */
#ifndef MT_STACK_H
#define MT_STACK_H

#include "base/mt_base.h"
#include "base/mt_list.h"

enum {
    MT_STACK_PAGE = 4096,            /* the unit of guards; arenas are multiples of it */
    MT_STACK_LEAST = 64 * 1024,      /* smallest slot, in bytes */
    MT_STACK_MOST = 64 * 1024 * 1024 /* largest slot, in bytes */
};

/* The control block of a slot, in the slot itself. The OS thread's own stack has one too. */
struct mt_stack {
    void *context;         /* where it goes on; valid while parked */
    void *fake;            /* of a sanitizer; see mt_sanitizer.h */
    char *bottom;          /* lowest usable address of the C stack; NULL: unknown */
    size_t size;           /* bytes from bottom to where the C stack starts */
    char *scratch;         /* memory for the host, scratch_size bytes, 16-aligned */
    struct mt_stack *next; /* in the pool's list of warm slots */
    _Alignas(16) char host[]; /* the host's saved state, host_size bytes */
};

struct mt_stack_config {
    size_t slot_size;    /* bytes, a power of two from MT_STACK_LEAST to MT_STACK_MOST */
    size_t scratch_size; /* bytes, a multiple of 16 */
    size_t host_size;    /* bytes */
};

struct mt_stack_arena;

struct mt_stack_pool {
    struct mt_stack_config config;
    struct mt_stack *warm;         /* free slots that still have their pages, the latest first */
    size_t warm_count;             /* length of warm */
    size_t warm_least;             /* the least warm_count since the last trim: so many lay unused */
    struct mt_stack **cold;        /* free slots whose pages are given back; owned array */
    size_t cold_count;             /* in use in cold */
    size_t cold_room;              /* allocated in cold */
    struct mt_stack_arena *arenas; /* all, the newest first */
    char *fresh;                   /* the next slot of the newest arena that was never used */
    char *fresh_end;               /* the end of that arena */
    size_t used_count;             /* slots handed out */
    size_t mapped;                 /* bytes of address space in all arenas */
    size_t mprotected;             /* guards made by mprotect, which cost a mapping each */
    bool has_guard_install;        /* the kernel knows MADV_GUARD_INSTALL */
};

/* Only notes the config; memory is mapped when it is needed. */
void
mt_stack_pool_init(struct mt_stack_pool *pool, const struct mt_stack_config *config);

/* Unmaps all arenas; every slot must have come back or be abandoned for good. */
void
mt_stack_pool_fini(struct mt_stack_pool *pool);

/* A slot ready for mt_arch_prepare() at mt_stack_top(), or NULL when there is no memory. */
struct mt_stack *
mt_stack_get(struct mt_stack_pool *pool);

/* Give a slot back. The caller may still run on it until the next mt_stack_get() or trim. */
void
mt_stack_put(struct mt_stack_pool *pool, struct mt_stack *stack);

/* Give the kernel the pages of slots that lay unused since the call before; for idle moments.
   Never those of the slot that contains `here`, an address on the running stack.
   Returns whether it should be called again soon: there are more than a few warm ones left. */
bool
mt_stack_pool_trim(struct mt_stack_pool *pool, const void *here);

/* Where the C stack of a slot starts. */
static inline void *
mt_stack_top(const struct mt_stack *stack)
{
    return stack->bottom + stack->size;
}

/* Whether an address lies in the guard page of a slot. May be called in a signal handler. */
static inline bool
mt_stack_is_guard(const struct mt_stack *stack, const void *address)
{
    return (const char *)address >= stack->bottom - MT_STACK_PAGE &&
           (const char *)address < stack->bottom;
}

#endif
