#define _GNU_SOURCE 1
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/must.h"
#include "net/listen.h"
#include "role/master.h"

enum { LISTENERS_TRY_AGAIN_MS = 50 };

static const char *
listening_transport(const struct listening *listening)
{
	return listening->want.transport == TRANSPORT_UDP ? "udp" : "tcp";
}

/* Opening. */

/* Whether a socket of ours already takes part of this address, so that it cannot be bound alone. */
static bool
listeners_neighbour(const struct master *master, const struct gen_listener *want)
{
	list_each(link, &master->listening) {
		const struct listening *other = container_of(link, struct listening, link);

		if (other->n_slots > 0 && other->want.transport == want->transport &&
		    other->real.port == want->addr.port && other->real.family == want->addr.family)
			return true;
	}
	return false;
}

/* `until_ms`: a predecessor's workers may need a moment to leave. */
static int
listening_first(const struct master *master, struct listening *listening, uint64_t until_ms,
                struct sy_err *err)
{
	struct listen_how how = {
		.addr = listening->want.addr,
		.datagrams = listening->want.transport == TRANSPORT_UDP,
		.backlog = listening->want.backlog,
	};
	int fd;

	for (;;) {
		fd = listen_open(&how, &listening->real, err);
		if (fd >= 0 || errno != EADDRINUSE)
			return fd;
		if (how.addr.port != 0 && !how.shared && listeners_neighbour(master, &listening->want))
			how.shared = true;
		else if (clock_ms() >= until_ms)
			return -1;
		else
			poll(NULL, 0, LISTENERS_TRY_AGAIN_MS);
	}
}

static int
listening_grow(struct listening *listening, unsigned n, struct sy_err *err)
{
	struct listen_how how = {
		.addr = listening->real,
		.datagrams = listening->want.transport == TRANSPORT_UDP,
		.backlog = listening->want.backlog,
		.shared = true,
	};

	if (listening->n_slots >= n)
		return 0;
	listening->fds = must_realloc(listening->fds, n * sizeof(*listening->fds));
	listening->served = must_realloc(listening->served, n * sizeof(*listening->served));
	while (listening->n_slots < n) {
		struct sy_addr real;
		int fd = listen_open(&how, &real, err);

		if (fd < 0)
			return -1;
		listening->served[listening->n_slots] = 0;
		listening->fds[listening->n_slots++] = fd;
	}
	return 0;
}

static int
listening_open(const struct master *master, struct listening *listening, unsigned slots,
               uint64_t until_ms, struct sy_err *err)
{
	int fd = listening_first(master, listening, until_ms, err);

	if (fd < 0)
		return -1;
	listening->fds = must_alloc(sizeof(*listening->fds));
	listening->served = must_alloc(sizeof(*listening->served));
	listening->fds[0] = fd;
	listening->n_slots = 1;
	/* There is one console. */
	return listening_grow(listening, listening->want.console ? 1 : slots, err);
}

static void
listening_free(struct listening *listening)
{
	for (unsigned slot = 0; slot < listening->n_slots; slot++)
		close(listening->fds[slot]);
	list_remove(&listening->link);
	free(listening->fds);
	free(listening->served);
	free(listening);
}

static struct listening *
listeners_find(struct master *master, const struct gen_listener *want)
{
	list_each(link, &master->listening) {
		struct listening *listening = container_of(link, struct listening, link);

		if (listening->want.id == want->id && listening->want.console == want->console &&
		    listening->want.transport == want->transport)
			return listening;
	}
	return NULL;
}

static unsigned
listeners_slots(const struct master *master, const struct epoch *epoch)
{
	return epoch->head->slots > master->slots ? epoch->head->slots : master->slots;
}

int
listeners_prepare(struct master *master, const struct epoch *epoch, struct text *complaints)
{
	const struct gen_listener *wants = generation_listeners(epoch->head);
	uint64_t until_ms = master->phase == MASTER_BEGINNING ? clock_ms() + MASTER_TAKEOVER_MS : 0;
	int failures = 0;

	list_each(link, &master->listening)
		container_of(link, struct listening, link)->stays = false;
	for (uint32_t i = 0; i < epoch->head->n_listeners; i++) {
		struct listening *listening = listeners_find(master, &wants[i]);
		struct sy_err err;

		if (listening) {
			listening->stays = true;
			continue;
		}
		listening = must_alloc(sizeof(*listening));
		listening->want = wants[i];
		listening->want.where[GEN_PATH - 1] = '\0';
		listening->stays = listening->fresh = true;
		link_init(&listening->link);
		if (listening_open(master, listening, listeners_slots(master, epoch), until_ms, &err) == 0) {
			list_append(&master->listening, &listening->link);
			continue;
		}
		text_printf(complaints, "%s: %s\n", listening->want.where, err.text);
		listening_free(listening);
		failures++;
	}
	if (failures > 0)
		listeners_undo(master);
	return failures > 0 ? -1 : 0;
}

void
listeners_undo(struct master *master)
{
	list_each_safe(link, &master->listening) {
		struct listening *listening = container_of(link, struct listening, link);

		if (listening->fresh)
			listening_free(listening);
	}
}

/* Handing out. */

static void
listening_send(struct process *process, const struct listening *listening, unsigned slot)
{
	struct control_record record = {
		.type = CONTROL_LISTEN,
		.id = listening->want.id,
		.value = slot,
	};

	outbox_send(&process->outbox, &record, NULL, 0, &listening->fds[slot], 1);
}

/* The console shows where we really listen. */
static void
listening_tell(struct process *console, const struct listening *listening)
{
	struct control_record record = { .type = CONTROL_LISTEN, .id = listening->want.id };
	char text[ADDR_TEXT_SIZE];

	addr_text(&listening->real, text);
	outbox_send(&console->outbox, &record, text, strlen(text), NULL, 0);
	if (listening->want.console)
		listening_send(console, listening, 0);
}

/* Fit to serve now or in a moment. What fails again and again before it is ready is not. */
static bool
listeners_able(const struct process *worker)
{
	if (!worker)
		return false;
	switch (worker->state) {
	case PROCESS_LEAVING:
		return false;
	case PROCESS_NONE:
	case PROCESS_WAITING:
	case PROCESS_STARTING:
	case PROCESS_READY:
		return worker->wanted && worker->failures == 0;
	}
	return false;
}

/* slot % lanes; what that leaves to somebody unable is spread over those who are able. */
static struct process *
listeners_owner(struct master *master, unsigned slot)
{
	struct process *first = master->lanes[slot % master->workers];
	unsigned able = 0, skip;

	if (listeners_able(first))
		return first;
	for (unsigned i = 0; i < master->workers; i++)
		able += listeners_able(master->lanes[i]);
	if (able == 0)
		return first;
	skip = slot / master->workers % able;
	for (unsigned i = 0; i < master->workers; i++)
		if (listeners_able(master->lanes[i]) && skip-- == 0)
			return master->lanes[i];
	return first;
}

static void
listening_take_back(struct master *master, struct listening *listening, unsigned slot, uint64_t from)
{
	for (unsigned i = 0; i < BOARD_WORKERS; i++) {
		if (!(from & UINT64_C(1) << i))
			continue;
		process_say(&master->processes[ROW_WORKER + i], CONTROL_UNLISTEN, 0, 0, listening->want.id,
		            slot);
		listening->served[slot] &= ~(UINT64_C(1) << i);
	}
}

/* First given, then taken: at no time is a slot served by nobody who could. */
static void
listening_deal(struct master *master, struct listening *listening, unsigned slot)
{
	struct process *owner = listeners_owner(master, slot);
	uint64_t bit;

	if (!owner || !process_alive(owner) || owner->state == PROCESS_LEAVING)
		return;
	bit = UINT64_C(1) << owner->index;
	if (!(listening->served[slot] & bit)) {
		/* It would not know what to do with a listener of a generation that it never saw. */
		if (owner->outdated)
			return;
		listening_send(owner, listening, slot);
		listening->served[slot] |= bit;
	}
	if (owner->state == PROCESS_READY && listening->served[slot] != bit)
		listening_take_back(master, listening, slot, listening->served[slot] & ~bit);
}

void
listeners_deal(struct master *master)
{
	if (master->phase > MASTER_RUNNING || !master->current)
		return;
	list_each(link, &master->listening) {
		struct listening *listening = container_of(link, struct listening, link);

		for (unsigned slot = 0; !listening->want.console && slot < listening->n_slots; slot++)
			listening_deal(master, listening, slot);
	}
}

void
listeners_introduce(struct process *process)
{
	struct master *master = process->master;
	struct control_record door = { .type = CONTROL_LISTEN };

	if (process_is_worker(process)) {
		hops_introduce(process);
		listeners_deal(master);
		return;
	}
	if (process->row != ROW_CONSOLE)
		return;
	if (master->door.fd >= 0)
		outbox_send(&process->outbox, &door, NULL, 0, &master->door.fd, 1);
	list_each(link, &master->listening)
		listening_tell(process, container_of(link, struct listening, link));
}

void
listeners_hand_out(struct master *master)
{
	struct process *console = &master->processes[ROW_CONSOLE];

	list_each(link, &master->listening) {
		struct listening *listening = container_of(link, struct listening, link);

		if (listening->fresh && process_alive(console) && console->state != PROCESS_LEAVING)
			listening_tell(console, listening);
	}
	listeners_deal(master);
}

static void
listening_end(struct master *master, struct listening *listening)
{
	char text[ADDR_TEXT_SIZE];

	log_info("no longer listening: %s transport=%s", addr_text(&listening->real, text),
	         listening_transport(listening));
	if (listening->want.console)
		process_say(&master->processes[ROW_CONSOLE], CONTROL_UNLISTEN, 0, 0, listening->want.id, 0);
	for (unsigned slot = 0; slot < listening->n_slots; slot++)
		listening_take_back(master, listening, slot, listening->served[slot]);
	listening_free(listening);
}

/* What the new generation says about an address that we have already. */
static void
listening_refresh(struct listening *listening, const struct gen_listener *want, unsigned slots)
{
	struct sy_err err;

	if (listening->want.transport == TRANSPORT_TCP && listening->want.backlog != want->backlog)
		for (unsigned slot = 0; slot < listening->n_slots; slot++)
			listen(listening->fds[slot], (int)want->backlog);
	listening->want.backlog = want->backlog;
	memcpy(listening->want.where, want->where, GEN_PATH - 1);
	if (!want->console && listening_grow(listening, slots, &err) != 0)
		log_warn("%s: it keeps its %u slots: %s", listening->want.where, listening->n_slots, err.text);
}

void
listeners_settle(struct master *master)
{
	const struct gen_listener *wants = generation_listeners(master->current->head);
	char text[ADDR_TEXT_SIZE];

	master->slots = listeners_slots(master, master->current);
	list_each_safe(link, &master->listening) {
		struct listening *listening = container_of(link, struct listening, link);

		if (!listening->stays) {
			listening_end(master, listening);
			continue;
		}
		if (listening->fresh)
			log_info("listening: %s transport=%s where=%s", addr_text(&listening->real, text),
			         listening_transport(listening), listening->want.where);
		listening->fresh = false;
	}
	for (uint32_t i = 0; i < master->current->head->n_listeners; i++)
		listening_refresh(listeners_find(master, &wants[i]), &wants[i], master->slots);
	if (master->phase == MASTER_RUNNING)
		listeners_deal(master);
}

void
listeners_lost(struct process *process)
{
	if (!process_is_worker(process))
		return;
	list_each(link, &process->master->listening) {
		struct listening *listening = container_of(link, struct listening, link);

		for (unsigned slot = 0; slot < listening->n_slots; slot++)
			listening->served[slot] &= ~(UINT64_C(1) << process->index);
	}
}

void
listeners_close(struct master *master)
{
	list_each_safe(link, &master->listening)
		listening_free(container_of(link, struct listening, link));
	hops_close(master);
}
