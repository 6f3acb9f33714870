/* SPDX-License-Identifier: MIT */
/* The words for a micro-thread whose C code has overflowed its stack. */
#ifndef MTPY_FAULT_H
#define MTPY_FAULT_H

#include "python/mtpy_state.h"

#include "group/mt_fault.h"

/* A mt_fault_explain. argument: where the OS thread's mtpy_sched_here is. */
size_t
mtpy_fault_explain(const void *argument, const void *address, char *text, size_t room);

#endif
