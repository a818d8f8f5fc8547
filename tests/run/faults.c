/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests, preloaded before the agent: makes calls of the agent fail, and of the agent alone.
 *
 *   GCS_FAULT=NAME:N    the Nth call of NAME (from 0) fails; NAME:N+ it and all later ones
 *   GCS_FAULT_TALLY=F   how often the agent called what, written to F when the first process ends
 *   GCS_CLOCK=stop|back the agent's clocks stand still, or go back a second with each look
 *
 * NAME is a function of libc, or of CPython's C API: those the agent finds by dlsym(), which is ours too. A
 * failing one of CPython sets MemoryError, as it would.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

typedef long (*any_function)(long, long, long, long, long, long);

/* name, what it returns when it fails, errno */
#define LIBC(X)                                                                                    \
	X(accept4, -1, EMFILE)                                                                     \
	X(bind, -1, EACCES)                                                                        \
	X(chmod, -1, EPERM)                                                                        \
	X(connect, -1, EAGAIN)                                                                     \
	X(dup3, -1, EBADF)                                                                         \
	X(fcntl, -1, EMFILE)                                                                       \
	X(fstat, -1, EIO)                                                                          \
	X(getrandom, -1, EAGAIN)                                                                   \
	X(getsockopt, -1, ENOBUFS)                                                                 \
	X(listen, -1, EADDRINUSE)                                                                  \
	X(madvise, -1, EINVAL)                                                                     \
	X(mkdir, -1, ENOSPC)                                                                       \
	X(mmap, -1, ENOMEM)                                                                        \
	X(nanosleep, -1, EINTR)                                                                    \
	X(open, -1, EMFILE)                                                                        \
	X(pipe2, -1, EMFILE)                                                                       \
	X(ppoll, -1, EINTR)                                                                        \
	X(process_vm_readv, -1, ENOSYS)                                                            \
	X(pthread_create, EAGAIN, 0)                                                               \
	X(pthread_key_create, EAGAIN, 0)                                                           \
	X(pthread_setspecific, ENOMEM, 0)                                                          \
	X(read, -1, EIO)                                                                           \
	X(recv, -1, ECONNRESET)                                                                    \
	X(recvmsg, -1, ENOMEM)                                                                     \
	X(sem_init, -1, ENOSYS)                                                                    \
	X(send, -1, EPIPE)                                                                         \
	X(sendmsg, -1, ETOOMANYREFS)                                                               \
	X(socket, -1, EMFILE)                                                                      \
	X(stat, -1, ENOMEM)                                                                        \
	X(syscall, -1, ENOSYS)                                                                     \
	X(unlink, -1, EACCES)                                                                      \
	X(unlinkat, -1, EACCES)                                                                    \
	X(unshare, -1, ENOMEM)                                                                     \
	X(write, -1, ENOSPC)                                                                       \
	X(writev, -1, ENOSPC)

#define PYTHON(X)                                                                                  \
	X(Py_AddPendingCall, -1)                                                                   \
	X(Py_CompileString, 0)                                                                     \
	X(PyEval_EvalCode, 0)                                                                      \
	X(PyObject_GetAttrString, 0)                                                               \
	X(PyObject_Call, 0)                                                                        \
	X(PyObject_CallObject, 0)                                                                  \
	X(PyObject_CallFunctionObjArgs, 0)                                                         \
	X(PyCFunction_NewEx, 0)                                                                    \
	X(PyDict_New, 0)                                                                           \
	X(PyDict_SetItemString, -1)                                                                \
	X(PyDict_DelItemString, -1)                                                                \
	X(PyImport_AppendInittab, -1)                                                              \
	X(PyList_New, 0)                                                                           \
	X(PyList_Insert, -1)                                                                       \
	X(PyList_SetSlice, -1)                                                                     \
	X(PyList_Append, -1)                                                                       \
	X(PySet_New, 0)                                                                            \
	X(PySet_Add, -1)                                                                           \
	X(PyTuple_New, 0)                                                                          \
	X(PyTuple_SetItem, -1)                                                                     \
	X(PyLong_FromLong, 0)                                                                      \
	X(PyUnicode_FromString, 0)                                                                 \
	X(PyUnicode_InternFromString, 0)                                                           \
	X(PyUnicode_AsUTF8AndSize, 0)                                                              \
	X(PyCell_New, 0)                                                                           \
	X(PyWeakref_NewRef, 0)                                                                     \
	X(PyObject_SetAttrString, -1)                                                              \
	X(PyModule_AddStringConstant, -1)

enum {
#define X(name, result, error) CALL_##name,
	LIBC(X)
#undef X
#define X(name, result) CALL_##name,
	PYTHON(X)
#undef X
	CALLS
};

static const char *const names[] = {
#define X(name, result, error) #name,
	LIBC(X)
#undef X
#define X(name, result) #name,
	PYTHON(X)
#undef X
};

static any_function original[CALLS];
static unsigned long calls[CALLS], fail_at;
static int failing = -1;
static int and_later;
static pid_t first_process;
static ElfW(Addr) agent_from, agent_to;
static void *(*original_dlsym)(void *, const char *);
static int (*original_clock)(clockid_t, struct timespec *);

static int find_agent(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	if (!strstr(info->dlpi_name, "libgcscope.so"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD) {
			ElfW(Addr) end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;

			agent_to = end > agent_to ? end : agent_to;
		}
	agent_from = info->dlpi_addr;
	return 1;
}

static void read_order(void)
{
	const char *order = getenv("GCS_FAULT"), *colon = order ? strchr(order, ':') : NULL;

	for (int i = 0; colon && i < CALLS; i++)
		if (strlen(names[i]) == (size_t)(colon - order) && !strncmp(order, names[i], strlen(names[i])))
			failing = i;
	if (colon) {
		fail_at = strtoul(colon + 1, NULL, 10);
		and_later = order[strlen(order) - 1] == '+';
	}
}

static void begin(void)
{
	static int begun;

	if (begun)
		return;
	begun = 1;
	original_dlsym = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
	if (!original_dlsym) /* other processors begin with a later glibc */
		original_dlsym = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
	original_clock = (int (*)(clockid_t, struct timespec *))original_dlsym(RTLD_NEXT, "clock_gettime");
#define X(name, result, error) original[CALL_##name] = (any_function)original_dlsym(RTLD_NEXT, #name);
	LIBC(X)
#undef X
	dl_iterate_phdr(find_agent, NULL);
	read_order();
	first_process = getpid();
}

__attribute__((destructor)) static void tally(void)
{
	const char *path = getenv("GCS_FAULT_TALLY");
	FILE *f = path && getpid() == first_process ? fopen(path, "w") : NULL;

	for (int i = 0; f && i < CALLS; i++)
		fprintf(f, "%s %lu\n", names[i], calls[i]);
	if (f)
		fclose(f);
}

static int from_agent(const void *caller)
{
	begin();
	return (ElfW(Addr))caller >= agent_from && (ElfW(Addr))caller < agent_to;
}

static int fails(int which)
{
	unsigned long n = __atomic_fetch_add(&calls[which], 1, __ATOMIC_RELAXED);

	return which == failing && (n == fail_at || (and_later && n > fail_at));
}

/* gettid() cannot. */
static int may_fail(int which, long first)
{
	return which != CALL_syscall || first != SYS_gettid;
}

#define ARGUMENTS long a, long b, long c, long d, long e, long f

#define X(name, result, error)                                                                     \
	long fault_##name(ARGUMENTS) __asm__(#name);                                               \
	__attribute__((visibility("default"))) long fault_##name(ARGUMENTS)                        \
	{                                                                                          \
		if (from_agent(__builtin_return_address(0)) && may_fail(CALL_##name, a) &&         \
		    fails(CALL_##name)) {                                                  \
			if (error)                                                                 \
				errno = error;                                                     \
			return result;                                                             \
		}                                                                                  \
		return original[CALL_##name](a, b, c, d, e, f);                                    \
	}
LIBC(X)
#undef X

static void no_memory(void)
{
	((void *(*)(void))original_dlsym(RTLD_DEFAULT, "PyErr_NoMemory"))();
}

#define X(name, result)                                                                            \
	static long fault_##name(ARGUMENTS)                                                        \
	{                                                                                          \
		if (fails(CALL_##name)) {                                                          \
			if (CALL_##name != CALL_Py_AddPendingCall && CALL_##name != CALL_PyImport_AppendInittab) \
				no_memory();                                                       \
			return result;                                                             \
		}                                                                                  \
		return original[CALL_##name](a, b, c, d, e, f);                                    \
	}
PYTHON(X)
#undef X

static const any_function ours[] = {
#define X(name, result) fault_##name,
	PYTHON(X)
#undef X
};

void *fault_dlsym(void *handle, const char *name) __asm__("dlsym");
__attribute__((visibility("default"))) void *fault_dlsym(void *handle, const char *name)
{
	int first = CALLS - (int)(sizeof(ours) / sizeof(ours[0]));
	void *found;

	begin();
	found = original_dlsym(handle, name);
	if (!found || !from_agent(__builtin_return_address(0)))
		return found;
	for (int i = first; i < CALLS; i++)
		if (!strcmp(names[i], name)) {
			original[i] = (any_function)found;
			return (void *)ours[i - first];
		}
	return found;
}

int fault_clock(clockid_t id, struct timespec *out) __asm__("clock_gettime");
__attribute__((visibility("default"))) int fault_clock(clockid_t id, struct timespec *out)
{
	static struct timespec stopped;
	static unsigned looks;
	const char *how;
	int rc;

	begin();
	rc = original_clock(id, out);
	how = from_agent(__builtin_return_address(0)) ? getenv("GCS_CLOCK") : NULL;
	if (how && id != CLOCK_REALTIME && !strcmp(how, "stop")) {
		if (!stopped.tv_sec)
			stopped = *out;
		*out = stopped;
	} else if (how && !strcmp(how, "back")) {
		out->tv_sec -= __atomic_fetch_add(&looks, 1, __ATOMIC_RELAXED) % 100000;
	}
	return rc;
}
