/* SPDX-License-Identifier: MIT */
/* malloc with failure injection. The counter belongs to the OS thread, so tests of several
   OS threads do not disturb each other. */
#include "base/mt_alloc.h"

#include <stdlib.h>

static _Thread_local unsigned long requests_left; /* until one fails; 0: none does */

bool
mt_alloc_should_fail(void)
{
    return MT_UNLIKELY(requests_left != 0) && --requests_left == 0;
}

void
mt_alloc_fail_nth(unsigned long nth)
{
    requests_left = nth;
}

void *
mt_alloc(size_t size)
{
    return mt_alloc_should_fail() ? NULL : malloc(size);
}

void *
mt_alloc_zeroed(size_t size)
{
    return mt_alloc_should_fail() ? NULL : calloc(1, size);
}

void *
mt_alloc_resize(void *block, size_t size)
{
    return mt_alloc_should_fail() ? NULL : realloc(block, size);
}

void
mt_alloc_free(void *block)
{
    free(block);
}
