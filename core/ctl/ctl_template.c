/* `template list` and `template show NAME`: templates explain themselves by their comments, so they are
 * read as text: a template begins with `template NAME {` at the beginning of a line and ends with `}`
 * there, and the comment above it is its documentation. The configuration itself is not asked: what is
 * shown is what could be deployed. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ctl/ctl.h"

struct template_file {
	const char *path;
	struct text text;
};

/* One template as it stands in a file. */
struct template_seen {
	const char *name;
	size_t name_len;
	const char *comment, *body, *end; /* comment == body: there is none */
};

static int
template_read(struct template_file *file, const char *path)
{
	FILE *in = fopen(path, "re");
	char bytes[4096];
	size_t n;

	*file = (struct template_file){ .path = path };
	if (!in) {
		fprintf(stderr, "steelyardctl: %s: %s\n", path, strerror(errno));
		return -1;
	}
	text_puts(&file->text, "");
	while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0)
		text_add(&file->text, bytes, n);
	n = (size_t)ferror(in);
	fclose(in);
	if (n)
		fprintf(stderr, "steelyardctl: %s cannot be read\n", path);
	return n ? -1 : 0;
}

static const char *
template_line_end(const char *at)
{
	const char *end = strchr(at, '\n');

	return end ? end + 1 : at + strlen(at);
}

/* The next template from *at on, which moves behind it. */
static bool
template_next(const char **at, struct template_seen *seen)
{
	const char *comment = NULL;

	for (const char *line = *at; *line; line = template_line_end(line)) {
		if (line[0] == '#') {
			comment = comment ? comment : line;
			continue;
		}
		if (strncmp(line, "template ", 9) != 0) {
			comment = NULL;
			continue;
		}
		seen->name = line + 9;
		seen->name_len = strcspn(seen->name, " \t{\n");
		seen->comment = comment ? comment : line;
		seen->body = line;
		while (*line && line[0] != '}')
			line = template_line_end(line);
		seen->end = template_line_end(line);
		*at = seen->end;
		return true;
	}
	return false;
}

enum {
	TEMPLATE_NAME = 26,       /* columns of the list */
	TEMPLATE_WIDTH = 80,
};

/* Words of one line of a comment, in columns. True: a sentence ends with them. */
static bool
template_list_line(const char *at, const char *end, size_t *column)
{
	while (at < end) {
		size_t len = strcspn(at, " \t\n");

		if (len == 0) {
			at++;
			continue;
		}
		if (*column + len + 1 > TEMPLATE_WIDTH) {
			printf("\n%*s", TEMPLATE_NAME - 1, "");
			*column = TEMPLATE_NAME - 1;
		}
		printf(" %.*s", (int)len, at);
		*column += len + 1;
		at += len;
		if (at[-1] == '.')
			return true;
	}
	return false;
}

/* The comment's first sentence, or what there is before an empty line. */
static void
template_list_one(const struct template_seen *seen)
{
	size_t column = seen->name_len < TEMPLATE_NAME ? TEMPLATE_NAME - 1 : seen->name_len;
	bool over = false;

	printf("%-*.*s", TEMPLATE_NAME - 1, (int)seen->name_len, seen->name);
	for (const char *line = seen->comment; line < seen->body && !over; line = template_line_end(line))
		over = line[1 + strspn(line + 1, " \t")] == '\n' ||
		       template_list_line(line + 1, template_line_end(line), &column);
	printf("\n");
}

struct template_search {
	const char *name;         /* NULL: list all */
	unsigned found;
	const char *names[256];   /* for a hint; NULL at the end */
	unsigned n;
};

static void
template_look(const struct template_file *file, struct template_search *search)
{
	const char *at = file->text.at;
	struct template_seen seen;

	while (template_next(&at, &seen)) {
		if (!search->name) {
			template_list_one(&seen);
			search->found++;
		} else if (strlen(search->name) == seen.name_len &&
			   memcmp(search->name, seen.name, seen.name_len) == 0) {
			printf("# %s\n%.*s", file->path, (int)(seen.end - seen.comment), seen.comment);
			search->found++;
		} else if (search->n < 255) {
			search->names[search->n++] = strndup(seen.name, seen.name_len);
		}
	}
}

static int
template_unknown(struct ctl *ctl, const struct template_search *search)
{
	const char *near = search->name ? text_nearest(search->name, search->names) : NULL;

	if (!search->name)
		fprintf(stderr, "steelyardctl: there are no templates in %s (--templates FOLDER)\n",
		        ctl->templates);
	else
		fprintf(stderr, "steelyardctl: no template in %s is called %s%s%s\n", ctl->templates,
		        search->name, near ? "; did you mean " : "", near ? near : "");
	return CTL_FAILED;
}

int
ctl_template(struct ctl *ctl)
{
	struct template_search search = { .name = ctl->argc > 1 ? ctl->argv[1] : NULL };
	bool list = strcmp(ctl->argv[0], "list") == 0, show = strcmp(ctl->argv[0], "show") == 0;
	struct text pattern = { 0 };
	int result = CTL_OK;
	glob_t found = { 0 };

	if ((!list || ctl->argc != 1) && (!show || ctl->argc != 2)) {
		fprintf(stderr, "usage: steelyardctl template list | template show NAME\n");
		return CTL_USAGE;
	}
	text_printf(&pattern, "%s/*.conf", ctl->templates);
	if (glob(pattern.at, 0, NULL, &found) != 0)
		found.gl_pathc = 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct template_file file;

		if (template_read(&file, found.gl_pathv[i]) == 0)
			template_look(&file, &search);
		else
			result = CTL_FAILED;
		text_free(&file.text);
	}
	if (!search.found && result == CTL_OK)
		result = template_unknown(ctl, &search);
	for (unsigned i = 0; i < search.n; i++)
		free((char *)search.names[i]);
	globfree(&found);
	text_free(&pattern);
	return result;
}
