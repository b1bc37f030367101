#include "judge.h"

#include "../../protocol/sip/value.h"

/* The stack has read the question and found a reason to say no: it is well. What says that the next
 * hop, a script or the whole server has a problem is not in the list: 408 430 482 500 502 503 504
 * 580. */
static const struct sy_range judge_options[] = {
	{ 200, 299 }, { 401, 401 }, { 403, 405 }, { 407, 407 }, { 415, 416 }, { 420, 420 },
	{ 480, 481 }, { 483, 484 }, { 488, 489 }, { 501, 501 }, { 513, 513 }, { 600, 600 },
	{ 603, 603 }, { 606, 606 },
};

/* A registrar asks who we are, or sends us to the user's own pool. */
static const struct sy_range judge_register[] = {
	{ 200, 299 }, { 301, 302 }, { 401, 401 }, { 407, 407 }, { 423, 423 },
};

static bool
judge_within(const struct sy_range *range, size_t n, unsigned status)
{
	for (size_t i = 0; i < n; i++)
		if (status >= range[i].from && status <= range[i].to)
			return true;
	return false;
}

static bool
judge_healthy(const struct judge *judge, unsigned status)
{
	if (judge->healthy.n)
		return judge_within(judge->healthy.at, judge->healthy.n, status);
	if (judge->registers)
		return judge_within(judge_register,
				    sizeof(judge_register) / sizeof(judge_register[0]), status);
	return judge_within(judge_options, sizeof(judge_options) / sizeof(judge_options[0]),
			    status);
}

/* One of the challenges is of that scheme. */
static bool
judge_offers(const struct sip_message *answer, const char *scheme)
{
	struct sy_span rest = answer->head, value;

	(void)sip_line(&rest);
	for (struct sy_span line = sip_line(&rest); line.len; line = sip_line(&rest))
		if ((sip_field_is(line, "www-authenticate", 0, &value) ||
		     sip_field_is(line, "proxy-authenticate", 0, &value)) &&
		    sip_is(sip_first_word(value), scheme))
			return true;
	return false;
}

/* What stands behind the status, fit for a line. */
static struct sy_span
judge_phrase(const struct sip_message *answer)
{
	struct sy_span rest = answer->head, line = sip_line(&rest);

	line = sy_span(line.at + 12, line.len - 12);
	for (size_t i = 0; i < line.len; i++)
		if (line.at[i] < ' ' || line.at[i] == 0x7f)
			line.len = i;
	return sip_trim(sy_span(line.at, line.len < 60 ? line.len : 60));
}

static struct sy_probe_step
judge_overloaded(const struct sip_message *answer, int len, const char *phrase)
{
	struct sy_span word = sip_first_word(answer->retry_after);
	uint64_t seconds;

	if (sip_number(word, UINT32_MAX, &seconds))
		return sy_judge(SY_PROBE_DRAINING, "503 %.*s: it wants nothing new for %llu s", len,
				phrase, (unsigned long long)seconds);
	return sy_judge(SY_PROBE_DOWN, "503 %.*s, without a time to come back", len, phrase);
}

struct sy_probe_step
judge_answer(const struct judge *judge, const struct sip_message *answer)
{
	struct sy_span phrase = judge_phrase(answer);
	const char *words = phrase.len ? (const char *)phrase.at : "";
	unsigned status = answer->status;
	int len = (int)phrase.len;

	for (uint32_t i = 0; i < judge->schemes.n; i++)
		if ((status == 401 || status == 407) && !judge_offers(answer, judge->schemes.at[i]))
			return sy_judge(SY_PROBE_DOWN, "%u %.*s, but it does not offer %s", status,
					len, words, judge->schemes.at[i]);
	if (judge_healthy(judge, status))
		return sy_judge(SY_PROBE_UP, "%u %.*s", status, len, words);
	if (status == 503)
		return judge_overloaded(answer, len, words);
	if (status == 482)
		return sy_judge(SY_PROBE_DOWN,
				"482 %.*s: the question came back to the server; does it take "
				"our address for its own?",
				len, words);
	if (status >= 300 && status < 400)
		return sy_judge(judge->away_is_down ? SY_PROBE_DOWN : SY_PROBE_DRAINING,
		                "%u %.*s: it sends its clients elsewhere", status, len, words);
	return sy_judge(SY_PROBE_DOWN, "%u %.*s", status, len, words);
}
