/* SPDX-License-Identifier: MIT */
/* A message within a message: it travels unread through those who only pass it on, and whoever opens it
   sees what is wrong with it apart from what is around it. */
#include "python/mtpy_parcel.h"

#include "python/mtpy_clone.h"

#include "base/mt_alloc.h"

struct parcel_body {
    struct mt_body body;
    struct mt_message *_Atomic message; /* NULL once it is open */
};

struct mtpy_parcel {
    PyObject_HEAD
    struct mt_body *body; /* a reference */
};

static void
free_body(struct mt_body *body)
{
    struct parcel_body *its = MT_CONTAINER_OF(body, struct parcel_body, body);
    mt_message_free(atomic_load(&its->message));
    mt_alloc_free(its);
}

static struct mt_body *
share_parcel(struct mtpy_state *state, PyObject *object)
{
    (void)state;
    return mt_body_ref(((struct mtpy_parcel *)object)->body);
}

static PyObject *
wrap_parcel(struct mtpy_state *state, struct mt_body *body)
{
    struct mtpy_parcel *self =
        (struct mtpy_parcel *)state->parcel_type->tp_alloc(state->parcel_type, 0);
    if (self)
        self->body = mt_body_ref(body);
    return (PyObject *)self;
}

static const struct mtpy_share parcel_share = {share_parcel, wrap_parcel};

static PyObject *
parcel_open(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mt_body *body = ((struct mtpy_parcel *)object)->body;
    struct parcel_body *its = MT_CONTAINER_OF(body, struct parcel_body, body);
    struct mt_message *message = atomic_exchange(&its->message, NULL);
    if (!message) {
        PyErr_SetString(PyExc_ValueError, "the parcel has been opened already");
        return NULL;
    }
    return mtpy_clone_decode(mtpy_state_by_type(Py_TYPE(object)), message);
}

static void
parcel_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    mt_body_unref(((struct mtpy_parcel *)object)->body);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef parcel_methods[] = {
    {"open", parcel_open, METH_NOARGS, "What is inside; once."},
    {0},
};

static PyType_Slot parcel_slots[] = {
    {Py_tp_doc, "A clone that has not been rebuilt yet."},
    {Py_tp_dealloc, parcel_dealloc},
    {Py_tp_methods, parcel_methods},
    {0, NULL},
};

static PyType_Spec parcel_spec = {
    .name = "microthread._core.parcel",
    .basicsize = sizeof(struct mtpy_parcel),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = parcel_slots,
};

static PyObject *
pack(PyObject *module, PyObject *object)
{
    struct mtpy_state *state = mtpy_state_of(module);
    struct mt_message *message = NULL;
    if (mtpy_clone_encode(state, object, &message) < 0)
        return NULL;
    struct parcel_body *its = mt_alloc(sizeof *its);
    if (!its) {
        mt_message_free(message);
        return PyErr_NoMemory();
    }
    mt_body_init(&its->body, free_body);
    atomic_init(&its->message, message);
    PyObject *parcel = wrap_parcel(state, &its->body);
    mt_body_unref(&its->body);
    return parcel;
}

static PyMethodDef functions[] = {
    {"_pack", pack, METH_O, NULL},
    {0},
};

int
mtpy_parcel_add(struct mtpy_state *state)
{
    state->parcel_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &parcel_spec, NULL);
    if (!state->parcel_type || PyModule_AddType(state->module, state->parcel_type) < 0 ||
        mtpy_clone_register_share(state, state->parcel_type, &parcel_share) < 0)
        return -1;
    return PyModule_AddFunctions(state->module, functions);
}
