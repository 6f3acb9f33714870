/* SPDX-License-Identifier: MIT */
/* Writing clones: the buffer, the frames, and the builtin types. */
#include "python/mtpy_clone_encode.h"
#include "python/mtpy_shared.h"

#include <string.h>

/* Deeper is an endless __reduce__, not data. */
enum { MOST_FRAMES = 1 << 20 };

/* ---- bytes ---- */

int
mtpy_encoder_grow(struct mtpy_encoder *encoder, size_t more)
{
    struct mt_message *message = encoder->message;
    message->size = (size_t)(encoder->at - message->bytes);
    if (mt_message_grow(&message, more)) {
        PyErr_NoMemory();
        return -1;
    }
    encoder->message = message;
    encoder->at = message->bytes + message->size;
    encoder->end = message->bytes + message->capacity;
    return 0;
}

static inline void
write_tag(struct mtpy_encoder *encoder, int tag)
{
    *encoder->at++ = (unsigned char)tag;
}

static inline void
write_bytes(struct mtpy_encoder *encoder, const void *bytes, size_t size)
{
    memcpy(encoder->at, bytes, size);
    encoder->at += size;
}

int
mtpy_encoder_tag(struct mtpy_encoder *encoder, enum mtpy_tag tag)
{
    if (mtpy_encoder_reserve(encoder, 1) < 0)
        return -1;
    write_tag(encoder, tag);
    return 0;
}

static int
tag_size(struct mtpy_encoder *encoder, int tag, uint64_t size)
{
    if (mtpy_encoder_reserve(encoder, 1 + sizeof(size)) < 0)
        return -1;
    write_tag(encoder, tag);
    write_bytes(encoder, &size, sizeof(size));
    return 0;
}

int
mtpy_encoder_tag_size(struct mtpy_encoder *encoder, enum mtpy_tag tag, uint64_t size)
{
    return tag_size(encoder, tag, size);
}

int64_t
mtpy_encoder_attach(struct mtpy_encoder *encoder, struct mt_body *body)
{
    int64_t index = mt_message_attach(encoder->message, body);
    if (index >= 0)
        return index;
    mt_body_unref(body);
    PyErr_NoMemory();
    return -1;
}

/* ---- numbers ---- */

int
mtpy_encoder_put_known(struct mtpy_encoder *encoder, PyObject *object)
{
    uint32_t number;
    if (!mtpy_encoder_number_of(encoder, object, &number))
        return 0;
    if (mtpy_encoder_reserve(encoder, 1 + sizeof(number)) < 0)
        return -1;
    write_tag(encoder, MTPY_TAG_GET);
    write_bytes(encoder, &number, sizeof(number));
    return MTPY_DONE;
}

/* A tag for an object that gets a number if it is shared; room for `more` bytes is made, too. */
static inline int
begin(struct mtpy_encoder *encoder, int tag, PyObject *object, bool is_shared, size_t more)
{
    if (mtpy_encoder_reserve(encoder, 1 + more) < 0)
        return -1;
    if (is_shared && mtpy_encoder_number(encoder, object) < 0)
        return -1;
    write_tag(encoder, is_shared ? tag | MTPY_TAG_MEMO : tag);
    return 0;
}

int
mtpy_encoder_made(struct mtpy_encoder *encoder, enum mtpy_tag tag, PyObject *object, bool is_shared,
                  size_t more)
{
    return begin(encoder, tag, object, is_shared, more);
}

/* A finished tuple or frozenset: its inside may have come across it and given it a number. */
static int
made_of(struct mtpy_encoder *encoder, enum mtpy_tag tag, const struct mtpy_frame *frame)
{
    uint64_t size = (uint64_t)frame->count;
    if (frame->is_shared && mtpy_encoder_is_known(encoder, frame->object)) {
        if (tag_size(encoder, MTPY_TAG_DROP, size) < 0)
            return -1;
        return mtpy_encoder_put_known(encoder, frame->object);
    }
    if (begin(encoder, tag, frame->object, frame->is_shared, sizeof(size)) < 0)
        return -1;
    write_bytes(encoder, &size, sizeof(size));
    return MTPY_DONE;
}

/* ---- what holds nothing else ---- */

static int
put_int(struct mtpy_encoder *encoder, PyObject *object)
{
    if (mtpy_encoder_reserve(encoder, 9) < 0)
        return -1;
    int overflow = 0;
    long small_value;
    long long value = mtpy_int_is_small(object, &small_value)
                          ? small_value
                          : PyLong_AsLongLongAndOverflow(object, &overflow);
    if (MT_LIKELY(!overflow)) {
        if (value == (int8_t)value) {
            int8_t small = (int8_t)value;
            write_tag(encoder, MTPY_TAG_INT8);
            write_bytes(encoder, &small, sizeof(small));
        } else if (value == (int32_t)value) {
            int32_t middle = (int32_t)value;
            write_tag(encoder, MTPY_TAG_INT32);
            write_bytes(encoder, &middle, sizeof(middle));
        } else {
            int64_t large = value;
            write_tag(encoder, MTPY_TAG_INT64);
            write_bytes(encoder, &large, sizeof(large));
        }
        return MTPY_DONE;
    }
    Py_ssize_t size = mtpy_int_size(object);
    if (size < 0 || tag_size(encoder, MTPY_TAG_INT_BIG, (uint64_t)size) < 0 ||
        mtpy_encoder_reserve(encoder, (size_t)size) < 0 ||
        mtpy_int_write(object, encoder->at, size) < 0)
        return -1;
    encoder->at += size;
    return MTPY_DONE;
}

static int
put_sized(struct mtpy_encoder *encoder, int tag, PyObject *object, bool is_shared,
          const void *bytes, size_t size)
{
    uint64_t written = size;
    if (begin(encoder, tag, object, is_shared, sizeof(written) + size) < 0)
        return -1;
    write_bytes(encoder, &written, sizeof(written));
    write_bytes(encoder, bytes, size);
    return MTPY_DONE;
}

/* Whether others may refer to it, so that it is worth a number; and if it has one, write that.
   Returns MTPY_DONE, 0 or -1. */
static inline int
put_if_known(struct mtpy_encoder *encoder, PyObject *object, bool *is_shared)
{
    *is_shared = Py_REFCNT(object) > 1;
    return *is_shared && encoder->memo ? mtpy_encoder_put_known(encoder, object) : 0;
}

static int
put_str(struct mtpy_encoder *encoder, PyObject *object)
{
    bool is_shared;
    int done = put_if_known(encoder, object, &is_shared);
    if (done)
        return done;
    if (mtpy_str_ready(object) < 0)
        return -1;
    size_t length = (size_t)PyUnicode_GET_LENGTH(object);
    const void *data = PyUnicode_DATA(object);
    if (PyUnicode_IS_ASCII(object) && length < 256) {
        if (length <= 1)
            is_shared = false; /* CPython has one of each */
        if (begin(encoder, MTPY_TAG_ASCII, object, is_shared, 1 + length) < 0)
            return -1;
        *encoder->at++ = (unsigned char)length;
        write_bytes(encoder, data, length);
        return MTPY_DONE;
    }
    size_t size = length * (size_t)PyUnicode_KIND(object);
    uint64_t written = length;
    if (begin(encoder, MTPY_TAG_STR, object, is_shared, 1 + sizeof(written) + size) < 0)
        return -1;
    int kind = PyUnicode_KIND(object);
    *encoder->at++ = (unsigned char)(PyUnicode_IS_ASCII(object) ? 0 : kind == 4 ? 3 : kind);
    write_bytes(encoder, &written, sizeof(written));
    write_bytes(encoder, data, size);
    return MTPY_DONE;
}

static int
put_bytes(struct mtpy_encoder *encoder, PyObject *object)
{
    bool is_shared;
    int done = put_if_known(encoder, object, &is_shared);
    if (done)
        return done;
    if (PyBytes_GET_SIZE(object) <= 1)
        is_shared = false; /* CPython has one of each */
    return put_sized(encoder, MTPY_TAG_BYTES, object, is_shared, PyBytes_AS_STRING(object),
                     (size_t)PyBytes_GET_SIZE(object));
}

static int
put_complex(struct mtpy_encoder *encoder, PyObject *object)
{
    Py_complex value = PyComplex_AsCComplex(object);
    if (mtpy_encoder_reserve(encoder, 1 + sizeof(value)) < 0)
        return -1;
    write_tag(encoder, MTPY_TAG_COMPLEX);
    write_bytes(encoder, &value, sizeof(value));
    return MTPY_DONE;
}

/* The types that hold nothing else and run no code. Returns MTPY_DONE, -1, or 0: it is another. */
static inline int
put_leaf(struct mtpy_encoder *encoder, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyUnicode_Type)
        return put_str(encoder, object);
    if (type == &PyLong_Type)
        return put_int(encoder, object);
    if (mtpy_encoder_reserve(encoder, 1 + sizeof(double)) < 0)
        return -1;
    if (type == &PyFloat_Type) {
        double value = PyFloat_AS_DOUBLE(object);
        write_tag(encoder, MTPY_TAG_FLOAT);
        write_bytes(encoder, &value, sizeof(value));
    } else if (object == Py_None) {
        write_tag(encoder, MTPY_TAG_NONE);
    } else if (type == &PyBool_Type) {
        write_tag(encoder, object == Py_True ? MTPY_TAG_TRUE : MTPY_TAG_FALSE);
    } else if (type == &PyBytes_Type) {
        return put_bytes(encoder, object);
    } else {
        return 0;
    }
    return MTPY_DONE;
}

/* ---- frames ---- */

int
mtpy_encoder_flush(struct mtpy_encoder *encoder, struct mtpy_frame *frame, enum mtpy_tag tag)
{
    uint64_t size = frame->waiting;
    frame->waiting = 0;
    return size ? tag_size(encoder, tag, size) : 0;
}

struct mtpy_frame *
mtpy_encoder_push(struct mtpy_encoder *encoder, PyObject *object,
                  int (*step)(struct mtpy_encoder *, struct mtpy_frame *))
{
    if (encoder->depth == encoder->frames_capacity) {
        if (encoder->depth >= MOST_FRAMES) {
            mtpy_encoder_refuse(encoder, object, "it is nested too deep");
            return NULL;
        }
        size_t capacity = 4 * encoder->frames_capacity;
        bool is_first = encoder->frames == encoder->few_frames;
        struct mtpy_frame *frames = PyMem_Realloc(is_first ? NULL : encoder->frames,
                                                  capacity * sizeof(*frames));
        if (!frames) {
            PyErr_NoMemory();
            return NULL;
        }
        if (is_first)
            memcpy(frames, encoder->few_frames, sizeof(encoder->few_frames));
        encoder->frames = frames;
        encoder->frames_capacity = capacity;
    }
    struct mtpy_frame *frame = &encoder->frames[encoder->depth++];
    *frame = (struct mtpy_frame){.step = step, .object = Py_NewRef(object)};
    return frame;
}

static void
pop(struct mtpy_encoder *encoder)
{
    struct mtpy_frame frame = encoder->frames[--encoder->depth];
    Py_XDECREF(frame.key);
    Py_XDECREF(frame.value);
    Py_XDECREF(frame.iterator);
    Py_XDECREF(frame.extra);
    Py_DECREF(frame.object);
}

int
mtpy_encoder_list(struct mtpy_encoder *encoder, struct mtpy_frame *frame)
{
    PyObject *list = frame->object;
    while (frame->next < PyList_GET_SIZE(list)) {
        PyObject *item = PyList_GET_ITEM(list, frame->next++);
        int done = put_leaf(encoder, item);
        if (!done)
            done = mtpy_encoder_put(encoder, item);
        if (done != MTPY_DONE)
            return done;
    }
    if (PyList_GET_SIZE(list) != frame->count)
        return mtpy_encoder_refuse(encoder, list, "it changed meanwhile");
    return tag_size(encoder, frame->is_shared ? MTPY_TAG_FILL_LIST : MTPY_TAG_LIST,
                    (uint64_t)frame->count) < 0
               ? -1
               : MTPY_DONE;
}

int
mtpy_encoder_tuple(struct mtpy_encoder *encoder, struct mtpy_frame *frame)
{
    PyObject *tuple = frame->object;
    while (frame->next < frame->count) {
        int done = mtpy_encoder_put(encoder, PyTuple_GET_ITEM(tuple, frame->next++));
        if (done != MTPY_DONE)
            return done;
    }
    return made_of(encoder, MTPY_TAG_TUPLE, frame);
}

static inline void
set_key(struct mtpy_frame *frame, PyObject *key)
{
    Py_XSETREF(frame->key, Py_NewRef(key));
}

int
mtpy_encoder_dict(struct mtpy_encoder *encoder, struct mtpy_frame *frame)
{
    int done;
    for (;;) {
        if (frame->waiting == MTPY_CLONE_BATCH &&
            mtpy_encoder_flush(encoder, frame, MTPY_TAG_FILL_DICT) < 0)
            return -1;
        PyObject *value = frame->value;
        if (!value) {
            PyObject *key;
            if (!PyDict_Next(frame->object, &frame->next, &key, &value))
                break;
            frame->count--;
            done = put_leaf(encoder, key);
            if (done == MTPY_DONE)
                done = put_leaf(encoder, value);
            else if (done == 0) {
                set_key(frame, key);
                frame->value = Py_NewRef(value);
                done = mtpy_encoder_put(encoder, key);
                if (done != MTPY_DONE)
                    return done;
                continue;
            }
            if (done < 0)
                return -1;
            if (done == MTPY_DONE) {
                frame->waiting++;
                continue;
            }
            set_key(frame, key);
            Py_INCREF(value);
        }
        /* A key that took a frame of its own has been written, or one that needed none. */
        frame->value = NULL;
        frame->waiting++;
        done = mtpy_encoder_put(encoder, value);
        Py_DECREF(value);
        if (done != MTPY_DONE)
            return done;
    }
    if (frame->count)
        return mtpy_encoder_refuse(encoder, frame->object, "it changed meanwhile");
    return mtpy_encoder_flush(encoder, frame, MTPY_TAG_FILL_DICT) < 0 ? -1 : MTPY_DONE;
}

/* A set or frozenset; frame->extra is a tuple of what is in it. */
int
mtpy_encoder_set(struct mtpy_encoder *encoder, struct mtpy_frame *frame)
{
    bool is_set = Py_TYPE(frame->object) == &PySet_Type;
    while (frame->next < frame->count) {
        if (is_set && frame->waiting == MTPY_CLONE_BATCH &&
            mtpy_encoder_flush(encoder, frame, MTPY_TAG_FILL_SET) < 0)
            return -1;
        frame->waiting++;
        int done = mtpy_encoder_put(encoder, PyTuple_GET_ITEM(frame->extra, frame->next++));
        if (done != MTPY_DONE)
            return done;
    }
    if (is_set)
        return mtpy_encoder_flush(encoder, frame, MTPY_TAG_FILL_SET) < 0 ? -1 : MTPY_DONE;
    return made_of(encoder, MTPY_TAG_FROZENSET, frame);
}

static int
push_tuple(struct mtpy_encoder *encoder, PyObject *object, bool is_shared)
{
    if (PyTuple_GET_SIZE(object) == 0)
        return tag_size(encoder, MTPY_TAG_TUPLE, 0) < 0 ? -1 : MTPY_DONE;
    struct mtpy_frame *frame = mtpy_encoder_push(encoder, object, mtpy_encoder_tuple);
    if (!frame)
        return -1;
    frame->count = PyTuple_GET_SIZE(object);
    frame->is_shared = is_shared;
    return MTPY_PUSHED;
}

static int
push_list(struct mtpy_encoder *encoder, PyObject *object, bool is_shared)
{
    if (is_shared && begin(encoder, MTPY_TAG_NEW_LIST, object, true, 0) < 0)
        return -1;
    struct mtpy_frame *frame = mtpy_encoder_push(encoder, object, mtpy_encoder_list);
    if (!frame)
        return -1;
    frame->count = PyList_GET_SIZE(object);
    frame->is_shared = is_shared;
    return MTPY_PUSHED;
}

static int
push_dict(struct mtpy_encoder *encoder, PyObject *object, bool is_shared)
{
    struct mtpy_frame *frame = NULL;
    if (begin(encoder, MTPY_TAG_NEW_DICT, object, is_shared, 0) == 0)
        frame = mtpy_encoder_push(encoder, object, mtpy_encoder_dict);
    if (!frame)
        return -1;
    frame->count = PyDict_GET_SIZE(object);
    return MTPY_PUSHED;
}

static int
push_set(struct mtpy_encoder *encoder, PyObject *object, bool is_shared)
{
    if (Py_TYPE(object) == &PySet_Type &&
        begin(encoder, MTPY_TAG_NEW_SET, object, is_shared, 0) < 0)
        return -1;
    PyObject *items = PySequence_Tuple(object);
    struct mtpy_frame *frame =
        items ? mtpy_encoder_push(encoder, object, mtpy_encoder_set) : NULL;
    if (!frame) {
        Py_XDECREF(items);
        return -1;
    }
    frame->extra = items;
    frame->count = PyTuple_GET_SIZE(items);
    frame->is_shared = is_shared;
    return MTPY_PUSHED;
}

int
mtpy_encoder_put(struct mtpy_encoder *encoder, PyObject *object)
{
    int done = put_leaf(encoder, object);
    if (done)
        return done;
    bool is_shared;
    done = put_if_known(encoder, object, &is_shared);
    if (done)
        return done;
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyDict_Type)
        return push_dict(encoder, object, is_shared);
    if (type == &PyList_Type)
        return push_list(encoder, object, is_shared);
    if (type == &PyTuple_Type)
        return push_tuple(encoder, object, is_shared);
    if (type == &PySet_Type || type == &PyFrozenSet_Type)
        return push_set(encoder, object, is_shared);
    if (type == &PyByteArray_Type)
        return put_sized(encoder, MTPY_TAG_BYTEARRAY, object, is_shared,
                         PyByteArray_AS_STRING(object), (size_t)PyByteArray_GET_SIZE(object));
    if (type == &PyComplex_Type)
        return put_complex(encoder, object);
    if (object == Py_Ellipsis || object == Py_NotImplemented)
        return mtpy_encoder_tag(encoder, object == Py_Ellipsis ? MTPY_TAG_ELLIPSIS
                                                               : MTPY_TAG_NOT_IMPLEMENTED) < 0
                   ? -1
                   : MTPY_DONE;
    Py_INCREF(object);
    done = mtpy_encoder_put_object(encoder, object, is_shared);
    Py_DECREF(object);
    return done;
}

/* ---- the whole ---- */

static void
fini(struct mtpy_encoder *encoder)
{
    while (encoder->depth)
        pop(encoder);
    if (encoder->frames != encoder->few_frames)
        PyMem_Free(encoder->frames);
    mtpy_encoder_forget_numbers(encoder);
}

static int
encode(struct mtpy_state *state, PyObject *object,
       int (*put)(struct mtpy_encoder *, PyObject *), struct mt_message **message)
{
    struct mtpy_encoder encoder;
    encoder.state = state;
    encoder.message = mt_message_take(&state->messages);
    if (!encoder.message) {
        PyErr_NoMemory();
        return -1;
    }
    encoder.at = encoder.message->bytes;
    encoder.end = encoder.at + MT_MESSAGE_SMALL;
    encoder.frames = encoder.few_frames;
    encoder.frames_capacity = MTPY_FEW_FRAMES;
    encoder.depth = 0;
    encoder.memo = NULL;
    encoder.memo_mask = 0;
    encoder.memo_count = 0;
    encoder.has_path = false;
    int done = put(&encoder, object);
    while (done >= 0 && encoder.depth) {
        struct mtpy_frame *frame = &encoder.frames[encoder.depth - 1];
        done = frame->step(&encoder, frame);
        if (done == MTPY_DONE)
            pop(&encoder);
    }
    if (done < 0)
        mtpy_encoder_explain(&encoder);
    fini(&encoder);
    if (done < 0) {
        mt_message_give(&state->messages, encoder.message);
        return -1;
    }
    encoder.message->size = (size_t)(encoder.at - encoder.message->bytes);
    *message = encoder.message;
    return 0;
}

int
mtpy_clone_encode(struct mtpy_state *state, PyObject *object, struct mt_message **message)
{
    return encode(state, object, mtpy_encoder_put, message);
}

int
mtpy_clone_encode_buffer(struct mtpy_state *state, PyObject *object, struct mt_message **message)
{
    if (!PyObject_CheckBuffer(object)) {
        PyErr_Format(PyExc_TypeError, "obj must have a buffer, got %.200s",
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    return encode(state, object, mtpy_encoder_put_lent, message);
}
