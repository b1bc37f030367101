#include "way/renew.h"

#include "conf/config.h"
#include "way/side.h"
#include "way/talk.h"

const struct listener *
renew_listener(const struct conn *conn)
{
	const struct generation *current = conn->way->child->current;
	const struct service *service = conn->service;
	const struct listener *now;

	if (current == conn->generation)
		return NULL;
	now = config_listener(current->config, conn->listener->id);
	if (!now || now->service->id != service->id || now->service->cell != service->cell ||
	    now->service->uses != service->uses ||
	    now->service->protocol.module->ops != service->protocol.module->ops)
		return NULL;
	return now;
}

/* What the connection was last used for, for reports. */
static const struct seat *
renew_seat(const struct service *service, const struct seat *old)
{
	const struct target *target;

	for (uint32_t i = 0; old && (target = service_target(service, i)); i++)
		for (uint32_t j = 0; j < target->pool->n_servers; j++)
			if (target->seats[j].cell == old->cell)
				return &target->seats[j];
	return NULL;
}

void
renew(struct conn *conn)
{
	const struct listener *now;
	struct generation *old = conn->generation;

	if (!(conn->service->uses & SY_RENEWS) || conn->talk->pinned || conn->talk->routed ||
	    conn->talk->opened || conn->client.strand || conn->hop || conn->datagrams ||
	    side_input(conn->way, &conn->client).len > 0)
		return;
	now = renew_listener(conn);
	if (!now || !now->tls != !conn->listener->tls)
		return;
	if (side_open(&conn->server))
		pick_drop(conn, false);
	timer_stop(&conn->timer);
	talk_calm(conn->talk);
	conn->timed = false;
	conn->seat = renew_seat(now->service, conn->seat);
	conn->target = NULL;
	conn->listener = now;
	conn->service = now->service;
	conn->generation = generation_hold(conn->way->child->current);
	list_remove(&conn->of_service);
	list_append(&service_run(conn)->conns, &conn->of_service);
	talk_renew(conn);
	child_release(conn->way->child, old);
}
