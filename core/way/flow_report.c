/* A flow as report.h shows connections: the same line at the end, the same entry in the list. */
#include "net/socket.h"
#include "way/flow.h"

void
flow_portrait(const struct flow *flow, struct conn *out)
{
	*out = (struct conn){
		.client = { .io.fd = -1, .bytes = flow->up },
		.server = { .io.fd = flow->io.fd, .bytes = flow->down },
		.way = flow->door->way,
		.generation = flow->generation,
		.service = flow->service,
		.target = flow->target,
		.seat = flow->seat,
		.id = flow->id,
		.accepted_ms = flow->began_ms,
		.last_ms = flow->last_ms,
		.peer = flow->key.client,
		.client_addr = flow->key.client,
		.service_addr = flow->key.local,
		.server_addr = flow->server_addr,
		.n_tried = flow->n_tried,
		.step = STEP_RELAY,
		.reason = flow->reason,
		.why = flow->why,
		.error = flow->error,
		.datagrams = true,
		.from_server = true,
		.words = flow->words,
	};
}
