/* SPDX-License-Identifier: MIT */
/* Structured clones: an object of this interpreter becomes a message, and a message an object of
   the interpreter it is read in. How it reads is in mtpy_clone_format.h. Under the GIL; any Python
   code may run in between (__reduce_ex__, __hash__, imports), so the caller may be switched out. */
#ifndef MTPY_CLONE_H
#define MTPY_CLONE_H

#include "python/mtpy_state.h"

#include "group/mt_message.h"

/* Write object into a new message, which is the caller's: mt_message_free(), in any OS thread.
   Needs no C stack to speak of, however deep the object nests. Returns 0, or -1 with an exception:
   CloneError, which names the path to what cannot be cloned, MemoryError, or what is no Exception. */
int
mtpy_clone_encode(struct mtpy_state *state, PyObject *object, struct mt_message **message);

/* Make the object of a message, which is gone after it. New, or NULL with CloneError, its cause chained,
   MemoryError, or what is no Exception. */
PyObject *
mtpy_clone_decode(struct mtpy_state *state, struct mt_message *message);

/* How the instances of one type of ours travel as a counted body. */
struct mtpy_share {
    /* The body of an object: a new reference, or NULL with an exception. */
    struct mt_body *(*share)(struct mtpy_state *state, PyObject *object);
    /* An object around a body, in any interpreter. Borrows the body and takes a reference of its own.
       New, or NULL with an exception. */
    PyObject *(*wrap)(struct mtpy_state *state, struct mt_body *body);
};

/* Have instances of exactly this type shared, not copied. share is static. Returns 0, or -1 with an
   exception. */
int
mtpy_clone_register_share(struct mtpy_state *state, PyTypeObject *type,
                          const struct mtpy_share *share);

/* Put it into the registry of the interpreter. Steals entry, which may be NULL with an exception. Returns
   0, or -1 with an exception. */
int
mtpy_clone_enter(struct mtpy_state *state, PyObject *type, PyObject *entry);

/* What a module holds under a dotted name; imports the module if need be. New, or NULL. */
PyObject *
mtpy_clone_find(PyObject *module, PyObject *name);

/* Whether the exception that is set may be the cause of a CloneError: an Exception, not MemoryError. */
bool
mtpy_clone_may_explain(void);

/* Raise CloneError. Steals text (NULL: leave the exception that is set) and cause (or NULL). */
void
mtpy_clone_raise(struct mtpy_state *state, PyObject *text, PyObject *cause);

/* register_clone(): what class was registered with, a tuple (reduce, rebuild): borrowed, or NULL, with
   an exception or without. */
PyObject *
mtpy_clone_registered(struct mtpy_state *state, PyObject *type);

/* The functions of the module and CloneError. Returns 0, or -1 with an exception. */
int
mtpy_clone_add(struct mtpy_state *state, PyObject *module);

#endif
