/* SPDX-License-Identifier: MIT */
#include "group/mt_global.h"

#include "base/mt_error.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CACHED_MOST = 16 };

static _Atomic uint64_t next_serial;
static _Atomic uint64_t next_channel;
static _Atomic uint32_t forks;
static atomic_bool has_handler;
static _Atomic(void *) cached_blocks[CACHED_MOST];

uint64_t
mt_global_next_serial(void)
{
    return atomic_fetch_add(&next_serial, 1);
}

uint64_t
mt_global_next_channel(void)
{
    return atomic_fetch_add(&next_channel, 1) + 1;
}

uint32_t
mt_global_forks(void)
{
    return atomic_load_explicit(&forks, memory_order_relaxed);
}

void
mt_global_note_fork(void)
{
    atomic_fetch_add(&forks, 1);
}

int
mt_global_at_fork(void (*child)(void))
{
    if (atomic_exchange(&has_handler, true) || pthread_atfork(NULL, NULL, child) == 0)
        return 0;
    atomic_store(&has_handler, false);
    return MT_ENOMEM;
}

void *
mt_global_reuse_block(void)
{
    for (int i = 0; i < CACHED_MOST; i++) {
        if (!atomic_load_explicit(&cached_blocks[i], memory_order_relaxed))
            continue;
        void *block = atomic_exchange(&cached_blocks[i], NULL);
        if (block)
            return block;
    }
    return NULL;
}

bool
mt_global_keep_block(void *block)
{
    for (int i = 0; i < CACHED_MOST; i++) {
        void *empty = NULL;
        if (atomic_compare_exchange_strong(&cached_blocks[i], &empty, block))
            return true;
    }
    return false;
}
