/* One client. client_run() is the driver; crowd.h has the picture. */
#include "crowd.h"

#include <stdlib.h>
#include <string.h>

enum {
	CLIENT_READ = 16384,
	CLIENT_ROUNDS = 32, /* then the other clients get their turn */
};

static void
client_ready(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
	client_run(container_of(io, struct crowd_client, io));
}

/* Opens a new connection for the next exchange, or for the rest of this one. */
static void
client_begin(struct crowd_client *client)
{
	const struct crowd_protocol *protocol = client->target->protocol;
	struct lab_err err;
	int began;

	client->phase = CLIENT_CONNECT;
	client->began = crowd_now();
	client->half_closed = false;
	if (!client->second_try && !client->goes_on) {
		client->asked = client->began;
		client->lost_server = -1;
	}
	if (protocol->connected)
		protocol->connected(client);
	client->goal = client->next_goal ? client->next_goal : client->target;
	client->next_goal = NULL;
	began = connect_begin(client, &err);
	if (began < 0) {
		client_failed(client, "the client itself has a problem", err.text);
		return;
	}
	ev_io_init(&client->io, client_ready, client->stream.fd, EV_WRITE);
	client_extend(client);
	if (began)
		client_lost(client, err.text);
	else
		ev_io_start(client->crowd->loop, &client->io);
}

/* Connected: 0, or -1 if the client has already gone another way. */
static int
client_connected(struct crowd_client *client)
{
	int error = connect_done(client);

	if (error) {
		client_lost(client, strerror(error));
		return -1;
	}
	client->phase = CLIENT_HANDSHAKE;
	client->target->open++;
	client->target->connections++;
	client->crowd->connections++;
	times_add(&client->crowd->connect_times, crowd_now() - client->began);
	return 0;
}

void
client_ask(struct crowd_client *client)
{
	client->phase = CLIENT_EXCHANGE;
	client->repeats = 0;
	if (!client->goes_on)
		client->sequence++;
	client->target->protocol->ask(client);
	client_extend(client);
}

/* 1: the connection is ready; 0: it is not; -1: the client has gone another way. */
static int
client_handshake(struct crowd_client *client)
{
	struct lab_err err;
	int done = stream_handshake(&client->stream, &err);

	if (done == STREAM_AGAIN)
		return 0;
	if (done == STREAM_FAILED && SSL_get_verify_result(client->stream.ssl) != X509_V_OK) {
		client_failed(client, err.text, "");
		return -1;
	}
	if (done == STREAM_FAILED) {
		client_lost(client, err.text);
		return -1;
	}
	client_ask(client);
	return 1;
}

static bool
client_half_closes(const struct crowd_client *client)
{
	uint64_t every = client->crowd->half_close_every;

	return every && !client->stays && client->target->protocol->half_closes &&
	       (client->sequence + client->number) % every == 0;
}

/* The answer is there and right. */
static void
client_answered(struct crowd_client *client, int server)
{
	struct crowd *crowd = client->crowd;
	double pace = client->target->protocol->pace;

	client->target->answered = true;
	client->goes_on = false;
	if (crowd->stage == CROWD_WAITS) {
		client_disconnect(client, false);
		client->phase = CLIENT_PAUSED;
		ev_timer_stop(crowd->loop, &client->timer);
		crowd_answered(client->target, crowd);
		return;
	}
	count_answer(client, server);
	client->server = client->lost_server = server;
	client->second_try = false;
	client_settle(client);
	if (client->stays) {
		if (client->target->protocol->closes && client->target->protocol->closes(client))
			client_disconnect(client, false);
		client_rest(client, crowd->interval * (pace ? pace : 1));
	} else if (client->half_closed) {
		client->phase = CLIENT_ENDING;
		client_extend(client);
	} else {
		client_disconnect(client, false);
		client_rest(client, crowd->pause);
	}
}

/* Sends what is to be sent. 1: something moved; 0: nothing; -1: the client has gone another way. */
static int
client_send(struct crowd_client *client)
{
	struct lab_err err;
	ssize_t sent;

	if (!client->out.len)
		return 0;
	sent = stream_write(&client->stream, buf_front(&client->out), client->out.len, &err);
	if (sent == STREAM_AGAIN)
		return 0;
	if (sent < 0) {
		client_lost(client, err.text);
		return -1;
	}
	buf_drop(&client->out, (size_t)sent);
	client->said_at = crowd_now();
	if (client->phase != CLIENT_EXCHANGE)
		return 1;
	if (client->target->protocol->fill)
		client->target->protocol->fill(client);
	client_extend(client);
	if (!client->out.len && client_half_closes(client)) {
		client->half_closed = true;
		stream_finish(&client->stream);
	}
	return 1;
}

/* Receives while in an exchange. As client_send(). */
static int
client_receive(struct crowd_client *client)
{
	char example[CROWD_WORDS];
	const char *words;
	struct lab_err err;
	int server = -1;
	ssize_t got =
	    stream_read(&client->stream, buf_space(&client->in, CLIENT_READ), CLIENT_READ, &err);

	if (got == STREAM_AGAIN)
		return 0;
	if (got <= 0) {
		client_lost(client, got == STREAM_END ? "closed by the other side" : err.text);
		return -1;
	}
	client->in.len += (size_t)got;
	client->repeats = 0;
	client_extend(client);
	example[0] = 0;
	switch (client->target->protocol->check(client, &server, &words, example)) {
	case EXCHANGE_MORE:
		return 1;
	case EXCHANGE_RIGHT:
		client_answered(client, server);
		return -1;
	case EXCHANGE_ELSEWHERE:
		client_disconnect(client, false);
		client->goes_on = true;
		client->phase = CLIENT_PAUSED;
		client_wait(client, 0);
		return -1;
	case EXCHANGE_LOST:
		client_lost(client, words);
		return -1;
	case EXCHANGE_WRONG:
		break;
	}
	client_failed(client, words, example);
	return -1;
}

/* Nothing is expected now but silence (WAITING) or the end (ENDING). */
static void
client_listen(struct crowd_client *client)
{
	char bytes[64];
	struct lab_err err;
	ssize_t got = stream_read(&client->stream, bytes, sizeof(bytes), &err);

	/* A datagram may be a late answer to what was said twice. */
	if (got == STREAM_AGAIN || (got > 0 && client->goal->transport == LAB_UDP))
		return;
	if (got > 0) {
		client_failed(client, "the server spoke without being asked", "");
	} else if (got == STREAM_END && client->phase == CLIENT_ENDING) {
		client_disconnect(client, false);
		client_rest(client, client->crowd->pause);
	} else {
		client_lost(client, got == STREAM_END ? "closed by the other side" : err.text);
	}
}

void
client_poll(struct crowd_client *client)
{
	struct ev_loop *loop = client->crowd->loop;
	int events = EV_READ | client->stream.wants | (client->out.len ? EV_WRITE : 0);

	if (client->phase < CLIENT_HANDSHAKE || client->phase == CLIENT_DONE)
		return;
	if (client->phase == CLIENT_HANDSHAKE)
		events = client->stream.wants;
	if (ev_is_active(&client->io) && client->io.events == events)
		return;
	ev_io_stop(loop, &client->io);
	ev_io_set(&client->io, client->stream.fd, events);
	ev_io_start(loop, &client->io);
}

void
client_run(struct crowd_client *client)
{
	int moved = 1;

	client->stream.wants = 0;
	if (client->phase == CLIENT_CONNECT && client_connected(client))
		return;
	if (client->phase == CLIENT_HANDSHAKE && client_handshake(client) < 0)
		return;
	for (int round = 0; client->phase == CLIENT_EXCHANGE && moved > 0; round++) {
		int sent = client_send(client);

		moved = sent < 0 ? sent : client_receive(client);
		if (moved == 0 && sent > 0)
			moved = 1;
		if (moved > 0 && round == CLIENT_ROUNDS) {
			client_poll(client);
			ev_feed_event(client->crowd->loop, &client->io, EV_READ);
			return;
		}
	}
	if (client->phase == CLIENT_WAITING && client_send(client) < 0)
		return;
	/* Also just after an answer: TLS may have read the connection's end along with it. */
	if (client->phase == CLIENT_WAITING || client->phase == CLIENT_ENDING)
		client_listen(client);
	client_poll(client);
}

static void
client_waited(struct crowd_client *client)
{
	double now = crowd_now();

	/* A millisecond is less than a timer's idea of now may be off. */
	if (now + 1e-3 < client->next_at) {
		client->target->protocol->keep(client);
		client->said_at = now;
		client_wait_next(client);
		return;
	}
	client->asked = now;
	client_ask(client);
}

static void
client_timeout(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct crowd_client *client = container_of(timer, struct crowd_client, timer);

	(void)loop;
	(void)events;
	switch (client->phase) {
	case CLIENT_PAUSED:
		client_begin(client);
		break;
	case CLIENT_WAITING:
		client_waited(client);
		client_run(client);
		break;
	case CLIENT_CONNECT:
	case CLIENT_HANDSHAKE:
	case CLIENT_EXCHANGE:
	case CLIENT_ENDING:
		client_late(client);
		break;
	case CLIENT_DONE:
		break;
	}
}

int
client_init(struct crowd_client *client, struct crowd *crowd, struct crowd_target *target,
	    bool stays, uint32_t number)
{
	memset(client, 0, sizeof(*client));
	client->crowd = crowd;
	client->target = target;
	client->goal = target;
	client->stays = stays;
	client->number = number;
	client->server = client->lost_server = -1;
	client->stream.fd = -1;
	ev_init(&client->io, client_ready);
	ev_init(&client->timer, client_timeout);
	client->state = calloc(1, target->protocol->state_size + 1);
	return client->state ? 0 : -1;
}

void
client_start(struct crowd_client *client, double after)
{
	client->phase = CLIENT_PAUSED;
	client->sequence = 0;
	client_wait(client, after);
}

void
client_end(struct crowd_client *client)
{
	bool idle = client->phase == CLIENT_PAUSED && !client->second_try && !client->goes_on;

	if (idle || client->phase == CLIENT_WAITING)
		client_leave(client);
}

void
client_free(struct crowd_client *client)
{
	ev_timer_stop(client->crowd->loop, &client->timer);
	client_disconnect(client, true);
	free(client->state);
}
