#include "way/handshakes.h"

#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/hash.h"

enum {
	HANDSHAKES_SLOW_MS = 1000,
	HANDSHAKES_GROUPS = 512,  /* addresses are counted by their hash */
	HANDSHAKES_TURN_US = 2000, /* spent on them in one turn, and what the last one takes longer */
};

static struct conn *
handshakes_conn(struct side_tls *tls)
{
	return container_of(tls->side, struct conn, client);
}

static void
handshakes_slow(struct timer_entry *entry, uint64_t now_ms)
{
	struct side_tls *tls = container_of(entry, struct side_tls, slow_timer);

	(void)now_ms;
	tls->slow = true;
	tls->way->slow_handshakes++;
}

static void
handshakes_watch(struct side_tls *tls)
{
	struct child *child = tls->way->child;

	timeq_arm(timeq_get(child->timeouts, HANDSHAKES_SLOW_MS, handshakes_slow), &tls->slow_timer,
	          child->now_ms);
}

static void
handshakes_forgive(struct side_tls *tls)
{
	tls->way->slow_handshakes -= tls->slow;
	tls->slow = false;
	timer_stop(&tls->slow_timer);
}

void
handshakes_begin(struct side_tls *tls)
{
	struct way *way = tls->way;

	if (tls->counted || tls->secured || !SSL_is_server(tls->ssl))
		return;
	tls->counted = true;
	way->handshakes++;
	list_append(&way->under_way, &tls->under_way);
	handshakes_watch(tls);
	accept_handshakes(way);
}

void
handshakes_end(struct side_tls *tls)
{
	if (!tls->counted)
		return;
	tls->counted = false;
	tls->way->handshakes--;
	list_remove(&tls->under_way);
	handshakes_forgive(tls);
	accept_handshakes(tls->way);
}

/* One address, or one network of IPv6, which is what one customer has. */
static unsigned
handshakes_group(struct side_tls *tls)
{
	const struct sy_addr *addr = &handshakes_conn(tls)->client_addr;
	const struct hash_key zero = { 0, 0 };

	return hash_64(&zero, addr->ip, addr->family == SY_IPV6 ? 8 : 4) % HANDSHAKES_GROUPS;
}

/* The oldest slow one of the address that has most under way. An address that has more than half of all is
 * waited for: until its own are slow. */
static struct side_tls *
handshakes_choose(struct way *way)
{
	uint32_t n[HANDSHAKES_GROUPS] = { 0 }, most = 0, most_slow = 0;

	list_each(link, &way->under_way) {
		unsigned group = handshakes_group(container_of(link, struct side_tls, under_way));

		if (++n[group] > most)
			most = n[group];
	}
	list_each(link, &way->under_way) {
		struct side_tls *tls = container_of(link, struct side_tls, under_way);
		unsigned group = handshakes_group(tls);

		if (tls->slow && n[group] > most_slow)
			most_slow = n[group];
	}
	if (most <= way->handshakes / 2)
		most = most_slow;
	list_each(link, &way->under_way) {
		struct side_tls *tls = container_of(link, struct side_tls, under_way);

		if (tls->slow && n[handshakes_group(tls)] == most)
			return tls;
	}
	return NULL;
}

void
handshakes_make_room(struct way *way)
{
	while (way->busy && way->slow_handshakes) {
		struct side_tls *tls = handshakes_choose(way);
		int unread = 0;

		if (!tls)
			return;
		/* Has it said something meanwhile? Then it is us for whom it waits. */
		if (ioctl(tls->side->io.fd, FIONREAD, &unread) == 0 && unread > 0) {
			handshakes_forgive(tls);
			handshakes_watch(tls);
			continue;
		}
		way_end(handshakes_conn(tls), REASON_TLS_SLOW);
	}
}

bool
handshakes_may_go_on(struct conn *conn)
{
	struct way *way = conn->way;

	if (way->shaking)
		return true;
	if (list_empty(&conn->due)) {
		list_append(&way->due_handshakes, &conn->due);
		conn->due_handshake = true;
		way->n_due_handshakes++;
	}
	return false;
}

void
handshakes_forget(struct conn *conn)
{
	if (!conn->due_handshake)
		return;
	conn->due_handshake = false;
	conn->way->n_due_handshakes--;
	list_remove(&conn->due);
}

void
handshakes_go_on(struct way *way)
{
	uint64_t began_us;

	if (list_empty(&way->due_handshakes))
		return;
	began_us = clock_us();
	way->shaking = true;
	do {
		struct conn *conn = container_of(way->due_handshakes.next, struct conn, due);

		handshakes_forget(conn);
		way_drive(conn);
	} while (!list_empty(&way->due_handshakes) && clock_us() - began_us < HANDSHAKES_TURN_US);
	way->shaking = false;
}
