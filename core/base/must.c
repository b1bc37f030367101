#include "base/must.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static char *must_page;
static size_t must_page_len;
static volatile sig_atomic_t must_dying;

void
must_set_last_words(char *page, size_t len)
{
	must_page = len > 0 ? page : NULL;
	must_page_len = page ? len : 0;
}

/* Async-signal-safe. */
static void
must_write_page(const char *words)
{
	size_t len = strlen(words);

	if (!must_page)
		return;
	if (len >= must_page_len)
		len = must_page_len - 1;
	memcpy(must_page, words, len);
	must_page[len] = '\0';
}

/* The page first: it cannot fail, while the log may be what is broken. */
__attribute__((noreturn)) static void
must_end(const char *words)
{
	if (must_dying)
		abort();
	must_dying = 1;
	must_write_page(words);
	log_err("%s", words);
	abort();
}

void
must_die(const char *expr, const char *file, int line, const char *function)
{
	char words[512];

	snprintf(words, sizeof(words), "must(%s) failed in %s (%s:%d)", expr, function, file, line);
	must_end(words);
}

__attribute__((noreturn)) static void
must_out_of_memory(size_t size)
{
	char words[80];

	snprintf(words, sizeof(words), "out of memory: the system refused %zu bytes", size);
	must_end(words);
}

void *
must_alloc(size_t size)
{
	void *block = size <= PTRDIFF_MAX ? calloc(1, size ? size : 1) : NULL;

	if (!block)
		must_out_of_memory(size);
	return block;
}

void *
must_realloc(void *old, size_t size)
{
	void *block = size <= PTRDIFF_MAX ? realloc(old, size ? size : 1) : NULL;

	if (!block)
		must_out_of_memory(size);
	return block;
}

struct must_signal {
	int number;
	const char *name;
	struct sigaction before; /* a sanitizer's handler, or the default */
};

static struct must_signal must_signals[] = {
	{ .number = SIGSEGV, .name = "SIGSEGV" },
	{ .number = SIGBUS, .name = "SIGBUS" },
	{ .number = SIGFPE, .name = "SIGFPE" },
	{ .number = SIGILL, .name = "SIGILL" },
};

#define MUST_SIGNALS (sizeof(must_signals) / sizeof(must_signals[0]))

/* printf is not async-signal-safe. */
static char *
must_hex(char *out, uintptr_t value)
{
	int shift = 0;

	*out++ = '0';
	*out++ = 'x';
	while (shift + 4 < (int)sizeof(value) * 8 && value >> (shift + 4) != 0)
		shift += 4;
	for (; shift >= 0; shift -= 4)
		*out++ = "0123456789abcdef"[value >> shift & 15];
	return out;
}

static char *
must_words(char *out, const char *words)
{
	size_t len = strlen(words);

	memcpy(out, words, len);
	return out + len;
}

/* A fault comes again when the instruction is repeated under the old disposition, so that the core
 * file (or the sanitizer) shows the place of the fault and not this function. A signal that was
 * sent does not come again by itself. */
static void
must_caught(int number, siginfo_t *info, void *context)
{
	char words[96], *end = words;
	struct must_signal *caught = NULL;
	int saved = errno;

	(void)context;
	for (size_t i = 0; i < MUST_SIGNALS; i++)
		if (must_signals[i].number == number)
			caught = &must_signals[i];
	if (!caught)
		return;
	end = must_words(end, "killed by ");
	end = must_words(end, caught->name);
	if (info->si_code > 0) {
		end = must_words(end, " at address ");
		end = must_hex(end, (uintptr_t)info->si_addr);
	} else {
		end = must_words(end, " that somebody sent");
	}
	*end = '\0';
	if (must_page) {
		must_write_page(words);
	} else {
		*end++ = '\n';
		if (write(2, words, (size_t)(end - words)) < 0)
			errno = saved;
	}
	sigaction(number, &caught->before, NULL);
	if (info->si_code <= 0)
		raise(number);
	errno = saved;
}

void
must_catch_signals(void)
{
	/* Its own stack: a stack that overflowed cannot run a handler. */
	static char stack[32768];
	stack_t other = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_sigaction = must_caught,
		                    .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigemptyset(&action.sa_mask);
	sigaltstack(&other, NULL);
	for (size_t i = 0; i < MUST_SIGNALS; i++) {
		struct sigaction before;

		sigaction(must_signals[i].number, &action, &before);
		if (!(before.sa_flags & SA_SIGINFO) || before.sa_sigaction != must_caught)
			must_signals[i].before = before;
	}
}
