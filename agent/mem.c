/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mem.h. The mapping begins with struct arena; blocks follow without gaps up to `top`, and from
 * there to the end nothing was ever written (or was given back). Each block has a head with its own size
 * and its predecessor's, so that a freed block joins free neighbours, or the untouched rest, in O(1):
 * however long the agent lives, free space is found in pieces as large as they can be. Free blocks hang
 * in lists by size, sixteen lists to an octave (two-level segregated fit), found by two bit maps.
 *
 * Everything that changes is inside the mapping, so that a fork which wipes it leaves nothing that could
 * contradict it; the only static data are its address and length. A wiped arena answers every call as
 * if no memory were left, and ignores what is freed.
 */
#include "mem.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
/* Heads lie in poisoned memory: only this file may touch them. */
#define UNCHECKED __attribute__((no_sanitize("address")))
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define UNCHECKED
#endif

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

#define MAGIC 0x67637363706d656dull /* "gcscpmem" */
#define ALIGN ((size_t)16)
#define MIN_SHIFT 5 /* the smallest block is 32 bytes: a head and two links */
#define MIN_BLOCK ((size_t)1 << MIN_SHIFT)
#define OCTAVES 44
#define SUB_BITS 4
#define SUBS (1 << SUB_BITS)
#define FREE ((size_t)1) /* in the low bit of a size */

struct block {
	size_t prev;                         /* size of the block before this one, 0 for the first */
	size_t size;                         /* with this head; | FREE */
	struct block *next_free, *prev_free; /* only while free */
};

#define HEAD offsetof(struct block, next_free)

struct arena {
	uint64_t magic;
	size_t used;
	size_t top;  /* offset of the untouched rest */
	size_t peak; /* highest top */
	size_t last; /* size of the block that ends at top */
	uint64_t octaves;
	uint16_t subs[OCTAVES];
	struct block *list[OCTAVES][SUBS];
};

#define FIRST ((sizeof(struct arena) + ALIGN - 1) & ~(ALIGN - 1))

static struct {
	char *base;
	size_t limit;
} mem;

#ifdef GCS_FAULT_INJECTION
static long fail_after = -1;

void gcs_mem_fail_after(long after)
{
	fail_after = after;
}

static bool injected_failure(void)
{
	if (fail_after < 0)
		return false;
	if (fail_after == 0)
		return true;
	fail_after--;
	return false;
}
#else
static bool injected_failure(void)
{
	return false;
}
#endif

static struct arena *arena(void)
{
	return (struct arena *)(void *)mem.base;
}

static bool usable(void)
{
	return mem.base && arena()->magic == MAGIC;
}

static struct block *at(size_t offset)
{
	return (struct block *)(void *)(mem.base + offset);
}

static size_t offset_of(const struct block *b)
{
	return (size_t)((const char *)b - mem.base);
}

UNCHECKED static size_t size_of(const struct block *b)
{
	return b->size & ~FREE;
}

/* The list in which a free block of this size hangs: all sizes there are at least this list's bound. */
static void class_of(size_t size, unsigned *octave, unsigned *sub)
{
	unsigned msb = 63 - (unsigned)__builtin_clzll(size);

	*octave = msb - MIN_SHIFT;
	*sub = (unsigned)(size >> (msb - SUB_BITS)) & (SUBS - 1);
}

UNCHECKED static void list_add(struct block *b)
{
	struct arena *a = arena();
	unsigned o, s;

	class_of(size_of(b), &o, &s);
	b->prev_free = NULL;
	b->next_free = a->list[o][s];
	if (b->next_free)
		b->next_free->prev_free = b;
	a->list[o][s] = b;
	a->subs[o] |= (uint16_t)(1u << s);
	a->octaves |= 1ull << o;
	b->size |= FREE;
}

UNCHECKED static void list_remove(struct block *b)
{
	struct arena *a = arena();
	unsigned o, s;

	class_of(size_of(b), &o, &s);
	if (b->next_free)
		b->next_free->prev_free = b->prev_free;
	if (b->prev_free)
		b->prev_free->next_free = b->next_free;
	else
		a->list[o][s] = b->next_free;
	if (!a->list[o][s]) {
		a->subs[o] &= (uint16_t)~(1u << s);
		if (!a->subs[o])
			a->octaves &= ~(1ull << o);
	}
	b->size &= ~FREE;
}

/* The first block of a list whose every block is at least size, or NULL. */
static struct block *find_fitting_list(size_t size)
{
	struct arena *a = arena();
	size_t rounded = size + ((size_t)1 << (63 - __builtin_clzll(size) - SUB_BITS)) - 1;
	uint64_t octaves;
	unsigned o, s, subs;

	class_of(rounded, &o, &s);
	subs = a->subs[o] & (~0u << s);
	if (!subs) {
		octaves = a->octaves & (~0ull << o << 1);
		if (!octaves)
			return NULL;
		o = (unsigned)__builtin_ctzll(octaves);
		subs = a->subs[o];
	}
	return a->list[o][__builtin_ctz(subs)];
}

/* What the rounding above skips: blocks of the size's own list, some of which may be large enough. */
UNCHECKED static struct block *find_in_own_list(size_t size)
{
	unsigned o, s;
	struct block *b;

	class_of(size, &o, &s);
	for (b = arena()->list[o][s]; b; b = b->next_free)
		if (size_of(b) >= size)
			return b;
	return NULL;
}

/* Tell the block behind b, or the arena when there is none, how large b is. */
UNCHECKED static void link_next(struct block *b)
{
	size_t end = offset_of(b) + size_of(b);

	if (end < arena()->top)
		at(end)->prev = size_of(b);
	else
		arena()->last = size_of(b);
}

/* Make b a free block, joined with its free neighbours or with the untouched rest. */
UNCHECKED static void give_back(struct block *b)
{
	struct arena *a = arena();
	size_t end = offset_of(b) + size_of(b);
	struct block *other;

	if (end < a->top && (at(end)->size & FREE)) {
		other = at(end);
		list_remove(other);
		b->size += other->size;
	}
	if (b->prev) {
		other = at(offset_of(b) - b->prev);
		if (other->size & FREE) {
			list_remove(other);
			other->size += b->size;
			b = other;
		}
	}
	if (offset_of(b) + b->size == a->top) {
		a->top = offset_of(b);
		a->last = b->prev;
		return;
	}
	link_next(b);
	list_add(b);
}

/* Cut b, which is in use, down to size when the rest is worth having. */
UNCHECKED static void split(struct block *b, size_t size)
{
	size_t rest = b->size - size;
	struct block *tail;

	if (rest < MIN_BLOCK)
		return;
	b->size = size;
	tail = at(offset_of(b) + size);
	tail->prev = size;
	tail->size = rest;
	give_back(tail);
}

UNCHECKED static struct block *take_from_top(size_t size)
{
	struct arena *a = arena();
	struct block *b;

	if (size > mem.limit - a->top)
		return NULL;
	b = at(a->top);
	b->prev = a->last;
	b->size = size;
	a->last = size;
	a->top += size;
	if (a->top > a->peak)
		a->peak = a->top;
	return b;
}

static struct block *take(size_t size)
{
	struct block *b = find_fitting_list(size);

	if (!b)
		b = find_in_own_list(size);
	if (!b)
		return take_from_top(size);
	list_remove(b);
	split(b, size);
	return b;
}

/* Bytes of the block for a request, 0 when no such block can be. */
static size_t block_size(size_t size)
{
	if (size > mem.limit)
		return 0;
	size = (size + HEAD + ALIGN - 1) & ~(ALIGN - 1);
	return size < MIN_BLOCK ? MIN_BLOCK : size;
}

/* The block of a pointer that gcs_mem_alloc() gave, NULL for one that it cannot have given. */
static struct block *block_of(void *p)
{
	uintptr_t offset = (uintptr_t)p - (uintptr_t)mem.base;

	if (offset < FIRST + HEAD || offset >= arena()->top || offset % ALIGN)
		return NULL;
	return (struct block *)(void *)((char *)p - HEAD);
}

static void format(void)
{
	struct arena *a = arena();

	memset(a, 0, sizeof(*a));
	a->top = a->peak = FIRST;
	a->magic = MAGIC;
	ASAN_POISON_MEMORY_REGION(mem.base + FIRST, mem.limit - FIRST);
}

int gcs_mem_init(size_t limit)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *base;

	limit &= ~(page - 1);
	if (limit < (1u << 20) || limit >> (OCTAVES + MIN_SHIFT - 1))
		return -EINVAL;
	if (mem.base)
		return -EBUSY;
	base = mmap(NULL, limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	if (madvise(base, limit, MADV_WIPEONFORK)) {
		int err = errno;

		munmap(base, limit);
		return -err;
	}
	mem.base = base;
	mem.limit = limit;
	format();
	return 0;
}

void gcs_mem_fini(void)
{
	if (!mem.base)
		return;
	ASAN_UNPOISON_MEMORY_REGION(mem.base, mem.limit);
	munmap(mem.base, mem.limit);
	mem.base = NULL;
	mem.limit = 0;
}

bool gcs_mem_wiped(void)
{
	return mem.base && arena()->magic != MAGIC;
}

int gcs_mem_reset(void)
{
	if (!mem.base)
		return -EINVAL;
	/* Pages that hold something (none after a fork) go back to the kernel, and read as zero again. */
	if (usable() && madvise(mem.base, mem.limit, MADV_DONTNEED))
		return -errno;
	format();
	return 0;
}

UNCHECKED void *gcs_mem_alloc(size_t size)
{
	struct block *b;
	size_t need;
	char *p;

	if (!usable() || injected_failure())
		return NULL;
	need = block_size(size);
	b = need ? take(need) : NULL;
	if (!b)
		return NULL;
	arena()->used += b->size;
	p = (char *)b + HEAD;
	ASAN_UNPOISON_MEMORY_REGION(p, size);
	return p;
}

void *gcs_mem_calloc(size_t n, size_t size)
{
	size_t touched, total, dirty;
	char *p;

	if (__builtin_mul_overflow(n, size, &total) || !usable())
		return NULL;
	touched = arena()->peak;
	p = gcs_mem_alloc(total);
	if (!p)
		return NULL;
	/* Above the old peak the pages are the kernel's zeros: writing would only make them resident. */
	dirty = mem.base + touched > p ? (size_t)(mem.base + touched - p) : 0;
	memset(p, 0, dirty < total ? dirty : total);
	return p;
}

/* Enlarge b, in use, to at least size without moving it: true when the space behind it was free. */
UNCHECKED static bool grow_in_place(struct block *b, size_t size)
{
	struct arena *a = arena();
	size_t end = offset_of(b) + b->size;
	struct block *next;

	if (end == a->top) {
		if (size > mem.limit - offset_of(b))
			return false;
		a->top = offset_of(b) + size;
		if (a->top > a->peak)
			a->peak = a->top;
		b->size = size;
		a->last = size;
		return true;
	}
	next = at(end);
	if (!(next->size & FREE) || b->size + size_of(next) < size)
		return false;
	list_remove(next);
	b->size += next->size;
	link_next(b);
	split(b, size);
	return true;
}

UNCHECKED static bool resize_in_place(struct block *b, size_t size)
{
	size_t old = b->size;

	if (size <= old)
		split(b, size);
	else if (injected_failure() || !grow_in_place(b, size))
		return false;
	arena()->used += b->size - old;
	return true;
}

UNCHECKED void *gcs_mem_realloc(void *p, size_t size)
{
	struct block *b;
	size_t need, keep;
	void *q;

	if (!p)
		return gcs_mem_alloc(size);
	b = usable() ? block_of(p) : NULL;
	need = b ? block_size(size) : 0;
	if (!need)
		return NULL;
	keep = b->size - HEAD;
	if (resize_in_place(b, need)) {
		ASAN_POISON_MEMORY_REGION(p, keep);
		ASAN_UNPOISON_MEMORY_REGION(p, size);
		return p;
	}
	q = gcs_mem_alloc(size);
	if (!q)
		return NULL;
	ASAN_UNPOISON_MEMORY_REGION(p, keep);
	memcpy(q, p, keep < size ? keep : size);
	gcs_mem_free(p);
	return q;
}

UNCHECKED void gcs_mem_free(void *p)
{
	struct block *b = p && usable() ? block_of(p) : NULL;

	if (!b || (b->size & FREE))
		return;
	arena()->used -= b->size;
	ASAN_POISON_MEMORY_REGION(p, b->size - HEAD);
	give_back(b);
}

size_t gcs_mem_used(void)
{
	return usable() ? arena()->used : 0;
}

size_t gcs_mem_peak(void)
{
	return usable() ? arena()->peak : 0;
}

size_t gcs_mem_limit(void)
{
	return mem.limit;
}
