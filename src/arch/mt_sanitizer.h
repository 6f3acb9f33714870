/* SPDX-License-Identifier: MIT */
/* Tells AddressSanitizer or ThreadSanitizer about stack switches; nothing in other builds. */
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

#if defined(__SANITIZE_THREAD__)
#define MT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MT_TSAN 1
#endif
#endif

/* Of a stack, `fake` keeps what the sanitizer has for it: AddressSanitizer's fake frames while
   it is left, ThreadSanitizer's fiber for as long as its memory is there. */

#ifdef MT_ASAN

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

/* Before a stack is entered for the first time, or anew after it was left for good. */
static inline void
mt_sanitizer_prepare(void **fake)
{
    (void)fake;
}

/* Before leaving. fake: of this stack; NULL when it will never be resumed. The others are of the
   stack that is entered. */
static inline void
mt_sanitizer_leave(void **fake, void *to_fake, const void *bottom, size_t size)
{
    (void)to_fake;
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

#ifdef MT_TSAN

#include <sanitizer/tsan_interface.h>

static inline void
mt_sanitizer_prepare(void **fake)
{
    if (*fake)
        __tsan_destroy_fiber(*fake);
    *fake = __tsan_create_fiber(0);
}

static inline void
mt_sanitizer_leave(void **fake, void *to_fake, const void *bottom, size_t size)
{
    (void)bottom, (void)size;
    if (fake)
        *fake = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to_fake, 0);
}

#else

static inline void
mt_sanitizer_prepare(void **fake)
{
    (void)fake;
}

static inline void
mt_sanitizer_leave(void **fake, void *to_fake, const void *bottom, size_t size)
{
    (void)fake, (void)to_fake, (void)bottom, (void)size;
}

#endif

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
