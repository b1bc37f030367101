/* What comes before the protocol: the PROXY header of a balancer in front of us. Then the client is
 * known, and the limits are asked. */
#include <errno.h>

#include "net/proxy_header.h"
#include "way/limits.h"
#include "way/side.h"
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

enum step
greet_step(struct conn *conn)
{
	const struct sy_nets *trusted = &conn->service->settings.accept_proxy_from;
	struct limited who;
	enum reason reason;

	if (conn->timed) {
		conn->reset = true;
		return way_close(conn, REASON_GREET_TIMEOUT);
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
	who = (struct limited){ conn->way, conn->service, &conn->client_addr, UINT32_MAX };
	reason = limits_admit(&who);
	conn->source_slot = who.slot;
	conn->admitted = reason == REASON_NONE;
	if (reason != REASON_NONE) {
		conn->reset = true;
		return way_close(conn, reason);
	}
	return STEP_CLASSIFY;
}
