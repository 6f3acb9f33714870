/* SPDX-License-Identifier: MIT */
/* Functions of the module that microthread.patch alone uses. */
#ifndef MTPY_PATCH_H
#define MTPY_PATCH_H

#include "python/mtpy_state.h"

extern PyMethodDef mtpy_patch_functions[];

#endif
