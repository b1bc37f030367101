/* How exchanges are over, and clients: rests, losses, second tries, failures, and the last exchange. */
#include "crowd.h"

#include <string.h>

static const double client_probe_again = 0.2, client_after_failure = 1;
/* A datagram is said again after that time, so often; a second try says it as long as it may take. */
static const double client_udp_again = 0.5;
static const int client_udp_repeats = 4;

void
client_wait(struct crowd_client *client, double seconds)
{
	/* The loop's idea of now may be old after much work: a limit must not come early. */
	ev_now_update(client->crowd->loop);
	ev_timer_stop(client->crowd->loop, &client->timer);
	ev_timer_set(&client->timer, seconds > 0 ? seconds : 0, 0);
	ev_timer_start(client->crowd->loop, &client->timer);
}

void
client_extend(struct crowd_client *client)
{
	double limit = client->crowd->timeout;

	if (client->second_try && client->retry_until - crowd_now() < limit)
		limit = client->retry_until - crowd_now();
	if (client->goal->transport == LAB_UDP && limit > client_udp_again)
		limit = client_udp_again;
	client_wait(client, limit);
}

void
client_wait_next(struct crowd_client *client)
{
	double until = client->next_at;

	if (client->keep_alive && client->said_at + client->keep_alive < until)
		until = client->said_at + client->keep_alive;
	client_wait(client, until - crowd_now());
}

void
client_disconnect(struct crowd_client *client, bool reset)
{
	ev_io_stop(client->crowd->loop, &client->io);
	if (client->stream.fd >= 0 && client->phase > CLIENT_CONNECT)
		client->target->open--;
	count_present(client, false);
	client->keep_alive = 0;
	if (client->stream.ssl && !reset && client->phase > CLIENT_HANDSHAKE)
		stream_finish(&client->stream);
	stream_close(&client->stream, reset);
	buf_free(&client->in);
	buf_free(&client->out);
}

static void
client_done(struct crowd_client *client)
{
	ev_timer_stop(client->crowd->loop, &client->timer);
	if (client->phase != CLIENT_DONE) {
		client->phase = CLIENT_DONE;
		crowd_client_done(client->crowd);
	}
}

void
client_settle(struct crowd_client *client)
{
	if (client->settled)
		return;
	client->settled = true;
	crowd_settled(client->crowd);
}

/* What the connection that is gone was about begins anew with the next one. */
static void
client_forget(struct crowd_client *client)
{
	client->goes_on = false;
	client->next_goal = NULL;
	client->next_addr.len = 0;
}

void
client_leave(struct crowd_client *client)
{
	if (client->present && !client->leaving) {
		client->leaving = true;
		client->asked = crowd_now();
		client_ask(client);
		client_poll(client);
		return;
	}
	client_disconnect(client, false);
	client_settle(client);
	client_done(client);
}

void
client_rest(struct crowd_client *client, double seconds)
{
	struct crowd *crowd = client->crowd;

	client->second_try = false;
	if (client->leaving || crowd->stage == CROWD_ENDS ||
	    (crowd->rounds && client->sequence >= crowd->rounds)) {
		client_leave(client);
		return;
	}
	client->phase = client->stream.fd >= 0 ? CLIENT_WAITING : CLIENT_PAUSED;
	client->next_at = crowd_now() + seconds * (0.75 + 0.5 * crowd_random(crowd));
	client_wait_next(client);
}

void
client_failed(struct crowd_client *client, const char *words, const char *example)
{
	struct crowd *crowd = client->crowd;

	client_disconnect(client, true);
	client->phase = CLIENT_PAUSED;
	client_forget(client);
	if (client->target->protocol->failed)
		client->target->protocol->failed(client);
	if (crowd->stage == CROWD_WAITS) {
		snprintf(client->lost, sizeof(client->lost), "%s%s%s", words, *example ? ": " : "",
			 example);
		client_wait(client, client_probe_again);
		return;
	}
	if (client->target->optional && !client->target->answered)
		client->target->unanswered++;
	else
		count_fault(client, words, example);
	client_settle(client);
	client_rest(client, client_after_failure);
}

void
client_lost(struct crowd_client *client, const char *why)
{
	static const char *const when[] = {
	    "",
	    "while connecting",
	    "in the TLS handshake",
	    "while waiting for the answer",
	    "between two exchanges",
	    "after the answer",
	    "",
	};
	char words[CROWD_WORDS];

	snprintf(words, sizeof(words), "%.180s %s", why, when[client->phase]);
	if (client->crowd->stage == CROWD_WAITS) {
		client_failed(client, words, "");
		return;
	}
	if (client->second_try) {
		char both[CROWD_WORDS];

		snprintf(both, sizeof(both), "first: %.170s; tried once more: %.170s", client->lost,
			 words);
		client_failed(client, both, "");
		return;
	}
	if (client->crowd->keep_all) {
		client_failed(client, words, "no connection may be lost (--keep-all)");
		return;
	}
	strcpy(client->lost, words);
	if (client->phase == CLIENT_WAITING)
		client->asked = crowd_now();
	client_disconnect(client, true);
	client_forget(client);
	client->second_try = true;
	client->retry_until = crowd_now() + client->crowd->retry_within;
	client->phase = CLIENT_PAUSED;
	client_wait(client, client->crowd->retry_after);
}

void
client_late(struct crowd_client *client)
{
	char words[CROWD_WORDS];

	if (client->goal->transport == LAB_UDP) {
		if (client->second_try ? crowd_now() < client->retry_until
				       : client->repeats < client_udp_repeats) {
			client->repeats++;
			if (client->phase == CLIENT_EXCHANGE)
				client->target->protocol->repeat(client);
			client_extend(client);
			client_run(client);
		} else {
			client_lost(client, "no datagram came");
		}
		return;
	}
	if (client->second_try) {
		snprintf(words, sizeof(words), "first: %.180s; tried once more: no answer in time",
			 client->lost);
		client_failed(client, words, "");
		return;
	}
	snprintf(words, sizeof(words), "%s in %g s",
		 client->phase == CLIENT_CONNECT     ? "not connected"
		 : client->phase == CLIENT_HANDSHAKE ? "TLS handshake not done"
		 : client->phase == CLIENT_ENDING    ? "the connection's end did not come"
		 : client->out.len                   ? "the question was not taken"
						     : "no answer",
		 client->crowd->timeout);
	client_failed(client, words, "");
}
