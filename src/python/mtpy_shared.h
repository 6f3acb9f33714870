/* SPDX-License-Identifier: MIT */
/* Memory that is shared between interpreters: SharedBuffer, and memoryviews of buffers that other
   interpreters lend. */
#ifndef MTPY_SHARED_H
#define MTPY_SHARED_H

#include "python/mtpy_clone.h"

#include "group/mt_shared.h"

/* Memory with a form, as PEP 3118 has it. What the pointers point at lives as long as the body. */
struct mtpy_form {
    struct mt_shared shared;
    const char *format;        /* NULL: bytes */
    const Py_ssize_t *shape;   /* ndim of them */
    const Py_ssize_t *strides; /* ndim of them */
    Py_ssize_t itemsize;
    int ndim;
};

/* Hold on to an object's buffer for others, without a copy. needs_bytes: it must be contiguous, and is
   taken as bytes. New reference to its body, or NULL with an exception. */
struct mtpy_form *
mtpy_form_lend(struct mtpy_state *state, PyObject *object, bool needs_bytes);

/* A copy of what an exporter has, in C order. New, or NULL with an exception. */
struct mtpy_form *
mtpy_form_copy(const Py_buffer *view);

/* A memoryview of it, which takes a reference of its own. New, or NULL with an exception. */
PyObject *
mtpy_form_view(struct mtpy_state *state, struct mtpy_form *form);

/* send_buffer(): a message that is a memoryview of the object's own memory, whatever exports it. Returns 0,
   or -1 with an exception. */
int
mtpy_clone_encode_buffer(struct mtpy_state *state, PyObject *object, struct mt_message **message);

extern PyType_Spec mtpy_memory_spec;
extern PyType_Spec mtpy_shared_spec;
extern const struct mtpy_share mtpy_shared_share;

/* repr for waiting_for. */
PyObject *
mtpy_shared_describe(PyObject *object);

/* The types. Returns 0, or -1 with an exception. */
int
mtpy_shared_add(struct mtpy_state *state, PyObject *module);

#endif
