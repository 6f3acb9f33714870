/* SPDX-License-Identifier: MIT */
/* A reactor without descriptors whose clock moves only when everybody waits: a poll with a time-out
   advances it by just that. For tests. */
#ifndef REACTOR_VIRTUAL_H
#define REACTOR_VIRTUAL_H

#include "core/mt_reactor.h"

extern const struct mt_reactor_ops mt_reactor_virtual;

#endif
