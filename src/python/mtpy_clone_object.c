/* SPDX-License-Identifier: MIT */
/* Writing clones: what is known by its name, what has been registered, and what __reduce_ex__()
   takes apart, as pickle's protocol 4 does. */
#include "python/mtpy_capi.h"
#include "python/mtpy_clone_encode.h"
#include "python/mtpy_shared.h"

#include <string.h>

/* ---- by name ---- */

static int
refuse_by_name(struct mtpy_encoder *encoder, PyObject *object, PyObject *module, PyObject *name)
{
    if (module && name && PyUnicode_Check(module) && PyUnicode_Check(name))
        return mtpy_encoder_refuse(encoder, object, "it is not what %U.%U names", module, name);
    return mtpy_encoder_refuse(encoder, object, "it has no name that could be imported");
}

/* name: NULL for the object's own. */
static int
put_global(struct mtpy_encoder *encoder, PyObject *object, PyObject *name)
{
    int done = -1;
    PyObject *module = PyObject_GetAttr(object, encoder->state->name_module);
    PyObject *found = NULL;
    /* What stands in for the C module in 3.12's interpreters with a GIL of their own. */
    if (module && PyUnicode_Check(module) &&
        PyUnicode_CompareWithASCIIString(module, "_pydatetime") == 0)
        Py_SETREF(module, PyUnicode_FromString("datetime"));
    name = name ? Py_NewRef(name) : module ? PyObject_GetAttr(object, encoder->state->name_qualname) : NULL;
    if (module && name && PyUnicode_Check(module) && PyUnicode_Check(name))
        found = mtpy_clone_find(module, name);
    if (!found && PyErr_Occurred() && !mtpy_clone_may_explain())
        goto end;
    if (found != object) {
        refuse_by_name(encoder, object, module, name);
        goto end;
    }
    if (mtpy_encoder_put(encoder, module) < 0 || mtpy_encoder_put(encoder, name) < 0 ||
        mtpy_encoder_made(encoder, MTPY_TAG_GLOBAL, object, true, 0) < 0)
        goto end;
    done = MTPY_DONE;
end:
    Py_XDECREF(found);
    Py_XDECREF(name);
    Py_XDECREF(module);
    return done;
}

static int
put_class(struct mtpy_encoder *encoder, PyObject *object)
{
    PyObject *const singletons[] = {Py_None, Py_Ellipsis, Py_NotImplemented};
    for (int i = 0; i < 3; i++) {
        if (object == (PyObject *)Py_TYPE(singletons[i])) {
            if (mtpy_encoder_put(encoder, singletons[i]) < 0 ||
                mtpy_encoder_tag(encoder, MTPY_TAG_SINGLETON_TYPE) < 0)
                return -1;
            return MTPY_DONE;
        }
    }
    return put_global(encoder, object, NULL);
}

/* ---- taken apart ---- */

/* What is called, and with what; new, for the stages FUNCTION, ARGS and KWARGS. */
static PyObject *
part_of(const struct mtpy_frame *frame)
{
    PyObject *reduced = frame->extra;
    int stage = frame->stage - MTPY_REDUCED_FUNCTION;
    if (frame->make == MTPY_TAG_REBUILD)
        return Py_NewRef(stage == 0 ? (PyObject *)Py_TYPE(frame->object) : reduced);
    if (frame->make == MTPY_TAG_CALL)
        return Py_NewRef(PyTuple_GET_ITEM(reduced, stage));
    PyObject *args = PyTuple_GET_ITEM(reduced, 1);
    if (frame->make == MTPY_TAG_NEW && stage == 1)
        return PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    return Py_NewRef(PyTuple_GET_ITEM(args, stage));
}

/* One of the optional parts of the tuple: borrowed, or NULL. */
static PyObject *
option_of(const struct mtpy_frame *frame, Py_ssize_t index)
{
    if (frame->make == MTPY_TAG_REBUILD || index >= PyTuple_GET_SIZE(frame->extra))
        return NULL;
    PyObject *option = PyTuple_GET_ITEM(frame->extra, index);
    return option == Py_None ? NULL : option;
}

static int
put_part(struct mtpy_encoder *encoder, PyObject *part)
{
    if (!part)
        return -1;
    int done = mtpy_encoder_put(encoder, part);
    Py_DECREF(part);
    return done;
}

static int
made(struct mtpy_encoder *encoder, struct mtpy_frame *frame)
{
    /* The arguments may have come across the object and made it. */
    if (frame->is_shared && mtpy_encoder_is_known(encoder, frame->object)) {
        frame->stage = MTPY_REDUCED_END;
        if (mtpy_encoder_tag_size(encoder, MTPY_TAG_DROP,
                                  frame->make == MTPY_TAG_NEW_EX ? 3 : 2) < 0 ||
            mtpy_encoder_put_known(encoder, frame->object) < 0)
            return -1;
        return MTPY_DONE;
    }
    return mtpy_encoder_made(encoder, frame->make, frame->object, frame->is_shared, 0) < 0
               ? -1
               : MTPY_DONE;
}

static int
put_items(struct mtpy_encoder *encoder, struct mtpy_frame *frame)
{
    PyObject *iterator = option_of(frame, 3);
    if (!iterator)
        return MTPY_DONE;
    frame->is_inside = true;
    for (;;) {
        if (frame->waiting == MTPY_CLONE_BATCH &&
            mtpy_encoder_flush(encoder, frame, MTPY_TAG_EXTEND) < 0)
            return -1;
        PyObject *item = PyIter_Next(iterator);
        if (!item)
            break;
        frame->waiting++;
        frame->next++;
        int done = put_part(encoder, item);
        if (done != MTPY_DONE)
            return done;
    }
    frame->is_inside = false;
    if (PyErr_Occurred() || mtpy_encoder_flush(encoder, frame, MTPY_TAG_EXTEND) < 0)
        return -1;
    return MTPY_DONE;
}

static int
put_pairs(struct mtpy_encoder *encoder, struct mtpy_frame *frame)
{
    PyObject *iterator = option_of(frame, 4);
    if (!iterator)
        return MTPY_DONE;
    frame->is_inside = true;
    for (;;) {
        int done;
        if (frame->value) {
            PyObject *value = frame->value;
            frame->value = NULL;
            frame->waiting++;
            done = put_part(encoder, value);
            if (done != MTPY_DONE)
                return done;
        }
        if (frame->waiting == MTPY_CLONE_BATCH &&
            mtpy_encoder_flush(encoder, frame, MTPY_TAG_SET_ITEMS) < 0)
            return -1;
        PyObject *pair = PyIter_Next(iterator);
        if (!pair)
            break;
        if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
            Py_DECREF(pair);
            return mtpy_encoder_refuse(encoder, frame->object,
                                       "the fifth part of its __reduce__() gives no pairs");
        }
        Py_XSETREF(frame->key, Py_NewRef(PyTuple_GET_ITEM(pair, 0)));
        frame->value = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
        Py_DECREF(pair);
        done = mtpy_encoder_put(encoder, frame->key);
        if (done != MTPY_DONE)
            return done;
    }
    frame->is_inside = false;
    if (PyErr_Occurred() || mtpy_encoder_flush(encoder, frame, MTPY_TAG_SET_ITEMS) < 0)
        return -1;
    return MTPY_DONE;
}

/* What an exception was raised from, if there is anything to say. */
static bool
has_context(PyObject *object)
{
    if (!PyExceptionInstance_Check(object))
        return false;
    PyBaseExceptionObject *error = (PyBaseExceptionObject *)object;
    return error->cause || error->context || error->suppress_context;
}

static int
put_or_none(struct mtpy_encoder *encoder, PyObject *part)
{
    return put_part(encoder, part ? part : Py_NewRef(Py_None));
}

static int
put_stage(struct mtpy_encoder *encoder, struct mtpy_frame *frame)
{
    PyObject *option;
    switch ((enum mtpy_reduced_stage)frame->stage) {
    case MTPY_REDUCED_KWARGS:
        if (frame->make != MTPY_TAG_NEW_EX)
            return MTPY_DONE;
        return put_part(encoder, part_of(frame));
    case MTPY_REDUCED_FUNCTION:
    case MTPY_REDUCED_ARGS:
        return put_part(encoder, part_of(frame));
    case MTPY_REDUCED_MADE:
        return made(encoder, frame);
    case MTPY_REDUCED_ITEMS:
        return put_items(encoder, frame);
    case MTPY_REDUCED_PAIRS:
        return put_pairs(encoder, frame);
    case MTPY_REDUCED_SETTER:
        option = option_of(frame, 2) ? option_of(frame, 5) : NULL;
        return option ? mtpy_encoder_put(encoder, option) : MTPY_DONE;
    case MTPY_REDUCED_STATE:
        option = option_of(frame, 2);
        return option ? mtpy_encoder_put(encoder, option) : MTPY_DONE;
    case MTPY_REDUCED_STATE_SET:
        if (option_of(frame, 2) &&
            mtpy_encoder_tag(encoder, option_of(frame, 5) ? MTPY_TAG_CALL_STATE
                                                          : MTPY_TAG_SET_STATE) < 0)
            return -1;
        if (!has_context(frame->object))
            frame->stage = MTPY_REDUCED_END;
        return MTPY_DONE;
    case MTPY_REDUCED_CAUSE:
        return put_or_none(encoder, PyException_GetCause(frame->object));
    case MTPY_REDUCED_CONTEXT:
        return put_or_none(encoder, PyException_GetContext(frame->object));
    case MTPY_REDUCED_CONTEXT_SET: {
        bool suppresses = ((PyBaseExceptionObject *)frame->object)->suppress_context;
        if (mtpy_encoder_put(encoder, suppresses ? Py_True : Py_False) < 0 ||
            mtpy_encoder_tag(encoder, MTPY_TAG_SET_CONTEXT) < 0)
            return -1;
        frame->stage = MTPY_REDUCED_END;
        return MTPY_DONE;
    }
    default:
        return MTPY_DONE;
    }
}

int
mtpy_encoder_reduced(struct mtpy_encoder *encoder, struct mtpy_frame *frame)
{
    while (frame->stage != MTPY_REDUCED_END) {
        if (!frame->is_inside)
            frame->stage++;
        int done = put_stage(encoder, frame);
        if (done != MTPY_DONE)
            return done;
    }
    return MTPY_DONE;
}

/* Steals reduced. */
static int
push_reduced(struct mtpy_encoder *encoder, PyObject *object, PyObject *reduced, enum mtpy_tag make,
             bool is_shared)
{
    struct mtpy_frame *frame = mtpy_encoder_push(encoder, object, mtpy_encoder_reduced);
    if (!frame) {
        Py_DECREF(reduced);
        return -1;
    }
    frame->extra = reduced;
    frame->make = (uint8_t)make;
    frame->is_shared = is_shared;
    return MTPY_PUSHED;
}

static int
load_copyreg(struct mtpy_state *state)
{
    if (state->clone_newobj_ex)
        return 0;
    PyObject *copyreg = PyImport_ImportModule("copyreg");
    if (!copyreg)
        return -1;
    Py_XSETREF(state->clone_dispatch, PyObject_GetAttrString(copyreg, "dispatch_table"));
    Py_XSETREF(state->clone_newobj, PyObject_GetAttrString(copyreg, "__newobj__"));
    if (state->clone_dispatch && state->clone_newobj)
        state->clone_newobj_ex = PyObject_GetAttrString(copyreg, "__newobj_ex__");
    Py_DECREF(copyreg);
    return state->clone_newobj_ex ? 0 : -1;
}

/* Whether args is what copyreg's function takes: a class and `more` others, or at least so many. */
static bool
begins_with_class(PyObject *args, Py_ssize_t least)
{
    return PyTuple_GET_SIZE(args) >= least && PyType_Check(PyTuple_GET_ITEM(args, 0));
}

/* Whatever __reduce_ex__() gave; steals it. */
static int
put_reduced(struct mtpy_encoder *encoder, PyObject *object, PyObject *reduced, bool is_shared)
{
    int done;
    if (PyUnicode_Check(reduced)) {
        done = put_global(encoder, object, reduced);
        Py_DECREF(reduced);
        return done;
    }
    Py_ssize_t size = PyTuple_Check(reduced) ? PyTuple_GET_SIZE(reduced) : 0;
    if (size < 2 || size > 6 || !PyCallable_Check(PyTuple_GET_ITEM(reduced, 0)) ||
        !PyTuple_Check(PyTuple_GET_ITEM(reduced, 1)) ||
        (size > 3 && PyTuple_GET_ITEM(reduced, 3) != Py_None &&
         !PyIter_Check(PyTuple_GET_ITEM(reduced, 3))) ||
        (size > 4 && PyTuple_GET_ITEM(reduced, 4) != Py_None &&
         !PyIter_Check(PyTuple_GET_ITEM(reduced, 4)))) {
        Py_DECREF(reduced);
        return mtpy_encoder_refuse(encoder, object,
                                   "its __reduce_ex__() must return a str or a tuple (callable, "
                                   "tuple, state, iterator, iterator, setter)");
    }
    PyObject *function = PyTuple_GET_ITEM(reduced, 0), *args = PyTuple_GET_ITEM(reduced, 1);
    enum mtpy_tag make = MTPY_TAG_CALL;
    if (function == encoder->state->clone_newobj && begins_with_class(args, 1))
        make = MTPY_TAG_NEW;
    else if (function == encoder->state->clone_newobj_ex && begins_with_class(args, 3) &&
             PyTuple_Check(PyTuple_GET_ITEM(args, 1)) && PyDict_Check(PyTuple_GET_ITEM(args, 2)))
        make = MTPY_TAG_NEW_EX;
    return push_reduced(encoder, object, reduced, make, is_shared);
}

/* ---- registered ---- */

static int
put_share(struct mtpy_encoder *encoder, PyObject *object, const struct mtpy_share *share,
          bool is_shared)
{
    struct mt_body *body = share->share(encoder->state, object);
    int64_t place = body ? mtpy_encoder_attach(encoder, body) : -1;
    uint32_t index = (uint32_t)place;
    if (place < 0 || mtpy_encoder_made(encoder, MTPY_TAG_SHARE, object, is_shared,
                                       sizeof(share) + sizeof(index)) < 0)
        return -1;
    memcpy(encoder->at, &share, sizeof(share));
    memcpy(encoder->at + sizeof(share), &index, sizeof(index));
    encoder->at += sizeof(share) + sizeof(index);
    return MTPY_DONE;
}

static int
put_foreign(struct mtpy_encoder *encoder, PyObject *object, const struct mtpy_foreign *foreign,
            bool is_shared)
{
    PyObject *type = (PyObject *)Py_TYPE(object);
    int done = encoder->memo ? mtpy_encoder_put_known(encoder, type) : 0;
    if (done < 0 || (!done && put_class(encoder, type) < 0))
        return -1;
    struct mt_body *body = mtpy_foreign_reduce(foreign, object);
    int64_t place = body ? mtpy_encoder_attach(encoder, body) : -1;
    uint32_t index = (uint32_t)place;
    if (place < 0 || mtpy_encoder_made(encoder, MTPY_TAG_FOREIGN, object, is_shared,
                                       sizeof(*foreign) + sizeof(index)) < 0)
        return -1;
    memcpy(encoder->at, foreign, sizeof(*foreign));
    memcpy(encoder->at + sizeof(*foreign), &index, sizeof(index));
    encoder->at += sizeof(*foreign) + sizeof(index);
    return MTPY_DONE;
}

static int
put_registered(struct mtpy_encoder *encoder, PyObject *object, PyObject *entry, bool is_shared)
{
    const struct mtpy_foreign *foreign = mtpy_foreign_of(entry);
    if (foreign)
        return put_foreign(encoder, object, foreign, is_shared);
    if (PyCapsule_CheckExact(entry))
        return put_share(encoder, object, PyCapsule_GetPointer(entry, NULL), is_shared);
    PyObject *value = PyObject_CallOneArg(PyTuple_GET_ITEM(entry, 0), object);
    return value ? push_reduced(encoder, object, value, MTPY_TAG_REBUILD, is_shared) : -1;
}

/* ---- buffers ---- */

/* Takes over the reference. object: what gets the number. */
static int
put_form(struct mtpy_encoder *encoder, struct mtpy_form *form, PyObject *object, bool is_shared)
{
    int64_t place = form ? mtpy_encoder_attach(encoder, &form->shared.body) : -1;
    uint32_t index = (uint32_t)place;
    if (place < 0 ||
        mtpy_encoder_made(encoder, MTPY_TAG_VIEW, object, is_shared, sizeof(index)) < 0)
        return -1;
    memcpy(encoder->at, &index, sizeof(index));
    encoder->at += sizeof(index);
    return MTPY_DONE;
}

static int
put_view(struct mtpy_encoder *encoder, PyObject *object, bool is_shared)
{
    Py_buffer view; /* asking for it raises ValueError when the memoryview is released */
    if (PyObject_GetBuffer(object, &view, PyBUF_FULL_RO) < 0)
        return -1;
    struct mtpy_form *form = mtpy_form_copy(&view);
    PyBuffer_Release(&view);
    return put_form(encoder, form, object, is_shared);
}

int
mtpy_encoder_put_lent(struct mtpy_encoder *encoder, PyObject *object)
{
    return put_form(encoder, mtpy_form_lend(encoder->state, object, false), object, false);
}

int
mtpy_encoder_put_object(struct mtpy_encoder *encoder, PyObject *object, bool is_shared)
{
    struct mtpy_state *state = encoder->state;
    PyObject *type = (PyObject *)Py_TYPE(object);
    PyObject *entry = mtpy_clone_registered(state, type);
    if (entry) {
        Py_INCREF(entry);
        int done = put_registered(encoder, object, entry, is_shared);
        Py_DECREF(entry);
        return done;
    }
    if (PyErr_Occurred() || load_copyreg(state) < 0)
        return -1;
    if (PyMemoryView_Check(object))
        return put_view(encoder, object, is_shared);
    if (PyFunction_Check(object))
        return put_global(encoder, object, NULL);
    PyObject *reduce = PyDict_Check(state->clone_dispatch)
                           ? PyDict_GetItemWithError(state->clone_dispatch, type)
                           : NULL;
    PyObject *reduced;
    if (reduce) {
        Py_INCREF(reduce);
        reduced = PyObject_CallOneArg(reduce, object);
        Py_DECREF(reduce);
    } else if (PyErr_Occurred()) {
        return -1;
    } else if (PyType_Check(object)) {
        return put_class(encoder, object);
    } else if (PyModule_Check(object)) {
        return mtpy_encoder_refuse(encoder, object, NULL);
    } else {
        reduced = PyObject_CallMethodOneArg(object, state->name_reduce_ex, state->number_four);
    }
    if (reduced)
        return put_reduced(encoder, object, reduced, is_shared);
    /* "cannot pickle ..." says no more than we do. */
    return PyErr_ExceptionMatches(PyExc_TypeError) ? mtpy_encoder_refuse(encoder, object, NULL) : -1;
}
