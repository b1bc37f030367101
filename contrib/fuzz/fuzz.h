/* Fuzzing without a fuzzer: a target exports LLVMFuzzerTestOneInput and fuzz_seeds; this header
 * brings a main that feeds it the seeds, files named on the command line, and what becomes of
 * them by chance, for a bounded time. It finds less than libFuzzer, and runs everywhere.
 *
 *	fuzz-conf                      2 seconds, TAP output
 *	fuzz-conf -s 600 FILE ...      longer, with more seeds
 *	clang -DFUZZ_LIBFUZZER -fsanitize=fuzzer,address,undefined ...   the real thing
 *
 * The same seeds give the same inputs: what was found is found again (-r N for others). */
#ifndef CONTRIB_FUZZ_H
#define CONTRIB_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern const char *const fuzz_seeds[]; /* NULL at the end */
/* For seeds that are no text: calls fuzz_add(). Optional. */
__attribute__((weak)) void fuzz_begin(void);

#ifndef FUZZ_LIBFUZZER
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FUZZ_SIZE = 8192, FUZZ_SEEDS = 256 };

struct fuzz_input {
	uint8_t bytes[FUZZ_SIZE];
	size_t len;
};

static struct fuzz_input fuzz_pool[FUZZ_SEEDS], fuzz_now;
static unsigned fuzz_n;
static uint64_t fuzz_state = 1, fuzz_runs;

static uint32_t
fuzz_random(uint32_t below)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return below ? (uint32_t)((fuzz_state >> 16) % below) : 0;
}

/* Before the process dies: the input, so that it can be tried alone. */
static void
fuzz_died(int signal_number)
{
	static const char name[] = "fuzz-crash.bin";
	FILE *file = fopen(name, "wb");

	if (file) {
		fwrite(fuzz_now.bytes, 1, fuzz_now.len, file);
		fclose(file);
	}
	fprintf(stderr, "# signal %d after %llu inputs; the last one is in %s\n", signal_number,
		(unsigned long long)fuzz_runs, name);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void
fuzz_add(const void *bytes, size_t len)
{
	if (fuzz_n == FUZZ_SEEDS)
		return;
	len = len < FUZZ_SIZE ? len : FUZZ_SIZE;
	memcpy(fuzz_pool[fuzz_n].bytes, bytes, len);
	fuzz_pool[fuzz_n++].len = len;
}

static void
fuzz_add_file(const char *path)
{
	static uint8_t bytes[FUZZ_SIZE];
	FILE *file = fopen(path, "rb");

	if (!file) {
		fprintf(stderr, "# cannot read %s\n", path);
		return;
	}
	fuzz_add(bytes, fread(bytes, 1, sizeof(bytes), file));
	fclose(file);
}

static void
fuzz_remove(size_t at, size_t len)
{
	memmove(fuzz_now.bytes + at, fuzz_now.bytes + at + len, fuzz_now.len - at - len);
	fuzz_now.len -= len;
}

static void
fuzz_insert(size_t at, const uint8_t *bytes, size_t len)
{
	if (len > FUZZ_SIZE - fuzz_now.len)
		len = FUZZ_SIZE - fuzz_now.len;
	memmove(fuzz_now.bytes + at + len, fuzz_now.bytes + at, fuzz_now.len - at);
	memcpy(fuzz_now.bytes + at, bytes, len);
	fuzz_now.len += len;
}

static void
fuzz_change(void)
{
	static const char interesting[] = "{};\"'$\\#= \n\t\0\xff\x7f:/[]-0";
	uint32_t len = (uint32_t)fuzz_now.len, at = fuzz_random(len + 1), n;
	const struct fuzz_input *other = &fuzz_pool[fuzz_random(fuzz_n)];
	uint8_t byte;

	switch (fuzz_random(6)) {
	case 0:
		if (at < len)
			fuzz_now.bytes[at] ^= (uint8_t)(1u << fuzz_random(8));
		break;
	case 1:
		if (at < len)
			fuzz_now.bytes[at] = (uint8_t)fuzz_random(256);
		break;
	case 2:
		byte = (uint8_t)interesting[fuzz_random(sizeof(interesting) - 1)];
		fuzz_insert(at, &byte, 1);
		break;
	case 3:
		n = fuzz_random(len - at < 40 ? len - at + 1 : 40);
		fuzz_remove(at, n);
		break;
	case 4:
		n = fuzz_random((uint32_t)other->len + 1);
		fuzz_insert(at, other->bytes + fuzz_random((uint32_t)other->len - n + 1), n);
		break;
	default:
		n = fuzz_random(len - at < 200 ? len - at + 1 : 200);
		if (n) {
			uint8_t copy[200];

			memcpy(copy, fuzz_now.bytes + at, n);
			fuzz_insert(fuzz_random(len + 1), copy, n);
		}
	}
}

int
main(int argc, char **argv)
{
	double seconds = 2;
	struct timespec start, now;
	int letter;

	while ((letter = getopt(argc, argv, "s:r:")) != -1) {
		if (letter == 's')
			seconds = atof(optarg);
		else if (letter == 'r')
			fuzz_state = strtoull(optarg, NULL, 10) * 2 + 1;
		else
			return 2;
	}
	for (unsigned i = 0; fuzz_seeds[i]; i++)
		fuzz_add(fuzz_seeds[i], strlen(fuzz_seeds[i]));
	if (fuzz_begin)
		fuzz_begin();
	for (; optind < argc; optind++)
		fuzz_add_file(argv[optind]);
	signal(SIGABRT, fuzz_died);
	signal(SIGSEGV, fuzz_died);
	for (unsigned i = 0; i < fuzz_n; i++, fuzz_runs++) {
		fuzz_now = fuzz_pool[i];
		LLVMFuzzerTestOneInput(fuzz_now.bytes, fuzz_now.len);
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		fuzz_now = fuzz_pool[fuzz_random(fuzz_n)];
		for (uint32_t n = 1 + fuzz_random(8); n; n--)
			fuzz_change();
		LLVMFuzzerTestOneInput(fuzz_now.bytes, fuzz_now.len);
		fuzz_runs++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 <
		 seconds);
	printf("ok 1 - %llu inputs\n1..1\n", (unsigned long long)fuzz_runs);
	return 0;
}
#endif

#endif
