/* TAP (testanything.org) for tests in C. The whole of it is in this header:
 *
 *	int
 *	main(void)
 *	{
 *		ok(list_empty(&head), "a new list is empty");
 *		is_int(n, 3, "%s has three", name);
 *		is_str(text, "a b", "joined");
 *		return done_testing();
 *	}
 *
 * Each check takes a name, printf-like, and is true when it passed, so that a test can give up. A
 * failed check says file, line, what was got and what was wanted. */
#ifndef T_TAP_H
#define T_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAP_UNUSED __attribute__((unused))

static struct {
	unsigned run, failed;
	long planned; /* 0: done_testing() says how many */
} tap;

/* Explains; not a check. */
__attribute__((unused, format(printf, 1, 2))) static void
diag(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("# ", stdout);
	vprintf(format, args);
	fputc('\n', stdout);
	fflush(stdout);
	va_end(args);
}

/* How many checks will be made, said first; without it done_testing() says it last. */
TAP_UNUSED static void
plan(unsigned checks)
{
	tap.planned = checks;
	printf("1..%u\n", checks);
	fflush(stdout);
}

/* The whole file cannot run here, and why; ends the process. */
__attribute__((unused, noreturn, format(printf, 1, 2))) static void
skip_all(const char *why, ...)
{
	va_list args;

	va_start(args, why);
	fputs("1..0 # SKIP ", stdout);
	vprintf(why, args);
	fputc('\n', stdout);
	va_end(args);
	exit(0);
}

/* Nothing after this makes sense; ends the process and the whole run. */
__attribute__((unused, noreturn, format(printf, 1, 2))) static void
bail_out(const char *why, ...)
{
	va_list args;

	va_start(args, why);
	fputs("Bail out!  ", stdout);
	vprintf(why, args);
	fputc('\n', stdout);
	va_end(args);
	exit(255);
}

/* One check that cannot be made here, and why. */
__attribute__((unused, format(printf, 1, 2))) static void
skip(const char *why, ...)
{
	va_list args;

	va_start(args, why);
	printf("ok %u # SKIP ", ++tap.run);
	vprintf(why, args);
	fputc('\n', stdout);
	fflush(stdout);
	va_end(args);
}

/* A '#' in a name would begin a directive, a newline would end the line. */
static void
tap_name(const char *format, va_list args)
{
	char name[512];

	vsnprintf(name, sizeof(name), format, args);
	for (char *c = name; *c; c++) {
		if (*c == '#')
			putchar('\\');
		putchar(*c == '\n' || *c == '\r' ? ' ' : *c);
	}
}

static bool
tap_say(bool passed, const char *file, int line, const char *format, va_list args)
{
	printf("%s %u - ", passed ? "ok" : "not ok", ++tap.run);
	tap_name(format, args);
	putchar('\n');
	if (!passed) {
		tap.failed++;
		printf("#   failed at %s:%d\n", file, line);
	}
	return passed;
}

__attribute__((unused, format(printf, 4, 5))) static bool
tap_ok(bool passed, const char *file, int line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	tap_say(passed, file, line, format, args);
	va_end(args);
	fflush(stdout);
	return passed;
}

__attribute__((unused, format(printf, 5, 6))) static bool
tap_int(intmax_t got, intmax_t want, const char *file, int line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!tap_say(got == want, file, line, format, args))
		printf("#   got %" PRIdMAX ", wanted %" PRIdMAX "\n", got, want);
	va_end(args);
	fflush(stdout);
	return got == want;
}

__attribute__((unused, format(printf, 5, 6))) static bool
tap_uint(uintmax_t got, uintmax_t want, const char *file, int line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!tap_say(got == want, file, line, format, args))
		printf("#   got %" PRIuMAX " (0x%" PRIxMAX "), wanted %" PRIuMAX " (0x%" PRIxMAX
		       ")\n",
		       got, got, want, want);
	va_end(args);
	fflush(stdout);
	return got == want;
}

/* Shown so that it stays on its line and what cannot be seen can be seen. */
static void
tap_show(const char *label, const char *text, size_t len)
{
	printf("#   %s ", label);
	if (!text) {
		puts("NULL");
		return;
	}
	putchar('"');
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
	puts("\"");
}

__attribute__((unused, format(printf, 5, 6))) static bool
tap_str(const char *got, const char *want, const char *file, int line, const char *format, ...)
{
	bool passed = got && want ? strcmp(got, want) == 0 : got == want;
	va_list args;

	va_start(args, format);
	if (!tap_say(passed, file, line, format, args)) {
		tap_show("got   ", got, got ? strlen(got) : 0);
		tap_show("wanted", want, want ? strlen(want) : 0);
	}
	va_end(args);
	fflush(stdout);
	return passed;
}

__attribute__((unused, format(printf, 6, 7))) static bool
tap_mem(const void *got, const void *want, size_t len, const char *file, int line,
	const char *format, ...)
{
	bool passed = len == 0 || memcmp(got, want, len) == 0;
	va_list args;

	va_start(args, format);
	if (!tap_say(passed, file, line, format, args)) {
		tap_show("got   ", got, len < 256 ? len : 256);
		tap_show("wanted", want, len < 256 ? len : 256);
	}
	va_end(args);
	fflush(stdout);
	return passed;
}

__attribute__((unused, format(printf, 5, 6))) static bool
tap_has(const char *text, const char *part, const char *file, int line, const char *format, ...)
{
	bool passed = text && strstr(text, part);
	va_list args;

	va_start(args, format);
	if (!tap_say(passed, file, line, format, args)) {
		tap_show("got            ", text, text ? strlen(text) : 0);
		tap_show("wanted in there", part, strlen(part));
	}
	va_end(args);
	fflush(stdout);
	return passed;
}

#define ok(passed, ...) tap_ok(!!(passed), __FILE__, __LINE__, __VA_ARGS__)
#define is_int(got, want, ...) tap_int((got), (want), __FILE__, __LINE__, __VA_ARGS__)
#define is_uint(got, want, ...) tap_uint((got), (want), __FILE__, __LINE__, __VA_ARGS__)
/* NULL equals NULL only. */
#define is_str(got, want, ...) tap_str((got), (want), __FILE__, __LINE__, __VA_ARGS__)
#define is_mem(got, want, len, ...) tap_mem((got), (want), (len), __FILE__, __LINE__, __VA_ARGS__)
/* `part` stands somewhere in `text`. */
#define has_str(text, part, ...) tap_has((text), (part), __FILE__, __LINE__, __VA_ARGS__)

/* The last call; gives the exit status of the process. */
TAP_UNUSED static int
done_testing(void)
{
	if (!tap.planned) {
		printf("1..%u\n", tap.run);
	} else if (tap.planned != (long)tap.run) {
		printf("# %ld checks were planned, %u were made\n", tap.planned, tap.run);
		fflush(stdout);
		return 1;
	}
	if (tap.failed)
		printf("# %u of %u checks failed\n", tap.failed, tap.run);
	if (!tap.run)
		puts("# no check was made");
	fflush(stdout);
	return tap.failed || !tap.run ? 1 : 0;
}

#endif
