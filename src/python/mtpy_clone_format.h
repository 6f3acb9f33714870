/* SPDX-License-Identifier: MIT */
/* What the bytes of a clone say: a program for a stack machine. A value pushes itself; an
   operation takes what it needs from the top. Numbers are in the machine's own order, unaligned. It is
   written and read by one process only, so it has no version and is trusted.

   Containers that can hold themselves (list, dict, set, what __reduce_ex__ makes) are made first
   and filled then, so that what is inside can refer to them; a tuple or frozenset that holds itself by way
   of one of those is made when its inside comes across it once more. */
#ifndef MTPY_CLONE_FORMAT_H
#define MTPY_CLONE_FORMAT_H

/* Added to a tag: what was just pushed gets the next number, for MTPY_TAG_GET. */
enum { MTPY_TAG_MEMO = 0x80 };

/* "size" is 8 bytes, "index" 4 bytes; a > b: taken from the stack, b on top. */
enum mtpy_tag {
    MTPY_TAG_NONE,
    MTPY_TAG_FALSE,
    MTPY_TAG_TRUE,
    MTPY_TAG_ELLIPSIS,
    MTPY_TAG_NOT_IMPLEMENTED,
    MTPY_TAG_INT8,        /* 1 byte */
    MTPY_TAG_INT32,       /* 4 bytes */
    MTPY_TAG_INT64,       /* 8 bytes */
    MTPY_TAG_INT_BIG,     /* size, so many bytes, little-endian, two's complement */
    MTPY_TAG_FLOAT,       /* 8 bytes */
    MTPY_TAG_COMPLEX,     /* 16 bytes */
    MTPY_TAG_ASCII,       /* 1 byte: the length, and so many characters */
    MTPY_TAG_STR,         /* 1 byte: log2 of the characters' limit / 128, up to 3; size: characters; they */
    MTPY_TAG_BYTES,       /* size, bytes */
    MTPY_TAG_BYTEARRAY,   /* size, bytes */
    MTPY_TAG_LIST,        /* size: a list of so many from the stack */
    MTPY_TAG_NEW_LIST,    /* an empty list */
    MTPY_TAG_FILL_LIST,   /* size: list > items: put so many into the list, which stays */
    MTPY_TAG_TUPLE,       /* size: a tuple of so many from the stack */
    MTPY_TAG_NEW_DICT,    /* an empty dict */
    MTPY_TAG_FILL_DICT,   /* size: dict > key, value...: put so many pairs into the dict, which stays */
    MTPY_TAG_NEW_SET,     /* an empty set */
    MTPY_TAG_FILL_SET,    /* size: set > items: add so many to the set, which stays */
    MTPY_TAG_FROZENSET,   /* size: a frozenset of so many from the stack */
    MTPY_TAG_GET,         /* index: what got this number */
    MTPY_TAG_DROP,        /* size: take so many away */
    MTPY_TAG_GLOBAL,      /* module name > qualified name */
    MTPY_TAG_SINGLETON_TYPE, /* x: its type */
    MTPY_TAG_CALL,        /* callable > tuple of arguments */
    MTPY_TAG_NEW,         /* class > tuple of arguments: class.__new__(class, *arguments) */
    MTPY_TAG_NEW_EX,      /* class > tuple of arguments > dict of keywords */
    MTPY_TAG_EXTEND,      /* size: object > items: as list.extend; the object stays */
    MTPY_TAG_SET_ITEMS,   /* size: object > key, value...: object[key] = value; the object stays */
    MTPY_TAG_SET_STATE,   /* object > state: as pickle does; the object stays */
    MTPY_TAG_CALL_STATE,  /* object > setter > state: setter(object, state); the object stays */
    MTPY_TAG_SET_CONTEXT, /* exception > cause > context > suppress: the exception stays */
    MTPY_TAG_REBUILD,     /* class > value: by register_clone() */
    MTPY_TAG_VIEW,        /* index of a body: a memoryview of it */
    MTPY_TAG_SHARE,       /* a pointer to struct mtpy_share, index of a body */
    MTPY_TAG_FOREIGN      /* class; struct mtpy_foreign, index of a body: by mt_register_clone() */
};

enum { MTPY_CLONE_BATCH = 256 }; /* most items that wait on the stack for a dict, set or object */

#endif
