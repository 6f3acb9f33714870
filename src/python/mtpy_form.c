/* SPDX-License-Identifier: MIT */
/* Buffers that are lent to other interpreters, and copies of them. A lent buffer is held by a Py_buffer
   that only its own interpreter may release: whoever drops the last reference, anywhere, gives it back
   by way of its owner. */
#include "python/mtpy_owner.h"
#include "python/mtpy_shared.h"

#include "base/mt_alloc.h"

#include <string.h>

/* ---- lending ---- */

struct lent {
    struct mtpy_form form;
    struct mt_loan loan;
    Py_buffer view; /* held; only the owner may touch it */
};

static void
lent_free(struct mt_body *body)
{
    /* If its interpreter is gone, so is what could release it. */
    (void)mt_owner_give_back(&MT_CONTAINER_OF(body, struct lent, form.shared.body)->loan);
}

/* The exporter's destructor may run any code, and wait. */
static void
release(struct mt_loan *loan, bool is_late)
{
    (void)is_late;
    struct lent *lent = MT_CONTAINER_OF(loan, struct lent, loan);
    PyBuffer_Release(&lent->view);
    mt_alloc_free(lent);
}

struct mtpy_form *
mtpy_form_lend(struct mtpy_state *state, PyObject *object, bool needs_bytes)
{
    struct mt_owner *owner = mtpy_owner_get(state);
    struct lent *lent = owner ? mt_alloc_zeroed(sizeof(*lent)) : NULL;
    if (!lent) {
        if (owner)
            PyErr_NoMemory();
        return NULL;
    }
    int error = PyObject_GetBuffer(object, &lent->view, needs_bytes ? PyBUF_CONTIG_RO : PyBUF_FULL_RO);
    if (!error && lent->view.suboffsets) {
        PyBuffer_Release(&lent->view);
        PyErr_SetString(PyExc_BufferError, "a buffer with suboffsets cannot be shared");
        error = -1;
    }
    if (error) {
        mt_alloc_free(lent);
        return NULL;
    }
    Py_buffer *view = &lent->view;
    lent->form = (struct mtpy_form){
        .shared = {.data = view->buf, .size = (size_t)view->len, .is_readonly = view->readonly},
        .format = view->format, .shape = view->shape, .strides = view->strides,
        .itemsize = view->itemsize, .ndim = view->ndim,
    };
    if (!view->shape && view->ndim) { /* as bytes */
        lent->form.ndim = 1;
        lent->form.itemsize = 1;
    }
    mt_body_init(&lent->form.shared.body, lent_free);
    lent->loan.come_home = release;
    mt_owner_lend(owner, &lent->loan);
    return &lent->form;
}

/* ---- copying ---- */

struct copied {
    struct mtpy_form form;
    Py_ssize_t *numbers; /* shape, then strides; owned, and the format behind them */
};

static void
copied_free(struct mt_body *body)
{
    struct copied *copied = MT_CONTAINER_OF(body, struct copied, form.shared.body);
    mt_alloc_free(copied->form.shared.data);
    mt_alloc_free(copied->numbers);
    mt_alloc_free(copied);
}

struct mtpy_form *
mtpy_form_copy(const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    size_t count = (size_t)view->ndim, room = 2 * count * sizeof(Py_ssize_t);
    struct copied *copied = mt_alloc_zeroed(sizeof(*copied));
    unsigned char *data = mt_alloc((size_t)view->len + 1);
    Py_ssize_t *numbers = mt_alloc(room + strlen(format) + 1);
    if (!copied || !data || !numbers) {
        PyErr_NoMemory();
        goto failed;
    }
    if (PyBuffer_ToContiguous(data, view, view->len, 'C') < 0)
        goto failed;
    Py_ssize_t stride = view->itemsize;
    for (size_t i = count; i-- > 0;) {
        numbers[i] = view->shape[i];
        numbers[count + i] = stride;
        stride *= view->shape[i];
    }
    strcpy((char *)numbers + room, format);
    copied->numbers = numbers;
    copied->form = (struct mtpy_form){
        .shared = {.data = data, .size = (size_t)view->len, .is_readonly = view->readonly},
        .format = (char *)numbers + room, .shape = numbers, .strides = numbers + count,
        .itemsize = view->itemsize, .ndim = view->ndim,
    };
    mt_body_init(&copied->form.shared.body, copied_free);
    return &copied->form;
failed:
    mt_alloc_free(numbers);
    mt_alloc_free(data);
    mt_alloc_free(copied);
    return NULL;
}

/* ---- the exporter in the interpreter that looks ---- */

struct memory {
    PyObject_HEAD
    struct mtpy_form *form; /* one reference */
};

static int
memory_get_buffer(PyObject *object, Py_buffer *view, int flags)
{
    struct mtpy_form *form = ((struct memory *)object)->form;
    *view = (Py_buffer){
        .buf = form->shared.data, .len = (Py_ssize_t)form->shared.size,
        .itemsize = form->itemsize, .readonly = form->shared.is_readonly, .ndim = form->ndim,
        .format = (char *)(uintptr_t)form->format, .shape = (Py_ssize_t *)(uintptr_t)form->shape,
        .strides = (Py_ssize_t *)(uintptr_t)form->strides,
    };
    const char *why = NULL;
    if ((flags & PyBUF_WRITABLE) == PyBUF_WRITABLE && view->readonly)
        why = "the memory is read-only";
    else if ((flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS && !PyBuffer_IsContiguous(view, 'C'))
        why = "the memory is not contiguous in C order";
    else if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && !PyBuffer_IsContiguous(view, 'F'))
        why = "the memory is not contiguous in Fortran order";
    else if ((flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS && !PyBuffer_IsContiguous(view, 'A'))
        why = "the memory is not contiguous";
    else if ((flags & PyBUF_STRIDES) != PyBUF_STRIDES && !PyBuffer_IsContiguous(view, 'C'))
        why = "the memory is not contiguous";
    if (why) {
        PyErr_SetString(PyExc_BufferError, why);
        view->obj = NULL;
        return -1;
    }
    if (!(flags & PyBUF_FORMAT))
        view->format = NULL;
    if (!(flags & PyBUF_ND))
        view->shape = NULL;
    if ((flags & PyBUF_STRIDES) != PyBUF_STRIDES)
        view->strides = NULL;
    view->obj = Py_NewRef(object);
    return 0;
}

static void
memory_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    mt_body_unref(&((struct memory *)object)->form->shared.body);
    mtpy_owner_collect_here();
    type->tp_free(object);
    Py_DECREF(type);
}

static PyType_Slot memory_slots[] = {
    {Py_tp_doc, "Memory of another interpreter, or a copy of some; seen by a memoryview."},
    {Py_tp_dealloc, memory_dealloc},
    {Py_bf_getbuffer, memory_get_buffer},
    {0, NULL},
};

PyType_Spec mtpy_memory_spec = {
    .name = "microthread._core._Memory",
    .basicsize = sizeof(struct memory),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = memory_slots,
};

PyObject *
mtpy_form_view(struct mtpy_state *state, struct mtpy_form *form)
{
    struct memory *memory = PyObject_New(struct memory, state->memory_type);
    if (!memory)
        return NULL;
    (void)mt_body_ref(&form->shared.body);
    memory->form = form;
    PyObject *view = PyMemoryView_FromObject((PyObject *)memory);
    Py_DECREF(memory);
    return view;
}
