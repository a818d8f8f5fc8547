/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A main() for the fuzz targets where there is no libFuzzer: a bounded, repeatable run over pseudo-random and
 * mutated inputs. With file names as arguments it runs those instead, to reproduce what a fuzzer found.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS 100000
#define MAX_INPUT 4200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seed = 0x9E3779B97F4A7C15ull;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 33) % n;
}

/* Well-formed beginnings, for any target. */
static const char *const seeds[] = {
	"census limit=5 sort=growth cached=1",
	"history type=app.models.Session%20%3Clocals%3E",
	"subscribe topics=gc,census,suspects,log,cycles",
	"collect generation=2\r",
	"v a=1 b=2 c=3 d=4 e=5 f=6 g=7 h=8 i=9 j=10 k=11 l=12 m=13 n=14 o=15 p=16",
	"\x0d\x03key\x06\x05v\xc3\xa9l\"\x0e\x02k2\x02\x7f\xf0\x00\x00\x00\x00\x00\x00\x0f\x0f",
	"4711-123456.sock",
	"16M",
	"\x01{\"event\":\"suspect\",\"type\":\"a\\u001b\",\"count\":900,\"evidence\":{\"samples\":1e9}}",
	"\x01{\"types\":[{\"type\":\"x\",\"count\":-1,\"bytes\":1e308,\"growth_per_s\":0.1}],\"objects\":[]}",
	"\x06\x01k\x0c\xf0\x9f\x90\x8d\xed\xa0\x80\xe2\x80\xa8\x1b[",
};

/* What the parsers care about. */
static const char interesting[] = "% =,\r\n\t\"\\\0\x7f\x80\xc3\xe2\xed\xf0\xf4\xff_aZ09\x0d\x0e\x0f";

static size_t random_input(uint8_t *out)
{
	size_t size = rnd(20) ? rnd(100) : rnd(MAX_INPUT), i;

	for (i = 0; i < size; i++)
		out[i] = rnd(2) ? (uint8_t)rnd(256) : (uint8_t)interesting[rnd(sizeof(interesting))];
	return size;
}

static size_t mutate(uint8_t *out, size_t size)
{
	size_t at = size ? rnd((unsigned)size) : 0, n;

	switch (rnd(5)) {
	case 0: /* replace */
		if (size)
			out[at] = (uint8_t)interesting[rnd(sizeof(interesting))];
		return size;
	case 1: /* insert */
		memmove(out + at + 1, out + at, size - at);
		out[at] = rnd(2) ? (uint8_t)rnd(256) : (uint8_t)interesting[rnd(sizeof(interesting))];
		return size + 1;
	case 2: /* cut out */
		n = size - at ? rnd((unsigned)(size - at)) : 0;
		memmove(out + at, out + at + n, size - at - n);
		return size - n;
	case 3: /* repeat a piece */
		n = size - at < 64 ? size - at : 64;
		memcpy(out + size, out + at, n);
		return size + n;
	default: /* flip */
		if (size)
			out[at] ^= (uint8_t)(1u << rnd(8));
		return size;
	}
}

static void run_mutated(uint8_t *buffer)
{
	const char *from = seeds[rnd(sizeof(seeds) / sizeof(seeds[0]))];
	size_t size = strlen(from);
	unsigned n;

	memcpy(buffer, from, size);
	for (n = rnd(12); n > 0; n--)
		size = mutate(buffer, size);
	LLVMFuzzerTestOneInput(buffer, size);
}

static int run_file(const char *name)
{
	static uint8_t data[65536];
	FILE *f = fopen(name, "rb");

	if (!f) {
		perror(name);
		return 1;
	}
	LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof(data), f));
	fclose(f);
	return 0;
}

int main(int argc, char **argv)
{
	static uint8_t buffer[MAX_INPUT + 2048];
	int i, failed = 0;

	for (i = 1; i < argc; i++)
		failed |= run_file(argv[i]);
	if (argc > 1)
		return failed;
	for (i = 0; i < RUNS; i++) {
		if (i % 2)
			run_mutated(buffer);
		else
			LLVMFuzzerTestOneInput(buffer, random_input(buffer));
	}
	printf("%d inputs\n", i);
	return 0;
}
