/* SPDX-License-Identifier: MIT */
/* The only way in which the core takes memory, so that tests can make the nth request fail. */
#ifndef MT_ALLOC_H
#define MT_ALLOC_H

#include "base/mt_base.h"

/* As malloc, calloc, realloc and free; NULL on failure, which callers turn into MT_ENOMEM. */
void *
mt_alloc(size_t size);
void *
mt_alloc_zeroed(size_t size);
void *
mt_alloc_resize(void *block, size_t size);
void
mt_alloc_free(void *block);

/* Whether the request that is about to be made shall fail; for mappings, which do not go through
   mt_alloc(). Counts as a request. */
bool
mt_alloc_should_fail(void);

/* For tests: the nth request of this OS thread from now on fails, once; 0 ends it. */
void
mt_alloc_fail_nth(unsigned long nth);

#endif
