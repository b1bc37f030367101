/* The small pieces of core/base: list, arena, slab, hash, memfd, must. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memfd.h"
#include "base/must.h"
#include "base/poison.h"
#include "base/slab.h"
#include "tap.h"
#include "unit-base-vectors.h"

struct thing {
	int number;
	struct link link;
};

static int
sum_of(const struct link *head)
{
	int sum = 0;

	list_each (link, head)
		sum = sum * 10 + container_of(link, struct thing, link)->number;
	return sum;
}

static void
test_list(void)
{
	struct thing things[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
	struct link head;

	link_init(&head);
	ok(list_empty(&head), "list: a new one is empty");
	for (int i = 0; i < 4; i++)
		list_append(&head, &things[i].link);
	is_int(sum_of(&head), 1234, "list: in the order of appending");
	list_remove(&things[1].link);
	is_int(sum_of(&head), 134, "list: one removed from the middle");
	list_remove(&things[1].link);
	is_int(sum_of(&head), 134, "list: removing what is in no list changes nothing");
	list_append(&things[2].link, &things[1].link);
	is_int(sum_of(&head), 1234, "list: appending to a link inserts before it");
	list_each_safe (link, &head)
		if (container_of(link, struct thing, link)->number % 2 == 0)
			list_remove(link);
	is_int(sum_of(&head), 13, "list: the current element may be removed");
	list_each_safe (link, &head)
		list_remove(link);
	ok(list_empty(&head), "list: all removed");
}

static void
test_arena(void)
{
	struct arena *arena = arena_new();
	size_t sizes[] = { 1, 15, 16, 17, 100, 4000, 5000, 70000, 3, 0 };
	uint64_t state = 1;
	char *blocks[400];
	size_t lens[400], before;
	bool aligned = true, zeroed = true, intact = true;
	struct sy_span span;
	char *text;

	ok(arena_size(arena) > 0, "arena: its own size counts");
	for (size_t i = 0; i < 400; i++) {
		lens[i] = i < 10 ? sizes[i] : hash_random(&state) % 900;
		blocks[i] = arena_alloc(arena, lens[i]);
		aligned &= (uintptr_t)blocks[i] % 16 == 0;
		for (size_t j = 0; j < lens[i]; j++)
			zeroed &= blocks[i][j] == 0;
		memset(blocks[i], (int)(i & 0xff), lens[i]);
	}
	for (size_t i = 0; i < 400; i++)
		for (size_t j = 0; j < lens[i]; j++)
			intact &= (uint8_t)blocks[i][j] == (i & 0xff);
	ok(aligned, "arena: blocks are aligned to 16 bytes");
	ok(zeroed, "arena: blocks are zeroed");
	ok(intact, "arena: blocks do not overlap");
	before = arena_size(arena);
	arena_alloc(arena, 1000000);
	ok(arena_size(arena) >= before + 1000000, "arena: a large block is counted");
	ok(arena_size(arena) < before + 1010000, "arena: and has a chunk of its own");

	text = arena_text(arena, "words");
	is_str(text, "words", "arena: text");
	is_str(arena_text_n(arena, "wordsmith", 5), "words", "arena: text of a length");
	is_str(arena_text_n(arena, NULL, 0), "", "arena: no text at all");
	is_str(arena_text(arena, NULL), NULL, "arena: NULL stays NULL");
	span = arena_span(arena, sy_span("a\0b", 3));
	ok(span.len == 3 && memcmp(span.at, "a\0b", 3) == 0, "arena: span with a NUL inside");
	is_str(arena_printf(arena, "%s:%d", "a", 5061), "a:5061", "arena: printf");
	text = arena_printf(arena, "%*d", 9000, 7);
	is_uint(strlen(text), 9000, "arena: a long printf");
	*arena_new_of(arena, int) = 3;
	ok(arena_array(arena, uint64_t, 12)[11] == 0, "arena: array");
#ifdef POISON_ON
	text = arena_alloc(arena, 20);
	ok(!__asan_address_is_poisoned(text + 19) && __asan_address_is_poisoned(text + 20),
	   "arena: the sanitizer knows where a block ends");
#endif
	arena_free(arena);
	arena_free(NULL);
}

static size_t
mapped_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	size_t pages = 0;

	if (file && fscanf(file, "%zu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return pages;
}

static void
test_slab_traffic(size_t size)
{
	struct slab *slab = slab_new(size);
	static char *blocks[3000];
	uint64_t state = size;
	bool intact = true, aligned = true;
	size_t n = 0;

	for (int turn = 0; turn < 60000; turn++) {
		size_t i = hash_random(&state) % 3000;
		/* Waves: mostly taking, then mostly giving. */
		bool give = hash_random(&state) % 10 < (turn / 10000 % 2 ? 8u : 2u);

		if (blocks[i] && give) {
			intact &= blocks[i][0] == (char)i && blocks[i][size - 1] == (char)i;
			slab_give(slab, blocks[i]);
			blocks[i] = NULL;
			n--;
		} else if (!blocks[i] && !give) {
			blocks[i] = slab_take(slab);
			if (!blocks[i])
				break;
			aligned &= (uintptr_t)blocks[i] % (size >= 16 ? 16 : 8) == 0;
			blocks[i][0] = blocks[i][size - 1] = (char)i;
			n++;
		}
		if (slab_in_use(slab) != n)
			break;
	}
	is_uint(slab_in_use(slab), n, "slab %zu: blocks in use are counted", size);
	ok(intact, "slab %zu: blocks do not overlap", size);
	ok(aligned, "slab %zu: blocks are aligned", size);
	for (size_t i = 0; i < 3000; i++) {
		slab_give(slab, blocks[i]);
		blocks[i] = NULL;
	}
	is_uint(slab_in_use(slab), 0, "slab %zu: all came back", size);
	slab_free(slab);
}

static void
test_slab(void)
{
	struct slab *slab = slab_new(600);
	size_t start = mapped_pages(), most, page = (size_t)sysconf(_SC_PAGESIZE);
	static void *blocks[20000];
	void *block;
	struct rlimit limit, none;
	unsigned i;

	test_slab_traffic(1);
	test_slab_traffic(48);
	test_slab_traffic(640);
	test_slab_traffic(16384);

	for (i = 0; i < 20000; i++)
		blocks[i] = slab_take(slab);
	most = (mapped_pages() - start) * page;
	ok(most >= 20000 * 600, "slab: runs come from the system (%zu bytes)", most);
#ifndef POISON_ON
	ok(most < 20000 * 600 * 11 / 10, "slab: less than 10 %% are lost at the borders");
#endif
	for (i = 0; i < 20000; i++)
		slab_give(slab, blocks[i]);
	ok((mapped_pages() - start) * page <= 65536 * 2, "slab: empty runs go back, one is kept");
	block = slab_take(slab);
	slab_give(slab, block);
	ok(slab_take(slab) == block, "slab: what came back last is taken first");
#ifdef POISON_ON
	slab_give(slab, block);
	ok(__asan_address_is_poisoned(block),
	   "slab: the sanitizer knows that a block was given back");
	skip("the sanitizer itself needs address space, so none can be refused");
	(void)limit, (void)none;
#else
	getrlimit(RLIMIT_AS, &limit);
	none = limit;
	none.rlim_cur = mapped_pages() * page + 1000000;
	setrlimit(RLIMIT_AS, &none);
	for (i = 0; i < 20000 && block; i++)
		blocks[i] = block = slab_take(slab);
	setrlimit(RLIMIT_AS, &limit);
	ok(i > 100 && i < 20000, "slab: no memory gives NULL, after %u blocks", i);
	ok((block = slab_take(slab)) != NULL, "slab: and blocks again when there is memory");
#endif
	slab_free(slab);
	slab_free(NULL);
}

static void
test_hash(void)
{
	struct hash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)},
			zero = {0};
	uint8_t input[65];
	unsigned right_64 = 0, right_128 = 0, right_odd = 0;
	uint64_t state = 1234567;
	char longer[3000];

	for (unsigned i = 0; i < 64; i++) {
		struct hash_128 wide;

		for (unsigned j = 0; j < 64; j++)
			input[j] = (uint8_t)j;
		right_64 += hash_64(&key, input, i) == vectors_64[i];
		wide = hash_128(&key, input, i);
		right_128 += wide.lo == vectors_128[i][0] && wide.hi == vectors_128[i][1];
		memmove(input + 1, input, 64);
		right_odd += hash_64(&key, input + 1, i) == vectors_64[i];
	}
	is_uint(right_64, 64, "hash: the published vectors of SipHash-2-4");
	is_uint(right_128, 64, "hash: the published vectors of SipHash-2-4-128");
	is_uint(right_odd, 64, "hash: from an odd address, too");
	is_uint(hash_64(&key, NULL, 0), vectors_64[0], "hash: nothing, at no address");

	is_uint(hash_id("pool", "edge1", NULL), hash_64(&zero, "pool\0edge1", 10),
	        "hash: an id is the parts with a NUL between them under the zero key");
	is_uint(hash_id("pool", NULL), hash_64(&zero, "pool", 4), "hash: an id of one part");
	ok(hash_id("ab", "c", NULL) != hash_id("a", "bc", NULL), "hash: parts do not run together");
	ok(hash_id("a", "", NULL) != hash_id("a", NULL), "hash: an empty part counts");
	ok(hash_id("", NULL) != 0, "hash: never 0");
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	ok(hash_id(longer, NULL) == hash_64(&zero, longer, sizeof(longer) - 1),
	   "hash: a long part");

	/* The values that are known for the seed 1234567. */
	is_uint(hash_random(&state), UINT64_C(6457827717110365317), "hash: SplitMix64, first draw");
	is_uint(hash_random(&state), UINT64_C(3203168211198807973),
		"hash: SplitMix64, second draw");
	is_uint(hash_random(&state), UINT64_C(9817491932198370423), "hash: SplitMix64, third draw");
}

static void
test_memfd(void)
{
	struct sy_err err = { "" };
	int fd = memfd_shared("unit", 100000, &err), file;
	size_t len = 0;
	char *at = memfd_map(fd, 1, &len, &err), *other = memfd_map(fd, 0, &len, &err);
	char *sealed;

	ok(fd >= 0 && at && other, "memfd: shared memory is made and mapped twice");
	is_uint(len, 100000, "memfd: the whole is mapped");
	ok(fcntl(fd, F_GETFD) & FD_CLOEXEC, "memfd: closed on exec");
	strcpy(at + 50000, "seen");
	is_str(other + 50000, "seen", "memfd: what one writes the other reads");
	strcpy(at + 50000, "anew");
	is_str(other + 50000, "anew", "memfd: also after the first read");
	ok(ftruncate(fd, 10) != 0 && ftruncate(fd, 1000000) != 0, "memfd: its size is for good");
	munmap(at, len);
	munmap(other, len);
	close(fd);

	fd = memfd_sealed("unit", "bytes\0more", 10, &err);
	sealed = memfd_map(fd, 0, &len, &err);
	ok(sealed && len == 10 && memcmp(sealed, "bytes\0more", 10) == 0, "memfd: sealed bytes");
	ok(pwrite(fd, "x", 1, 0) != 1 && ftruncate(fd, 5) != 0, "memfd: cannot be changed");
	ok(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) != 0, "memfd: nor its seals");
	ok(!memfd_map(fd, 1, &len, &err), "memfd: nor be mapped for writing");
	has_str(err.text, "for writing: it is sealed", "memfd: and it says why");
	is_uint(len, 0, "memfd: no length then");
	munmap(sealed, 10);
	close(fd);

	fd = memfd_sealed("unit", NULL, 0, &err);
	len = 1;
	ok(memfd_map(fd, 0, &len, &err) && len == 0, "memfd: sealed nothing can be mapped");
	close(fd);

	is_int(memfd_shared("unit", 0, &err), -1, "memfd: no shared memory without a size");
	has_str(err.text, "0 bytes", "memfd: and it says so");
	is_int(memfd_shared("unit", SIZE_MAX, &err), -1, "memfd: nor with an impossible one");
	ok(!memfd_map(-1, 0, &len, &err), "memfd: no descriptor");
	has_str(err.text, strerror(EBADF), "memfd: and it says so");
	file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ok(!memfd_map(file, 0, &len, &err), "memfd: a file, which others can shrink, is refused");
	has_str(err.text, "not a sealed memfd", "memfd: and it says so");
	close(file);
	fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ok(!memfd_map(fd, 0, &len, &err), "memfd: so is a memfd that is not sealed");
	close(fd);
}

static void
test_memfd_limits(void)
{
	struct sy_err err = { "" };
	struct rlimit limit, small;
	static char many[20000];

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	small = limit;
	small.rlim_cur = 10000;
	setrlimit(RLIMIT_FSIZE, &small);
	is_int(memfd_shared("unit", 20000, &err), -1, "memfd: larger than the process may");
	has_str(err.text, strerror(EFBIG), "memfd: and it says so");
	err.text[0] = '\0';
	is_int(memfd_sealed("unit", many, sizeof(many), &err), -1, "memfd: the same when sealed");
	has_str(err.text, "cannot fill the shared memory \"unit\" (20000 bytes): ",
		"memfd: and it says so");
	setrlimit(RLIMIT_FSIZE, &limit);
	signal(SIGXFSZ, SIG_DFL);

	getrlimit(RLIMIT_NOFILE, &limit);
	small = limit;
	small.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &small);
	is_int(memfd_shared("unit", 20000, &err), -1, "memfd: no descriptor left");
	has_str(err.text, strerror(EMFILE), "memfd: and it says so");
	is_int(memfd_sealed("unit", many, 5, &err), -1, "memfd: the same when sealed");
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Runs the last acts of a process in one of its own: gives how it ended, and what it said. */
static int
dies(void (*act)(void), char *page, size_t page_len, char *said, size_t said_len)
{
	int pipes[2], status = 0;
	size_t len = 0;
	ssize_t n;
	pid_t child;

	if (pipe(pipes) != 0)
		bail_out("pipe: %s", strerror(errno));
	fflush(stdout);
	child = fork();
	if (child == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		dup2(pipes[1], 2);
		close(pipes[0]);
		close(pipes[1]);
		log_open("unit", 2, LOG_TO_STDERR, LOG_TEXT, LOG_LEVEL_INFO);
		must_set_last_words(page, page_len);
		act();
		_exit(77);
	}
	close(pipes[1]);
	while (len < said_len - 1 && (n = read(pipes[0], said + len, said_len - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = '\0';
	close(pipes[0]);
	waitpid(child, &status, 0);
	return status;
}

static volatile int zero;

static void
act_must(void)
{
	must(zero == 1 && "because");
}

static void
act_alloc(void)
{
	must_alloc(SIZE_MAX);
}

static void
act_realloc(void)
{
	must_realloc(must_alloc(3), SIZE_MAX - 1);
}

static void
act_arena(void)
{
	arena_alloc(arena_new(), SIZE_MAX - 8);
}

static void
act_segv(void)
{
	must_catch_signals();
	must_catch_signals(); /* twice is as good as once */
	*(volatile int *)(uintptr_t)0x1234 = 1; /* NOLINT */
}

static void
act_sent(void)
{
	must_catch_signals();
	kill(getpid(), SIGBUS);
}

static void
act_wrong_slab(void)
{
	struct slab *one = slab_new(100), *two = slab_new(100);

	slab_take(two);
	slab_give(two, slab_take(one));
}

#ifndef POISON_ON
__attribute__((noinline)) static int
deeper(volatile char *above)
{
	volatile char here[4096];

	here[0] = (char)(*above + 1);
	return here[0] == 127 && zero ? 0 : deeper(here) + here[0];
}

static void
act_deep(void)
{
	volatile char first = 0;

	must_catch_signals();
	zero = deeper(&first);
}
#endif

static void
test_must(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static char said[65536];
	int status;
	char *block;

	must(zero == 0);
	block = must_alloc(0);
	ok(block != NULL, "must: no bytes are a block, too");
	block = must_realloc(block, 100);
	strcpy(block, "kept");
	block = must_realloc(block, 100000);
	is_str(block, "kept", "must: realloc keeps the content");
	free(block);

	status = dies(act_must, page, 4096, said, sizeof(said));
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "must: what fails aborts");
	has_str(page, "must(zero == 1 && \"because\") failed in act_must (", "must: last words");
	has_str(page, "unit-base.c:", "must: with the file");
	has_str(said, "err unit: must(zero == 1", "must: they are in the log, too");

	memset(page, 'x', 64);
	dies(act_must, page, 12, said, sizeof(said));
	ok(memcmp(page, "must(zero =\0xxxx", 16) == 0, "must: no more than the page takes");
	page[0] = '\0';
	dies(act_must, NULL, 0, said, sizeof(said));
	has_str(said, "must(zero == 1", "must: without a page there is still the log");

	status = dies(act_alloc, page, 4096, said, sizeof(said));
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "must: no memory aborts");
	has_str(page, "out of memory: the system refused ", "must: and says so");
	dies(act_realloc, page, 4096, said, sizeof(said));
	has_str(page, "out of memory: the system refused 18446744073709551614",
		"must: realloc alike");
	status = dies(act_arena, page, 4096, said, sizeof(said));
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "arena: an impossible size aborts");
	status = dies(act_wrong_slab, page, 4096, said, sizeof(said));
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
	   "slab: a block of another slab aborts");
	has_str(page, "run->slab == slab", "slab: and it says so");

	page[0] = '\0';
	status = dies(act_segv, page, 4096, said, sizeof(said));
	ok(!WIFEXITED(status) || WEXITSTATUS(status) != 77, "must: a fault still kills");
	is_str(page, "killed by SIGSEGV at address 0x1234", "must: with signal and address");
	page[0] = '\0';
	status = dies(act_sent, page, 4096, said, sizeof(said));
	ok(!WIFEXITED(status) || WEXITSTATUS(status) != 77,
	   "must: a signal that was sent kills, too");
	is_str(page, "killed by SIGBUS that somebody sent", "must: and is told from a fault");
	dies(act_segv, NULL, 0, said, sizeof(said));
	has_str(said, "killed by SIGSEGV at address 0x1234\n", "must: without a page, on stderr");
#ifndef POISON_ON
	page[0] = '\0';
	status = dies(act_deep, page, 4096, said, sizeof(said));
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV,
	   "must: so does a stack that overflows");
	has_str(page, "killed by SIGSEGV at address 0x7",
		"must: its last words have a stack of their own");
#endif
	munmap(page, 4096);
}

static void
test_clock(void)
{
	uint64_t ms = clock_ms(), us = clock_us();

	ok(us / 1000 >= ms && us / 1000 - ms < 60000, "clock: milliseconds and microseconds agree");
	ok(clock_us() >= us, "clock: goes forward");
	ok(clock_wall_ms() > UINT64_C(1700000000000), "clock: the wall's is this century's");
}

int
main(void)
{
	test_list();
	test_arena();
	test_slab();
	test_hash();
	test_memfd();
	test_memfd_limits();
	test_must();
	test_clock();
	return done_testing();
}
