/* The choice as a pure function: what health, wishes, weights, slow start, limits, persistence, the
 * tried and the sorry pool make of it. The scheduler here takes the first that is not busy, so that a
 * test sees what is offered. */
#include <stdatomic.h>

#include "share/persist.h"
#include "t/tap.h"
#include "way/choose.h"

enum { SERVERS = 4, ROW = ROW_WORKER, MINUTE_MS = 60000 };

static struct sy_server offered[SERVERS];
static uint32_t n_offered, builds;
static uint64_t drawn_key;

static size_t
fake_table_size(const void *conf, const struct sy_set *set)
{
	(void)conf;
	return sizeof(uint32_t) * set->n;
}

static void
fake_build(const void *conf, const struct sy_set *set, void *table)
{
	(void)conf;
	builds++;
	for (uint32_t i = 0; i < set->n; i++)
		((uint32_t *)table)[i] = set->server[i].weight;
}

static int
fake_pick(const void *conf, const struct sy_set *set, const void *table,
          const struct sy_draw *draw)
{
	int found = -1;

	(void)conf;
	memcpy(offered, set->server, set->n * sizeof(*offered));
	n_offered = set->n;
	drawn_key = draw->key;
	for (uint32_t i = 0; i < set->n; i++) {
		if (((const uint32_t *)table)[i] != set->server[i].weight)
			return -1;
		if (found < 0 && !set->server[i].busy)
			found = (int)i;
	}
	return found;
}

static const struct sy_scheduler fake_scheduler = {
	.size = sizeof(fake_scheduler),
	.wants = SY_WANT_LOAD | SY_WANT_KEY,
	.table_size = fake_table_size,
	.build = fake_build,
	.pick = fake_pick,
};

static struct sy_persist_life
fake_life(const void *conf)
{
	(void)conf;
	return (struct sy_persist_life){ .timeout_ms = MINUTE_MS };
}

/* Clients without a port have no key. */
static void
fake_key(const void *conf, const struct sy_facts *facts, struct sy_key *out)
{
	(void)conf;
	out->len = facts->client.port ? 4 : 0;
	memcpy(out->bytes, facts->client.ip, 4);
}

static const char *
fake_print(const void *conf, const struct sy_key *key, char *out, size_t len)
{
	(void)conf;
	snprintf(out, len, "client %d", key->bytes[3]);
	return out;
}

/* The exchange says the name of its server. */
static int
fake_named(const void *conf, const struct sy_facts *facts, const struct sy_server *server, uint32_t n)
{
	(void)conf;
	for (uint32_t i = 0; i < n && facts->head.len; i++)
		if (strlen(server[i].name) == facts->head.len &&
		    memcmp(server[i].name, facts->head.at, facts->head.len) == 0)
			return (int)i;
	return -1;
}

static const struct sy_persistence fake_persistence = {
	.size = sizeof(fake_persistence), .life = fake_life, .key = fake_key, .print = fake_print,
	.named = fake_named,
};
static const struct sy_protocol fake_protocol = {
	.size = sizeof(fake_protocol), .load_unit = "connections",
};

static const struct sy_module scheduler = { .name = "first", .ops = &fake_scheduler };
static const struct sy_module persistence = { .name = "source", .ops = &fake_persistence };
static const struct sy_module protocol = { .name = "tcp", .ops = &fake_protocol };

static struct board *board;
static struct server servers[SERVERS], sorry_servers[1];
static struct seat seats[SERVERS], sorry_seats[1];
static struct pool pool = { .name = "p", .servers = servers, .n_servers = SERVERS };
static struct pool sorry_pool = { .name = "sorry", .servers = sorry_servers, .n_servers = 1 };
static struct target sorry = { .pool = &sorry_pool, .seats = sorry_seats };
static struct server other_servers[1];
static struct seat other_seats[1];
static struct pool other_pool = { .name = "other", .servers = other_servers, .n_servers = 1 };
static struct target other = { .pool = &other_pool, .seats = other_seats, .group = 78 };
static struct service service = {
	.name = "web", .id = 77,
	.settings = { .minimum_up = 1, .enabled = true },
	.scheduler = { .module = &scheduler },
	.protocol = { .module = &protocol },
	.load_unit = "connections",
	.life = { .timeout_ms = MINUTE_MS },
	.target = { .pool = &pool, .seats = seats, .group = 77 },
	.more = &other, .n_more = 1,
};
static struct lineup lineup, sorry_lineup, other_lineup;
static struct sy_facts facts = { .client = { .family = SY_IPV4, .ip = { 192, 0, 2, 7 } } };
static uint64_t now_ms = 10 * MINUTE_MS;
static uint32_t tried[CHOOSE_TRIES], n_tried;

static void
set_up(void)
{
	static const struct board_size size = { .services = 8, .cells = 64, .checks = 16,
	                                        .persist_entries = 64 };
	static const char *const names[] = { "s0", "s1", "s2", "s3" };
	struct sy_err err = { "" };
	int fd;

	board = board_new(&size, &fd, &err);
	if (!board)
		bail_out("no board: %s", err.text);
	board_set_workers(board, 2);
	for (unsigned i = 0; i < SERVERS; i++) {
		servers[i] = (struct server){ .name = names[i], .weight = 100, .id = 1000 + i };
		servers[i].cell = board_cell(board, CELL_OTHER, servers[i].id);
		seats[i] = (struct seat){ .server = &servers[i], .id = 2000 + i };
		seats[i].cell = board_cell(board, CELL_OTHER, seats[i].id);
		board_health_write(board_cell_at(board, seats[i].cell), HEALTH_UP, "fine", 0, 0);
		board_cell_at(board, seats[i].cell)->up_since_ms = 0;
	}
	sorry_servers[0] = (struct server){ .name = "sorry", .weight = 1, .id = 3000 };
	sorry_servers[0].cell = board_cell(board, CELL_OTHER, 3000);
	sorry_seats[0] = (struct seat){ .server = sorry_servers, .id = 3001 };
	sorry_seats[0].cell = board_cell(board, CELL_OTHER, 3001);
	other_servers[0] = (struct server){ .name = "other", .weight = 1, .id = 4000 };
	other_servers[0].cell = board_cell(board, CELL_OTHER, 4000);
	other_seats[0] = (struct seat){ .server = other_servers, .id = 4001 };
	other_seats[0].cell = board_cell(board, CELL_OTHER, 4001);
	service.cell = board_cell(board, CELL_SERVICE, service.id);
	service.target.run = &lineup;
	other.run = &other_lineup;
	lineup_init(&other_lineup, &service, &other);
	lineup_init(&lineup, &service, &service.target);
	lineup_init(&sorry_lineup, &service, &sorry);
}

static struct choice
pick(void)
{
	struct choice out;
	struct choose_ask ask = {
		.service = &service, .lineup = service_pool(&service, facts.pool)->run,
		.sorry = service.sorry ? &sorry_lineup : NULL,
		.board = board, .row = ROW, .facts = &facts, .now_ms = now_ms,
		.tried = tried, .n_tried = n_tried,
	};

	choose(&ask, &out);
	return out;
}

static const char *
name(const struct choice *choice)
{
	return choice->seat ? choice->seat->server->name : reason_rows[choice->reason].name;
}

static const char *
who(void)
{
	static struct choice choice;

	choice = pick();
	return name(&choice);
}

static void
health(unsigned i, uint32_t state, uint32_t weight)
{
	board_health_write(board_cell_at(board, seats[i].cell), state, "because", weight, 0);
	board_cell_at(board, seats[i].cell)->up_since_ms = 0;
	lineup.stale = true;
}

static void
wish(uint32_t cell, uint32_t what, uint32_t weight_plus_1)
{
	atomic_store(&board_cell_at(board, cell)->wish, what);
	atomic_store(&board_cell_at(board, cell)->wish_weight_plus_1, weight_plus_1);
	lineup.stale = true;
}

static void
try_offered(void)
{
	is_str(who(), "s0", "all are up");
	is_uint(n_offered, 4, "all are offered");
	is_uint(builds, 1, "the table is built");
	is_str(who(), "s0", "again");
	is_uint(builds, 1, "not anew for each");
	lineup.stale = true;
	who();
	is_uint(builds, 1, "nor when nothing that it depends on has changed");
	health(0, HEALTH_DOWN, 0);
	is_str(who(), "s1", "one is down");
	is_uint(n_offered, 3, "and not offered");
	is_uint(builds, 2, "the table is built anew");
	health(0, HEALTH_UNKNOWN, 0);
	is_str(who(), "s0", "unknown is taken for up");
	health(0, HEALTH_DRAINING, 0);
	is_str(who(), "s1", "a server that drains gets nobody new");
	health(0, HEALTH_UP, 30);
	who();
	is_uint(offered[0].weight, 30, "a monitor's weight is percent of the configured one");
	health(0, HEALTH_UP, 0);
	wish(seats[0].cell, WISH_DRAIN, 0);
	is_str(who(), "s1", "drained in this service");
	wish(seats[0].cell, WISH_NONE, 0);
	wish(servers[0].cell, WISH_DISABLE, 0);
	is_str(who(), "s1", "disabled in all services");
	wish(servers[0].cell, WISH_NONE, 8);
	who();
	is_uint(offered[0].weight, 7, "a weight that was wished for");
	wish(seats[0].cell, WISH_NONE, 4);
	who();
	is_uint(offered[0].weight, 3, "that of the service goes first");
	wish(seats[0].cell, WISH_NONE, 1);
	is_str(who(), "s1", "weight 0: nobody new");
	wish(seats[0].cell, WISH_NONE, 0);
	wish(servers[0].cell, WISH_NONE, 0);
}

static void
try_slow_start(void)
{
	pool.slow_start.ms = MINUTE_MS;
	health(2, HEALTH_UP, 0);
	board_cell_at(board, seats[2].cell)->up_since_ms = now_ms - MINUTE_MS / 4;
	who();
	is_uint(offered[2].share, SY_FULL_SHARE / 4, "a quarter of the time: a quarter of the share");
	is_uint(offered[1].share, SY_FULL_SHARE, "the others have all of theirs");
	now_ms += MINUTE_MS / 4;
	who();
	is_uint(offered[2].share, SY_FULL_SHARE / 2, "it grows without any news");
	now_ms += MINUTE_MS;
	who();
	is_uint(offered[2].share, SY_FULL_SHARE, "to the full");
	is_uint(lineup.slow_until_ms, 0, "and that is the end of it");
	board_cell_at(board, seats[2].cell)->up_since_ms = now_ms;
	lineup.stale = true;
	who();
	is_uint(offered[2].share, 1, "just up: the least, not nothing");
	board_cell_at(board, seats[2].cell)->up_since_ms = 0;
	lineup.stale = true;
	pool.slow_start.ms = 0;
}

static void
try_relief(void)
{
	lineup_relieve(&lineup, &seats[1], now_ms + 5000);
	who();
	is_uint(offered[1].share, SY_FULL_SHARE / 4, "overloaded by its own word: a quarter of the share");
	is_uint(offered[2].share, SY_FULL_SHARE, "the others have all of theirs");
	lineup.stale = true;
	now_ms += 4000;
	who();
	is_uint(offered[1].share, SY_FULL_SHARE / 4, "news of other servers change nothing");
	now_ms += 1000;
	who();
	is_uint(offered[1].share, SY_FULL_SHARE, "then all is as before");
	is_uint(lineup.relief_until_ms, 0, "and that is the end of it");
}

static void
try_busy(void)
{
	struct choice choice;

	tried[n_tried++] = servers[0].cell;
	choice = pick();
	is_str(name(&choice), "s1", "not the same server twice");
	is_str(choose_why_words[choice.why], "retry", "and why");
	for (unsigned i = 1; i < SERVERS; i++)
		tried[n_tried++] = servers[i].cell;
	is_str(who(), "no-server", "all were tried");
	n_tried = 0;
	is_str(who(), "s0", "which the next client knows nothing of");
	servers[0].max_connections = 3;
	lineup.stale = true;
	tally_add(board_tally(board, ROW, servers[0].cell)->active, 2);
	is_str(who(), "s0", "two of three");
	tally_add(board_tally(board, ROW + 1, servers[0].cell)->active, 1);
	is_str(who(), "s1", "the third by another worker: it is full");
	for (unsigned i = 1; i < SERVERS; i++) {
		servers[i].max_connections = 1;
		tally_add(board_tally(board, ROW, servers[i].cell)->active, 1);
	}
	lineup.stale = true;
	is_str(who(), "servers-full", "all are full");
	for (unsigned i = 0; i < SERVERS; i++) {
		servers[i].max_connections = 0;
		board_tally(board, ROW, servers[i].cell)->active = 0;
		board_tally(board, ROW + 1, servers[i].cell)->active = 0;
	}
	lineup.stale = true;
	tally_add(board_tally(board, ROW, seats[1].cell)->active, 5);
	tally_add(board_tally(board, ROW + 1, seats[1].cell)->active, 6);
	who();
	is_uint(offered[1].load, 11, "load is the sum over all workers");
	board_tally(board, ROW, seats[1].cell)->active = 0;
	board_tally(board, ROW + 1, seats[1].cell)->active = 0;
}

static void
try_sorry(void)
{
	struct choice choice;

	service.settings.minimum_up = 3;
	health(0, HEALTH_DOWN, 0);
	is_str(who(), "s1", "three are enough");
	health(1, HEALTH_DOWN, 0);
	is_str(who(), "too-few-up", "two are not");
	health(0, HEALTH_UP, 0);
	wish(seats[0].cell, WISH_DISABLE, 0);
	is_str(who(), "too-few-up", "who is disabled does not count");
	wish(seats[0].cell, WISH_DRAIN, 0);
	is_str(who(), "s2", "who is drained does");
	wish(seats[0].cell, WISH_NONE, 0);
	health(0, HEALTH_DOWN, 0);
	service.sorry = &sorry;
	choice = pick();
	is_str(name(&choice), "sorry", "the sorry pool");
	is_str(choose_why_words[choice.why], "sorry", "and why");
	ok(choice.target == &sorry, "its target");
	service.sorry = NULL;
	service.settings.minimum_up = 1;
	for (unsigned i = 0; i < SERVERS; i++)
		health(i, HEALTH_DOWN, 0);
	is_str(who(), "no-server", "nobody");
	for (unsigned i = 0; i < SERVERS; i++)
		health(i, HEALTH_UP, 0);
}

static void
remember(uint64_t server)
{
	struct sy_key key;

	fake_key(NULL, &facts, &key);
	persist_store(board, ROW, service.id, &key, server, &service.life, now_ms);
}

static void
try_persistence(void)
{
	struct choice choice;

	service.persistence.module = &persistence;
	facts.client.port = 0;
	choice = pick();
	ok(!choice.store, "without a key nothing is remembered");
	facts.client.port = 1234;
	choice = pick();
	is_str(name(&choice), "s0", "a key that is not known: the scheduler");
	ok(choice.store, "to be remembered");
	remember(servers[3].id);
	choice = pick();
	is_str(name(&choice), "s3", "a key that is known");
	is_str(choose_why_words[choice.why], "persistence", "and why");
	ok(!choice.store, "nothing new");
	health(3, HEALTH_DRAINING, 0);
	is_str(who(), "s3", "a draining server keeps its clients");
	wish(seats[3].cell, WISH_DRAIN, 0);
	is_str(who(), "s3", "a drained one, too");
	wish(seats[3].cell, WISH_NONE, 1);
	health(3, HEALTH_UP, 0);
	is_str(who(), "s3", "one of weight 0, too");
	wish(seats[3].cell, WISH_DISABLE, 0);
	choice = pick();
	is_str(name(&choice), "s0", "a disabled one does not");
	ok(choice.store, "the client is remembered elsewhere");
	wish(seats[3].cell, WISH_NONE, 0);
	health(3, HEALTH_DOWN, 0);
	is_str(who(), "s0", "nor one that is down");
	health(3, HEALTH_UP, 0);
	tried[n_tried++] = servers[3].cell;
	is_str(who(), "s0", "nor one that was just tried");
	n_tried = 0;
	remember(4711);
	is_str(who(), "s0", "a server that is not in the pool any more");
	is_uint(drawn_key, hash_64(&(struct hash_key){ 0 }, facts.client.ip, 4),
	        "the scheduler's key is that of persistence");
}

static void
try_named(void)
{
	struct choice choice;

	remember(servers[3].id);
	facts.head = sy_span_text("s2");
	choice = pick();
	is_str(name(&choice), "s2", "what the exchange names goes before the table");
	ok(choice.named && !choice.store, "and needs none");
	is_str(choose_why_words[choice.why], "persistence", "and why");
	wish(seats[2].cell, WISH_DRAIN, 0);
	is_str(who(), "s2", "a drained one is honoured");
	wish(seats[2].cell, WISH_DISABLE, 0);
	is_str(who(), "s3", "a disabled one is not: the table");
	wish(seats[2].cell, WISH_NONE, 0);
	health(2, HEALTH_DOWN, 0);
	choice = pick();
	is_str(name(&choice), "s3", "nor one that is down");
	ok(!choice.named && choice.asked == &seats[2], "but who was named is told");
	health(2, HEALTH_UP, 0);
	tried[n_tried++] = servers[2].cell;
	is_str(who(), "s3", "nor one that was just tried");
	n_tried = 0;
	servers[2].max_connections = 1;
	tally_add(board_tally(board, ROW, servers[2].cell)->active, 1);
	is_str(who(), "s3", "nor one that is full");
	servers[2].max_connections = 0;
	board_tally(board, ROW, servers[2].cell)->active = 0;
	facts.head = sy_span_text("gone");
	is_str(who(), "s3", "nor one that is not there");
	facts.head.len = 0;
	is_str(lineup_server(&lineup, &seats[1])->name, "s1", "a seat as modules see it");
	is_uint(lineup_server(&lineup, &seats[1])->id, 1001, "its id");
}

/* A rule of the protocol names another pool. */
static void
try_pools(void)
{
	struct choice choice;

	facts.pool = 1;
	is_str(who(), "s3", "1 is the service's own");
	facts.pool = 2;
	choice = pick();
	is_str(name(&choice), "other", "2 is the first of the others");
	ok(choice.target == &other && choice.store, "its target; entries of the own pool do not count");
	service.settings.minimum_up = 3;
	is_str(who(), "other", "minimum-up is for the own pool");
	service.settings.minimum_up = 1;
	board_health_write(board_cell_at(board, other_seats[0].cell), HEALTH_DOWN, "gone", 0, 0);
	other_lineup.stale = true;
	is_str(who(), "no-server", "none of it is up");
	facts.pool = 0;
	is_str(who(), "s3", "the entry of the own pool is still there");
	is_uint(service_seats(&service), SERVERS + 1, "all seats");
	ok(service_target(&service, 0) == &service.target && service_target(&service, 1) == &other &&
	   !service_target(&service, 2), "all targets, without a sorry pool");
	service.sorry = &sorry;
	ok(service_target(&service, 2) == &sorry && !service_target(&service, 3), "with one");
	ok(service_target_of(&service, &other_pool) == &other, "the target of a pool");
	service.sorry = NULL;
}

static void
try_trace(void)
{
	struct choose_note notes[SERVERS + 1];
	struct choose_trace trace = { .notes = notes, .room = SERVERS + 1 };
	struct choose_ask ask = {
		.service = &service, .lineup = &lineup, .sorry = &sorry_lineup, .board = board,
		.row = ROW, .facts = &facts, .now_ms = now_ms, .trace = &trace, .look_only = true,
	};
	static struct sy_net net = { .addr = { .family = SY_IPV4, .ip = { 192, 0, 2 } }, .bits = 24 };
	struct choice choice;

	remember(servers[2].id);
	health(0, HEALTH_DOWN, 0);
	wish(seats[1].cell, WISH_DRAIN, 0);
	choose(&ask, &choice);
	is_str(name(&choice), "s2", "a traced choice is a choice");
	is_uint(trace.n, SERVERS + 1, "a note for each server");
	is_str(notes[0].words, "down: because", "why not the first");
	has_str(notes[1].words, "drained by the operator", "why not the second");
	ok(notes[2].chosen && notes[2].offered && !notes[3].chosen, "who was chosen");
	ok(notes[4].sorry && !notes[4].chosen, "the sorry pool is noted as such");
	is_str(trace.words, "s2: persistence remembers client 7", "how it ended");
	facts.head = sy_span_text("s3");
	choose(&ask, &choice);
	is_str(trace.words, "s3: the client names it (persistence source)", "what it says itself");
	facts.head = sy_span_text("s0");
	choose(&ask, &choice);
	is_str(trace.words, "s2: persistence remembers client 7; the client named s0, which is not "
	       "usable", "and when it cannot be had");
	facts.head.len = 0;
	service.settings.deny = (struct sy_nets){ &net, 1 };
	choose(&ask, &choice);
	is_str(name(&choice), "denied", "a client that is refused");
	is_uint(choose_admits(&service, &facts.client), REASON_DENIED, "as the way does");
	service.settings.deny.n = 0;
	service.settings.allow = (struct sy_nets){ &net, 1 };
	is_uint(choose_admits(&service, &facts.client), REASON_NONE, "in an allow network");
	facts.client.ip[2] = 3;
	is_uint(choose_admits(&service, &facts.client), REASON_NOT_ALLOWED, "in none");
}

int
main(void)
{
	set_up();
	try_offered();
	try_slow_start();
	try_relief();
	try_busy();
	try_sorry();
	try_persistence();
	try_named();
	try_pools();
	try_trace();
	lineup_free(&lineup);
	lineup_free(&other_lineup);
	lineup_free(&sorry_lineup);
	return done_testing();
}
