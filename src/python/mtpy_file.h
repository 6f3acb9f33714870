/* SPDX-License-Identifier: MIT */
/* Files by their descriptors, for the Python files of the package; and the guards that make the
   standard file classes safe among micro-threads. */
#ifndef MTPY_FILE_H
#define MTPY_FILE_H

#include "python/mtpy_state.h"

#include "io/mt_file.h"

extern PyMethodDef mtpy_file_functions[];
extern PyType_Spec mtpy_guard_spec;

/* The scheduler's files, made if need be. NULL with an exception. */
struct mt_files *
mtpy_files_get(struct mtpy_sched *sched);

#endif
