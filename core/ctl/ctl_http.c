/* A small HTTP/1.1 client: one request, one answer, connection closed. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/ctl.h"

static int
http_connect(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(name.sun_path)) {
		fprintf(stderr, "steelyardctl: the socket's path is too long: %s\n", path);
		return -1;
	}
	strcpy(name.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0)
		return fd;
	fprintf(stderr, "steelyardctl: %s: %s%s\n", path, strerror(errno),
	        errno == ENOENT || errno == ECONNREFUSED
	        ? "; is steelyardd running, and is this its control socket (-s)?"
	        : errno == EACCES ? "; only root and the socket's group may use it" : "");
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool
http_write(int fd, const char *at, size_t len)
{
	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

/* Chunked to plain, in place. */
static void
http_unchunk(char *body)
{
	char *from = body, *to = body;

	for (;;) {
		char *end;
		unsigned long n = strtoul(from, &end, 16);

		if (end == from || !(end = strstr(end, "\r\n")))
			break;
		from = end + 2;
		if (n == 0 || strlen(from) < n)
			break;
		memmove(to, from, n);
		to += n;
		from += n;
		if (strncmp(from, "\r\n", 2) == 0)
			from += 2;
	}
	*to = '\0';
}

static bool
http_is_chunked(const char *head)
{
	for (const char *line = head; (line = strstr(line, "\r\n")); line += 2)
		if (strncasecmp(line + 2, "transfer-encoding: chunked", 26) == 0)
			return true;
	return false;
}

char *
ctl_http(struct ctl *ctl, const char *method, const char *path, const char *body, int *status)
{
	size_t len;

	return ctl_http_bytes(ctl, method, path, body, status, &len);
}

char *
ctl_http_bytes(struct ctl *ctl, const char *method, const char *path, const char *body, int *status,
               size_t *len)
{
	struct text text = { 0 };
	char buffer[16384], *end, *answer;
	ssize_t n;
	int fd = http_connect(ctl->socket);

	if (fd < 0)
		return NULL;
	text_printf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	            "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
	            method, path, body ? strlen(body) : 0, body ? body : "");
	http_write(fd, text.at, text.len);
	text_free(&text);
	text = (struct text){ 0 };
	while ((n = read(fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			text_add(&text, buffer, (size_t)n);
	close(fd);
	end = text.at ? strstr(text.at, "\r\n\r\n") : NULL;
	if (!end || sscanf(text.at, "HTTP/1.%*d %d", status) != 1) {
		fprintf(stderr, "steelyardctl: %s: no answer to %s %s\n", ctl->socket, method, path);
		text_free(&text);
		return NULL;
	}
	*end = '\0';
	*len = text.len - (size_t)(end + 4 - text.at);
	answer = malloc(*len + 1);
	if (answer)
		memcpy(answer, end + 4, *len + 1);
	if (answer && http_is_chunked(text.at)) {
		http_unchunk(answer);
		*len = strlen(answer);
	}
	text_free(&text);
	return answer;
}

void
ctl_complain(const char *answer)
{
	json_t *json = json_loads(answer, JSON_DECODE_ANY, NULL);
	const char *words = json_string_value(json_object_get(json, "error"));

	fprintf(stderr, "steelyardctl: %s\n", words ? words : answer);
	json_decref(json);
}

json_t *
ctl_get(struct ctl *ctl, const char *method, const char *path, const char *body, int *code)
{
	int status = 0;
	char *answer = ctl_http(ctl, method, path, body, &status);
	json_t *json;

	*code = CTL_FAILED;
	if (!answer)
		return NULL;
	json = json_loads(answer, JSON_DECODE_ANY, NULL);
	if (ctl->json) {
		printf("%s\n", answer);
		*code = status < 400 ? CTL_OK : CTL_FAILED;
		json_decref(json);
		json = NULL;
	} else if (status >= 400) {
		ctl_complain(answer);
		json_decref(json);
		json = NULL;
	} else if (!json) {
		fprintf(stderr, "steelyardctl: the answer is not JSON: %.200s\n", answer);
	} else {
		*code = CTL_OK;
	}
	free(answer);
	return json;
}

void
ctl_query(char *path, size_t len, const char *name, const char *value)
{
	size_t used = strlen(path);

	if (!value)
		return;
	/* Without it, what was meant for one would be done to all. */
	if (used + strlen(name) + 3 * strlen(value) + 3 > len) {
		fprintf(stderr, "steelyardctl: the %s is too long: %.40s...\n", name, value);
		exit(CTL_USAGE);
	}
	used += (size_t)snprintf(path + used, len - used, "%c%s=", strchr(path, '?') ? '&' : '?', name);
	for (; *value; value++) {
		if (isalnum((unsigned char)*value) || strchr("-._~:/", *value))
			path[used++] = *value;
		else
			used += (size_t)snprintf(path + used, len - used, "%%%02X",
			                         (unsigned char)*value);
	}
	path[used] = '\0';
}
