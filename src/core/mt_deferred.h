/* SPDX-License-Identifier: MIT */
/* One result that comes later. Not owner of its value: the host keeps it alive while the deferred
   holds it. */
#ifndef MT_DEFERRED_H
#define MT_DEFERRED_H

#include "base/mt_base.h"
#include "base/mt_list.h"
#include "core/mt_wait.h"

enum mt_deferred_state {
    MT_DEFERRED_PENDING,
    MT_DEFERRED_VALUE,
    MT_DEFERRED_ERROR
};

struct mt_deferred {
    struct mt_list waiters; /* clauses parked in mt_deferred_wait() */
    void *value;            /* the result, or the error; the host's */
    uint32_t waiting;       /* waits that have not returned yet; they still read value */
    uint8_t state;          /* enum mt_deferred_state */
};

void
mt_deferred_init(struct mt_deferred *deferred);

/* Fire. Returns 0 or MT_EFIRED, and then nothing has changed. Never switches. */
int
mt_deferred_fire(struct mt_deferred *deferred, enum mt_deferred_state state, void *value);

/* Ready it for use again. Returns 0 or MT_EBUSY while somebody waits. */
int
mt_deferred_reset(struct mt_deferred *deferred);

/* Park until it has fired. kind and object are what the clause says of itself.
   Returns 0 (read state and value then) or an error of mt_wait_park(). */
int
mt_deferred_wait(struct mt_sched *sched, struct mt_deferred *deferred, mt_time deadline,
                 enum mt_wait_kind kind, void *object);

#endif
