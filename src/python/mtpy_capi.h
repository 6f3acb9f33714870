/* SPDX-License-Identifier: MIT */
/* What stands behind include/microthread/microthread.h, where each function is described. */
#ifndef MTPY_CAPI_H
#define MTPY_CAPI_H

#include "python/mtpy_state.h"

#define MT_API_TABLE_ONLY
#include "microthread/microthread.h"

struct mt_body;

/* ---- deferreds ---- */

mt_deferred *
mtpy_capi_deferred_new(void);
mt_deferred *
mtpy_capi_deferred_ref(mt_deferred *self);
void
mtpy_capi_deferred_unref(mt_deferred *self);
PyObject *
mtpy_capi_deferred_object(mt_deferred *self);
int
mtpy_capi_deferred_callback(mt_deferred *self, PyObject *value);
int
mtpy_capi_deferred_errback(mt_deferred *self, PyObject *exception);
int
mtpy_capi_deferred_post(mt_deferred *self, PyObject *(*make)(void *arg), void *arg,
                        void (*drop)(void *arg));
PyObject *
mtpy_capi_deferred_wait(mt_deferred *self, double timeout);

/* The interpreter ends: its deferreds let go of its objects. */
void
mtpy_capi_let_go(struct mtpy_state *state);

/* Whether C code may still fire one of the interpreter's deferreds. */
bool
mtpy_capi_is_hopeful(struct mtpy_state *state);

/* In the child of a fork: those who would have fired are not here. */
void
mtpy_capi_after_fork(struct mtpy_state *state);

/* ---- bodies ---- */

mt_body *
mtpy_capi_body_new(void *data, void (*destroy)(void *data));
mt_body *
mtpy_capi_body_ref(mt_body *self);
void
mtpy_capi_body_unref(mt_body *self);
void *
mtpy_capi_body_data(mt_body *self);
int
mtpy_capi_register_clone(PyTypeObject *type, mt_body *(*reduce)(PyObject *object),
                         PyObject *(*rebuild)(PyTypeObject *type, mt_body *body));

/* What mt_register_clone() was given. */
struct mtpy_foreign {
    mt_body *(*reduce)(PyObject *object);
    PyObject *(*rebuild)(PyTypeObject *type, mt_body *body);
};

/* What an entry of the registry of clones holds, or NULL without an exception if it is of another
   kind; valid as long as the entry. */
const struct mtpy_foreign *
mtpy_foreign_of(PyObject *entry);

/* The body of an object: a new reference, or NULL with an exception. */
struct mt_body *
mtpy_foreign_reduce(const struct mtpy_foreign *foreign, PyObject *object);

/* An object of this class around a body, which is borrowed, if it was registered here with the same
   functions. New, or NULL with an exception. */
PyObject *
mtpy_foreign_rebuild(struct mtpy_state *state, PyObject *class, const struct mtpy_foreign *foreign,
                     struct mt_body *body);

/* ---- the module's part ---- */

/* _C_API. Returns 0, or -1 with an exception. */
int
mtpy_capi_add(struct mtpy_state *state);

#endif
