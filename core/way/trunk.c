#include "way/trunk.h"

#include <string.h>

#include "base/must.h"
#include "net/socket.h"
#include "way/side.h"
#include "way/strand.h"

static bool
trunk_wanted(const struct conn *conn)
{
	const struct way *way = conn->way;

	return service_run(conn)->shares && conn->service->uses & SY_TRUNKS && conn->client.strand &&
	       !conn->server.datagram && !way->child->stopping && way->conns < way->most;
}

void
trunk_make(struct conn *conn)
{
	struct way *way = conn->way;
	struct seat_run *seat = seat_run(conn);
	struct conn *trunk;

	if (!trunk_wanted(conn))
		return;
	trunk = accept_block(way, conn->listener, conn->generation);
	if (!trunk)
		return;
	trunk->trunk = trunk->hop = trunk->greeted = trunk->admitted = true;
	trunk->peer = trunk->client_addr = conn->server_addr;
	trunk->service_addr = conn->service_addr;
	trunk->port = conn->port;
	trunk->seat = conn->seat;
	trunk->step = STEP_CLASSIFY;
	trunk->talk->session.to_server = true;
	list_append(&service_run(conn)->conns, &trunk->of_service);
	list_append(&seat->trunks, &trunk->of_seat);
	seat->n_trunks++;
	side_move(way, &trunk->client, &conn->server, accept_on_client);
	trunk->client.of_server = false;
	trunk->client.ready |= EV_READ;
	socket_keepalive(trunk->client.io.fd);
	must(strand_join(trunk, conn) == REASON_NONE);
	way_rouse(trunk);
}

bool
trunk_take(struct conn *conn)
{
	if (!trunk_wanted(conn))
		return false;
	list_each(link, &seat_run(conn)->trunks) {
		struct conn *trunk = container_of(link, struct conn, of_seat);

		/* A port of the service may be a port of the server. */
		if (trunk->step != STEP_CLASSIFY || trunk->client.eof ||
		    memcmp(&trunk->client_addr, &conn->server_addr, sizeof(trunk->client_addr)) != 0)
			continue;
		if (strand_join(trunk, conn) != REASON_NONE)
			continue;
		talk_reuse(conn);
		return true;
	}
	return false;
}

bool
trunk_is_over(const struct conn *conn)
{
	const struct way *way = conn->way;

	if (!conn->trunk || conn->talk->n_strands > 0 || side_pending(&conn->client))
		return false;
	/* Exchanges are of the current configuration (strand_block()), and so are their trunks. */
	return way->child->stopping || conn->generation != way->child->current ||
	       service_run(conn)->removed_ms || !choose_keeps(way->board, conn->seat) ||
	       seat_run(conn)->n_trunks > conn->service->settings.server_idle_connections;
}

void
trunk_look(struct seat_run *seat)
{
	list_each(link, &seat->trunks)
		way_rouse(container_of(link, struct conn, of_seat));
}
