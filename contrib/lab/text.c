#define _GNU_SOURCE 1
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

int
err_set(struct lab_err *err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return -1;
}

int
text_number(const char *text, uint64_t min, uint64_t max, uint64_t *number, struct lab_err *err)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno || *number < min || *number > max)
		return err_set(err, "\"%s\" is not a whole number between %" PRIu64 " and %" PRIu64,
			       text, min, max);
	return 0;
}

struct text_unit {
	const char *name;
	double factor;
};

/* A number with an optional unit from the table; what is not understood is quoted. */
static int
text_amount(const char *text, const struct text_unit *units, const char *what, double *amount,
	    struct lab_err *err)
{
	char *end;

	errno = 0;
	*amount = strtod(text, &end);
	if (isdigit((unsigned char)text[0]) && !errno && *amount < 1e15 && text[1] != 'x') {
		for (; units->name; units++) {
			if (!strcasecmp(end, units->name)) {
				*amount *= units->factor;
				return 0;
			}
		}
	}
	return err_set(err, "\"%s\" is not %s", text, what);
}

int
text_duration(const char *text, double *seconds, struct lab_err *err)
{
	static const struct text_unit units[] = {
	    {"", 1}, {"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {NULL, 0},
	};

	return text_amount(text, units, "a length of time such as 500ms, 20s, 5m or 1h", seconds,
			   err);
}

int
text_size(const char *text, uint64_t *bytes, struct lab_err *err)
{
	static const struct text_unit units[] = {
	    {"", 1}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {NULL, 0},
	};
	double amount;

	if (text_amount(text, units, "an amount of bytes such as 512, 64k or 16m", &amount, err))
		return -1;
	*bytes = (uint64_t)amount;
	return 0;
}

const char *
text_field(const char *head, size_t head_len, const char *name, int nth, size_t *len)
{
	size_t name_len = strlen(name);
	const char *end = head + head_len;

	for (const char *line = head, *next; line < end; line = next) {
		next = memmem(line, (size_t)(end - line), "\r\n", 2);
		next = next ? next + 2 : end;
		if ((size_t)(next - line) < name_len + 3 || line[name_len] != ':' ||
		    strncasecmp(line, name, name_len) || nth-- > 0)
			continue;
		line += name_len + 1;
		while (*line == ' ' || *line == '\t')
			line++;
		*len = (size_t)(next - line) - 2;
		return line;
	}
	return NULL;
}

long
text_length(const char *value, size_t len)
{
	char digits[12] = "";

	if (len == 0 || len >= sizeof(digits))
		return -1;
	memcpy(digits, value, len);
	return strspn(digits, "0123456789") == len ? strtol(digits, NULL, 10) : -1;
}

int
text_words(char *line, char **words, int max)
{
	int count = 0;

	line[strcspn(line, "#\r\n")] = 0;
	for (char *save = NULL, *word = strtok_r(line, " \t", &save); word;
	     word = strtok_r(NULL, " \t", &save)) {
		if (count < max)
			words[count] = word;
		count++;
	}
	return count;
}

int
text_list(const char *path, int max,
	  int (*each)(void *ctx, int count, char **words, struct lab_err *err), void *ctx,
	  struct lab_err *err)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "re") : stdin;
	char **words = calloc((size_t)max, sizeof(*words));
	char *line = NULL;
	size_t room = 0;
	struct lab_err why;
	int result = 0;

	if (!words || !file) {
		err_set(err, "cannot read the list %s: %s", path, strerror(errno));
		free(words);
		if (file && file != stdin)
			fclose(file);
		return -1;
	}
	for (int number = 1; !result && getline(&line, &room, file) >= 0; number++) {
		int count = text_words(line, words, max);

		if (count > max)
			result = err_set(err, "%s:%d: %d words, at most %d are understood", path,
					 number, count, max);
		else if (count && each(ctx, count, words, &why))
			result = err_set(err, "%s:%d: %s", path, number, why.text);
	}
	free(line);
	free(words);
	if (file != stdin)
		fclose(file);
	return result;
}

void
text_ready(int fd, const char *words)
{
	if (fd < 0)
		return;
	if (dprintf(fd, "ready %s\n", words) < 0)
		fprintf(stderr, "cannot say ready on descriptor %d: %s\n", fd, strerror(errno));
	if (fd > 2)
		close(fd);
}
