/* SPDX-License-Identifier: MIT */
/* Preemption: see mtpy_slice.c. */
#ifndef MTPY_SLICE_H
#define MTPY_SLICE_H

#include "python/mtpy_state.h"

/* Add _Slicer to the module. Returns 0 or -1. */
int
mtpy_slice_add_type(PyObject *module);

#endif
