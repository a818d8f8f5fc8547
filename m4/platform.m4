# SPDX-License-Identifier: Apache-2.0
# What the agent is built on, and the flags that make it fit to be preloaded.

# GCS_REQUIRE_LINUX: /proc, SO_PEERCRED and LD_PRELOAD as Linux has them, on a 64-bit machine.
AC_DEFUN([GCS_REQUIRE_LINUX], [
AC_REQUIRE([AC_CANONICAL_HOST])
AS_CASE([$host_os], [linux*], [], [AC_MSG_ERROR([gcscope runs on Linux only, not on $host_os])])
AC_MSG_CHECKING([for 64-bit pointers])
AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [static char probe@<:@sizeof(void *) == 8 ? 1 : -1@:>@; (void)probe;])],
	[AC_MSG_RESULT([yes])],
	[AC_MSG_ERROR([the layouts that the agent reads are those of a 64-bit CPython])])
])

# GCS_CFLAG(VARIABLE, FLAG, [required]): appends FLAG to VARIABLE (substituted) if the compiler takes it.
AC_DEFUN([GCS_CFLAG], [
AS_VAR_PUSHDEF([cachevar], [gcs_cv_cflag_$2])
AC_CACHE_CHECK([whether $CC takes $2], [cachevar], [
	gcs_save_CFLAGS=$CFLAGS
	CFLAGS="$CFLAGS -Werror $2"
	AC_COMPILE_IFELSE([AC_LANG_PROGRAM], [AS_VAR_SET([cachevar], [yes])], [AS_VAR_SET([cachevar], [no])])
	CFLAGS=$gcs_save_CFLAGS
])
AS_VAR_IF([cachevar], [yes], [$1="$$1 $2"],
	[m4_if([$3], [required], [AC_MSG_ERROR([$CC does not take $2])])])
AS_VAR_POPDEF([cachevar])
AC_SUBST([$1])
])

# GCS_LDFLAG(VARIABLE, FLAG): the same for the linker of a shared library.
AC_DEFUN([GCS_LDFLAG], [
AS_VAR_PUSHDEF([cachevar], [gcs_cv_ldflag_$2])
AC_CACHE_CHECK([whether the linker takes $2], [cachevar], [
	gcs_save_LDFLAGS=$LDFLAGS
	gcs_save_CFLAGS=$CFLAGS
	CFLAGS="$CFLAGS -fPIC"
	LDFLAGS="$LDFLAGS -shared $2"
	AC_LINK_IFELSE([AC_LANG_SOURCE([int gcs_probe;])],
		[AS_VAR_SET([cachevar], [yes])], [AS_VAR_SET([cachevar], [no])])
	LDFLAGS=$gcs_save_LDFLAGS
	CFLAGS=$gcs_save_CFLAGS
])
AS_VAR_IF([cachevar], [yes], [$1="$$1 $2"])
AS_VAR_POPDEF([cachevar])
AC_SUBST([$1])
])

# GCS_AGENT_LIBS: threads and dlsym, which older glibc keep outside libc.
AC_DEFUN([GCS_AGENT_LIBS], [
gcs_save_LIBS=$LIBS
LIBS=
AC_SEARCH_LIBS([pthread_create], [pthread], [], [AC_MSG_ERROR([no pthread_create])])
AC_SEARCH_LIBS([dlsym], [dl], [], [AC_MSG_ERROR([no dlsym])])
AGENT_LIBS=$LIBS
LIBS=$gcs_save_LIBS
AC_SUBST([AGENT_LIBS])
])

# GCS_AGENT_FLAGS: -z,defs is left out under sanitizers, whose run time the host process brings.
AC_DEFUN([GCS_AGENT_FLAGS], [
AC_REQUIRE([GCS_SANITIZERS])
GCS_CFLAG([AGENT_CFLAGS], [-fPIC], [required])
GCS_CFLAG([AGENT_CFLAGS], [-fvisibility=hidden], [required])
GCS_CFLAG([AGENT_CFLAGS], [-fno-semantic-interposition])
GCS_CFLAG([AGENT_CFLAGS], [-ftls-model=initial-exec])
AS_IF([test -z "$gcs_sanitizers"], [GCS_LDFLAG([AGENT_LDFLAGS], [-Wl,-z,defs])])
GCS_LDFLAG([AGENT_LDFLAGS], [-Wl,--as-needed])
GCS_LDFLAG([AGENT_LDFLAGS], [-Wl,-z,now])
GCS_LDFLAG([AGENT_LDFLAGS], [-Wl,-z,relro])
GCS_LDFLAG([AGENT_LDFLAGS], [-Wl,-z,nodelete])
GCS_LDFLAG([AGENT_LDFLAGS], [-Wl,-z,noexecstack])
GCS_LDFLAG([AGENT_LDFLAGS], [-Wl,--exclude-libs,ALL])
])
