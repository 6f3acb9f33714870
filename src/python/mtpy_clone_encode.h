/* SPDX-License-Identifier: MIT */
/* The writing side of clones, shared by its files. What is being written lies on a stack of
   frames of our own, so nesting costs no C stack. */
#ifndef MTPY_CLONE_ENCODE_H
#define MTPY_CLONE_ENCODE_H

#include "python/mtpy_clone.h"
#include "python/mtpy_clone_format.h"

struct mtpy_encoder;

/* How to go on with one kind of object: write until something must be pushed. Returns MTPY_PUSHED,
   after which the frame may have moved, MTPY_DONE, when all of it is written, or -1 with an exception. */
enum { MTPY_DONE = 1, MTPY_PUSHED = 0 };

struct mtpy_frame {
    int (*step)(struct mtpy_encoder *encoder, struct mtpy_frame *frame);
    PyObject *object;    /* what is written; owned */
    PyObject *extra;     /* depends on step; owned, or NULL */
    PyObject *iterator;  /* the same */
    PyObject *key;       /* where in it we are, for the path; owned, or NULL */
    PyObject *value;     /* of the key that is being written, and comes next; owned, or NULL */
    Py_ssize_t next;     /* how far it is written */
    Py_ssize_t count;    /* its size at the beginning; of a dict: what is left of that */
    uint16_t waiting;    /* items or pairs on the reader's stack, of those that go in batches */
    uint8_t stage;       /* enum mtpy_reduced_stage */
    uint8_t make;        /* enum mtpy_tag: how the reader makes it */
    bool is_inside;      /* the stage has more to write */
    bool is_shared;      /* somebody else may refer to it: it gets a number */
};

struct mtpy_memo_entry {
    PyObject *object; /* owned; NULL: free */
    uint32_t number;
};

enum { MTPY_FEW_FRAMES = 16, MTPY_FEW_NUMBERS = 32 };

struct mtpy_encoder {
    struct mtpy_state *state;
    struct mt_message *message;
    unsigned char *at;           /* where the next byte goes */
    unsigned char *end;          /* of the room in message */
    struct mtpy_frame *frames;   /* outermost first; few, or owned */
    size_t depth;                /* frames in use */
    size_t frames_capacity;
    struct mtpy_memo_entry *memo; /* a hash table, open addressing; few_numbers, or owned; or NULL */
    size_t memo_mask;            /* its size - 1 */
    uint32_t memo_count;
    bool has_path;               /* the exception that is set names the path */
    struct mtpy_frame few_frames[MTPY_FEW_FRAMES];
    struct mtpy_memo_entry few_numbers[MTPY_FEW_NUMBERS];
};

/* Make room. Returns 0, or -1 with MemoryError. */
int
mtpy_encoder_grow(struct mtpy_encoder *encoder, size_t more);

static inline int
mtpy_encoder_reserve(struct mtpy_encoder *encoder, size_t more)
{
    return MT_LIKELY((size_t)(encoder->end - encoder->at) >= more)
               ? 0
               : mtpy_encoder_grow(encoder, more);
}

/* A tag and, for those that have one, a size. Return 0 or -1. */
int
mtpy_encoder_tag(struct mtpy_encoder *encoder, enum mtpy_tag tag);
int
mtpy_encoder_tag_size(struct mtpy_encoder *encoder, enum mtpy_tag tag, uint64_t size);

/* A tag that leaves object on the reader's stack, which gets a number if it is shared; makes room for
   `more` bytes after it. Returns 0 or -1. */
int
mtpy_encoder_made(struct mtpy_encoder *encoder, enum mtpy_tag tag, PyObject *object, bool is_shared,
                  size_t more);

/* Write an object, or begin to. Returns MTPY_DONE, MTPY_PUSHED (its frame is on top) or -1. */
int
mtpy_encoder_put(struct mtpy_encoder *encoder, PyObject *object);

/* Give an object the next number; the reader does the same. Returns 0 or -1. */
int
mtpy_encoder_number(struct mtpy_encoder *encoder, PyObject *object);

/* Whether it has one, and which. */
bool
mtpy_encoder_number_of(const struct mtpy_encoder *encoder, PyObject *object, uint32_t *number);

/* Free the table. */
void
mtpy_encoder_forget_numbers(struct mtpy_encoder *encoder);

/* Write a reference to what has a number. Returns MTPY_DONE, 0 if it has none, or -1. */
int
mtpy_encoder_put_known(struct mtpy_encoder *encoder, PyObject *object);

static inline bool
mtpy_encoder_is_known(const struct mtpy_encoder *encoder, PyObject *object)
{
    uint32_t number;
    return mtpy_encoder_number_of(encoder, object, &number);
}

/* Push a frame, which takes a reference to object. NULL with an exception. */
struct mtpy_frame *
mtpy_encoder_push(struct mtpy_encoder *encoder, PyObject *object,
                  int (*step)(struct mtpy_encoder *, struct mtpy_frame *));

/* Attach a body, taking over the reference, also on failure. Returns its index or -1. */
int64_t
mtpy_encoder_attach(struct mtpy_encoder *encoder, struct mt_body *body);

/* Have the reader take what waits on its stack. Returns 0 or -1. */
int
mtpy_encoder_flush(struct mtpy_encoder *encoder, struct mtpy_frame *frame, enum mtpy_tag tag);

/* Anything that is none of the plain builtin types: as mtpy_encoder_put(). */
int
mtpy_encoder_put_object(struct mtpy_encoder *encoder, PyObject *object, bool is_shared);

/* The memory of an object with a buffer, as a memoryview, not copied: MTPY_DONE or -1. */
int
mtpy_encoder_put_lent(struct mtpy_encoder *encoder, PyObject *object);

/* Steps, by which the path tells what a frame is. */
int
mtpy_encoder_list(struct mtpy_encoder *encoder, struct mtpy_frame *frame);
int
mtpy_encoder_tuple(struct mtpy_encoder *encoder, struct mtpy_frame *frame);
int
mtpy_encoder_dict(struct mtpy_encoder *encoder, struct mtpy_frame *frame);
int
mtpy_encoder_set(struct mtpy_encoder *encoder, struct mtpy_frame *frame);
int
mtpy_encoder_reduced(struct mtpy_encoder *encoder, struct mtpy_frame *frame);
/* What is written of an object that is none of the plain builtin types, in this order. */
enum mtpy_reduced_stage {
    MTPY_REDUCED_BEGIN,
    MTPY_REDUCED_FUNCTION,
    MTPY_REDUCED_ARGS,
    MTPY_REDUCED_KWARGS,
    MTPY_REDUCED_MADE,
    MTPY_REDUCED_ITEMS,
    MTPY_REDUCED_PAIRS,
    MTPY_REDUCED_SETTER,
    MTPY_REDUCED_STATE,
    MTPY_REDUCED_STATE_SET,
    MTPY_REDUCED_CAUSE,
    MTPY_REDUCED_CONTEXT,
    MTPY_REDUCED_CONTEXT_SET,
    MTPY_REDUCED_END
};

/* Raise CloneError: the path, the type of object, and why, which may be NULL. Chains the exception
   that is set, if there is one. Returns -1. */
int
mtpy_encoder_refuse(struct mtpy_encoder *encoder, PyObject *object, const char *why, ...);

/* An exception has come out of somebody's code: turn it into a CloneError with the path, unless
   that would hide what must be seen. */
void
mtpy_encoder_explain(struct mtpy_encoder *encoder);

#endif
