/* SPDX-License-Identifier: MIT */
/* SharedBuffer: memory that a message shares, with atomic words to be waited for. */
#include "python/mtpy_owner.h"
#include "python/mtpy_shared.h"

#include "base/mt_alloc.h"

#include <stdatomic.h>
#include <structmember.h>

struct buffer {
    PyObject_HEAD
    struct mtpy_state *state; /* borrowed: the type's module owns it */
    struct mt_shared *core;   /* one reference; NULL: it was handed over to somebody else */
    Py_ssize_t exports;       /* views of it that live */
    PyObject *weakrefs;
};

static struct mt_shared *
core_of(PyObject *object)
{
    struct mt_shared *core = ((struct buffer *)object)->core;
    if (!core)
        PyErr_SetString(PyExc_ValueError, "this SharedBuffer was transferred");
    return core;
}

/* Takes over the reference to core, which may be NULL: an exception is set, or memory is short. */
static PyObject *
wrap_core(struct mtpy_state *state, PyTypeObject *type, struct mt_shared *core)
{
    if (!core)
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    struct buffer *self = (struct buffer *)type->tp_alloc(type, 0);
    if (!self) {
        mt_shared_unref(core);
        return NULL;
    }
    self->state = state;
    self->core = core;
    return (PyObject *)self;
}

static PyObject *
buffer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"size", NULL};
    PyObject *given;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:SharedBuffer", names, &given))
        return NULL;
    Py_ssize_t size = PyNumber_AsSsize_t(given, PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred())
        return NULL;
    if (size < 0) {
        PyErr_Format(PyExc_ValueError, "size must be >= 0, got %zd", size);
        return NULL;
    }
    return wrap_core(mtpy_state_by_type(type), type, mt_shared_new((size_t)size));
}

static PyObject *
buffer_from_buffer(PyObject *class, PyObject *object)
{
    PyTypeObject *type = (PyTypeObject *)class;
    struct mtpy_state *state = mtpy_state_by_type(type);
    if (PyObject_TypeCheck(object, state->shared_type)) {
        struct mt_shared *core = core_of(object);
        if (core)
            (void)mt_body_ref(&core->body);
        return wrap_core(state, type, core);
    }
    struct mtpy_form *form = mtpy_form_lend(state, object, true);
    return wrap_core(state, type, form ? &form->shared : NULL);
}

static PyObject *
buffer_toreadonly(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct mt_shared *core = core_of(object);
    return core ? wrap_core(((struct buffer *)object)->state, Py_TYPE(object),
                            mt_shared_new_readonly(core))
                : NULL;
}

/* ---- words ---- */

static int64_t
read_only_error(void)
{
    PyErr_SetString(PyExc_BufferError, "this SharedBuffer is read-only");
    return -1;
}

/* The word at an offset; NULL with an exception. */
static _Atomic int64_t *
word_at(PyObject *object, PyObject *given, bool writes)
{
    Py_ssize_t offset = PyNumber_AsSsize_t(given, PyExc_IndexError);
    if (offset == -1 && PyErr_Occurred())
        return NULL;
    struct mt_shared *core = core_of(object);
    if (!core)
        return NULL;
    if (offset < 0 || core->size < sizeof(int64_t) ||
        (size_t)offset > core->size - sizeof(int64_t)) {
        PyErr_Format(PyExc_IndexError,
                     "offset must be that of 8 bytes inside the buffer of %zu, got %zd", core->size,
                     offset);
        return NULL;
    }
    unsigned char *at = core->data + offset;
    if (offset % 8 || (uintptr_t)at % 8) {
        if (offset % 8)
            PyErr_Format(PyExc_ValueError, "offset must be a multiple of 8, got %zd", offset);
        else
            PyErr_SetString(PyExc_ValueError,
                            "the memory of this SharedBuffer does not begin at a multiple of 8");
        return NULL;
    }
    if (writes && core->is_readonly) {
        (void)read_only_error();
        return NULL;
    }
    return (_Atomic int64_t *)(void *)at;
}

static int
parse_word(PyObject *given, int64_t *value)
{
    *value = PyLong_AsLongLong(given);
    return *value == -1 && PyErr_Occurred() ? -1 : 0;
}

static int
check_count(const char *name, Py_ssize_t nargs, Py_ssize_t wanted)
{
    if (MT_LIKELY(nargs == wanted))
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, got %zd", name, wanted, nargs);
    return -1;
}

static PyObject *
buffer_load(PyObject *object, PyObject *offset)
{
    const _Atomic int64_t *word = word_at(object, offset, false);
    return word ? PyLong_FromLongLong(atomic_load(word)) : NULL;
}

static PyObject *
buffer_store(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    int64_t value;
    _Atomic int64_t *word =
        check_count("store", nargs, 2) < 0 ? NULL : word_at(object, args[0], true);
    if (!word || parse_word(args[1], &value) < 0)
        return NULL;
    return PyLong_FromLongLong(atomic_exchange(word, value));
}

static PyObject *
buffer_exchange(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    int64_t value;
    _Atomic int64_t *word =
        check_count("exchange", nargs, 2) < 0 ? NULL : word_at(object, args[0], true);
    if (!word || parse_word(args[1], &value) < 0)
        return NULL;
    return PyLong_FromLongLong(atomic_exchange(word, value));
}

static PyObject *
buffer_add(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    int64_t value;
    _Atomic int64_t *word = check_count("add", nargs, 2) < 0 ? NULL : word_at(object, args[0], true);
    if (!word || parse_word(args[1], &value) < 0)
        return NULL;
    return PyLong_FromLongLong(atomic_fetch_add(word, value)); /* wraps around: C11 7.17.7.5 */
}

static PyObject *
buffer_compare_exchange(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    int64_t expected, value;
    _Atomic int64_t *word =
        check_count("compare_exchange", nargs, 3) < 0 ? NULL : word_at(object, args[0], true);
    if (!word || parse_word(args[1], &expected) < 0 || parse_word(args[2], &value) < 0)
        return NULL;
    (void)atomic_compare_exchange_strong(word, &expected, value);
    return PyLong_FromLongLong(expected);
}

static PyObject *
buffer_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct buffer *self = (struct buffer *)object;
    static const char *const names[] = {"offset", "expected", "timeout", NULL};
    PyObject *offset, *expected_object, *given = NULL;
    mt_time timeout;
    int64_t expected;
    if (mtpy_parse_slowly(args, nargs, kwnames, "OO|O:wait", names, &offset, &expected_object,
                          &given) < 0 ||
        mtpy_parse_timeout(given, "timeout", &timeout) < 0 ||
        parse_word(expected_object, &expected) < 0)
        return NULL;
    const _Atomic int64_t *word = word_at(object, offset, false);
    struct mtpy_sched *sched = word ? mtpy_sched_get(self->state) : NULL;
    if (!sched)
        return NULL;
    struct mt_shared *core = self->core;
    /* Others that refer to it may notify; a deadlock is what nobody can end. */
    bool is_elsewhere = atomic_load(&mt_body_ref(&core->body)->refs) > 2 || core->is_readonly;
    sched->core->external += is_elsewhere;
    int error = mt_shared_wait(sched->core, word, expected,
                               timeout ? mt_sched_deadline(sched->core, timeout) : 0, object);
    sched->core->external -= is_elsewhere;
    mt_shared_unref(core);
    if (error == MT_EEMPTY)
        Py_RETURN_FALSE;
    if (error)
        return mtpy_raise(error);
    Py_RETURN_TRUE;
}

static PyObject *
buffer_notify(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"offset", "count", NULL};
    PyObject *offset, *given = Py_None;
    if (mtpy_parse_slowly(args, nargs, kwnames, "O|O:notify", names, &offset, &given) < 0)
        return NULL;
    Py_ssize_t count = PY_SSIZE_T_MAX;
    if (given != Py_None) {
        count = PyNumber_AsSsize_t(given, NULL);
        if (count == -1 && PyErr_Occurred())
            return NULL;
        if (count < 0) {
            PyErr_Format(PyExc_ValueError, "count must be >= 0, got %zd", count);
            return NULL;
        }
    }
    const _Atomic int64_t *word = word_at(object, offset, false);
    if (!word)
        return NULL;
    struct mtpy_sched *here = mtpy_sched_here;
    return PyLong_FromSize_t(mt_shared_notify(here ? here->core : NULL, word, (size_t)count));
}

/* ---- the object ---- */

/* Borrowed, or NULL with an exception when it cannot be taken away. */
static struct mt_shared *
detachable_core(PyObject *object)
{
    struct buffer *self = (struct buffer *)object;
    struct mt_shared *core = core_of(object);
    if (!core || !self->exports)
        return core;
    PyErr_Format(PyExc_BufferError, "a SharedBuffer of which %zd views live cannot be transferred",
                 self->exports);
    return NULL;
}

static PyObject *
buffer_check_detach(PyObject *object, PyObject *unused)
{
    (void)unused;
    return detachable_core(object) ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
buffer_detach(PyObject *object, PyObject *unused)
{
    (void)unused;
    struct buffer *self = (struct buffer *)object;
    struct mt_shared *core = detachable_core(object);
    if (!core)
        return NULL;
    self->core = NULL;
    return wrap_core(self->state, Py_TYPE(object), core);
}

static int
buffer_get_buffer(PyObject *object, Py_buffer *view, int flags)
{
    struct mt_shared *core = core_of(object);
    if (!core) {
        view->obj = NULL;
        return -1;
    }
    if (PyBuffer_FillInfo(view, object, core->data, (Py_ssize_t)core->size, core->is_readonly,
                          flags) < 0)
        return -1;
    ((struct buffer *)object)->exports++;
    return 0;
}

static void
buffer_release_buffer(PyObject *object, Py_buffer *view)
{
    (void)view;
    ((struct buffer *)object)->exports--;
}

static Py_ssize_t
buffer_length(PyObject *object)
{
    struct mt_shared *core = core_of(object);
    return core ? (Py_ssize_t)core->size : -1;
}

static PyObject *
buffer_get_readonly(PyObject *object, void *unused)
{
    (void)unused;
    struct mt_shared *core = core_of(object);
    return core ? PyBool_FromLong(core->is_readonly) : NULL;
}

static void
buffer_dealloc(PyObject *object)
{
    struct buffer *self = (struct buffer *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    mt_shared_unref(self->core);
    mtpy_owner_collect_here();
    type->tp_free(object);
    Py_DECREF(type);
}

static int
buffer_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    return 0;
}

static PyObject *
buffer_repr(PyObject *object)
{
    struct mt_shared *core = ((struct buffer *)object)->core;
    return core ? PyUnicode_FromFormat("<%sSharedBuffer of %zu bytes at %p>",
                                       core->is_readonly ? "read-only " : "", core->size, core->data)
                : PyUnicode_FromString("<transferred SharedBuffer>");
}

PyObject *
mtpy_shared_describe(PyObject *object)
{
    PyObject *what = buffer_repr(object);
    PyObject *text = what ? PyUnicode_FromFormat("notify of %U", what) : NULL;
    Py_XDECREF(what);
    return text;
}

static PyMemberDef buffer_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct buffer, weakrefs), READONLY, NULL},
    {0},
};

static PyGetSetDef buffer_getset[] = {
    {"readonly", buffer_get_readonly, NULL, "Whether it may be read only.", NULL},
    {0},
};

#define CAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef buffer_methods[] = {
    {"from_buffer", buffer_from_buffer, METH_O | METH_CLASS,
     "from_buffer($cls, obj, /)\n--\n\n"
     "A SharedBuffer over the memory of any object with a contiguous buffer; nothing is copied.\n\n"
     "The object's buffer is held until the last one who refers to it lets go. It is read-only when\n"
     "the object's is."},
    {"toreadonly", buffer_toreadonly, METH_NOARGS,
     "toreadonly($self)\n--\n\nThe same memory as a SharedBuffer that may be read only."},
    {"load", buffer_load, METH_O, "load($self, offset, /)\n--\n\nThe word at offset."},
    {"store", CAST(buffer_store), METH_FASTCALL,
     "store($self, offset, value, /)\n--\n\nPut value there; returns the old one."},
    {"add", CAST(buffer_add), METH_FASTCALL,
     "add($self, offset, value, /)\n--\n\n"
     "Add value to the word, modulo 2**64; returns the old one."},
    {"exchange", CAST(buffer_exchange), METH_FASTCALL,
     "exchange($self, offset, value, /)\n--\n\nPut value there; returns the old one."},
    {"compare_exchange", CAST(buffer_compare_exchange), METH_FASTCALL,
     "compare_exchange($self, offset, expected, new, /)\n--\n\n"
     "Put new there if the word is expected; returns the old one."},
    {"wait", CAST(buffer_wait), METH_FASTCALL | METH_KEYWORDS,
     "wait($self, offset, expected, timeout=None)\n--\n\n"
     "Wait until somebody notifies the word; True. At once, and False, if it is not expected.\n\n"
     "timeout: seconds >= 0, None for no limit. Raises TimeoutError. Only the micro-thread waits."},
    {"notify", CAST(buffer_notify), METH_FASTCALL | METH_KEYWORDS,
     "notify($self, offset, count=None)\n--\n\n"
     "Wake up to count of those who wait for the word, the earliest first, in any interpreter; None\n"
     "for all. Returns how many."},
    {"_check_detach", buffer_check_detach, METH_NOARGS, NULL},
    {"_detach", buffer_detach, METH_NOARGS, NULL},
    {0},
};

static PyType_Slot buffer_slots[] = {
    {Py_tp_doc,
     "SharedBuffer(size)\n--\n\n"
     "Memory, zeroed, that a message to another interpreter shares, not copies.\n\n"
     "size: bytes. It lives as long as anybody anywhere refers to it. The buffer protocol gives its\n"
     "bytes; the methods see signed 64-bit words at offsets in bytes that are multiples of 8, and are\n"
     "atomic. Outside: IndexError; misaligned: ValueError; read-only: BufferError."},
    {Py_tp_new, buffer_new},
    {Py_tp_dealloc, buffer_dealloc},
    {Py_tp_traverse, buffer_traverse},
    {Py_tp_repr, buffer_repr},
    {Py_tp_methods, buffer_methods},
    {Py_tp_getset, buffer_getset},
    {Py_tp_members, buffer_members},
    {Py_sq_length, buffer_length},
    {Py_bf_getbuffer, buffer_get_buffer},
    {Py_bf_releasebuffer, buffer_release_buffer},
    {0, NULL},
};

PyType_Spec mtpy_shared_spec = {
    .name = "microthread.interpreters.SharedBuffer",
    .basicsize = sizeof(struct buffer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = buffer_slots,
};

/* ---- in messages ---- */

static struct mt_body *
share(struct mtpy_state *state, PyObject *object)
{
    (void)state;
    struct mt_shared *core = core_of(object);
    return core ? mt_body_ref(&core->body) : NULL;
}

static PyObject *
wrap(struct mtpy_state *state, struct mt_body *body)
{
    (void)mt_body_ref(body);
    return wrap_core(state, state->shared_type, MT_CONTAINER_OF(body, struct mt_shared, body));
}

const struct mtpy_share mtpy_shared_share = {share, wrap};

static PyObject *
core_clone_buffer(PyObject *module, PyObject *object)
{
    struct mtpy_state *state = mtpy_state_of(module);
    struct mt_message *message;
    if (mtpy_clone_encode_buffer(state, object, &message) < 0)
        return NULL;
    return mtpy_clone_decode(state, message);
}

static PyMethodDef shared_functions[] = {
    {"_clone_buffer", core_clone_buffer, METH_O, NULL},
    {0},
};

int
mtpy_shared_add(struct mtpy_state *state, PyObject *module)
{
    state->memory_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &mtpy_memory_spec, NULL);
    state->shared_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &mtpy_shared_spec, NULL);
    if (!state->memory_type || !state->shared_type ||
        PyModule_AddType(module, state->shared_type) < 0 ||
        PyModule_AddFunctions(module, shared_functions) < 0)
        return -1;
    return mtpy_clone_register_share(state, state->shared_type, &mtpy_shared_share);
}
