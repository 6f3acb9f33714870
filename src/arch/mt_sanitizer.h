/* SPDX-License-Identifier: MIT */
/* Tells AddressSanitizer about stack switches; nothing in other builds. */
#ifndef MT_SANITIZER_H
#define MT_SANITIZER_H

#include "base/mt_base.h"

#if defined(__SANITIZE_ADDRESS__)
#define MT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MT_ASAN 1
#endif
#endif

#ifdef MT_ASAN

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

/* Before leaving: *fake keeps this stack's fake frames; NULL when this stack will never be
   resumed. bottom and size are those of the stack that is entered. */
static inline void
mt_sanitizer_leave(void **fake, const void *bottom, size_t size)
{
    __sanitizer_start_switch_fiber(fake, bottom, size);
}

/* After arriving. Stores the bounds of the stack that was left. */
static inline void
mt_sanitizer_arrive(void *fake, const void **old_bottom, size_t *old_size)
{
    __sanitizer_finish_switch_fiber(fake, old_bottom, old_size);
}

static inline void
mt_sanitizer_unpoison(void *start, size_t size)
{
    __asan_unpoison_memory_region(start, size);
}

#else

static inline void
mt_sanitizer_leave(void **fake, const void *bottom, size_t size)
{
    (void)fake, (void)bottom, (void)size;
}

static inline void
mt_sanitizer_arrive(void *fake, const void **old_bottom, size_t *old_size)
{
    (void)fake, (void)old_bottom, (void)old_size;
}

static inline void
mt_sanitizer_unpoison(void *start, size_t size)
{
    (void)start, (void)size;
}

#endif

#endif
