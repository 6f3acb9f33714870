/* SPDX-License-Identifier: MIT */
/* The texts of the errors. */
#include "base/mt_error.h"

#include <string.h>

const char *
mt_error_text(int error)
{
    switch (error) {
    case 0:
        return "no error";
#define TEXT_(name, text) \
    case MT_##name: \
        return text;
        MT_ERROR_MAP(TEXT_)
#undef TEXT_
    default:
        return mt_error_errno(error) > 0 ? strerror(mt_error_errno(error)) : "unknown error";
    }
}
