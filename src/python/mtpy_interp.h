/* SPDX-License-Identifier: MIT */
/* Interpreters in OS threads of their own, as the files of the binding see them. */
#ifndef MTPY_INTERP_H
#define MTPY_INTERP_H

#include "python/mtpy_state.h"

/* The type and the functions for the package. Returns 0, or -1 with an exception. */
int
mtpy_interp_add(struct mtpy_state *state);

/* In the child of a fork. */
void
mtpy_interp_after_fork(struct mtpy_state *state);

#endif
