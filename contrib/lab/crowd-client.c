/* One client. client_run() is the driver; crowd.h has the picture. */
#define _GNU_SOURCE 1
#include "crowd.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	CLIENT_READ = 16384,
	CLIENT_ROUNDS = 32, /* then the other clients get their turn */
};

static const double client_probe_again = 0.2, client_after_failure = 1, client_udp_again = 1;

static void client_run(struct crowd_client *client);

static void
client_wait(struct crowd_client *client, double seconds)
{
	/* The loop's idea of now may be old after much work: a limit must not come early. */
	ev_now_update(client->crowd->loop);
	ev_timer_stop(client->crowd->loop, &client->timer);
	ev_timer_set(&client->timer, seconds > 0 ? seconds : 0, 0);
	ev_timer_start(client->crowd->loop, &client->timer);
}

/* Something moved: the time limit begins anew, but a second try has no more time than it has. */
static void
client_extend(struct crowd_client *client)
{
	double limit = client->crowd->timeout;

	if (client->second_try && client->retry_until - crowd_now() < limit)
		limit = client->retry_until - crowd_now();
	if (client->target->transport == LAB_UDP && limit > client_udp_again)
		limit = client_udp_again;
	client_wait(client, limit);
}

static void
client_disconnect(struct crowd_client *client, bool reset)
{
	ev_io_stop(client->crowd->loop, &client->io);
	if (client->stream.fd >= 0 && client->phase > CLIENT_CONNECT)
		client->target->open--;
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

static void
client_settle(struct crowd_client *client)
{
	if (client->settled)
		return;
	client->settled = true;
	crowd_settled(client->crowd);
}

/* Rests, or is done if the crowd ends or this client has had its share. */
static void
client_rest(struct crowd_client *client, double seconds)
{
	struct crowd *crowd = client->crowd;

	client->second_try = false;
	if (crowd->stage == CROWD_ENDS || (crowd->rounds && client->sequence >= crowd->rounds)) {
		client_disconnect(client, false);
		client_done(client);
		return;
	}
	client->phase = client->stream.fd >= 0 ? CLIENT_WAITING : CLIENT_PAUSED;
	client_wait(client, seconds * (0.75 + 0.5 * crowd_random(crowd)));
}

static void
client_failed(struct crowd_client *client, const char *words, const char *example)
{
	struct crowd *crowd = client->crowd;

	client_disconnect(client, true);
	client->phase = CLIENT_PAUSED;
	if (client->web)
		web_failed(client);
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

/* The connection is gone, or was refused. */
static void
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
	client->second_try = true;
	client->retry_until = crowd_now() + client->crowd->retry_within;
	client->phase = CLIENT_PAUSED;
	client_wait(client, client->crowd->retry_after);
}

static int
client_socket(struct crowd_client *client, struct lab_err *err)
{
	struct lab_addr *addr = &client->target->addr;
	bool stream = client->target->transport != LAB_UDP;
	int on = 1;
	int fd = socket(addr->any.sa_family,
			(stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(err, "no socket: %s", strerror(errno));
	client->stream.fd = fd;
	if (stream)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (!client->crowd->has_net || client->crowd->net.base.any.sa_family != addr->any.sa_family)
		return 0;
	addr_nth(&client->crowd->net,
		 client->crowd->roam && !client->stays ? client->crowd->source_next++
						       : client->number,
		 &client->source);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, &client->source.any, client->source.len)) {
		char text[ADDR_TEXT];

		return err_set(err, "cannot use the source address %s: %s",
			       addr_host_text(&client->source, text), strerror(errno));
	}
	return 0;
}

static int
client_secure(struct crowd_client *client, struct lab_err *err)
{
	const char *name = client->target->tls_name;

	if (stream_secure(&client->stream, client->crowd->tls, false, err))
		return -1;
	if (name && (!SSL_set_tlsext_host_name(client->stream.ssl, name) ||
		     !SSL_set1_host(client->stream.ssl, name)))
		return err_set(err, "\"%s\" cannot be a host's name", name);
	return 0;
}

static void
client_ready(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop;
	(void)events;
	client_run(container_of(io, struct crowd_client, io));
}

/* Opens a new connection for the next exchange. */
static void
client_begin(struct crowd_client *client)
{
	struct crowd_target *target = client->target;
	struct lab_err err;

	client->phase = CLIENT_CONNECT;
	client->began = crowd_now();
	client->half_closed = false;
	if (client->web)
		web_connected(client);
	if (!client->second_try) {
		client->asked = client->began;
		client->lost_server = -1;
	}
	if (client_socket(client, &err) ||
	    (target->transport == LAB_TLS && client_secure(client, &err))) {
		client_failed(client, "the client itself has a problem", err.text);
		return;
	}
	ev_io_init(&client->io, client_ready, client->stream.fd, EV_WRITE);
	client_extend(client);
	if (connect(client->stream.fd, &target->addr.any, target->addr.len) &&
	    errno != EINPROGRESS && errno != EINTR) {
		client_lost(client, strerror(errno));
		return;
	}
	ev_io_start(client->crowd->loop, &client->io);
}

/* Connected: 0, or -1 if the client has already gone another way. */
static int
client_connected(struct crowd_client *client)
{
	socklen_t len = sizeof(client->source.v6);
	int error = 0;

	getsockopt(client->stream.fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	if (error) {
		client_lost(client, strerror(error));
		return -1;
	}
	if (!getsockname(client->stream.fd, &client->source.any, &len))
		client->source.len = len;
	client->phase = CLIENT_HANDSHAKE;
	client->target->open++;
	client->target->connections++;
	client->crowd->connections++;
	times_add(&client->crowd->connect_times, crowd_now() - client->began);
	return 0;
}

static void
client_ask(struct crowd_client *client)
{
	client->phase = CLIENT_EXCHANGE;
	exchange_ask(client);
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

	return every && !client->stays && !client->web && client->target->transport != LAB_UDP &&
	       (client->sequence + client->number) % every == 0;
}

/* The answer is there and right. */
static void
client_answered(struct crowd_client *client, int server)
{
	struct crowd *crowd = client->crowd;

	client->target->answered = true;
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
		if (web_closes(client))
			client_disconnect(client, false);
		client_rest(client, crowd->interval);
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
	exchange_fill(client);
	client_extend(client);
	if (!client->out.len && client_half_closes(client)) {
		client->half_closed = true;
		stream_finish(&client->stream);
	}
	return 1;
}

/* A datagram may be the late answer to a question that was asked again. */
static bool
client_is_late(const struct crowd_client *client)
{
	return client->target->transport == LAB_UDP &&
	       !memmem(buf_front(&client->in), client->in.len, client->expected,
		       strlen(client->expected));
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
	client_extend(client);
	if (client_is_late(client)) {
		buf_drop(&client->in, client->in.len);
		return 1;
	}
	switch (exchange_check(client, &server, &words, example)) {
	case EXCHANGE_MORE:
		return 1;
	case EXCHANGE_RIGHT:
		client_answered(client, server);
		return -1;
	case EXCHANGE_ELSEWHERE:
		client_disconnect(client, false);
		client->phase = CLIENT_PAUSED;
		client_wait(client, 0);
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

	if (got == STREAM_AGAIN)
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

static void
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

static void
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
	/* Also just after an answer: TLS may have read the connection's end along with it. */
	if (client->phase == CLIENT_WAITING || client->phase == CLIENT_ENDING)
		client_listen(client);
	client_poll(client);
}

/* No answer in time. */
static void
client_late(struct crowd_client *client)
{
	char words[CROWD_WORDS];

	if (client->target->transport == LAB_UDP) {
		client_lost(client, "no datagram came");
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
		client->asked = crowd_now();
		client_ask(client);
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

void
client_init(struct crowd_client *client, struct crowd *crowd, struct crowd_target *target,
	    bool stays, uint32_t number)
{
	memset(client, 0, sizeof(*client));
	client->crowd = crowd;
	client->target = target;
	client->stays = stays;
	client->number = number;
	client->server = client->lost_server = -1;
	client->stream.fd = -1;
	ev_init(&client->io, client_ready);
	ev_init(&client->timer, client_timeout);
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
	bool idle = client->phase == CLIENT_PAUSED && !client->second_try;

	if (!idle && client->phase != CLIENT_WAITING)
		return;
	client_disconnect(client, false);
	client_settle(client);
	client_done(client);
}

void
client_free(struct crowd_client *client)
{
	ev_timer_stop(client->crowd->loop, &client->timer);
	client_disconnect(client, true);
	free(client->web);
}
