/* trace: has the workers record what some connections say, waits, and fetches it. An interrupt ends the
 * waiting, not what was recorded. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "ctl/ctl_do.h"

static void
trace_interrupted(int number)
{
	(void)number;
}

static void
trace_wait(uint64_t ms)
{
	struct sigaction action = { .sa_handler = trace_interrupted };
	struct timespec time = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	nanosleep(&time, NULL);
}

static int
trace_save(const char *path, const char *bytes, size_t len)
{
	FILE *out = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
	bool good = out && fwrite(bytes, 1, len, out) == len;

	good = out && (out == stdout ? fflush(out) : fclose(out)) == 0 && good;
	if (!good)
		fprintf(stderr, "steelyardctl: %s: %s\n", path, strerror(errno));
	return good ? CTL_OK : CTL_FAILED;
}

static int
trace_fetch(struct ctl *ctl)
{
	int status = 0, code = CTL_FAILED;
	size_t len;
	char *bytes = ctl_http_bytes(ctl, "POST", "/v1/trace/end", NULL, &status, &len);

	if (bytes && status == 200)
		code = trace_save(ctl->argv[1], bytes, len);
	else if (bytes)
		ctl_complain(bytes);
	free(bytes);
	return code;
}

int
ctl_trace(struct ctl *ctl)
{
	struct sy_net net;
	bool client = net_parse(ctl->argv[0], &net);
	uint64_t ms = 10000, bytes = 16 << 20;
	int status = 0, code = CTL_FAILED;
	char *body, *answer;
	json_t *ask;

	if ((ctl->time && (!duration_parse(ctl->time, &ms) || ms < 1000)) ||
	    (ctl->limit && !bytes_parse(ctl->limit, &bytes))) {
		fprintf(stderr, "steelyardctl: trace SERVICE|CLIENT FILE [--for 10s] [--limit 16m]: a time from "
		                "1s, a size in bytes\n");
		return CTL_USAGE;
	}
	if (strcmp(ctl->argv[1], "-") == 0 && isatty(1)) {
		fprintf(stderr, "steelyardctl: a capture file is nothing for a terminal\n");
		return CTL_USAGE;
	}
	ask = json_pack("{s:s, s:I, s:I, s:b}", client ? "client" : "service", ctl->argv[0], "seconds",
	                (json_int_t)(ms + 999) / 1000, "bytes", (json_int_t)bytes, "decrypted", ctl->decrypted);
	body = json_dumps(ask, JSON_COMPACT);
	answer = ctl_http(ctl, "POST", "/v1/trace", body, &status);
	if (answer && status == 200) {
		fprintf(stderr, "tracing %s for %llu s; an interrupt ends it\n", ctl->argv[0],
		        (unsigned long long)(ms + 999) / 1000);
		trace_wait(ms);
		code = trace_fetch(ctl);
	} else if (answer) {
		ctl_complain(answer);
	}
	free(answer);
	free(body);
	json_decref(ask);
	return code;
}
