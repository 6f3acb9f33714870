/* SPDX-License-Identifier: MIT */
/* The reactor on libev. */
#ifndef REACTOR_EV_H
#define REACTOR_EV_H

#include "core/mt_reactor.h"

extern const struct mt_reactor_ops mt_reactor_ev;

#endif
