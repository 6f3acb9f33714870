/* SPDX-License-Identifier: MIT */
/* Reading, writing and opening files by their descriptors, waiting for the calling micro-thread only. */
#include "python/mtpy_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_MOST = 0x7ffff000,       /* what one system call moves at most */
    FIRST_SIZE = 64 * 1024,       /* of what is read to an end that is not known */
    LARGEST_STEP = 8 * 1024 * 1024
};

struct mt_files *
mtpy_files_get(struct mtpy_sched *sched)
{
    if (!sched->files) {
        int error = mt_files_new(sched->core, getenv("MICROTHREAD_FILES"), &sched->files);
        if (error)
            return (void *)mtpy_raise(error);
    }
    return sched->files;
}

static struct mt_files *
files_of(PyObject *module)
{
    struct mtpy_sched *sched = mtpy_sched_get(mtpy_state_of(module));
    return sched ? mtpy_files_get(sched) : NULL;
}

/* fd, an argument, and the kind of the file if the caller knows it. Returns the files, or NULL. */
static struct mt_files *
parse(PyObject *module, const char *name, PyObject *const *args, Py_ssize_t nargs, Py_ssize_t least,
      int *fd, enum mt_file_kind *kind)
{
    if (nargs < least || nargs > 3) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, got %zd", name, least, nargs);
        return NULL;
    }
    *fd = PyObject_AsFileDescriptor(args[0]);
    if (*fd < 0)
        return NULL;
    *kind = MT_FILE_UNKNOWN;
    if (nargs == 3 && args[2] != Py_None)
        *kind = args[2] == Py_True ? MT_FILE_STREAM : MT_FILE_REGULAR;
    return files_of(module);
}

static PyObject *
raise_or_count(ssize_t count)
{
    return count < 0 ? mtpy_raise((int)count) : PyLong_FromSsize_t(count);
}

static PyObject *
none_or_raise(int error)
{
    if (error < 0)
        return mtpy_raise(error);
    Py_RETURN_NONE;
}

/* ---- reading and writing ---- */

static PyObject *
file_read(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    int fd;
    enum mt_file_kind kind;
    struct mt_files *files = parse(module, "read_fd", args, nargs, 2, &fd, &kind);
    if (!files)
        return NULL;
    Py_ssize_t size = PyNumber_AsSsize_t(args[1], PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred())
        return NULL;
    if (size < 0)
        return mtpy_raise(mt_error_from_errno(EINVAL));
    if (size > READ_MOST)
        size = READ_MOST;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (!bytes)
        return NULL;
    ssize_t count = mt_file_read(files, fd, kind, PyBytes_AS_STRING(bytes), (size_t)size);
    if (count < 0) {
        Py_DECREF(bytes);
        return mtpy_raise((int)count);
    }
    if (count != size)
        (void)_PyBytes_Resize(&bytes, count);
    return bytes;
}

static PyObject *
file_readinto(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    int fd;
    enum mt_file_kind kind;
    Py_buffer buffer;
    struct mt_files *files = parse(module, "readinto_fd", args, nargs, 2, &fd, &kind);
    if (!files)
        return NULL;
    if (PyObject_GetBuffer(args[1], &buffer, PyBUF_WRITABLE) < 0) {
        mtpy_refuse_buffer("readinto", args[1]);
        return NULL;
    }
    size_t size = buffer.len < READ_MOST ? (size_t)buffer.len : READ_MOST;
    PyObject *result = raise_or_count(mt_file_read(files, fd, kind, buffer.buf, size));
    PyBuffer_Release(&buffer);
    return result;
}

static PyObject *
file_write(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    int fd;
    enum mt_file_kind kind;
    Py_buffer buffer;
    struct mt_files *files = parse(module, "write_fd", args, nargs, 2, &fd, &kind);
    if (!files || PyObject_GetBuffer(args[1], &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    size_t size = buffer.len < READ_MOST ? (size_t)buffer.len : READ_MOST;
    PyObject *result = raise_or_count(mt_file_write(files, fd, kind, buffer.buf, size));
    PyBuffer_Release(&buffer);
    return result;
}

/* How much is left of a file, and one byte to see its end; FIRST_SIZE if nobody knows. */
static size_t
guess_rest(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size <= 0)
        return FIRST_SIZE;
    off_t position = lseek(fd, 0, SEEK_CUR);
    if (position < 0 || position > status.st_size)
        return FIRST_SIZE;
    return (size_t)(status.st_size - position) + 1;
}

/* A regular file from its position to its end. */
static PyObject *
file_readall(PyObject *module, PyObject *object)
{
    int fd = PyObject_AsFileDescriptor(object);
    struct mt_files *files = fd < 0 ? NULL : files_of(module);
    if (!files)
        return NULL;
    size_t room = guess_rest(fd);
    size_t used = 0;
    int error = 0;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)room);
    while (bytes) {
        if (used == room) {
            room += room < LARGEST_STEP ? room : LARGEST_STEP;
            if (_PyBytes_Resize(&bytes, (Py_ssize_t)room) < 0)
                return NULL;
        }
        size_t size = room - used < READ_MOST ? room - used : READ_MOST;
        char *place = PyBytes_AS_STRING(bytes) + used;
        ssize_t count = mt_file_read(files, fd, MT_FILE_REGULAR, place, size);
        error = count < 0 ? (int)count : 0;
        if (count <= 0)
            break;
        used += (size_t)count;
    }
    if (error) {
        (void)lseek(fd, -(off_t)used, SEEK_CUR); /* nothing was read */
        Py_DECREF(bytes);
        return mtpy_raise(error);
    }
    if (bytes && used != room)
        (void)_PyBytes_Resize(&bytes, (Py_ssize_t)used);
    return bytes;
}

/* ---- the others ---- */

static PyObject *
file_open(PyObject *module, PyObject *args)
{
    PyObject *path, *encoded = NULL;
    int flags, mode = 0666;
    if (!PyArg_ParseTuple(args, "Oi|i:open_fd", &path, &flags, &mode) ||
        !PyUnicode_FSConverter(path, &encoded))
        return NULL;
    struct mt_files *files = files_of(module);
    int fd = files ? mt_file_open(files, PyBytes_AS_STRING(encoded), flags, (mode_t)mode) : -1;
    Py_DECREF(encoded);
    if (!files)
        return NULL;
    if (fd >= 0)
        return PyLong_FromLong(fd);
    if (!mt_error_errno(fd))
        return mtpy_raise(fd);
    errno = mt_error_errno(fd);
    return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
}

static PyObject *
file_sync(PyObject *module, PyObject *object)
{
    int fd = PyObject_AsFileDescriptor(object);
    struct mt_files *files = fd < 0 ? NULL : files_of(module);
    return files ? none_or_raise(mt_file_sync(files, fd)) : NULL;
}

static PyObject *
file_flush(PyObject *module, PyObject *object)
{
    int fd = PyObject_AsFileDescriptor(object);
    struct mt_files *files = fd < 0 ? NULL : files_of(module);
    return files ? none_or_raise(mt_file_flush(files, fd)) : NULL;
}

static PyObject *
file_truncate(PyObject *module, PyObject *args)
{
    int fd;
    long long size;
    if (!PyArg_ParseTuple(args, "iL:truncate_fd", &fd, &size))
        return NULL;
    struct mt_files *files = files_of(module);
    return files ? none_or_raise(mt_file_truncate(files, fd, (off_t)size)) : NULL;
}

static PyObject *
file_is_stream(PyObject *module, PyObject *object)
{
    (void)module;
    int fd = PyObject_AsFileDescriptor(object);
    return fd < 0 ? NULL : PyBool_FromLong(mt_file_kind(fd) == MT_FILE_STREAM);
}

static PyObject *
file_backend(PyObject *module, PyObject *unused)
{
    (void)unused;
    struct mt_files *files = files_of(module);
    return files ? PyUnicode_FromString(mt_files_backend(files)) : NULL;
}

#define CAST(function) (PyCFunction)(void (*)(void))(function)

PyMethodDef mtpy_file_functions[] = {
    {"open_fd", file_open, METH_VARARGS,
     "open_fd(path, flags, mode=0o666, /)\n--\n\n"
     "As os.open(), off the loop; the descriptor is not inheritable. A FIFO waits for its other side."},
    {"read_fd", CAST(file_read), METH_FASTCALL,
     "read_fd(fd, n, is_stream=None, /)\n--\n\n"
     "As os.read(): a regular file is read off the loop, all else waits until it can be read.\n\n"
     "is_stream: False for a regular file, None to have it looked up."},
    {"readinto_fd", CAST(file_readinto), METH_FASTCALL,
     "readinto_fd(fd, buffer, is_stream=None, /)\n--\n\nThe same into a buffer; returns the count."},
    {"write_fd", CAST(file_write), METH_FASTCALL,
     "write_fd(fd, data, is_stream=None, /)\n--\n\n"
     "As os.write(): a regular file is written off the loop, all else waits until it can be written."},
    {"fsync_fd", file_sync, METH_O, "fsync_fd(fd, /)\n--\n\nAs os.fsync(), off the loop."},
    {"truncate_fd", file_truncate, METH_VARARGS,
     "truncate_fd(fd, size, /)\n--\n\nAs os.ftruncate(), off the loop."},
    {"_readall_fd", file_readall, METH_O, NULL},
    {"_flush_fd", file_flush, METH_O, NULL},
    {"_is_stream_fd", file_is_stream, METH_O, NULL},
    {"_file_backend", file_backend, METH_NOARGS, NULL},
    {0},
};
