/* SPDX-License-Identifier: MIT */
#include "io/mt_uring.h"

#include "base/mt_error.h"

#include <errno.h>

int
mt_uring_new(struct mt_sched *sched, struct mt_uring **uring)
{
    (void)sched, (void)uring;
    return mt_error_from_errno(ENOSYS);
}

void
mt_uring_free(struct mt_uring *uring)
{
    (void)uring;
}

void
mt_uring_abandon(struct mt_uring *uring)
{
    (void)uring;
}

ssize_t
mt_uring_read(struct mt_uring *uring, int fd, void *buffer, size_t size)
{
    (void)uring, (void)fd, (void)buffer, (void)size;
    return mt_error_from_errno(ENOSYS);
}

ssize_t
mt_uring_write(struct mt_uring *uring, int fd, const void *data, size_t size)
{
    (void)uring, (void)fd, (void)data, (void)size;
    return mt_error_from_errno(ENOSYS);
}
