#include "conf/parse_run.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t
include_read_all(int fd, char *at, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, at + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* Not O_PATH first: O_NONBLOCK is enough that a FIFO or a device does not hold us up. */
bool
parse_read(struct parser *parser, const char *path, const struct node *place,
	   struct sy_span *bytes, struct reading *reading)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *problem = NULL;
	struct stat status;
	ssize_t len = -1;
	char *at = NULL;

	if (fd < 0 || fstat(fd, &status) < 0)
		problem = strerror(errno);
	else if (!S_ISREG(status.st_mode))
		problem = S_ISDIR(status.st_mode)
			      ? "it is a folder (include FOLDER/*.conf; reads what is in one)"
			      : "it is not a regular file";
	else if (status.st_size > PARSE_FILE_MAX)
		problem = "it is larger than 16m";
	if (!problem) {
		at = arena_alloc(parser->arena, (size_t)status.st_size + 1);
		len = include_read_all(fd, at, (size_t)status.st_size);
		if (len < 0)
			problem = strerror(errno);
	}
	if (fd >= 0)
		close(fd);
	if (problem) {
		complain(parser->complaints, place, "cannot read %s: %s", path, problem);
		return false;
	}
	*bytes = sy_span(at, (size_t)len);
	*reading = (struct reading){ status.st_dev, status.st_ino, parser->reading };
	return true;
}

static const char *
include_path(struct parser *parser, const char *from, const char *path)
{
	const char *slash = strrchr(from, '/');

	if (*path == '/' || !slash)
		return path;
	return arena_printf(parser->arena, "%.*s/%s", (int)(slash - from), from, path);
}

static void
include_file(struct parser *parser, const char *path, const struct node *place,
	     struct scope *scope, struct tail *tail)
{
	struct reading reading;
	struct cursor cursor;
	struct sy_span bytes;

	if (!parse_read(parser, path, place, &bytes, &reading))
		return;
	for (const struct reading *up = parser->reading; up; up = up->above) {
		if (up->device == reading.device && up->inode == reading.inode) {
			complain(parser->complaints, place, "%s includes itself", path);
			return;
		}
	}
	cursor = parse_cursor(parser, arena_text(parser->arena, path), bytes);
	cursor.via = place->via;
	/* At the top level the file alone says where; in a block it may be one of many places. */
	if (parser->blocks)
		cursor.via = parse_via(parser, place);
	parser->reading = &reading;
	parse_statements(parser, &cursor, scope, tail, NULL);
	parser->reading = reading.above;
}

static void
include_pattern(struct parser *parser, const char *pattern, const struct node *place,
		struct scope *scope, struct tail *tail)
{
	const char *path = include_path(parser, place->file, pattern);
	glob_t found = { 0 };
	int result;

	if (!strpbrk(path, "*?[")) {
		include_file(parser, path, place, scope, tail);
		return;
	}
	result = glob(path, 0, NULL, &found);
	if (result != 0 && result != GLOB_NOMATCH)
		complain(parser->complaints, place, "cannot look for %s: %s", path,
			 strerror(errno));
	for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
		include_file(parser, found.gl_pathv[i], place, scope, tail);
	globfree(&found);
}

void
parse_include(struct parser *parser, const struct statement *statement, struct scope *scope,
	      struct tail *tail)
{
	uint32_t n;
	struct sy_span *words = parse_words(parser, statement, 0, scope, &n);

	if (!parser->reading) {
		complain(parser->complaints, statement->node, "include works in files only");
		return;
	}
	if (n == 0 || statement->block)
		complain(parser->complaints, statement->node,
			 "include takes the names of files, and no block: include conf.d/*.conf;");
	if (!parse_enter(parser, statement->node))
		return;
	for (uint32_t i = 0; i < n; i++)
		include_pattern(parser, (const char *)words[i].at, statement->node, scope, tail);
	parse_leave(parser);
}
