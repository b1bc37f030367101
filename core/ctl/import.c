#include "ctl/import.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"

enum { IMPORT_FILE_MAX = 64 << 20 };

/* ---- the model ---- */

void
import_name(char out[static IMPORT_NAME + 1], const char *name)
{
	size_t n = 0;

	for (; *name && n < IMPORT_NAME - 4; name++) {
		bool good = isalnum((unsigned char)*name) || strchr("._:", *name);

		/* A file whose name begins with a dot is hidden from include. */
		if (*name == '.' && n == 0)
			continue;

		if (good || (n && out[n - 1] != '-'))
			out[n++] = good ? *name : '-';
	}
	while (n && out[n - 1] == '-')
		n--;
	if (!n)
		out[n++] = 'x';
	out[n] = '\0';
}

bool
import_is_address(const char *text)
{
	for (const char *at = text; *at; at++)
		if (!isalnum((unsigned char)*at) && !strchr(".:*[]_%-", *at))
			return false;
	return *text != 0;
}

void
import_word(char *out, size_t size, const char *word)
{
	snprintf(out, size, "%s", word ? word : "");
}

/* Of several that want the same name, the second is NAME-2. */
static void
import_number(char out[static IMPORT_NAME + 1], const char *wanted, unsigned number)
{
	snprintf(out, IMPORT_NAME + 1, "%.*s-%u", IMPORT_NAME - 11, wanted, number);
}

struct import_service *
import_service(struct import *import, const char *name)
{
	struct import_service *service;
	unsigned number = 1, i = 0;

	import->services = must_realloc(import->services, (import->n_services + 1) * sizeof(*service));
	service = &import->services[import->n_services];
	*service = (struct import_service){ .transparent = -1 };
	import_name(service->wanted, name);
	import_word(service->name, sizeof(service->name), service->wanted);
	for (unsigned j = 0; j < import->n_services; j++)
		number += strcmp(import->services[j].wanted, service->wanted) == 0;
	if (number > 1)
		import_number(service->name, service->wanted, number);
	while (i < import->n_services) {
		if (strcmp(import->services[i++].name, service->name) != 0)
			continue;
		import_number(service->name, service->wanted, ++number);
		i = 0;
	}
	import->n_services++;
	return service;
}

struct import_server *
import_server(struct import_service *service, const char *name)
{
	struct import_server *server;

	service->servers = must_realloc(service->servers, (service->n_servers + 1) * sizeof(*server));
	server = &service->servers[service->n_servers++];
	*server = (struct import_server){ .weight = -1 };
	import_name(server->name, name);
	return server;
}

void
import_lost(struct import *import, const char *where, const char *format, ...)
{
	size_t from = import->report.len;
	char words[512];
	va_list args;

	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	text_printf(&import->report, "%s: %s", where, words);
	/* What the file says stands here, too. */
	for (char *at = import->report.at + from; *at; at++)
		*at = (unsigned char)*at < ' ' || *at == 0x7f ? ' ' : *at;
	text_puts(&import->report, "\n");
	import->lost++;
}

static void
import_free_service(struct import_service *service)
{
	for (unsigned i = 0; i < service->n_rules; i++) {
		text_free(&service->rules[i].host);
		text_free(&service->rules[i].path);
	}
	for (unsigned i = 0; i < service->n_more; i++)
		free(service->more[i].servers);
	free(service->rules);
	free(service->more);
	free(service->servers);
	text_free(&service->listens);
}

void
import_free(struct import *import)
{
	for (unsigned i = 0; i < import->n_services; i++)
		import_free_service(&import->services[i]);
	free(import->services);
	text_free(&import->report);
	text_free(&import->problem);
}

/* ---- files ---- */

static char *
import_read(const char *path, size_t *len)
{
	FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	struct text text = { 0 };
	char bytes[16384];
	size_t n;
	bool failed;

	if (!in) {
		fprintf(stderr, "steelyardctl: %s: %s\n", path, strerror(errno));
		return NULL;
	}
	text_puts(&text, "");
	while (text.len < IMPORT_FILE_MAX && (n = fread(bytes, 1, sizeof(bytes), in)) > 0)
		text_add(&text, bytes, n);
	failed = ferror(in);
	if (in != stdin)
		fclose(in);
	if (failed || text.len >= IMPORT_FILE_MAX || memchr(text.at, 0, text.len)) {
		fprintf(stderr, "steelyardctl: %s: %s\n", path, failed ? "cannot be read"
			: text.len >= IMPORT_FILE_MAX ? "is larger than 64m" : "is no text");
		text_free(&text);
		return NULL;
	}
	*len = text.len;
	return text.at;
}

/* What is there is not touched: O_EXCL says so even if somebody else was quicker. */
static int
import_write(const char *folder, const char *name, const struct text *text)
{
	struct text path = { 0 };
	int fd, result = -1;

	text_printf(&path, "%s/%s", folder, name);
	fd = open(path.at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd >= 0 && write(fd, text->at, text->len) == (ssize_t)text->len)
		result = 0;
	if (fd >= 0 && close(fd) < 0)
		result = -1;
	if (result < 0)
		fprintf(stderr, "steelyardctl: %s: %s\n", path.at,
			errno == EEXIST ? "is there already, and is never overwritten" : strerror(errno));
	text_free(&path);
	return result;
}

/* Whether all that would be written is free, before the first is. */
static int
import_free_names(const struct import *import, const char *folder)
{
	int result = 0;

	for (unsigned i = 0; i <= import->n_services; i++) {
		struct text path = { 0 };

		text_printf(&path, "%s/%s%s", folder,
			    i < import->n_services ? import->services[i].name : "REPORT",
			    i < import->n_services ? ".conf" : "");
		if (access(path.at, F_OK) == 0) {
			fprintf(stderr, "steelyardctl: %s is there already, and is never overwritten\n", path.at);
			result = -1;
		}
		text_free(&path);
	}
	return result;
}

static int
import_write_all(struct import *import, const char *folder)
{
	struct text report = { 0 };
	int result = 0;

	if (mkdir(folder, 0755) < 0 && errno != EEXIST) {
		fprintf(stderr, "steelyardctl: %s: %s\n", folder, strerror(errno));
		return -1;
	}
	if (import_free_names(import, folder) < 0)
		return -1;
	for (unsigned i = 0; i < import->n_services && result == 0; i++) {
		struct text name = { 0 }, out = { 0 };

		text_printf(&name, "%s.conf", import->services[i].name);
		import_put_service(import, &out, &import->services[i]);
		result = import_write(folder, name.at, &out);
		text_free(&name);
		text_free(&out);
	}
	text_printf(&report, "%u service%s from %s. Not carried over: %u\n%s", import->n_services,
		    import->n_services == 1 ? "" : "s", import->file, import->lost,
		    import->report.at ? import->report.at : "");
	if (result == 0)
		result = import_write(folder, "REPORT", &report);
	if (result == 0)
		fputs(report.at, stdout);
	text_free(&report);
	return result;
}

/* Names that differ in the file may be the same here. */
static void
import_name_servers(struct import_service *service)
{
	for (unsigned i = 0; i < service->n_servers; i++) {
		char *name = service->servers[i].name, wanted[IMPORT_NAME + 1];
		unsigned number = 1, j = 0;

		import_word(wanted, sizeof(wanted), name);
		while (j < i) {
			if (strcmp(service->servers[j++].name, name) != 0)
				continue;
			import_number(name, wanted, ++number);
			j = 0;
		}
	}
}

/* A service that nobody would answer would not load: it is left out. */
static void
import_drop_empty(struct import *import)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < import->n_services; i++) {
		struct import_service *service = &import->services[i];
		unsigned real = 0;

		for (unsigned j = 0; j < service->n_servers; j++)
			real += !service->servers[j].sorry;
		import_name_servers(service);
		for (unsigned j = 0; j < service->n_more; j++)
			import_name_servers(&service->more[j]);
		/* Standbys alone are the servers. */
		for (unsigned j = 0; real == 0 && j < service->n_servers; j++)
			service->servers[j].sorry = false;
		if (service->n_servers && service->listens.len) {
			import->services[kept++] = *service;
			continue;
		}
		import_lost(import, service->where, "%s, so there is no service %s",
			    service->n_servers ? "it listens nowhere" : "it has no servers", service->name);
		import_free_service(service);
	}
	import->n_services = kept;
}

int
ctl_import(struct ctl *ctl)
{
	bool haproxy = strcmp(ctl->argv[0], "haproxy") == 0;
	bool loadmaster = strcmp(ctl->argv[0], "loadmaster") == 0;
	const char *folder = ctl->argc > 2 ? ctl->argv[2] : "imported";
	struct import import = { .file = ctl->argv[1] };
	size_t len = 0;
	char *text;
	int result;

	if (!haproxy && !loadmaster) {
		fprintf(stderr, "steelyardctl: import reads haproxy and loadmaster, not %s\n", ctl->argv[0]);
		return CTL_USAGE;
	}
	text = import_read(import.file, &len);
	if (!text)
		return CTL_FAILED;
	result = haproxy ? import_haproxy(&import, text) : import_loadmaster(&import, text, len);
	if (result == 0)
		import_drop_empty(&import);
	if (result == 0)
		result = import_write_all(&import, folder);
	if (import.problem.len)
		fprintf(stderr, "steelyardctl: %s\n", import.problem.at);
	import_free(&import);
	free(text);
	return result == 0 ? CTL_OK : CTL_FAILED;
}
