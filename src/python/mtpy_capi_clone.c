/* SPDX-License-Identifier: MIT */
/* Types of other extension modules whose instances are sent as a counted body. In a message are the
   class, by name, and the two functions: they are the same in all interpreters that have loaded the
   same shared object, and another one would not know what the body is. */
#include "python/mtpy_capi.h"
#include "python/mtpy_clone.h"

#include "base/mt_alloc.h"

#include <string.h>

static const char FOREIGN_NAME[] = "microthread._core.foreign";

struct mt_api_body {
    struct mt_body body;
    void *data;              /* the user's */
    void (*destroy)(void *); /* frees it; or NULL */
};

/* ---- bodies ---- */

static void
body_free(struct mt_body *body)
{
    mt_body *self = MT_CONTAINER_OF(body, mt_body, body);
    if (self->destroy)
        self->destroy(self->data);
    mt_alloc_free(self);
}

mt_body *
mtpy_capi_body_new(void *data, void (*destroy)(void *data))
{
    mt_body *self = mt_alloc(sizeof *self);
    if (!self) {
        PyErr_NoMemory();
        return NULL;
    }
    mt_body_init(&self->body, body_free);
    self->data = data;
    self->destroy = destroy;
    return self;
}

mt_body *
mtpy_capi_body_ref(mt_body *self)
{
    (void)mt_body_ref(&self->body);
    return self;
}

void
mtpy_capi_body_unref(mt_body *self)
{
    if (self)
        mt_body_unref(&self->body);
}

void *
mtpy_capi_body_data(mt_body *self)
{
    return self->data;
}

/* ---- the registry ---- */

static void
foreign_free(PyObject *capsule)
{
    PyMem_Free(PyCapsule_GetPointer(capsule, FOREIGN_NAME));
}

int
mtpy_capi_register_clone(PyTypeObject *type, mt_body *(*reduce)(PyObject *object),
                         PyObject *(*rebuild)(PyTypeObject *type, mt_body *body))
{
    struct mtpy_state *state = mtpy_state_here();
    if (!state)
        return -1;
    if (!type || !PyType_Check((PyObject *)type)) {
        PyErr_Format(PyExc_TypeError, "type must be a class, got %.200s",
                     type ? Py_TYPE(type)->tp_name : "NULL");
        return -1;
    }
    if (!reduce || !rebuild) {
        PyErr_Format(PyExc_ValueError, "%s must not be NULL", reduce ? "rebuild" : "reduce");
        return -1;
    }
    struct mtpy_foreign *foreign = PyMem_Malloc(sizeof *foreign);
    if (!foreign) {
        PyErr_NoMemory();
        return -1;
    }
    *foreign = (struct mtpy_foreign){reduce, rebuild};
    PyObject *entry = PyCapsule_New(foreign, FOREIGN_NAME, foreign_free);
    if (!entry)
        PyMem_Free(foreign);
    return mtpy_clone_enter(state, (PyObject *)type, entry);
}

const struct mtpy_foreign *
mtpy_foreign_of(PyObject *entry)
{
    bool is_foreign = PyCapsule_IsValid(entry, FOREIGN_NAME);
    return is_foreign ? PyCapsule_GetPointer(entry, FOREIGN_NAME) : NULL;
}

struct mt_body *
mtpy_foreign_reduce(const struct mtpy_foreign *foreign, PyObject *object)
{
    mt_body *body = foreign->reduce(object);
    if (!body && !PyErr_Occurred())
        PyErr_Format(PyExc_SystemError,
                     "the reduce function of %R returned NULL without an exception",
                     Py_TYPE(object));
    return body ? &body->body : NULL;
}

PyObject *
mtpy_foreign_rebuild(struct mtpy_state *state, PyObject *class, const struct mtpy_foreign *foreign,
                     struct mt_body *body)
{
    PyObject *entry = mtpy_clone_registered(state, class);
    if (!entry && PyErr_Occurred())
        return NULL;
    const struct mtpy_foreign *here = entry ? mtpy_foreign_of(entry) : NULL;
    if (!here) {
        PyErr_Format(PyExc_LookupError,
                     "mt_register_clone() was not called for %R in this interpreter", class);
        return NULL;
    }
    if (memcmp(here, foreign, sizeof *here) != 0) {
        PyErr_Format(PyExc_LookupError,
                     "mt_register_clone() was called for %R by another copy of its module", class);
        return NULL;
    }
    PyObject *object =
        foreign->rebuild((PyTypeObject *)class, MT_CONTAINER_OF(body, mt_body, body));
    if (!object && !PyErr_Occurred())
        PyErr_Format(PyExc_SystemError,
                     "the rebuild function of %R returned NULL without an exception", class);
    return object;
}
