/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests, preloaded before the agent: makes calls of the agent fail, and of the agent alone.
 *
 *   GCS_FAULT=NAME:N    the Nth call of NAME (from 0) fails; NAME:N+ it and all later ones
 *   GCS_FAULT_WHILE=F   only while there is a file F
 *   GCS_FAULT_TALLY=F   what the agent called, how often, how many of these failed: written to F when the first
 *                       process ends, its children counted
 *   GCS_CLOCK=stop|back the agent's clocks stand still, or go back a second with each look
 *
 * NAME is a function of libc, or of CPython's C API: those the agent finds by dlsym(), which is ours too. A
 * failing one of CPython sets MemoryError, as it would. In an agent with faults-memory.c in it NAME is also
 * `memory`, any allocation of its own, or one way to it: `memory/` and the places in the agent that it is called from,
 * innermost first, as the tally has them (offsets, for addr2line).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

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
	X(signalfd, -1, EMFILE)                                                                    \
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

struct count {
	unsigned long calls, failed;
};

#define PLACES 4096
#define DEEP 24

/* By what ways the agent came to allocate. The first to meet one has `key` and writes the rest. */
struct place {
	unsigned long key;
	struct count count;
	char name[16 + 8 * DEEP];
};

static any_function original[CALLS];
static struct {
	struct count call[CALLS], memory;
	struct place place[PLACES];
} *shared; /* by all processes */
static unsigned long failing; /* the hash of a name */
static unsigned long fail_at;
static int and_later;
static const char *only_while;
static unsigned long hashes[CALLS];
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

static unsigned long hash(const char *name, size_t length)
{
	unsigned long h = 14695981039346656037ul;

	for (size_t i = 0; i < length; i++)
		h = (h ^ (unsigned char)name[i]) * 1099511628211ul;
	return h;
}

static void read_order(void)
{
	const char *order = getenv("GCS_FAULT"), *colon = order ? strchr(order, ':') : NULL;

	if (!colon)
		return;
	failing = hash(order, (size_t)(colon - order));
	fail_at = strtoul(colon + 1, NULL, 10);
	and_later = order[strlen(order) - 1] == '+';
	only_while = getenv("GCS_FAULT_WHILE");
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
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < CALLS; i++)
		hashes[i] = hash(names[i], strlen(names[i]));
	read_order();
	first_process = getpid();
}

static void tell(FILE *f, const char *name, const struct count *c)
{
	fprintf(f, "%s %lu %lu\n", name, c->calls, c->failed);
}

__attribute__((destructor)) static void tally(void)
{
	const char *path = getenv("GCS_FAULT_TALLY");
	FILE *f = path && getpid() == first_process ? fopen(path, "w") : NULL;

	if (!f)
		return;
	for (int i = 0; i < CALLS; i++)
		tell(f, names[i], &shared->call[i]);
	tell(f, "memory", &shared->memory);
	for (int i = 0; i < PLACES; i++)
		if (shared->place[i].key)
			tell(f, shared->place[i].name, &shared->place[i].count);
	fclose(f);
}

static int from_agent(const void *caller)
{
	begin();
	return (ElfW(Addr))caller >= agent_from && (ElfW(Addr))caller < agent_to;
}

static int fails(unsigned long name, struct count *c)
{
	unsigned long n = __atomic_fetch_add(&c->calls, 1, __ATOMIC_RELAXED);

	if (name != failing || (and_later ? n < fail_at : n != fail_at) || (only_while && access(only_while, F_OK)))
		return 0;
	__atomic_fetch_add(&c->failed, 1, __ATOMIC_RELAXED);
	return 1;
}

static int call_fails(int which)
{
	return fails(hashes[which], &shared->call[which]);
}

struct way {
	char *name;
	size_t length;
	int deep;
};

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *arg)
{
	struct way *w = arg;
	ElfW(Addr) at = _Unwind_GetIP(context);
	int inside = at >= agent_from && at < agent_to;

	if (!inside && w->deep) /* what called the agent does not matter */
		return _URC_END_OF_STACK;
	if (inside && w->deep++) /* but for the innermost, which is faults-memory.c */
		w->length += (size_t)sprintf(w->name + w->length, "/%lx", (unsigned long)(at - agent_from));
	return w->deep > DEEP ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static struct place *place_of(const char *name, unsigned long key)
{
	for (unsigned long i = key, tries = 0; tries < PLACES; i++, tries++) {
		struct place *p = &shared->place[i % PLACES];
		unsigned long none = 0;

		if (__atomic_compare_exchange_n(&p->key, &none, key, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			strcpy(p->name, name);
		else if (none != key)
			continue;
		return p;
	}
	abort();
}

/* An allocation of the agent's own: faults-memory.c asks. */
__attribute__((visibility("default"))) int gcs_fault_memory(void);
int gcs_fault_memory(void)
{
	char name[sizeof(shared->place[0].name)] = "memory";
	struct way w = {name, strlen(name), 0};
	struct place *p;
	unsigned long key;
	int any;

	begin();
	_Unwind_Backtrace(step, &w);
	key = hash(name, w.length);
	p = place_of(name, key);
	any = fails(hash("memory", 6), &shared->memory);
	if (any)
		__atomic_fetch_add(&p->count.failed, 1, __ATOMIC_RELAXED);
	return fails(key, &p->count) || any;
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
		    call_fails(CALL_##name)) {                                             \
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
		if (call_fails(CALL_##name)) {                                                     \
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
