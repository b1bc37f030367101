#include "way/post.h"

#include <stdatomic.h>
#include <string.h>

#include "base/slab.h"
#include "way/attach.h"
#include "way/limits.h"
#include "way/side.h"
#include "way/trace.h"

/* ---- life ---- */

static struct post *
post_find(const struct flows *flows, uint64_t hash, const struct flow_key *key)
{
	table_each(entry, &flows->posts, hash) {
		struct post *post = container_of(entry, struct post, entry);

		if (memcmp(&post->key, key, sizeof(*key)) == 0)
			return post;
	}
	return NULL;
}

/* Its connection, ready to hear the first datagram. NULL: no memory. */
static struct conn *
post_conn(struct post *post)
{
	struct flow_door *door = post->door;
	struct way *way = door->way;
	struct conn *conn = accept_block(way, door->listener, way->child->current);

	if (!conn)
		return NULL;
	conn->client.datagram = conn->datagrams = conn->greeted = true;
	conn->peer = conn->client_addr = post->key.client;
	conn->service_addr = post->key.local;
	conn->port = post->key.local.port;
	conn->step = STEP_CLASSIFY;
	conn->talk->post = post;
	list_append(&service_run(conn)->conns, &conn->of_service);
	tally_add(service_run(conn)->tally->active, 1);
	return conn;
}

/* False: it may not be, and is gone. */
static bool
post_admit(struct conn *conn)
{
	struct limited who = { conn->way, conn->service, &conn->client_addr, UINT32_MAX };
	enum reason reason = limits_admit(&who);

	conn->source_slot = who.slot;
	conn->admitted = reason == REASON_NONE;
	if (reason != REASON_NONE)
		way_end(conn, reason);
	return reason == REASON_NONE;
}

/* A client's first datagram. NULL when it was refused. */
static struct post *
post_new(struct flow_door *door, uint64_t hash, const struct flow_key *key, unsigned i)
{
	struct way *way = door->way;
	struct service_run *run = door->listener->service->run;
	struct post *post;

	if (way->child->stopping)
		return NULL;
	if (way->conns > way->most - way->most / 4) {
		tally_add(run->reasons[REASON_WORKER_FULL], 1);
		tally_add(run->tally->refused, 1);
		return NULL;
	}
	if (!way->flows->post_slab)
		way->flows->post_slab = slab_new(sizeof(*post));
	post = slab_take(way->flows->post_slab);
	if (!post)
		return NULL;
	*post = (struct post){ .key = *key, .name = *datagram_from(way->flows->in, i), .door = door };
	post->conn = post_conn(post);
	if (!post->conn) {
		slab_give(way->flows->post_slab, post);
		return NULL;
	}
	door->posts++;
	table_put(&way->flows->posts, &post->entry, hash);
	return post_admit(post->conn) ? post : NULL;
}

void
post_forget(struct conn *conn)
{
	struct flows *flows = conn->way->flows;
	struct post *post = conn->talk->post;

	if (!post)
		return;
	conn->talk->post = NULL;
	table_remove(&flows->posts, &post->entry);
	flow_door_leave(post->door);
	slab_give(flows->post_slab, post);
}

static void
post_leave_door(struct conn *conn, void *context)
{
	struct flow_door *door = context;
	struct talk *talk = conn->talk;

	if (!talk || !talk->post || talk->post->door != door)
		return;
	if (!door->listener)
		way_end(conn, REASON_REMOVED);
	else if (talk->n_strands == 0 && talk->session.until_ms <= conn->way->child->now_ms)
		way_end(conn, REASON_MOVED);
}

void
post_door_closes(struct flow_door *door)
{
	attach_each(door->way, post_leave_door, door);
}

/* ---- what clients say ---- */

/* The connection may be gone afterwards. */
static void
post_show(struct conn *conn, struct sy_span bytes)
{
	struct side *client = &conn->client;
	struct way *way = conn->way;

	if (bytes.len == 0)
		return;
	if ((conn->step != STEP_CLASSIFY && conn->step != STEP_RELAY) || bytes.len > talk_window(conn) ||
	    side_input(way, client).len > 0) {
		talk_lose(conn);
		return;
	}
	side_count(conn, client, bytes.len);
	if (way->trace)
		trace_read(conn, client, bytes);
	way->fresh.owner = client;
	way->fresh.at = (uint8_t *)(uintptr_t)bytes.at;
	way->fresh.len = bytes.len;
	way_drive(conn);
}

/* By garbage, and by pings of nobody, nothing has begun that would have to be kept. */
static bool
post_has_begun(const struct conn *conn)
{
	return conn->talk->opened || conn->talk->routed || conn->step != STEP_CLASSIFY ||
	       conn->server_addr.family;
}

static void
post_take(struct flow_door *door, const struct flow_key *key, unsigned i)
{
	struct flows *flows = door->way->flows;
	uint64_t hash = flow_hash(door->way->board, key);
	struct post *post = post_find(flows, hash, key);
	bool first = !post;

	if (first)
		post = post_new(door, hash, key, i);
	if (!post)
		return;
	post_show(post->conn, datagram_bytes(flows->in, i));
	if (!first)
		return;
	post = post_find(flows, hash, key);
	if (post && !post_has_begun(post->conn))
		way_leave(post->conn, REASON_CLIENT_EARLY);
}

void
post_receive(struct flow_door *door, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct flow_key key;

		if (flow_key_of(door, i, &key))
			post_take(door, &key, i);
	}
}

/* ---- what they hear ---- */

void
post_send(struct conn *conn, struct sy_span bytes)
{
	struct flows *flows = conn->way->flows;
	struct post *post = conn->talk->post;

	if (!post)
		return;
	if (bytes.len > DATAGRAM_SIZE) {
		talk_lose(conn);
		return;
	}
	memcpy(datagram_place(flows->out), bytes.at, bytes.len);
	if (datagram_put(flows->out, bytes.len, post->door->io.fd, &post->name,
	                 post->door->any ? &post->key.local : NULL))
		datagrams_flush(flows->out);
}
