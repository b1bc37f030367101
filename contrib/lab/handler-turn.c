/*
 * A/V Edge: Microsoft's TURN over UDP and TCP, the latter with or without the hello that looks like TLS.
 * The first Allocate is answered with 401, realm, nonce and the address of this very server (Alternate
 * Server); with credentials it gets a relay: a UDP socket, from which what clients send goes to peers, and
 * what peers send comes back, wrapped or, once there is an active destination, as it is. Anybody's
 * Binding is answered, too, as ICE agents ask.
 *
 * What it says of itself, "<server> <port> <client's address:port>", is in SOFTWARE of the RFCs (8022), which
 * this dialect does not know and has to ignore.
 *
 * One user: lab-user, lab-password. Allocations live in a list; the one of a connection ends with it.
 */
#include "server.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "turn.h"

enum {
	TURN_LIFETIME = 180,
	TURN_PEERS = 32,
	TURN_HELLO = 50,
	TURN_DATAGRAM = 65536,
	TURN_VERSION = 6,
};

static const char turn_realm[] = "rtcmedia", turn_nonce[] = "0123456789abcdef";

/* Where a client is: at the other end of a connection, or somewhere in UDP. */
struct turn_client {
	struct lab_listener *listener;
	struct lab_conn *conn; /* NULL: UDP */
	struct lab_addr peer;
};

struct turn_relay {
	struct turn_relay *next, **link;
	struct turn_client client;
	int fd;
	ev_io io;
	ev_timer expiry;
	struct sy_addr addr;
	struct sy_addr active; /* family SY_NO_ADDR: none is set */
	struct sy_addr peers[TURN_PEERS]; /* that may send: who was sent to */
	unsigned n_peers;
	uint8_t id[20]; /* of Microsoft's sequence numbers */
	uint32_t sequence;
};

struct turn_state {
	bool greeted; /* the hello was answered, or there was none */
	struct turn_relay *relay;
};

static struct turn_relay *turn_relays;

static bool
turn_same(const struct sy_addr *a, const struct sy_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* To clients. */

static void
turn_send(const struct turn_client *client, uint8_t kind, struct sy_span bytes)
{
	uint8_t head[MS_FRAME] = {kind, 0, (uint8_t)(bytes.len >> 8), (uint8_t)bytes.len};

	if (!client->conn) {
		if (sendto(client->listener->fd, bytes.at, bytes.len, 0, &client->peer.any,
			   client->peer.len) < 0)
			client->listener->failed++;
		return;
	}
	/* Media that nobody reads are not kept. */
	if (client->conn->out.len > CONN_OUT_HIGH && kind == MS_FRAME_DATA)
		return;
	buf_add(&client->conn->out, head, sizeof(head));
	buf_add(&client->conn->out, bytes.at, bytes.len);
}

static void
turn_reply(const struct turn_client *client, struct build *build)
{
	struct sy_span bytes = build_end(build);

	if (bytes.len)
		turn_send(client, MS_FRAME_CONTROL, bytes);
}

static void
turn_who(struct build *build, const struct turn_client *client)
{
	char text[ADDR_TEXT * 2], peer[ADDR_TEXT];

	snprintf(text, sizeof(text), "%.60s %u %s", client->listener->server->name,
		 addr_port(&client->listener->addr), addr_text(&client->peer, peer));
	build_bytes(build, 0x8022, sy_span_text(text));
}

/* 8020: XORed with the beginning of the transaction. */
static void
turn_mapped(struct build *build, const struct turn_client *client)
{
	struct sy_addr addr = turn_from(&client->peer);
	const uint8_t *tid = build->bytes + 4;

	addr.port ^= (uint16_t)(tid[0] << 8 | tid[1]);
	for (unsigned i = 0; i < (addr.family == SY_IPV4 ? 4u : 16u); i++)
		addr.ip[i] ^= tid[i];
	build_address(build, 0x8020, &addr);
}

static bool
turn_keyed(uint8_t key[static BUILD_KEY])
{
	return build_key(sy_span_text(turn_user), sy_span_text(turn_realm),
			 sy_span_text(turn_password), key);
}

static void
turn_challenge(const struct turn_client *client, const struct stun *message)
{
	static const uint8_t code[] = {0, 0, 4, 1, 'U', 'n', 'a', 'u', 't', 'h', 'o', 'r', 'i', 'z',
				       'e', 'd'};
	struct sy_addr own = turn_from(&client->listener->addr);
	struct build build;

	build_begin(&build, STUN_MS, false, 0x0113, message->tid);
	build_bytes(&build, 0x0009, sy_span(code, sizeof(code)));
	build_bytes(&build, 0x0015, sy_span_text(turn_realm));
	build_bytes(&build, 0x0014, sy_span_text(turn_nonce));
	build_number(&build, 0x8008, TURN_VERSION);
	if (!client->listener->server->lab->stay)
		build_address(&build, 0x000e, &own);
	turn_who(&build, client);
	turn_reply(client, &build);
}

/* Relays. */

static struct turn_relay *
turn_find(const struct turn_client *client)
{
	for (struct turn_relay *relay = turn_relays; relay; relay = relay->next)
		if (client->conn ? relay->client.conn == client->conn
				 : !relay->client.conn &&
				       relay->client.listener == client->listener &&
				       relay->client.peer.len == client->peer.len &&
				       !memcmp(&relay->client.peer, &client->peer,
					       client->peer.len))
			return relay;
	return NULL;
}

static void
turn_free(struct turn_relay *relay)
{
	struct ev_loop *loop = relay->client.listener->server->lab->loop;

	ev_io_stop(loop, &relay->io);
	ev_timer_stop(loop, &relay->expiry);
	relay->client.listener->users--;
	close(relay->fd);
	*relay->link = relay->next;
	if (relay->next)
		relay->next->link = relay->link;
	if (relay->client.conn)
		((struct turn_state *)relay->client.conn->state)->relay = NULL;
	free(relay);
}

static void
turn_expired(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	turn_free(container_of(timer, struct turn_relay, expiry));
}

static bool
turn_knows(const struct turn_relay *relay, const struct sy_addr *peer)
{
	for (unsigned i = 0; i < relay->n_peers; i++)
		if (turn_same(&relay->peers[i], peer))
			return true;
	return false;
}

/* What a peer says. */
static void
turn_heard(struct ev_loop *loop, ev_io *io, int events)
{
	static uint8_t bytes[TURN_DATAGRAM];
	struct turn_relay *relay = container_of(io, struct turn_relay, io);
	struct lab_addr from = {.len = sizeof(from.v6)};
	ssize_t len = recvfrom(relay->fd, bytes, sizeof(bytes), 0, &from.any, &from.len);
	struct sy_addr peer;
	struct build build;
	uint8_t tid[STUN_TID] = {0};

	(void)loop;
	(void)events;
	if (len < 0)
		return;
	peer = turn_from(&from);
	if (!turn_knows(relay, &peer))
		return;
	if (turn_same(&peer, &relay->active)) {
		turn_send(&relay->client, MS_FRAME_DATA, sy_span(bytes, (size_t)len));
	} else {
		RAND_bytes(tid, sizeof(tid));
		build_begin(&build, STUN_MS, false, 0x0115, tid);
		build_address(&build, 0x0012, &peer);
		build_bytes(&build, 0x0013, sy_span(bytes, (size_t)len));
		turn_reply(&relay->client, &build);
	}
	if (relay->client.conn)
		conn_run(relay->client.conn);
}

static void
turn_say(struct turn_relay *relay, const struct sy_addr *peer, struct sy_span bytes)
{
	struct lab_addr to = turn_to(peer);

	if (!turn_knows(relay, peer))
		relay->peers[relay->n_peers++ % TURN_PEERS] = *peer;
	if (relay->n_peers > TURN_PEERS)
		relay->n_peers = TURN_PEERS;
	if (sendto(relay->fd, bytes.at, bytes.len, 0, &to.any, to.len) < 0)
		relay->client.listener->failed++;
}

static struct turn_relay *
turn_make(const struct turn_client *client)
{
	struct ev_loop *loop = client->listener->server->lab->loop;
	struct turn_relay *relay = calloc(1, sizeof(*relay));
	struct lab_addr addr = client->listener->addr;

	if (!relay)
		return NULL;
	addr_set_port(&addr, 0);
	relay->fd = socket(addr.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (relay->fd < 0 || bind(relay->fd, &addr.any, addr.len) ||
	    getsockname(relay->fd, &addr.any, &(socklen_t){sizeof(addr.v6)})) {
		if (relay->fd >= 0)
			close(relay->fd);
		free(relay);
		return NULL;
	}
	relay->client = *client;
	client->listener->users++;
	relay->addr = turn_from(&addr);
	RAND_bytes(relay->id, sizeof(relay->id));
	relay->next = turn_relays;
	relay->link = &turn_relays;
	if (turn_relays)
		turn_relays->link = &relay->next;
	turn_relays = relay;
	if (client->conn)
		((struct turn_state *)client->conn->state)->relay = relay;
	ev_io_init(&relay->io, turn_heard, relay->fd, EV_READ);
	ev_io_start(loop, &relay->io);
	ev_init(&relay->expiry, turn_expired);
	return relay;
}

/* Questions. */

static void
turn_allocated(struct turn_relay *relay, const struct stun *message, uint32_t lifetime,
	       const uint8_t key[static BUILD_KEY])
{
	uint8_t sequence[24];
	struct build build;

	memcpy(sequence, relay->id, sizeof(relay->id));
	memset(sequence + sizeof(relay->id), 0, 4);
	sequence[23] = (uint8_t)relay->sequence++;
	build_begin(&build, STUN_MS, false, 0x0103, message->tid);
	build_number(&build, 0x000d, lifetime);
	build_number(&build, 0x8008, TURN_VERSION);
	build_address(&build, 0x0001, &relay->addr);
	turn_mapped(&build, &relay->client);
	build_bytes(&build, 0x8050, sy_span(sequence, sizeof(sequence)));
	turn_who(&build, &relay->client);
	build_integrity(&build, sy_span(key, BUILD_KEY));
	turn_reply(&relay->client, &build);
}

static void
turn_allocate(const struct turn_client *client, const struct stun *message, struct sy_span in)
{
	struct ev_loop *loop = client->listener->server->lab->loop;
	struct turn_relay *relay = turn_find(client);
	uint32_t lifetime = TURN_LIFETIME;
	uint8_t key[BUILD_KEY];

	if (!turn_keyed(key) || !message->integrity_at || !build_verify(in, message, sy_span(key, BUILD_KEY))) {
		turn_challenge(client, message);
		return;
	}
	if (!relay)
		relay = turn_make(client);
	if (!relay)
		return;
	if (message->has_lifetime && message->lifetime_s < lifetime)
		lifetime = message->lifetime_s;
	turn_allocated(relay, message, lifetime, key);
	if (!lifetime) {
		turn_free(relay);
		return;
	}
	relay->expiry.repeat = lifetime;
	ev_timer_again(loop, &relay->expiry);
}

static void
turn_activate(const struct turn_client *client, const struct stun *message)
{
	struct turn_relay *relay = turn_find(client);
	struct build build;
	uint8_t key[BUILD_KEY];

	if (!relay || !message->peer.family || !turn_keyed(key))
		return;
	relay->active = message->peer;
	build_begin(&build, STUN_MS, false, 0x0106, message->tid);
	build_integrity(&build, sy_span(key, BUILD_KEY));
	turn_reply(client, &build);
}

static void
turn_bound(const struct turn_client *client, const struct stun *message)
{
	struct sy_addr addr = turn_from(&client->peer);
	struct build build;

	build_begin(&build, STUN_RFC, false, 0x0101, message->tid);
	build_address(&build, 0x0020, &addr);
	turn_reply(client, &build);
}

static void
turn_message(const struct turn_client *client, struct sy_span in)
{
	struct turn_relay *relay;
	struct stun message;

	if (stun_read(in, &message) != STUN_FINE)
		return;
	if (message.dialect == STUN_RFC) {
		if (message.method == STUN_BINDING && message.class == STUN_REQUEST)
			turn_bound(client, &message);
		return;
	}
	if (message.method == STUN_ALLOCATE && message.class == STUN_REQUEST)
		turn_allocate(client, &message, in);
	else if (message.method == STUN_ACTIVE_DESTINATION && message.class == STUN_REQUEST)
		turn_activate(client, &message);
	else if (message.method == STUN_SEND && message.peer.family && message.has_data) {
		relay = turn_find(client);
		if (relay)
			turn_say(relay, &message.peer, message.data);
	}
}

static void
turn_raw(const struct turn_client *client, struct sy_span in)
{
	struct turn_relay *relay = turn_find(client);

	if (relay && relay->active.family)
		turn_say(relay, &relay->active, in);
}

/* What clients say. */

static void
turn_datagram(struct lab_listener *listener, const char *bytes, size_t len,
	      const struct lab_addr *peer, struct lab_buf *answer)
{
	struct turn_client client = {.listener = listener, .peer = *peer};
	struct sy_span in = sy_span(bytes, len);
	struct stun message;

	if (len >= STUN_HEADER && stun_read(in, &message) == STUN_FINE &&
	    (message.dialect == STUN_MS || message.method == STUN_BINDING) &&
	    !(message.dialect == STUN_RFC && turn_find(&client)))
		turn_message(&client, in);
	else
		turn_raw(&client, in);
	(void)answer; /* what is said goes out at once: it may be more than one datagram */
	listener->exchanges++;
}

static bool
turn_greet(struct lab_conn *conn)
{
	static const uint8_t head[] = {0x16, 3, 1, 0, 0x4e, 2, 0, 0, 0x46, 3, 1};
	static const uint8_t tail[] = {0, 0x18, 0, 0x0e, 0, 0, 0};
	uint8_t random[64] = {0};

	if (conn->in.len < TURN_HELLO)
		return false;
	RAND_bytes(random, sizeof(random));
	buf_drop(&conn->in, TURN_HELLO);
	buf_add(&conn->out, head, sizeof(head));
	buf_add(&conn->out, random, 32);
	buf_add(&conn->out, " ", 1);
	buf_add(&conn->out, random + 32, 32);
	buf_add(&conn->out, tail, sizeof(tail));
	return true;
}

static enum handler_next
turn_stream(struct lab_conn *conn)
{
	struct turn_state *state = conn->state;
	struct turn_client client = {.listener = conn->listener, .conn = conn, .peer = conn->peer};

	if (!state->greeted && conn->in.len && buf_front(&conn->in)[0] != 0x16 &&
	    buf_front(&conn->in)[0] != MS_FRAME_CONTROL)
		return HANDLER_RESET;
	if (!state->greeted && conn->in.len) {
		if (buf_front(&conn->in)[0] == 0x16 && !turn_greet(conn))
			return HANDLER_WAIT;
		state->greeted = true;
	}
	if (!state->greeted)
		return HANDLER_WAIT;
	while (conn->in.len >= MS_FRAME && conn->out.len < CONN_OUT_HIGH) {
		const uint8_t *at = (const uint8_t *)buf_front(&conn->in);
		size_t len = stun_16(at + 2);

		if ((at[0] != MS_FRAME_CONTROL && at[0] != MS_FRAME_DATA) || at[1])
			return HANDLER_RESET;
		if (conn->in.len < MS_FRAME + len)
			break;
		if (at[0] == MS_FRAME_CONTROL)
			turn_message(&client, sy_span(at + MS_FRAME, len));
		else
			turn_raw(&client, sy_span(at + MS_FRAME, len));
		buf_drop(&conn->in, MS_FRAME + len);
		conn_exchange_done(conn);
	}
	return conn->eof ? HANDLER_FINISH : HANDLER_WAIT;
}

static void
turn_stream_end(struct lab_conn *conn)
{
	struct turn_state *state = conn->state;

	if (state && state->relay)
		turn_free(state->relay);
}

const struct lab_handler handler_turn = {
    .name = "turn",
    .state_size = sizeof(struct turn_state),
    .stream = turn_stream,
    .stream_end = turn_stream_end,
    .datagram = turn_datagram,
};
