/* SPDX-License-Identifier: MIT */
/* Reading and writing. Where the kernel cannot try without waiting for a stream (ttys, old pipes) its
   descriptor is made non-blocking for the length of one system call. */
#include "io/mt_file.h"

#include "base/mt_error.h"
#include "io/mt_file_means.h"
#include "io/mt_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    CHUNK = 1024 * 1024,  /* bytes moved at most while the loop stands still */
    CALL_SIZE = 4096      /* so many count as one call that went ahead at once */
};

/* One transfer, in either direction. */
struct transfer {
    bool is_write;
    int fd;
    char *buffer; /* not written to when is_write */
    size_t size;
};

enum mt_file_kind
mt_file_kind(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return MT_FILE_REGULAR; /* the call itself will say what is wrong */
    bool is_regular = S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISBLK(status.st_mode);
    return is_regular ? MT_FILE_REGULAR : MT_FILE_STREAM;
}

/* As read(2) and write(2), but for the error. */
static ssize_t
call_plainly(const struct transfer *one)
{
    for (;;) {
        ssize_t count = one->is_write ? write(one->fd, one->buffer, one->size)
                                      : read(one->fd, one->buffer, one->size);
        if (count >= 0)
            return count;
        if (errno != EINTR)
            return mt_error_from_errno(errno);
    }
}

/* The same, without waiting for anything; EAGAIN then. *is_able: whether the file knows how to. */
static ssize_t
call_without_waiting(const struct transfer *one, bool *is_able)
{
    struct iovec vector = {one->buffer, one->size};
    for (;;) {
        ssize_t count = one->is_write ? pwritev2(one->fd, &vector, 1, -1, RWF_NOWAIT)
                                      : preadv2(one->fd, &vector, 1, -1, RWF_NOWAIT);
        int number = count < 0 ? errno : 0;
        if (number == EINTR)
            continue;
        *is_able = number != EOPNOTSUPP && number != ENOSYS && number != EINVAL && number != ESPIPE;
        return number ? mt_error_from_errno(number) : count;
    }
}

/* So much went ahead at once: a large one counts as many calls. */
static void
charge(struct mt_sched *sched, size_t size)
{
    size_t calls = 1 + size / CALL_SIZE;
    mt_spend(sched, calls < MT_BUDGET ? (uint32_t)calls : MT_BUDGET);
}

/* ---- streams ---- */

static ssize_t
call_made_non_blocking(const struct transfer *one)
{
    int flags = fcntl(one->fd, F_GETFL);
    if (flags < 0)
        return mt_error_from_errno(errno);
    bool is_changed = !(flags & O_NONBLOCK) && fcntl(one->fd, F_SETFL, flags | O_NONBLOCK) == 0;
    ssize_t count = call_plainly(one);
    if (is_changed)
        (void)fcntl(one->fd, F_SETFL, flags);
    return count;
}

/* Whether its owner wants to be told, not to wait. */
static bool
is_non_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_NONBLOCK);
}

static ssize_t
transfer_stream(struct mt_files *files, const struct transfer *one)
{
    struct mt_sched *sched = files->sched;
    for (;;) {
        bool is_able;
        ssize_t count = call_without_waiting(one, &is_able);
        if (!is_able)
            count = call_made_non_blocking(one);
        if (mt_files_is_direct(files))
            return count;
        if (count >= 0) {
            charge(sched, (size_t)count);
            return count;
        }
        if (mt_error_errno((int)count) != EAGAIN || is_non_blocking(one->fd))
            return count;
        int error =
            mt_io_wait(sched, one->fd, one->is_write ? MT_FD_WRITE : MT_FD_READ, MT_FOREVER, false);
        if (error)
            return error;
    }
}

/* ---- regular files ---- */

/* Whether a file is in memory anyway. */
static bool
is_in_memory(int fd)
{
    struct statfs status;
    if (fstatfs(fd, &status) < 0)
        return false;
    /* f_type is of different widths and signs, the numbers have 32 bits. */
    uint32_t type = (uint32_t)status.f_type;
    return type == TMPFS_MAGIC || type == RAMFS_MAGIC;
}

struct transfer_job {
    struct mt_job job;
    const struct transfer *one;
    ssize_t result;
};

static void
run_transfer(struct mt_job *job)
{
    struct transfer_job *self = MT_CONTAINER_OF(job, struct transfer_job, job);
    self->result = call_plainly(self->one);
}

static ssize_t
transfer_by_worker(struct mt_files *files, const struct transfer *one)
{
    const char *verb = one->is_write ? "write" : "read";
    struct transfer_job self = {
        .job = {.run = run_transfer, .errand = {.verb = verb, .fd = one->fd}}, .one = one};
    int error = mt_files_run(files, &self.job);
    return error ? error : self.result;
}

/* One system call's worth. *is_at_once: it took no time. */
static ssize_t
transfer_some(struct mt_files *files, const struct transfer *one, bool *is_at_once)
{
    *is_at_once = false;
    if (!files->is_forced) {
        ssize_t count = call_without_waiting(one, is_at_once);
        if (!*is_at_once && is_in_memory(one->fd)) {
            *is_at_once = true;
            count = call_plainly(one);
        }
        if (*is_at_once && mt_error_errno(count < 0 ? (int)count : 0) != EAGAIN) {
            if (count >= 0)
                charge(files->sched, (size_t)count);
            return count;
        }
        *is_at_once = false;
    }
    struct mt_uring *uring = mt_files_uring(files);
    if (uring) {
        ssize_t count = one->is_write ? mt_uring_write(uring, one->fd, one->buffer, one->size)
                                      : mt_uring_read(uring, one->fd, one->buffer, one->size);
        int number = count < 0 ? mt_error_errno((int)count) : 0;
        /* What the ring does not take: it is full, the file is non-blocking, or of an odd kind. */
        if (number != EAGAIN && number != EINVAL && number != EOPNOTSUPP)
            return count;
    }
    return transfer_by_worker(files, one);
}

static ssize_t
transfer_regular(struct mt_files *files, struct transfer all)
{
    size_t done = 0;
    for (;;) {
        struct transfer one = all;
        one.buffer += done;
        one.size = all.size - done < CHUNK ? all.size - done : CHUNK;
        bool is_at_once;
        ssize_t count = transfer_some(files, &one, &is_at_once);
        if (count == MT_ECANCELED && (done || all.is_write))
            continue; /* it comes at the next wait */
        if (count < 0)
            return done ? (ssize_t)done : count;
        done += (size_t)count;
        /* What came at once may be short because the rest is not in memory. */
        bool is_end = count == 0 || (!all.is_write && !is_at_once && (size_t)count < one.size);
        if (is_end || done == all.size)
            return (ssize_t)done;
    }
}

/* ---- the calls ---- */

static ssize_t
transfer(struct mt_files *files, enum mt_file_kind kind, const struct transfer *all)
{
    /* What is known to be a regular file is one of our objects: what it writes may be a buffer with
       earlier writes, and the object has heeded a cancellation already. */
    int error = kind == MT_FILE_REGULAR && all->is_write ? 0 : mt_files_heed(files);
    if (error)
        return error;
    if (kind == MT_FILE_UNKNOWN)
        kind = mt_file_kind(all->fd);
    if (kind == MT_FILE_STREAM)
        return transfer_stream(files, all);
    return mt_files_is_direct(files) ? call_plainly(all) : transfer_regular(files, *all);
}

ssize_t
mt_file_read(struct mt_files *files, int fd, enum mt_file_kind kind, void *buffer, size_t size)
{
    return transfer(files, kind, &(struct transfer){false, fd, buffer, size});
}

ssize_t
mt_file_write(struct mt_files *files, int fd, enum mt_file_kind kind, const void *data, size_t size)
{
    return transfer(files, kind, &(struct transfer){true, fd, (char *)(uintptr_t)data, size});
}
