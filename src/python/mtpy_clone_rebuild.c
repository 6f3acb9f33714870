/* SPDX-License-Identifier: MIT */
/* Reading clones: what is found by its name, called, and given its state. */
#include "python/mtpy_clone_decode.h"

PyObject *
mtpy_clone_find(PyObject *module, PyObject *name)
{
    PyObject *found = PyImport_GetModule(module);
    if (!found && !PyErr_Occurred()) {
        /* With a fromlist it is the innermost package that is returned. */
        PyObject *fromlist = PyTuple_Pack(1, name);
        found = fromlist ? PyImport_ImportModuleLevelObject(module, NULL, NULL, fromlist, 0) : NULL;
        Py_XDECREF(fromlist);
    }
    Py_ssize_t length = PyUnicode_GET_LENGTH(name), start = 0;
    while (found && start <= length) {
        Py_ssize_t dot = PyUnicode_FindChar(name, '.', start, length, 1);
        Py_ssize_t end = dot < 0 ? length : dot;
        PyObject *part = start == 0 && end == length ? Py_NewRef(name)
                                                     : PyUnicode_Substring(name, start, end);
        Py_SETREF(found, part ? PyObject_GetAttr(found, part) : NULL);
        Py_XDECREF(part);
        start = end + 1;
    }
    return found;
}

Py_ssize_t
mtpy_decoder_operands(enum mtpy_tag tag)
{
    switch (tag) {
    case MTPY_TAG_SINGLETON_TYPE:
    case MTPY_TAG_SET_STATE:
        return 1;
    case MTPY_TAG_NEW_EX:
    case MTPY_TAG_SET_CONTEXT:
        return 3;
    default:
        return 2;
    }
}

/* ---- making ---- */

static PyObject *
make_global(struct mtpy_decoder *decoder, PyObject *module, PyObject *name)
{
    PyObject *found = mtpy_clone_find(module, name);
    if (found || !mtpy_clone_may_explain())
        return found;
    decoder->is_explained = true;
    PyObject *cause = mtpy_error_take();
    mtpy_clone_raise(decoder->state,
                     PyUnicode_FromFormat("a message cannot be rebuilt here: %U.%U is not found: "
                                          "%s: %S",
                                          module, name, Py_TYPE(cause)->tp_name, cause),
                     cause);
    return NULL;
}

static PyObject *
make_new(PyObject *class, PyObject *args, PyObject *kwargs)
{
    if (PyType_Check(class) && ((PyTypeObject *)class)->tp_new)
        return ((PyTypeObject *)class)->tp_new((PyTypeObject *)class, args, kwargs);
    PyErr_Format(PyExc_TypeError, "%R has no __new__()", class);
    return NULL;
}

static PyObject *
make_registered(struct mtpy_decoder *decoder, PyObject *class, PyObject *value)
{
    PyObject *entry = mtpy_clone_registered(decoder->state, class);
    if (entry && PyTuple_Check(entry)) {
        Py_INCREF(entry);
        PyObject *made = PyObject_CallOneArg(PyTuple_GET_ITEM(entry, 1), value);
        Py_DECREF(entry);
        return made;
    }
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_LookupError, "register_clone(%R, ...) was not called in this interpreter",
                     class);
    return NULL;
}

PyObject *
mtpy_decoder_make(struct mtpy_decoder *decoder, enum mtpy_tag tag, PyObject *const *operands)
{
    switch (tag) {
    case MTPY_TAG_GLOBAL:
        return make_global(decoder, operands[0], operands[1]);
    case MTPY_TAG_SINGLETON_TYPE:
        return Py_NewRef(Py_TYPE(operands[0]));
    case MTPY_TAG_CALL:
        return PyObject_Call(operands[0], operands[1], NULL);
    case MTPY_TAG_NEW:
        return make_new(operands[0], operands[1], NULL);
    case MTPY_TAG_NEW_EX:
        return make_new(operands[0], operands[1], operands[2]);
    default:
        return make_registered(decoder, operands[0], operands[1]);
    }
}

/* ---- changing ---- */

/* Attributes into the instance's __dict__, names interned as the compiler's are. */
static int
update_dict(const struct mtpy_state *names, PyObject *object, PyObject *state)
{
    PyObject *dict = PyObject_GetAttr(object, names->name_dict);
    PyObject *name, *value;
    Py_ssize_t next = 0;
    while (dict && PyDict_Next(state, &next, &name, &value)) {
        Py_INCREF(name);
        Py_INCREF(value);
        if (PyUnicode_CheckExact(name))
            PyUnicode_InternInPlace(&name);
        int failed = PyDict_CheckExact(dict) ? PyDict_SetItem(dict, name, value)
                                             : PyObject_SetItem(dict, name, value);
        Py_DECREF(name);
        Py_DECREF(value);
        if (failed)
            Py_CLEAR(dict);
    }
    Py_XDECREF(dict);
    return dict ? 0 : -1;
}

static int
set_slots(PyObject *object, PyObject *slots)
{
    PyObject *name, *value;
    Py_ssize_t next = 0;
    int failed = 0;
    while (!failed && PyDict_Next(slots, &next, &name, &value)) {
        Py_INCREF(name);
        Py_INCREF(value);
        failed = PyObject_SetAttr(object, name, value);
        Py_DECREF(name);
        Py_DECREF(value);
    }
    return failed;
}

/* As pickle's BUILD. */
static int
set_state(const struct mtpy_state *names, PyObject *object, PyObject *state)
{
    PyObject *setter;
    if (mtpy_lookup_attr(object, names->name_setstate, &setter) < 0)
        return -1;
    if (setter) {
        PyObject *result = PyObject_CallOneArg(setter, state);
        Py_DECREF(setter);
        Py_XDECREF(result);
        return result ? 0 : -1;
    }
    PyObject *slots = NULL;
    if (PyTuple_Check(state) && PyTuple_GET_SIZE(state) == 2) {
        slots = PyTuple_GET_ITEM(state, 1);
        state = PyTuple_GET_ITEM(state, 0);
    }
    if ((state != Py_None && !PyDict_Check(state)) ||
        (slots && slots != Py_None && !PyDict_Check(slots))) {
        PyErr_Format(PyExc_TypeError, "the state of a '%s' object must be a dict, got %s",
                     Py_TYPE(object)->tp_name, Py_TYPE(state)->tp_name);
        return -1;
    }
    if (state != Py_None && PyDict_GET_SIZE(state) && update_dict(names, object, state) < 0)
        return -1;
    return slots && slots != Py_None ? set_slots(object, slots) : 0;
}

static int
set_context(PyObject *error, PyObject *cause, PyObject *context, PyObject *suppresses)
{
    if (!PyExceptionInstance_Check(error) ||
        (cause != Py_None && !PyExceptionInstance_Check(cause)) ||
        (context != Py_None && !PyExceptionInstance_Check(context))) {
        PyErr_SetString(PyExc_TypeError, "what an exception was raised from is no exception here");
        return -1;
    }
    PyException_SetCause(error, cause == Py_None ? NULL : Py_NewRef(cause));
    PyException_SetContext(error, context == Py_None ? NULL : Py_NewRef(context));
    ((PyBaseExceptionObject *)error)->suppress_context = suppresses == Py_True;
    return 0;
}

int
mtpy_decoder_change(const struct mtpy_decoder *decoder, enum mtpy_tag tag, PyObject *object,
                    PyObject *const *operands)
{
    if (tag == MTPY_TAG_SET_STATE)
        return set_state(decoder->state, object, operands[0]);
    if (tag == MTPY_TAG_SET_CONTEXT)
        return set_context(object, operands[0], operands[1], operands[2]);
    PyObject *result = PyObject_CallFunctionObjArgs(operands[0], object, operands[1], NULL);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

int
mtpy_decoder_fill(const struct mtpy_decoder *decoder, enum mtpy_tag tag, PyObject *object,
                  PyObject *const *items, Py_ssize_t count)
{
    if (tag == MTPY_TAG_SET_ITEMS) {
        for (Py_ssize_t i = 0; i < count; i += 2)
            if (PyObject_SetItem(object, items[i], items[i + 1]) < 0)
                return -1;
        return 0;
    }
    PyObject *append = PyObject_GetAttr(object, decoder->state->name_append);
    if (!append)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *result = PyObject_CallOneArg(append, items[i]);
        if (!result) {
            Py_DECREF(append);
            return -1;
        }
        Py_DECREF(result);
    }
    Py_DECREF(append);
    return 0;
}
