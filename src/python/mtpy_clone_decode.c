/* SPDX-License-Identifier: MIT */
/* Reading clones: a stack machine that runs what mtpy_clone_format.h describes. */
#include "python/mtpy_capi.h"
#include "python/mtpy_clone_decode.h"
#include "python/mtpy_shared.h"

#include <string.h>

/* ---- reading ---- */

static inline void
read_bytes(struct mtpy_decoder *decoder, void *bytes, size_t size)
{
    memcpy(bytes, decoder->at, size);
    decoder->at += size;
}

static inline Py_ssize_t
read_size(struct mtpy_decoder *decoder)
{
    uint64_t size;
    read_bytes(decoder, &size, sizeof(size));
    return (Py_ssize_t)size;
}

/* So many bytes where they lie. */
static inline const unsigned char *
skip(struct mtpy_decoder *decoder, size_t size)
{
    const unsigned char *bytes = decoder->at;
    decoder->at += size;
    return bytes;
}

static struct mt_body *
read_body(struct mtpy_decoder *decoder)
{
    uint32_t index;
    read_bytes(decoder, &index, sizeof(index));
    return decoder->message->bodies[index];
}

/* ---- the stack and the numbers ---- */

static MT_NOINLINE int
grow(PyObject ***array, PyObject **few, size_t count, size_t *capacity)
{
    size_t grown = 2 * *capacity;
    PyObject **larger = PyMem_Realloc(*array == few ? NULL : *array, grown * sizeof(*larger));
    if (!larger) {
        PyErr_NoMemory();
        return -1;
    }
    if (*array == few)
        memcpy(larger, few, count * sizeof(*larger));
    *array = larger;
    *capacity = grown;
    return 0;
}

/* Steals object, which may be NULL: an error. */
static inline int
push(struct mtpy_decoder *decoder, PyObject *object)
{
    if (MT_UNLIKELY(!object))
        return -1;
    if (MT_UNLIKELY(decoder->depth == decoder->capacity) &&
        grow(&decoder->stack, decoder->few, decoder->depth, &decoder->capacity) < 0) {
        Py_DECREF(object);
        return -1;
    }
    decoder->stack[decoder->depth++] = object;
    return 0;
}

static inline PyObject *
pop(struct mtpy_decoder *decoder)
{
    assert(decoder->depth);
    return decoder->stack[--decoder->depth];
}

/* The last so many; and then they go. */
static inline PyObject **
last(struct mtpy_decoder *decoder, Py_ssize_t count)
{
    assert(decoder->depth >= (size_t)count);
    return decoder->stack + decoder->depth - count;
}

static void
drop(struct mtpy_decoder *decoder, Py_ssize_t count)
{
    while (count--)
        Py_DECREF(pop(decoder));
}

/* Put the result of an operation where its `count` operands were. Steals result. */
static int
replace(struct mtpy_decoder *decoder, Py_ssize_t count, PyObject *result)
{
    drop(decoder, count);
    return push(decoder, result);
}

static int
number(struct mtpy_decoder *decoder)
{
    if (decoder->numbered == decoder->numbers_capacity &&
        grow(&decoder->numbers, decoder->few_numbers, decoder->numbered,
             &decoder->numbers_capacity) < 0)
        return -1;
    decoder->numbers[decoder->numbered++] = Py_NewRef(decoder->stack[decoder->depth - 1]);
    return 0;
}

/* ---- values ---- */

static PyObject *
read_str(struct mtpy_decoder *decoder)
{
    static const Py_UCS4 limits[] = {0x7f, 0xff, 0xffff, 0x10ffff};
    unsigned char class = *decoder->at++;
    Py_ssize_t length = read_size(decoder);
    PyObject *object = PyUnicode_New(length, limits[class]);
    if (!object || length == 0)
        return object;
    size_t size = (size_t)length * (size_t)PyUnicode_KIND(object);
    memcpy(PyUnicode_DATA(object), skip(decoder, size), size);
    return object;
}

/* Where a short text is looked for among the words read lately. */
static inline size_t
word_place(const char *text, size_t length)
{
    uint64_t first = 0, final = 0;
    memcpy(&first, text, length < 8 ? length : 8);
    if (length > 8)
        memcpy(&final, text + length - 8, 8);
    return (size_t)((first ^ final * 31 ^ length) * UINT64_C(0x9E3779B97F4A7C15) >> 56);
}

static PyObject *
read_ascii(struct mtpy_decoder *decoder)
{
    size_t length = *decoder->at++;
    const char *text = (const char *)skip(decoder, length);
    if (length <= 1)
        return PyUnicode_FromStringAndSize(text, (Py_ssize_t)length); /* CPython has one of each */
    /* Messages repeat the keys of their dicts; a str that is there already knows its hash, too. */
    PyObject **word = NULL;
    if (length <= MTPY_LONGEST_WORD) {
        word = &decoder->state->clone_words[word_place(text, length)];
        if (*word && (size_t)PyUnicode_GET_LENGTH(*word) == length &&
            memcmp(PyUnicode_DATA(*word), text, length) == 0)
            return Py_NewRef(*word);
    }
    PyObject *object = PyUnicode_New((Py_ssize_t)length, 0x7f);
    if (!object)
        return NULL;
    memcpy(PyUnicode_DATA(object), text, length);
    if (word)
        Py_XSETREF(*word, Py_NewRef(object));
    return object;
}

static PyObject *
read_value(struct mtpy_decoder *decoder, enum mtpy_tag tag)
{
    Py_ssize_t size;
    switch (tag) {
    case MTPY_TAG_INT64: {
        int64_t value;
        read_bytes(decoder, &value, sizeof(value));
        return PyLong_FromLongLong(value);
    }
    case MTPY_TAG_INT_BIG:
        size = read_size(decoder);
        return mtpy_int_read(skip(decoder, (size_t)size), size);
    case MTPY_TAG_FLOAT: {
        double value;
        read_bytes(decoder, &value, sizeof(value));
        return PyFloat_FromDouble(value);
    }
    case MTPY_TAG_COMPLEX: {
        Py_complex value;
        read_bytes(decoder, &value, sizeof(value));
        return PyComplex_FromCComplex(value);
    }
    case MTPY_TAG_STR:
        return read_str(decoder);
    case MTPY_TAG_BYTES:
        size = read_size(decoder);
        return PyBytes_FromStringAndSize((const char *)skip(decoder, (size_t)size), size);
    case MTPY_TAG_BYTEARRAY:
        size = read_size(decoder);
        return PyByteArray_FromStringAndSize((const char *)skip(decoder, (size_t)size), size);
    case MTPY_TAG_NEW_LIST:
        return PyList_New(0);
    case MTPY_TAG_NEW_DICT:
        return PyDict_New();
    case MTPY_TAG_NEW_SET:
        return PySet_New(NULL);
    case MTPY_TAG_VIEW:
        return mtpy_form_view(decoder->state,
                              MT_CONTAINER_OF(read_body(decoder), struct mtpy_form, shared.body));
    case MTPY_TAG_SHARE: {
        const struct mtpy_share *share;
        read_bytes(decoder, &share, sizeof(share));
        return share->wrap(decoder->state, read_body(decoder));
    }
    default:
        Py_UNREACHABLE();
    }
}

/* ---- containers ---- */

static int
make_list(struct mtpy_decoder *decoder, Py_ssize_t size)
{
    PyObject *list = PyList_New(size);
    if (!list)
        return -1;
    PyObject **items = last(decoder, size);
    for (Py_ssize_t i = 0; i < size; i++)
        PyList_SET_ITEM(list, i, items[i]);
    decoder->depth -= (size_t)size;
    return push(decoder, list);
}

static int
make_tuple(struct mtpy_decoder *decoder, Py_ssize_t size)
{
    PyObject *tuple = PyTuple_New(size);
    if (!tuple)
        return -1;
    PyObject **items = last(decoder, size);
    for (Py_ssize_t i = 0; i < size; i++)
        PyTuple_SET_ITEM(tuple, i, items[i]);
    decoder->depth -= (size_t)size;
    return push(decoder, tuple);
}

static int
fill_list(struct mtpy_decoder *decoder, Py_ssize_t size)
{
    if (make_list(decoder, size) < 0)
        return -1;
    PyObject *items = pop(decoder);
    PyObject *list = *last(decoder, 1);
    int failed = PyList_SetSlice(list, PyList_GET_SIZE(list), PyList_GET_SIZE(list), items);
    Py_DECREF(items);
    return failed;
}

static int
fill_dict(struct mtpy_decoder *decoder, Py_ssize_t size)
{
    PyObject **items = last(decoder, 2 * size);
    PyObject *dict = items[-1];
    for (Py_ssize_t i = 0; i < 2 * size; i += 2)
        if (PyDict_SetItem(dict, items[i], items[i + 1]) < 0)
            return -1;
    drop(decoder, 2 * size);
    return 0;
}

static int
fill_set(struct mtpy_decoder *decoder, Py_ssize_t size)
{
    PyObject **items = last(decoder, size);
    PyObject *set = items[-1];
    for (Py_ssize_t i = 0; i < size; i++)
        if (PySet_Add(set, items[i]) < 0)
            return -1;
    drop(decoder, size);
    return 0;
}

static int
make_frozenset(struct mtpy_decoder *decoder, Py_ssize_t size)
{
    PyObject *set = PyFrozenSet_New(NULL);
    PyObject **items = last(decoder, size);
    for (Py_ssize_t i = 0; set && i < size; i++)
        if (PySet_Add(set, items[i]) < 0)
            Py_CLEAR(set);
    return set ? replace(decoder, size, set) : -1;
}

/* ---- the whole ---- */

/* One operation. Returns 0, or -1 with an exception. */
static inline int
run(struct mtpy_decoder *decoder, enum mtpy_tag tag)
{
    switch (tag) {
    case MTPY_TAG_INT8:
        return push(decoder, PyLong_FromLong((int8_t)*decoder->at++));
    case MTPY_TAG_INT32: {
        int32_t value;
        read_bytes(decoder, &value, sizeof(value));
        return push(decoder, PyLong_FromLong(value));
    }
    case MTPY_TAG_ASCII:
        return push(decoder, read_ascii(decoder));
    case MTPY_TAG_GET: {
        uint32_t index;
        read_bytes(decoder, &index, sizeof(index));
        return push(decoder, Py_NewRef(decoder->numbers[index]));
    }
    case MTPY_TAG_NONE:
        return push(decoder, Py_NewRef(Py_None));
    case MTPY_TAG_FALSE:
        return push(decoder, Py_NewRef(Py_False));
    case MTPY_TAG_TRUE:
        return push(decoder, Py_NewRef(Py_True));
    case MTPY_TAG_ELLIPSIS:
        return push(decoder, Py_NewRef(Py_Ellipsis));
    case MTPY_TAG_NOT_IMPLEMENTED:
        return push(decoder, Py_NewRef(Py_NotImplemented));
    case MTPY_TAG_LIST:
        return make_list(decoder, read_size(decoder));
    case MTPY_TAG_FILL_LIST:
        return fill_list(decoder, read_size(decoder));
    case MTPY_TAG_TUPLE:
        return make_tuple(decoder, read_size(decoder));
    case MTPY_TAG_FILL_DICT:
        return fill_dict(decoder, read_size(decoder));
    case MTPY_TAG_FILL_SET:
        return fill_set(decoder, read_size(decoder));
    case MTPY_TAG_FROZENSET:
        return make_frozenset(decoder, read_size(decoder));
    case MTPY_TAG_DROP:
        drop(decoder, read_size(decoder));
        return 0;
    case MTPY_TAG_GLOBAL:
    case MTPY_TAG_SINGLETON_TYPE:
    case MTPY_TAG_CALL:
    case MTPY_TAG_NEW:
    case MTPY_TAG_NEW_EX:
    case MTPY_TAG_REBUILD: {
        PyObject **operands = NULL;
        Py_ssize_t count = mtpy_decoder_operands(tag);
        operands = last(decoder, count);
        PyObject *result = mtpy_decoder_make(decoder, tag, operands);
        return result ? replace(decoder, count, result) : -1;
    }
    case MTPY_TAG_FOREIGN: {
        struct mtpy_foreign foreign;
        read_bytes(decoder, &foreign, sizeof(foreign));
        struct mt_body *body = read_body(decoder);
        PyObject *result =
            mtpy_foreign_rebuild(decoder->state, *last(decoder, 1), &foreign, body);
        return result ? replace(decoder, 1, result) : -1;
    }
    case MTPY_TAG_SET_STATE:
    case MTPY_TAG_CALL_STATE:
    case MTPY_TAG_SET_CONTEXT: {
        Py_ssize_t count = mtpy_decoder_operands(tag);
        PyObject **operands = last(decoder, count);
        if (mtpy_decoder_change(decoder, tag, operands[-1], operands) < 0)
            return -1;
        drop(decoder, count);
        return 0;
    }
    case MTPY_TAG_EXTEND:
    case MTPY_TAG_SET_ITEMS: {
        Py_ssize_t count = read_size(decoder) * (tag == MTPY_TAG_SET_ITEMS ? 2 : 1);
        PyObject **items = last(decoder, count);
        if (mtpy_decoder_fill(decoder, tag, items[-1], items, count) < 0)
            return -1;
        drop(decoder, count);
        return 0;
    }
    default:
        return push(decoder, read_value(decoder, tag));
    }
}

static void
explain(struct mtpy_decoder *decoder)
{
    if (decoder->is_explained || !mtpy_clone_may_explain())
        return;
    PyObject *cause = mtpy_error_take();
    mtpy_clone_raise(decoder->state,
                     PyUnicode_FromFormat("a message cannot be rebuilt here: %s: %S",
                                          Py_TYPE(cause)->tp_name, cause),
                     cause);
}

static void
fini(struct mtpy_decoder *decoder)
{
    drop(decoder, (Py_ssize_t)decoder->depth);
    for (size_t i = 0; i < decoder->numbered; i++)
        Py_DECREF(decoder->numbers[i]);
    if (decoder->stack != decoder->few)
        PyMem_Free(decoder->stack);
    if (decoder->numbers != decoder->few_numbers)
        PyMem_Free(decoder->numbers);
}

PyObject *
mtpy_clone_decode(struct mtpy_state *state, struct mt_message *message)
{
    struct mtpy_decoder decoder;
    decoder.state = state;
    decoder.message = message;
    decoder.at = message->bytes;
    decoder.stack = decoder.few;
    decoder.depth = 0;
    decoder.capacity = MTPY_FEW_VALUES;
    decoder.numbers = decoder.few_numbers;
    decoder.numbered = 0;
    decoder.numbers_capacity = MTPY_FEW_VALUES;
    decoder.is_explained = false;
    const unsigned char *end = message->bytes + message->size;
    PyObject *result = NULL;
    while (decoder.at < end) {
        int tag = *decoder.at++;
        if (MT_UNLIKELY(run(&decoder, (enum mtpy_tag)(tag & ~MTPY_TAG_MEMO)) < 0) ||
            (tag & MTPY_TAG_MEMO && MT_UNLIKELY(number(&decoder) < 0))) {
            explain(&decoder);
            goto done;
        }
    }
    assert(decoder.depth == 1);
    result = pop(&decoder);
done:
    fini(&decoder);
    mt_message_give(&state->messages, message);
    return result;
}
