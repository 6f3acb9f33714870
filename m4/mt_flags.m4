# SPDX-License-Identifier: MIT
# MT_ADD_FLAG(VARIABLE, FLAG): append FLAG to VARIABLE if the C compiler takes it without a warning.
AC_DEFUN([MT_ADD_FLAG], [
  AS_VAR_PUSHDEF([cached], [mt_cv_cc_takes_$2])
  AC_CACHE_CHECK([whether $CC takes $2], [cached], [
    mt_saved_cflags=$CFLAGS
    CFLAGS="$CFLAGS -Werror $2"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
      [AS_VAR_SET([cached], [yes])], [AS_VAR_SET([cached], [no])])
    CFLAGS=$mt_saved_cflags
  ])
  AS_VAR_IF([cached], [yes], [AS_VAR_APPEND([$1], [" $2"])])
  AS_VAR_POPDEF([cached])
])
