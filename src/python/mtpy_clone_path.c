/* SPDX-License-Identifier: MIT */
/* Why an object cannot be cloned, and the path to it: msg['a'][3]. */
#include "python/mtpy_clone_encode.h"

#include <stdarg.h>

enum { SHOWN_AT_ENDS = 20, KEY_MOST = 60 };

/* Append to *text, which becomes NULL on failure. Steals part, which may be NULL: failure. */
static void
append(PyObject **text, PyObject *part)
{
    if (*text)
        PyUnicode_AppendAndDel(text, part);
    else
        Py_XDECREF(part);
}

/* repr(key), shortened; "?" when it has none. */
static PyObject *
key_text(PyObject *key)
{
    PyObject *text = PyObject_Repr(key);
    if (!text) {
        PyErr_Clear();
        return PyUnicode_FromString("?");
    }
    if (PyUnicode_GET_LENGTH(text) > KEY_MOST) {
        PyObject *start = PyUnicode_Substring(text, 0, KEY_MOST);
        Py_SETREF(text, start ? PyUnicode_FromFormat("%U...", start) : NULL);
        Py_XDECREF(start);
    }
    return text;
}

/* [key], or {key ...} when it is the key itself that is being written. */
static PyObject *
item_text(PyObject *key, bool is_key)
{
    PyObject *text = key ? key_text(key) : PyUnicode_FromString("?");
    PyObject *item = text ? PyUnicode_FromFormat(is_key ? "{key %U}" : "[%U]", text) : NULL;
    Py_XDECREF(text);
    return item;
}

static PyObject *
reduced_text(const struct mtpy_frame *frame)
{
    switch ((enum mtpy_reduced_stage)frame->stage) {
    case MTPY_REDUCED_FUNCTION:
        return PyUnicode_FromString(".__class__");
    case MTPY_REDUCED_ARGS:
        if (PyTuple_Check(frame->object))
            return PyUnicode_FromString("");
        if (frame->make == MTPY_TAG_REBUILD)
            return PyUnicode_FromString(" (reduced)");
        return PyUnicode_FromString(PyExceptionInstance_Check(frame->object) ? ".args"
                                                                             : ".__reduce__()[1]");
    case MTPY_REDUCED_ITEMS:
        return PyUnicode_FromFormat("[%zd]", frame->next - 1);
    case MTPY_REDUCED_PAIRS:
        return item_text(frame->key, frame->value != NULL);
    case MTPY_REDUCED_SETTER:
        return PyUnicode_FromString(".__reduce__()[5]");
    case MTPY_REDUCED_CAUSE:
        return PyUnicode_FromString(".__cause__");
    case MTPY_REDUCED_CONTEXT:
        return PyUnicode_FromString(".__context__");
    default:
        return PyUnicode_FromString("");
    }
}

/* The step from a frame to what is inside it. *is_state: it is the state of an object, whose keys
   are attributes. */
static PyObject *
frame_text(const struct mtpy_frame *frame, bool *is_state)
{
    bool was_state = *is_state;
    *is_state = frame->step == mtpy_encoder_reduced && frame->stage == MTPY_REDUCED_STATE;
    if (frame->step == mtpy_encoder_dict) {
        if (was_state && !frame->value && frame->key && PyUnicode_Check(frame->key))
            return PyUnicode_FromFormat(".%U", frame->key);
        return item_text(frame->key, frame->value != NULL);
    }
    if (frame->step == mtpy_encoder_set)
        return PyUnicode_FromString("{set element}");
    if (frame->step == mtpy_encoder_reduced)
        return reduced_text(frame);
    if (frame->step == mtpy_encoder_tuple && was_state) {
        *is_state = true;
        return PyUnicode_FromString("");
    }
    return PyUnicode_FromFormat("[%zd]", frame->next - 1);
}

/* New str, or NULL. */
static PyObject *
path_text(const struct mtpy_encoder *encoder)
{
    PyObject *path = PyUnicode_FromString("msg");
    bool is_state = false;
    for (size_t i = 0; i < encoder->depth && path; i++) {
        if (i == SHOWN_AT_ENDS && encoder->depth > 2 * SHOWN_AT_ENDS) {
            i = encoder->depth - SHOWN_AT_ENDS;
            append(&path, PyUnicode_FromString(" ... "));
        }
        append(&path, frame_text(&encoder->frames[i], &is_state));
    }
    return path;
}

bool
mtpy_clone_may_explain(void)
{
    return PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError);
}

void
mtpy_clone_raise(struct mtpy_state *state, PyObject *text, PyObject *cause)
{
    PyObject *error = text ? PyObject_CallOneArg(state->CloneError, text) : NULL;
    Py_XDECREF(text);
    if (!error) {
        Py_XDECREF(cause);
        return;
    }
    if (cause)
        PyException_SetContext(error, Py_NewRef(cause));
    PyException_SetCause(error, cause);
    mtpy_error_raise(error);
}

int
mtpy_encoder_refuse(struct mtpy_encoder *encoder, PyObject *object, const char *why, ...)
{
    if (PyErr_Occurred() && !mtpy_clone_may_explain())
        return -1;
    PyObject *cause = PyErr_Occurred() ? mtpy_error_take() : NULL;
    PyObject *type = PyType_GetQualName(Py_TYPE(object));
    PyObject *path = type ? path_text(encoder) : NULL;
    PyObject *text = path ? PyUnicode_FromFormat("%U: a '%U' object cannot be cloned", path, type)
                          : NULL;
    if (text && why) {
        va_list arguments;
        va_start(arguments, why);
        PyObject *reason = PyUnicode_FromFormatV(why, arguments);
        va_end(arguments);
        append(&text, PyUnicode_FromString(": "));
        append(&text, reason);
    }
    Py_XDECREF(path);
    Py_XDECREF(type);
    encoder->has_path = true;
    mtpy_clone_raise(encoder->state, text, cause);
    return -1;
}

void
mtpy_encoder_explain(struct mtpy_encoder *encoder)
{
    if (encoder->has_path || !mtpy_clone_may_explain())
        return;
    PyObject *cause = mtpy_error_take();
    PyObject *path = path_text(encoder);
    PyObject *text = path ? PyUnicode_FromFormat("%U cannot be cloned: %s: %S", path,
                                                 Py_TYPE(cause)->tp_name, cause)
                          : NULL;
    Py_XDECREF(path);
    encoder->has_path = true;
    mtpy_clone_raise(encoder->state, text, cause);
}
