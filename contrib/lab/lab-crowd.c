/*
 * lab-crowd: clients that use a farm and check what it answers, for the reference lab and for
 * tests. crowd.h has the picture.
 */
#include "crowd.h"
#include "pki.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Makes the clients; the first of each target is also the one that asks while the crowd waits. */
static int
crowd_people(struct crowd *crowd, struct lab_err *err)
{
	uint32_t count = 0, number = 0;

	for (int i = 0; i < crowd->target_count; i++) {
		struct crowd_target *target = &crowd->targets[i];

		target->shorts = target->shorts < 0 ? crowd->shorts : target->shorts;
		target->longs = target->longs < 0 ? crowd->longs : target->longs;
		if (!(target->shorts + target->longs))
			return err_set(err, "%s has no clients", target->name);
		count += (uint32_t)(target->shorts + target->longs);
	}
	crowd->clients = calloc(count, sizeof(*crowd->clients));
	if (!crowd->clients)
		return err_set(err, "out of memory for %u clients", count);
	for (int i = 0; i < crowd->target_count; i++) {
		struct crowd_target *target = &crowd->targets[i];

		for (int j = 0; j < target->shorts + target->longs; j++, number++) {
			if (client_init(&crowd->clients[number], crowd, target, j >= target->shorts,
					number))
				return err_set(err, "out of memory for %u clients", count);
		}
	}
	crowd->client_count = crowd->unsettled = crowd->working = count;
	crowd->source_next = count;
	return 0;
}

static void
crowd_end(struct crowd *crowd)
{
	if (crowd->stage != CROWD_RUNS) {
		ev_break(crowd->loop, EVBREAK_ALL);
		return;
	}
	crowd->stage = CROWD_ENDS;
	crowd->ended = crowd_now();
	ev_timer_stop(crowd->loop, &crowd->limit);
	ev_timer_set(&crowd->limit, crowd->timeout + crowd->retry_within + 1, 0);
	ev_timer_start(crowd->loop, &crowd->limit);
	for (uint32_t i = 0; i < crowd->client_count; i++)
		client_end(&crowd->clients[i]);
}

static void
crowd_start(struct crowd *crowd)
{
	crowd->stage = CROWD_RUNS;
	crowd->started = crowd->ticked = crowd_now();
	ev_timer_stop(crowd->loop, &crowd->limit);
	if (crowd->run_for > 0) {
		ev_now_update(crowd->loop);
		ev_timer_set(&crowd->limit, crowd->run_for, 0);
		ev_timer_start(crowd->loop, &crowd->limit);
	}
	ev_timer_again(crowd->loop, &crowd->tick);
	if (crowd->terminal)
		fputs("\033[H\033[2J", stdout), fflush(stdout);
	for (uint32_t i = 0; i < crowd->client_count; i++)
		client_start(&crowd->clients[i], crowd->ramp * crowd_random(crowd));
}

/* Before: each target is asked by one client until it answers. */
static void
crowd_wait(struct crowd *crowd)
{
	const struct crowd_target *asked = NULL;

	crowd->stage = CROWD_WAITS;
	ev_timer_set(&crowd->limit, crowd->wait_for, 0);
	ev_timer_start(crowd->loop, &crowd->limit);
	for (uint32_t i = 0; i < crowd->client_count; i++) {
		struct crowd_client *client = &crowd->clients[i];

		if (client->target != asked && !client->target->optional)
			client_start(client, 0);
		asked = client->target;
	}
}

/* Prints which targets have not answered, and why. The exit status. */
static int
crowd_waited_in_vain(const struct crowd *crowd)
{
	const struct crowd_target *asked = NULL;
	char addr[ADDR_TEXT];

	for (uint32_t i = 0; i < crowd->client_count; i++) {
		const struct crowd_client *client = &crowd->clients[i];

		if (client->target != asked && !client->target->optional &&
		    !client->target->answered)
			fprintf(stderr, "lab-crowd: %s (%s) does not answer: %s\n",
				client->target->name, addr_text(&client->target->addr, addr),
				*client->lost ? client->lost : "no answer yet");
		asked = client->target;
	}
	return 3;
}

void
crowd_answered(struct crowd_target *target, struct crowd *crowd)
{
	(void)target;
	for (int i = 0; i < crowd->target_count; i++)
		if (!crowd->targets[i].answered && !crowd->targets[i].optional)
			return;
	crowd_start(crowd);
}

void
crowd_settled(struct crowd *crowd)
{
	char words[64];

	if (--crowd->unsettled || crowd->stage != CROWD_RUNS)
		return;
	snprintf(words, sizeof(words), "clients=%u exchanges=%llu failed=%llu", crowd->client_count,
		 (unsigned long long)crowd->exchanges, (unsigned long long)crowd->failed);
	text_ready(crowd->ready_fd, words);
	crowd->ready_fd = -1;
}

void
crowd_client_done(struct crowd *crowd)
{
	if (--crowd->working)
		return;
	if (crowd->stage == CROWD_RUNS)
		crowd->ended = crowd_now();
	ev_break(crowd->loop, EVBREAK_ALL);
}

static void
crowd_limit(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	crowd_end(container_of(timer, struct crowd, limit));
}

static void
crowd_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	screen_show(container_of(timer, struct crowd, tick));
}

static void
crowd_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
	(void)loop;
	(void)events;
	crowd_end(watcher->data);
}

static void
crowd_watch(struct crowd *crowd)
{
	ev_init(&crowd->limit, crowd_limit);
	ev_init(&crowd->tick, crowd_tick);
	crowd->tick.repeat = 1;
	ev_signal_init(&crowd->term, crowd_signal, SIGTERM);
	ev_signal_init(&crowd->interrupt, crowd_signal, SIGINT);
	crowd->term.data = crowd->interrupt.data = crowd;
	ev_signal_start(crowd->loop, &crowd->term);
	ev_signal_start(crowd->loop, &crowd->interrupt);
}

static int
crowd_run(struct crowd *crowd)
{
	struct lab_buf reasons = {0};
	struct lab_err err = {""};
	bool well;

	crowd_watch(crowd);
	if (crowd->wait_for > 0)
		crowd_wait(crowd);
	else
		crowd_start(crowd);
	ev_run(crowd->loop, 0);
	if (crowd->stage == CROWD_WAITS)
		return crowd_waited_in_vain(crowd);
	/* What has not ended until now is nobody's success. */
	for (uint32_t i = 0; i < crowd->client_count; i++)
		if (crowd->clients[i].phase != CLIENT_DONE)
			count_fault(&crowd->clients[i], "not over when the crowd ended", "");
	well = report_verdict(crowd, &reasons);
	buf_free(&reasons);
	report_print(crowd, crowd->json && !strcmp(crowd->json, "-") ? stderr : stdout);
	if (crowd->json && report_json(crowd, crowd->json, &err)) {
		fprintf(stderr, "lab-crowd: %s\n", err.text);
		return 1;
	}
	return well ? 0 : 1;
}

static void
crowd_free(struct crowd *crowd)
{
	for (uint32_t i = 0; i < crowd->client_count; i++)
		client_free(&crowd->clients[i]);
	for (int i = 0; i < crowd->target_count; i++) {
		free(crowd->targets[i].host);
		free(crowd->targets[i].join);
	}
	free(crowd->clients);
	free(crowd->targets);
	buf_free(&crowd->screen);
	SSL_CTX_free(crowd->tls);
}

/* What is needed before the first client moves. */
static int
crowd_prepare(struct crowd *crowd, struct lab_err *err)
{
	pid_t parent = getppid();

	if (crowd->with_parent && (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent))
		return err_set(err, "the parent process is gone");
	crowd->loop = ev_default_loop(EVFLAG_AUTO);
	if (!crowd->loop)
		return err_set(err, "no event loop");
	crowd->tls = pki_client(crowd->state, err);
	if (!crowd->tls || crowd_people(crowd, err))
		return -1;
	if (crowd->client_count + 32 > loop_prepare())
		return err_set(err,
			       "%u clients need more descriptors than the limit of open files "
			       "(ulimit -n) allows",
			       crowd->client_count);
	crowd->terminal = isatty(STDOUT_FILENO) && !(crowd->json && !strcmp(crowd->json, "-"));
	crowd->random = (uint64_t)getpid() << 32 ^ (uint64_t)(crowd_now() * 1e6);
	crowd->id = (unsigned)(crowd_random(crowd) * 0xffff);
	return 0;
}

int
main(int argc, char **argv)
{
	struct crowd crowd = {
	    .pause = 0.5,
	    .interval = 1,
	    .timeout = 10,
	    .retry_after = 0.2,
	    .retry_within = 5,
	    .ramp = 1,
	    .share = 65536,
	    .half_close_every = 4,
	    .shorts = 2,
	    .longs = 2,
	    .ready_fd = -1,
	};
	struct lab_err err;
	int status = 2;

	if (options_read(&crowd, argc, argv, &err)) {
		fprintf(stderr, "lab-crowd: %s\n", err.text);
	} else if (crowd.help) {
		fputs(options_usage, stdout);
		target_usage(stdout);
		status = 0;
	} else if (crowd_prepare(&crowd, &err)) {
		fprintf(stderr, "lab-crowd: %s\n", err.text);
	} else {
		status = crowd_run(&crowd);
	}
	crowd_free(&crowd);
	return status;
}
