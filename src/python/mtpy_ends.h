/* SPDX-License-Identifier: MIT */
/* The ends of several micro-threads as they come. */
#ifndef MTPY_ENDS_H
#define MTPY_ENDS_H

#include "python/mtpy_state.h"

extern PyType_Spec mtpy_ends_spec;

/* What an MT_WAIT_ENDS clause waits for, as text. New, or NULL. */
PyObject *
mtpy_ends_describe(const void *object);

#endif
