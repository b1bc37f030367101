/* The end of it: a table and a verdict for people. The same as JSON for tests is in crowd-json.c. */
#include "crowd.h"

#include <inttypes.h>
#include <string.h>

/* Whether the server carried an exchange at any target. */
static bool
report_carried(const struct crowd *crowd, const char *name, size_t len)
{
	for (int i = 0; i < crowd->server_count; i++) {
		if (strlen(crowd->servers[i]) != len || memcmp(crowd->servers[i], name, len))
			continue;
		for (int j = 0; j < crowd->target_count; j++)
			if (crowd->targets[j].by_server[i].exchanges)
				return true;
	}
	return false;
}

bool
report_verdict(const struct crowd *crowd, struct lab_buf *reasons)
{
	const char *name = crowd->expect ? crowd->expect : "";
	size_t start = reasons->len;

	for (int i = 0; i < crowd->target_count; i++) {
		const struct crowd_target *target = &crowd->targets[i];
		char addr[ADDR_TEXT];

		if (!target->exchanges && !target->optional)
			buf_print(reasons, "%s (%s) carried no traffic\n", target->name,
				  addr_text(&target->addr, addr));
		else if (target->shorts && target->exchanges && target->protocol->missing &&
			 target->protocol->missing(target))
			buf_print(reasons, "%s: %s\n", target->name, target->protocol->missing(target));
		if (target->failed)
			buf_print(reasons, "%s: %" PRIu64 " failed\n", target->name,
				  target->failed);
	}
	for (size_t len; *name; name += len + (name[len] == ',')) {
		len = strcspn(name, ",");
		if (len && !report_carried(crowd, name, len))
			buf_print(reasons, "%.*s answered nothing\n", (int)len, name);
	}
	return reasons->len == start;
}

static void
report_table(const struct crowd *crowd, FILE *to)
{
	int order[CROWD_SERVERS], servers = count_order(crowd, order);

	fprintf(to, "\n%-18s %-22s %9s", "service", "address", "exchanges");
	for (int i = 0; i < servers; i++)
		fprintf(to, " %8.8s", crowd->servers[order[i]]);
	fprintf(to, " %6s %6s %6s %9s\n", "moved", "again", "failed", "slowest");
	for (int i = 0; i < crowd->target_count; i++) {
		const struct crowd_target *target = &crowd->targets[i];
		char addr[ADDR_TEXT];

		fprintf(to, "%-18.18s %-22s %9" PRIu64, target->name,
			addr_text(&target->addr, addr), target->exchanges);
		for (int j = 0; j < servers; j++)
			fprintf(to, " %8" PRIu64, target->by_server[order[j]].exchanges);
		fprintf(to, " %6" PRIu64 " %6" PRIu64 " %6" PRIu64 " %6.1f ms%s\n", target->moved,
			target->again, target->failed, target->slowest * 1000,
			target->optional && !target->exchanges ? "  unused" : "");
	}
}

/* What people did: one line for those who talk, one for their meetings, one for their media. */
static void
report_deeds(const struct crowd *crowd, FILE *to)
{
	const uint64_t *deeds = crowd->deeds;

	if (deeds[DEED_SIGN_IN])
		fprintf(to,
			"users: signed in %" PRIu64 " times, %" PRIu64 " of them by way of another pool, kept "
			"their connection %" PRIu64 " times with CRLF\n",
			deeds[DEED_SIGN_IN], deeds[DEED_REDIRECT], deeds[DEED_KEEP_ALIVE]);
	if (deeds[DEED_CALL] + deeds[DEED_CUT])
		fprintf(to, "calls: %" PRIu64 " from INVITE to BYE, %" PRIu64 " cut\n", deeds[DEED_CALL],
			deeds[DEED_CUT]);
	if (deeds[DEED_MEETING])
		fprintf(to, "meetings: joined %" PRIu64 " times, something was shared %" PRIu64 " times\n",
			deeds[DEED_MEETING], deeds[DEED_SHARE]);
	if (deeds[DEED_ALLOCATION])
		fprintf(to, "media: %" PRIu64 " allocations, %" PRIu64 " packets there and back\n",
			deeds[DEED_ALLOCATION], deeds[DEED_MEDIA]);
}

void
report_print(struct crowd *crowd, FILE *to)
{
	struct lab_buf reasons = {0};
	bool well = report_verdict(crowd, &reasons);
	double seconds = crowd->ended - crowd->started;

	report_table(crowd, to);
	fprintf(to,
		"\n%" PRIu64 " exchanges in %.1f s over %" PRIu64 " connections, %.1f MB; "
		"answers: half within %.2f ms, 99 of 100 within %.2f ms, all within %.2f ms\n",
		crowd->exchanges, seconds, crowd->connections, (double)crowd->bytes / 1e6,
		times_percentile(&crowd->answer_times, 50) * 1000,
		times_percentile(&crowd->answer_times, 99) * 1000,
		crowd->answer_times.longest * 1000);
	fprintf(to,
		"connections lost and tried once more: %" PRIu64 " moved to another server, "
		"%" PRIu64 " answered again by the same\n",
		crowd->moved, crowd->again);
	report_deeds(crowd, to);
	if (crowd->strayed)
		fprintf(to, "web sessions that were not found again: %" PRIu64 "\n", crowd->strayed);
	for (int i = 0; i < CROWD_FAULTS && crowd->faults[i].target; i++) {
		const struct crowd_fault *fault = &crowd->faults[i];

		fprintf(to, "failed: %s: %" PRIu64 " x %s", fault->target->name, fault->count,
			fault->words);
		fprintf(to, " (%.1f s to %.1f s%s%s)\n", fault->first, fault->last,
			*fault->example ? "; " : "", fault->example);
	}
	if (crowd->unkept)
		fprintf(to, "and %" PRIu64 " failures in other words\n", crowd->unkept);
	if (well)
		fprintf(to, "well: every service carried traffic, no exchange failed\n");
	else
		fprintf(to, "NOT well:\n%.*s", (int)reasons.len, buf_front(&reasons));
	fflush(to);
	buf_free(&reasons);
}
