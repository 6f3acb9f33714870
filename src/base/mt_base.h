/* SPDX-License-Identifier: MIT */
/* Words that every file uses: time, branch hints, container_of. No state, no functions that can fail. */
#ifndef MT_BASE_H
#define MT_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t mt_time; /* nanoseconds on the monotonic clock, or a span of them */

#define MT_FOREVER INT64_MAX /* a deadline or time-out that never comes */
#define MT_SECOND ((mt_time)1000000000)
#define MT_MILLISECOND ((mt_time)1000000)

#ifndef MT_STRESS
#define MT_STRESS 0 /* 1: every call that goes ahead at once gives way (configure --enable-stress) */
#endif

#define MT_LIKELY(x) __builtin_expect(!!(x), 1)
#define MT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define MT_NOINLINE __attribute__((noinline))
#define MT_CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

#endif
