# SPDX-License-Identifier: Apache-2.0
# --enable-werror, --enable-asan, --enable-ubsan, --enable-tsan, --enable-fuzzing.

AC_DEFUN([GCS_WARNINGS], [
AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [make compiler warnings errors])])
m4_foreach_w([flag], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla],
	[GCS_CFLAG([WARN_CFLAGS], flag)])
AS_IF([test "x$enable_werror" = xyes], [GCS_CFLAG([WARN_CFLAGS], [-Werror])])
])

# GCS_TRY_SANITIZE(FLAGS, IF-WORKS, IF-NOT): links a program with -fsanitize=FLAGS.
AC_DEFUN([GCS_TRY_SANITIZE], [
AS_VAR_PUSHDEF([cachevar], [gcs_cv_sanitize_$1])
AC_CACHE_CHECK([whether $CC links with -fsanitize=$1], [cachevar], [
	gcs_save_CFLAGS=$CFLAGS
	CFLAGS="$CFLAGS -fsanitize=$1"
	AC_LINK_IFELSE([m4_if([$4], [], [AC_LANG_PROGRAM], [AC_LANG_SOURCE([$4])])],
		[AS_VAR_SET([cachevar], [yes])], [AS_VAR_SET([cachevar], [no])])
	CFLAGS=$gcs_save_CFLAGS
])
AS_VAR_IF([cachevar], [yes], [$2], [$3])
AS_VAR_POPDEF([cachevar])
])

# GCS_SANITIZE(NAME, SANITIZER, WHAT): one --enable-NAME; collects in $gcs_sanitizers.
AC_DEFUN([GCS_SANITIZE], [
AC_ARG_ENABLE([$1], [AS_HELP_STRING([--enable-$1], [build everything with $3])])
AS_IF([test "x$enable_$1" = xyes], [
	GCS_TRY_SANITIZE([$2], [gcs_sanitizers="${gcs_sanitizers:+$gcs_sanitizers,}$2"],
		[AC_MSG_ERROR([$CC cannot link with -fsanitize=$2])])
])
])

# SAN_CFLAGS: for everything, by the switches. UNIT_CFLAGS: for unit tests, which always have
# AddressSanitizer and UBSan where the compiler has them (not beside ThreadSanitizer: they exclude
# each other).
AC_DEFUN([GCS_SANITIZERS], [
gcs_sanitizers=
GCS_SANITIZE([asan], [address], [AddressSanitizer])
GCS_SANITIZE([ubsan], [undefined], [UndefinedBehaviorSanitizer])
GCS_SANITIZE([tsan], [thread], [ThreadSanitizer])
AS_CASE([$gcs_sanitizers], [*address*thread*],
	[AC_MSG_ERROR([--enable-asan and --enable-tsan exclude each other])])
gcs_san_common="-fno-omit-frame-pointer -fno-sanitize-recover=all"
AS_IF([test -n "$gcs_sanitizers"], [SAN_CFLAGS="-fsanitize=$gcs_sanitizers $gcs_san_common"])
AS_CASE([$gcs_sanitizers], [*thread*], [],
	[GCS_TRY_SANITIZE([address,undefined], [UNIT_CFLAGS="-fsanitize=address,undefined $gcs_san_common"])])
AC_SUBST([SAN_CFLAGS])
AC_SUBST([UNIT_CFLAGS])
])

# --enable-fuzzing: tests/fuzz as libFuzzer programs (clang); otherwise they are bounded programs of
# their own that `make check` runs.
AC_DEFUN([GCS_FUZZING], [
AC_REQUIRE([GCS_SANITIZERS])
AC_ARG_ENABLE([fuzzing], [AS_HELP_STRING([--enable-fuzzing], [build tests/fuzz with libFuzzer (needs CC=clang)])])
gcs_fuzzing_result="standalone, in make check"
AS_IF([test "x$enable_fuzzing" = xyes], [
	GCS_TRY_SANITIZE([fuzzer], [FUZZ_LDFLAGS=-fsanitize=fuzzer],
		[AC_MSG_ERROR([--enable-fuzzing needs a compiler with libFuzzer: configure with CC=clang])],
		[#include <stddef.h>
		#include <stdint.h>
		int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
		int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return data && size == (size_t)-1; }])
	UNIT_CFLAGS="$UNIT_CFLAGS -fsanitize=fuzzer-no-link"
	gcs_fuzzing_result=libFuzzer
])
AM_CONDITIONAL([FUZZING], [test "x$enable_fuzzing" = xyes])
AC_SUBST([FUZZ_LDFLAGS])
])
