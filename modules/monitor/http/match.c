#define PCRE2_CODE_UNIT_WIDTH 8
#include "match.h"

#include <pcre2.h>
#include <stdlib.h>

/* The library's own limit counts anew from each byte that a match may begin at, so 64 KiB of text allow
 * 65536 times as much: not a limit that helps. It calls us before each part of the pattern, though, and
 * says how far it is. A step costs about as much as passing over 16 bytes; all of it takes a fraction
 * of a second at most. */
enum {
	MATCH_WORK = 1 << 24,
	MATCH_STEP = 16,
	MATCH_HEAP_KIB = 8192,
	MATCH_PATTERN_MOST = 1024,
};

struct match {
	pcre2_code *code;
};

struct match_work {
	size_t at, done;
};

struct match *
match_new(const char *pattern, struct sy_err *err)
{
	struct match *match;
	pcre2_code *code;
	PCRE2_UCHAR words[160] = { 0 };
	PCRE2_SIZE at = 0;
	size_t len = strlen(pattern);
	int error = 0;

	if (len == 0 || len > MATCH_PATTERN_MOST) {
		sy_fail(err, "match: between 1 and %d bytes are possible, not %zu", MATCH_PATTERN_MOST, len);
		return NULL;
	}
	code = pcre2_compile((PCRE2_SPTR)pattern, len, PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C, &error, &at,
	                     NULL);
	match = code ? malloc(sizeof(*match)) : NULL;
	if (match) {
		match->code = code;
		return match;
	}
	if (code)
		sy_fail(err, "match: out of memory");
	else if (pcre2_get_error_message(error, words, sizeof(words)) < 0)
		sy_fail(err, "match: the pattern is wrong at character %zu", at + 1);
	else
		sy_fail(err, "match: %s, at character %zu of the pattern", (const char *)words, at + 1);
	pcre2_code_free(code);
	return NULL;
}

void
match_free(struct match *match)
{
	if (!match)
		return;
	pcre2_code_free(match->code);
	free(match);
}

static int
match_step(pcre2_callout_block *block, void *context)
{
	struct match_work *work = context;
	size_t at = block->current_position;

	work->done += MATCH_STEP + (at > work->at ? at - work->at : work->at - at);
	work->at = at;
	return work->done > MATCH_WORK ? PCRE2_ERROR_CALLOUT : 0;
}

enum match_found
match_find(const struct match *match, struct sy_span text)
{
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	pcre2_match_context *context = pcre2_match_context_create(NULL);
	struct match_work work = { 0, 0 };
	int result = PCRE2_ERROR_NOMEMORY;

	if (data && context) {
		pcre2_set_callout(context, match_step, &work);
		pcre2_set_heap_limit(context, MATCH_HEAP_KIB);
		pcre2_set_match_limit(context, MATCH_WORK);
		result = pcre2_match(match->code, text.at ? text.at : (const uint8_t *)"", text.len, 0,
		                     PCRE2_NO_JIT, data, context);
	}
	pcre2_match_context_free(context);
	pcre2_match_data_free(data);
	return result >= 0 ? MATCH_YES : result == PCRE2_ERROR_NOMATCH ? MATCH_NO : MATCH_TOO_HARD;
}
