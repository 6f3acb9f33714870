/* SPDX-License-Identifier: MIT */
/* The numbers of what a message refers to more than once: a hash table by address. It owns what is in
   it, so that no address comes up twice. */
#include "python/mtpy_clone_encode.h"

#include <string.h>

static inline size_t
memo_hash(const PyObject *object)
{
    return (size_t)(((uintptr_t)object >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 32);
}

static struct mtpy_memo_entry *
memo_find(const struct mtpy_encoder *encoder, const PyObject *object)
{
    size_t i = memo_hash(object) & encoder->memo_mask;
    while (encoder->memo[i].object && encoder->memo[i].object != object)
        i = (i + 1) & encoder->memo_mask;
    return &encoder->memo[i];
}

static int
memo_grow(struct mtpy_encoder *encoder)
{
    struct mtpy_memo_entry *old = encoder->memo;
    size_t count = old ? encoder->memo_mask + 1 : 0, grown = 4 * count;
    if (!old) {
        memset(encoder->few_numbers, 0, sizeof(encoder->few_numbers));
        encoder->memo = encoder->few_numbers;
        encoder->memo_mask = MTPY_FEW_NUMBERS - 1;
        return 0;
    }
    struct mtpy_memo_entry *memo =
        encoder->memo_count < UINT32_MAX / 8 ? PyMem_Calloc(grown, sizeof(*memo)) : NULL;
    if (!memo) {
        PyErr_NoMemory();
        return -1;
    }
    encoder->memo = memo;
    encoder->memo_mask = grown - 1;
    for (size_t i = 0; i < count; i++)
        if (old[i].object)
            *memo_find(encoder, old[i].object) = old[i];
    if (old != encoder->few_numbers)
        PyMem_Free(old);
    return 0;
}

int
mtpy_encoder_number(struct mtpy_encoder *encoder, PyObject *object)
{
    if (2 * (size_t)encoder->memo_count >= encoder->memo_mask && memo_grow(encoder) < 0)
        return -1;
    *memo_find(encoder, object) =
        (struct mtpy_memo_entry){Py_NewRef(object), encoder->memo_count++};
    return 0;
}

bool
mtpy_encoder_number_of(const struct mtpy_encoder *encoder, PyObject *object, uint32_t *number)
{
    struct mtpy_memo_entry *entry = encoder->memo ? memo_find(encoder, object) : NULL;
    if (!entry || !entry->object)
        return false;
    *number = entry->number;
    return true;
}

void
mtpy_encoder_forget_numbers(struct mtpy_encoder *encoder)
{
    if (!encoder->memo)
        return;
    for (size_t i = 0; i <= encoder->memo_mask; i++)
        Py_XDECREF(encoder->memo[i].object);
    if (encoder->memo != encoder->few_numbers)
        PyMem_Free(encoder->memo);
}
