/* SPDX-License-Identifier: MIT */
/* Every error that a function of ours returns, in one list. Functions return 0 or one of these,
   negative; what the operating system said is in mt_errno form: MT_ESYSTEM - errno. */
#ifndef MT_ERROR_H
#define MT_ERROR_H

/* name, text */
#define MT_ERROR_MAP(X) \
    X(ETIMEDOUT, "the time is up") \
    X(ECANCELED, "the wait was cancelled") \
    X(ECLOSED, "the other side is closed") \
    X(EFULL, "it is full") \
    X(EEMPTY, "it is empty") \
    X(ENOMEM, "out of memory") \
    X(EFIRED, "it has fired already") \
    X(EBUSY, "somebody waits for it") \
    X(EHOST, "the host language raised an error") \
    X(EGONE, "this side was closed")

enum mt_error_number {
    MT_OK_ = 0,
#define MT_ERROR_ENUM_(name, text) MT_N_##name,
    MT_ERROR_MAP(MT_ERROR_ENUM_)
#undef MT_ERROR_ENUM_
    MT_N_END
};

enum mt_error {
#define MT_ERROR_ENUM_(name, text) MT_##name = -(int)MT_N_##name,
    MT_ERROR_MAP(MT_ERROR_ENUM_)
#undef MT_ERROR_ENUM_
    MT_ESYSTEM = -1000 /* MT_ESYSTEM - errno: a system call failed */
};

/* The text of any error of ours, system errors included; never NULL. */
const char *
mt_error_text(int error);

/* The error for an errno value, which must be positive. */
static inline int
mt_error_from_errno(int number)
{
    return MT_ESYSTEM - number;
}

/* The errno value inside a system error, or 0 if it is none. */
static inline int
mt_error_errno(int error)
{
    return error < MT_ESYSTEM ? MT_ESYSTEM - error : 0;
}

#endif
