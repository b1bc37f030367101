#include "wanted.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <strings.h>

enum {
	PATTERN_STEPS = 100000,   /* of the matcher for one text */
	PATTERN_KIB = 1024,       /* of memory for one text */
};

struct pattern {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *limits;
};

enum word_how { WORD_SAME, WORD_BEGINS, WORD_ENDS, WORD_HOLDS, WORD_ANY, WORD_PATTERN };

struct word {
	enum word_how how;
	bool not;
	struct sy_span text;
	struct pattern *pattern;
};

struct wanted {
	uint32_t n, wanted;       /* wanted: words without ! */
	struct word at[];
};

void
pattern_free(struct pattern *pattern)
{
	if (!pattern)
		return;
	pcre2_match_context_free(pattern->limits);
	pcre2_match_data_free(pattern->data);
	pcre2_code_free(pattern->code);
	free(pattern);
}

struct pattern *
pattern_make(const char *what, const char *text, struct sy_err *err)
{
	struct pattern *pattern = calloc(1, sizeof(*pattern));
	PCRE2_SIZE where = 0;
	PCRE2_UCHAR words[128];
	int code = 0;

	if (!pattern) {
		sy_fail(err, "%s: no memory for a pattern", what);
		return NULL;
	}
	pattern->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
	                              PCRE2_CASELESS | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF,
	                              &code, &where, NULL);
	if (!pattern->code) {
		pcre2_get_error_message(code, words, sizeof(words));
		sy_fail(err, "%s: the pattern \"%s\" is wrong at character %zu: %s", what, text,
		        (size_t)where + 1, (const char *)words);
		pattern_free(pattern);
		return NULL;
	}
	/* Without it, matching is slower, and that is all. */
	(void)pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
	pattern->data = pcre2_match_data_create_from_pattern(pattern->code, NULL);
	pattern->limits = pcre2_match_context_create(NULL);
	if (!pattern->data || !pattern->limits) {
		sy_fail(err, "%s: no memory for a pattern", what);
		pattern_free(pattern);
		return NULL;
	}
	pcre2_set_match_limit(pattern->limits, PATTERN_STEPS);
	pcre2_set_heap_limit(pattern->limits, PATTERN_KIB);
	return pattern;
}

enum wanted_result
pattern_match(const struct pattern *pattern, struct sy_span text, struct captures *captures)
{
	static const uint8_t nothing[1];
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(pattern->data);
	int n;

	if (!text.at)
		text.at = nothing;
	n = pcre2_match(pattern->code, text.at, text.len, 0, 0, pattern->data, pattern->limits);
	if (n < 0)
		return n == PCRE2_ERROR_NOMATCH ? WANTED_OTHER : WANTED_GAVE_UP;
	if (!captures)
		return WANTED_MATCH;
	captures->n = n < WANTED_CAPTURES ? (uint32_t)n : WANTED_CAPTURES;
	for (uint32_t i = 0; i < captures->n; i++)
		captures->found[i] = at[2 * i] == PCRE2_UNSET || at[2 * i] > at[2 * i + 1]
		                   ? sy_span(NULL, 0)
		                   : sy_span(text.at + at[2 * i], at[2 * i + 1] - at[2 * i]);
	return WANTED_MATCH;
}

static bool
word_make(struct word *word, const char *what, const char *text, struct sy_err *err)
{
	size_t len;

	word->not = *text == '!';
	text += word->not;
	len = strlen(text);
	if (*text == '~') {
		word->how = WORD_PATTERN;
		word->pattern = pattern_make(what, text + 1, err);
		return word->pattern != NULL;
	}
	if (len == 1 && *text == '*')
		word->how = WORD_ANY;
	else if (len > 1 && *text == '*' && text[len - 1] == '*')
		word->how = WORD_HOLDS, text++, len -= 2;
	else if (len > 1 && *text == '*')
		word->how = WORD_ENDS, text++, len--;
	else if (len > 1 && text[len - 1] == '*')
		word->how = WORD_BEGINS, len--;
	word->text = sy_span(text, len);
	return true;
}

struct wanted *
wanted_make(const char *what, struct sy_list list, struct sy_err *err)
{
	struct wanted *words = calloc(1, sizeof(*words) + list.n * sizeof(words->at[0]));

	if (!words) {
		sy_fail(err, "%s: no memory", what);
		return NULL;
	}
	for (; words->n < list.n; words->n++) {
		struct word *word = &words->at[words->n];

		if (!word_make(word, what, list.at[words->n], err)) {
			wanted_free(words);
			return NULL;
		}
		words->wanted += !word->not;
	}
	return words;
}

void
wanted_free(struct wanted *words)
{
	if (!words)
		return;
	for (uint32_t i = 0; i < words->n; i++)
		pattern_free(words->at[i].pattern);
	free(words);
}

bool
wanted_given(const struct wanted *words)
{
	return words && words->n > 0;
}

static bool
word_at(const struct word *word, const uint8_t *at)
{
	return strncasecmp((const char *)at, (const char *)word->text.at, word->text.len) == 0;
}

static enum wanted_result
word_match(const struct word *word, struct sy_span text, struct captures *captures)
{
	size_t len = word->text.len;

	switch (word->how) {
	case WORD_PATTERN:
		return pattern_match(word->pattern, text, word->not ? NULL : captures);
	case WORD_ANY:
		return WANTED_MATCH;
	case WORD_SAME:
		return text.len == len && word_at(word, text.at) ? WANTED_MATCH : WANTED_OTHER;
	case WORD_BEGINS:
		return text.len >= len && word_at(word, text.at) ? WANTED_MATCH : WANTED_OTHER;
	case WORD_ENDS:
		return text.len >= len && word_at(word, text.at + text.len - len) ? WANTED_MATCH
		                                                                  : WANTED_OTHER;
	case WORD_HOLDS:
		for (size_t i = 0; i + len <= text.len; i++)
			if (word_at(word, text.at + i))
				return WANTED_MATCH;
		break;
	}
	return WANTED_OTHER;
}

enum wanted_result
wanted_match(const struct wanted *words, struct sy_span text, struct captures *captures)
{
	bool matched = words->wanted == 0;

	for (uint32_t i = 0; i < words->n; i++) {
		const struct word *word = &words->at[i];
		enum wanted_result result;

		if (!text.at || (matched && !word->not))
			continue;
		result = word_match(word, text, captures);
		if (result == WANTED_GAVE_UP || (result == WANTED_MATCH && word->not))
			return result == WANTED_MATCH ? WANTED_OTHER : result;
		matched = matched || result == WANTED_MATCH;
	}
	return matched ? WANTED_MATCH : WANTED_OTHER;
}
