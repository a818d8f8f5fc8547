# SPDX-License-Identifier: Apache-2.0
# Optional libraries, and the programs that tests need.

# GCS_NCURSES: ncursesw, for `gcscope watch`; HAVE_NCURSES when there. Missing is an error unless
# --without-ncurses says that it is meant.
AC_DEFUN([GCS_NCURSES], [
AC_ARG_WITH([ncurses], [AS_HELP_STRING([--without-ncurses], [build gcscope without its watch screen])],
	[], [with_ncurses=yes])
AS_IF([test "x$with_ncurses" = xno], [gcs_ncurses_result="no (--without-ncurses)"], [
	PKG_CHECK_MODULES([NCURSES], [ncursesw], [],
		[AC_MSG_ERROR([ncursesw not found: install libncurses-dev, or configure --without-ncurses])])
	AC_DEFINE([HAVE_NCURSES], [1], [ncursesw is there])
	gcs_ncurses_result=ncursesw
])
AM_CONDITIONAL([NCURSES], [test "x$with_ncurses" != xno])
])

# GCS_CMOCKA: without it unit tests are not built.
AC_DEFUN([GCS_CMOCKA], [
PKG_CHECK_MODULES([CMOCKA], [cmocka >= 1.1],
	[gcs_cmocka=yes
	gcs_cmocka_result="cmocka${UNIT_CFLAGS:+, under ASan and UBSan}"],
	[gcs_cmocka=no
	gcs_cmocka_result="NOT BUILT: cmocka not found (install libcmocka-dev)"
	AC_MSG_WARN([cmocka not found: unit tests are not built])])
AM_CONDITIONAL([CMOCKA], [test "$gcs_cmocka" = yes])
])

# GCS_PYTEST: the Python that runs tests/run. The system's own comes first, since pyenv's and venvs'
# seldom have pytest; PYTHON=... overrides.
AC_DEFUN([GCS_PYTEST], [
AC_ARG_VAR([PYTHON], [the Python, with pytest, that runs tests/run])
AS_IF([test -z "$PYTHON"], [
	for gcs_python in /usr/bin/python3 python3; do
		AS_IF(["$gcs_python" -c 'import pytest' 2>/dev/null], [PYTHON=$gcs_python; break])
	done
])
AC_MSG_CHECKING([for a Python with pytest])
AS_IF([test -n "$PYTHON"], [gcs_pytest_result="$PYTHON -m pytest"],
	[PYTHON=/usr/bin/python3
	gcs_pytest_result="NOT RUN: no pytest (install python3-pytest)"])
AC_MSG_RESULT([$gcs_pytest_result])
])
