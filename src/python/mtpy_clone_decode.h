/* SPDX-License-Identifier: MIT */
/* The reading side of clones, shared by its files. */
#ifndef MTPY_CLONE_DECODE_H
#define MTPY_CLONE_DECODE_H

#include "python/mtpy_clone.h"
#include "python/mtpy_clone_format.h"

enum { MTPY_FEW_VALUES = 64 };

struct mtpy_decoder {
    struct mtpy_state *state;
    struct mt_message *message;
    const unsigned char *at;   /* what is read next */
    PyObject **stack;          /* values, owned; few, or an array of our own */
    size_t depth;              /* how many there are */
    size_t capacity;
    PyObject **numbers;        /* what got a number, owned; few_numbers, or an array of our own */
    size_t numbered;           /* how many there are */
    size_t numbers_capacity;
    bool is_explained;         /* the exception that is set is a CloneError */
    PyObject *few[MTPY_FEW_VALUES];
    PyObject *few_numbers[MTPY_FEW_VALUES];
};

/* How many values on the stack an operation takes, beside the object that stays. */
Py_ssize_t
mtpy_decoder_operands(enum mtpy_tag tag);

/* What an operation makes of its operands: new, or NULL with an exception. */
PyObject *
mtpy_decoder_make(struct mtpy_decoder *decoder, enum mtpy_tag tag, PyObject *const *operands);

/* Have an operation change an object. Returns 0, or -1 with an exception. */
int
mtpy_decoder_change(const struct mtpy_decoder *decoder, enum mtpy_tag tag, PyObject *object,
                    PyObject *const *operands);

/* Put items, or pairs, into an object that is neither list nor dict. Returns 0, or -1. */
int
mtpy_decoder_fill(const struct mtpy_decoder *decoder, enum mtpy_tag tag, PyObject *object,
                  PyObject *const *items, Py_ssize_t count);

#endif
