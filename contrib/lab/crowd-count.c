#include "crowd.h"

#include <string.h>
#include <time.h>

static const double times_first = 10e-6, times_step = 1.2;

double
crowd_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* splitmix64: spreads clients over time, no more. */
double
crowd_random(struct crowd *crowd)
{
	uint64_t z = crowd->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

void
times_add(struct crowd_times *times, double seconds)
{
	int class = 0;

	for (double edge = times_first; seconds > edge && class < CROWD_TIMES - 1; class ++)
		edge *= times_step;
	times->classes[class]++;
	times->count++;
	if (seconds > times->longest)
		times->longest = seconds;
}

double
times_percentile(const struct crowd_times *times, double percent)
{
	double edge = times_first, wanted = (double)times->count * percent / 100, seen = 0;

	for (int class = 0; class < CROWD_TIMES; class ++, edge *= times_step) {
		seen += (double)times->classes[class];
		if (seen >= wanted)
			break;
	}
	return edge < times->longest ? edge : times->longest;
}

int
count_server(struct crowd *crowd, const char *name, size_t len)
{
	for (int i = 0; i < crowd->server_count; i++)
		if (strlen(crowd->servers[i]) == len && !memcmp(crowd->servers[i], name, len))
			return i;
	if (crowd->server_count == CROWD_SERVERS || !len || len >= CROWD_NAME)
		return -1;
	memcpy(crowd->servers[crowd->server_count], name, len);
	crowd->servers[crowd->server_count][len] = 0;
	return crowd->server_count++;
}

int
count_order(const struct crowd *crowd, int order[static CROWD_SERVERS])
{
	for (int i = 0; i < crowd->server_count; i++) {
		int at = i;

		for (; at && strcmp(crowd->servers[order[at - 1]], crowd->servers[i]) > 0; at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	return crowd->server_count;
}

void
count_answer(struct crowd_client *client, int server)
{
	struct crowd *crowd = client->crowd;
	struct crowd_target *target = client->target;
	struct crowd_count *count = &target->by_server[server];
	double now = crowd_now(), took = now - client->asked;

	crowd->exchanges++;
	target->exchanges++;
	count->exchanges++;
	count->last = now;
	if (client->second_try && client->lost_server == server) {
		crowd->again++;
		target->again++;
	} else if (client->second_try) {
		crowd->moved++;
		target->moved++;
	} else if (client->server >= 0 && client->server != server) {
		crowd->switched++;
		target->switched++;
	}
	/* The time of a second try begins with the question that was lost: that is what the user
	 * of the client waited. */
	times_add(&crowd->answer_times, took);
	if (took > target->slowest)
		target->slowest = took;
}

void
count_deed(struct crowd_client *client, enum crowd_deed deed)
{
	if (client->crowd->stage == CROWD_WAITS)
		return;
	client->target->deeds[deed]++;
	client->crowd->deeds[deed]++;
}

void
count_present(struct crowd_client *client, bool present)
{
	if (client->present != present)
		client->target->present += present ? 1 : -1;
	client->present = present;
}

int
count_all_present(const struct crowd *crowd, const struct crowd_protocol *protocol)
{
	int present = 0;

	for (int i = 0; i < crowd->target_count; i++)
		if (crowd->targets[i].protocol == protocol && !crowd->targets[i].kind)
			present += crowd->targets[i].present;
	return present;
}

void
count_fault(struct crowd_client *client, const char *words, const char *example)
{
	struct crowd *crowd = client->crowd;
	double now = crowd_now() - crowd->started;

	crowd->failed++;
	client->target->failed++;
	for (int i = 0; i < CROWD_FAULTS; i++) {
		struct crowd_fault *fault = &crowd->faults[i];

		if (!fault->target) {
			fault->target = client->target;
			snprintf(fault->words, sizeof(fault->words), "%s", words);
			snprintf(fault->example, sizeof(fault->example), "%s", example);
			fault->first = now;
		} else if (fault->target != client->target || strcmp(fault->words, words)) {
			continue;
		}
		fault->count++;
		fault->last = now;
		return;
	}
	crowd->unkept++;
}
