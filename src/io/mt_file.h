/* SPDX-License-Identifier: MIT */
/* Files of every kind, by their descriptors, waiting for the calling micro-thread only.

   A regular file is asked at once for what it can give without waiting (Linux: RWF_NOWAIT); where it
   must wait for a device the request goes to io_uring, or else to a worker. Everything else is
   a stream and waits for readiness, unless its owner has made it non-blocking: EAGAIN then. No
   descriptor is left non-blocking that was not so before.

   Unless said otherwise calls return a count >= 0, MT_ENOMEM, MT_ECANCELED or a system error; after an
   error nothing was read or written. A cancellation that comes too late to undo it is left for
   the next wait. All calls are the scheduler's OS thread's own, under the lock; all may park.

   Those of a micro-thread with is_direct do not: regular files block the OS thread, streams fail
   with EAGAIN. For destructors, which must not switch. */
#ifndef MT_FILE_H
#define MT_FILE_H

#include "base/mt_base.h"
#include "core/mt_sched.h"

#include <sys/types.h>

struct mt_files; /* the means of one scheduler */

enum mt_file_kind {
    MT_FILE_UNKNOWN, /* to be asked of the kernel at each call */
    MT_FILE_REGULAR, /* and directories and block devices: what poll() says of them means nothing */
    MT_FILE_STREAM   /* all others */
};

/* preference: "uring" or "threads" forces one for all that is done, as far as the kernel has it; NULL
   or anything else: what is quickest. Returns 0 or MT_ENOMEM. */
int
mt_files_new(struct mt_sched *sched, const char *preference, struct mt_files **files);

/* Before the scheduler is freed; waits for what is under way. */
void
mt_files_free(struct mt_files *files);

/* In the child of a fork, after the scheduler: forget the parent's means. */
void
mt_files_after_fork(struct mt_files *files);

/* What takes over where a regular file must wait: "uring" or "threads". */
const char *
mt_files_backend(struct mt_files *files);

enum mt_file_kind
mt_file_kind(int fd);

/* As open(2), close-on-exec. A FIFO waits for its other side. Returns the descriptor or an error. */
int
mt_file_open(struct mt_files *files, const char *path, int flags, mode_t mode);

/* 0 at the end of the file. May read less than `size`. */
ssize_t
mt_file_read(struct mt_files *files, int fd, enum mt_file_kind kind, void *buffer, size_t size);

/* Writes all to a regular file, unless it fails half way; that is not cancelled. */
ssize_t
mt_file_write(struct mt_files *files, int fd, enum mt_file_kind kind, const void *data, size_t size);

/* These return 0 or an error. mt_file_flush writes back what a file system does at a close(2), and
   tells of the errors; the descriptor stays, and it is not cancelled. */
int
mt_file_sync(struct mt_files *files, int fd);
int
mt_file_truncate(struct mt_files *files, int fd, off_t size);
int
mt_file_flush(struct mt_files *files, int fd);

#endif
