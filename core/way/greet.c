/* What comes before the protocol: the PROXY header of a balancer in front of us. Then the client is
 * known, and the limits are asked; then, if the listener has it, the TLS handshake. */
#include <errno.h>

#include "net/proxy_header.h"
#include "way/handshakes.h"
#include "way/limits.h"
#include "way/side.h"
#include "way/side_tls.h"
#include "way/way.h"

static enum step
greet_header(struct conn *conn)
{
	struct side *client = &conn->client;
	struct proxy_header header;

	for (;;) {
		struct sy_span in = side_input(conn->way, client);
		ssize_t n;

		if (in.len > 0) {
			switch (proxy_header_read(in, &header)) {
			case PROXY_WRONG:
				conn->words = header.problem;
				conn->reset = true;
				return way_close(conn, REASON_PROXY_HEADER);
			case PROXY_DONE:
				side_use(conn->way, client, header.len);
				if (!header.local) {
					conn->client_addr = header.source;
					conn->service_addr = header.destination;
				}
				conn->greeted = true;
				return STEP_CLASSIFY;
			case PROXY_MORE:
				break;
			}
		}
		if (client->eof)
			return way_close(conn, REASON_CLIENT_EARLY);
		if (!(client->ready & EV_READ))
			return WAIT;
		n = side_read(conn, client, WAY_WINDOW);
		if (n < 0 && errno != EAGAIN)
			return way_close_error(conn, client, errno);
	}
}

/* Whoever failed gets to read the alert that says why. */
static enum step
greet_tls_failed(struct conn *conn)
{
	struct side *client = &conn->client;

	conn->error = client->tls->error;
	if (client->tls->ended && !conn->error) {
		side_tls_drop(client, false);
		return way_close(conn, REASON_CLIENT_EARLY);
	}
	side_tls_words(conn, client);
	side_tls_drop(client, false);
	conn->parting = true;
	return way_close(conn, REASON_TLS_HANDSHAKE);
}

static enum step
greet_tls(struct conn *conn)
{
	const struct tls *tls = conn->listener->tls;

	if (!conn->client.tls && !side_tls_accept(conn, tls)) {
		conn->reset = true;
		return way_close(conn, REASON_NO_MEMORY);
	}
	switch (handshakes_may_go_on(conn) ? side_tls_secure(&conn->client) : SECURE_WAIT) {
	case SECURE_DONE:
		timer_stop(&conn->timer);
		return STEP_CLASSIFY;
	case SECURE_FAILED:
		timer_stop(&conn->timer);
		return greet_tls_failed(conn);
	case SECURE_WAIT:
		break;
	}
	if (!timer_armed(&conn->timer))
		timeq_arm(way_queue(conn->way, tls->handshake_timeout.ms), &conn->timer,
		          conn->way->child->now_ms);
	return WAIT;
}

enum step
greet_step(struct conn *conn)
{
	const struct sy_nets *trusted = &conn->service->settings.accept_proxy_from;
	struct limited who;
	enum reason reason;

	if (conn->timed) {
		conn->reset = true;
		return way_close(conn, conn->admitted ? REASON_TLS_LATE : REASON_GREET_TIMEOUT);
	}
	if (!conn->greeted && trusted->n && sy_nets_have(trusted, &conn->peer)) {
		enum step next = greet_header(conn);

		if (next == WAIT && !timer_armed(&conn->timer))
			timeq_arm(service_run(conn)->greet, &conn->timer,
			          conn->way->child->now_ms);
		if (next != STEP_CLASSIFY)
			return next;
		timer_stop(&conn->timer);
	}
	if (!conn->admitted) {
		who = (struct limited){ conn->way, conn->service, &conn->client_addr, UINT32_MAX };
		reason = limits_admit(&who);
		conn->source_slot = who.slot;
		conn->admitted = reason == REASON_NONE;
		if (reason != REASON_NONE) {
			conn->reset = true;
			return way_close(conn, reason);
		}
	}
	return conn->listener->tls ? greet_tls(conn) : STEP_CLASSIFY;
}
