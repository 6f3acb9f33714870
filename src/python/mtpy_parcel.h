/* SPDX-License-Identifier: MIT */
/* A message within a message. */
#ifndef MTPY_PARCEL_H
#define MTPY_PARCEL_H

#include "python/mtpy_state.h"

/* The type and _pack(). Returns 0, or -1 with an exception. */
int
mtpy_parcel_add(struct mtpy_state *state);

#endif
