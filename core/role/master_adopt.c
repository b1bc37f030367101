/* The new program's half of an upgrade in place: first as a child that only looks, then as the master
 * itself. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "base/memfd.h"
#include "base/must.h"
#include "proc/spawn.h"
#include "role/upgrade.h"

int
upgrade_fd(void)
{
	const char *number = getenv(UPGRADE_ENV);
	int fd = number ? atoi(number) : -1;

	unsetenv(UPGRADE_ENV);
	return fd > 2 ? fd : -1;
}

static const void *
upgrade_part(const char **at, const char *end, size_t n, size_t size)
{
	const char *part = *at;

	if (!part || n > (size_t)(end - part) / size) {
		*at = NULL;
		return NULL;
	}
	*at = part + n * size;
	return part;
}

int
upgrade_read(const void *map, size_t len, struct upgrade_state *out, struct sy_err *err)
{
	const struct upgrade_head *head = map;
	const char *at = map, *end = at + len;

	if (len < sizeof(*head) || head->magic != UPGRADE_MAGIC || head->version != UPGRADE_VERSION ||
	    head->size != sizeof(*head))
		return sy_fail(err, "the running program is of a version that this one (%d) cannot take over "
		                    "from: restart instead", UPGRADE_VERSION);
	out->head = upgrade_part(&at, end, 1, sizeof(*out->head));
	out->epochs = upgrade_part(&at, end, head->n_epochs, sizeof(*out->epochs));
	out->processes = upgrade_part(&at, end, head->n_processes, sizeof(*out->processes));
	out->holds = upgrade_part(&at, end, head->n_holds, sizeof(*out->holds));
	out->listenings = upgrade_part(&at, end, head->n_listenings, sizeof(*out->listenings));
	out->slots = upgrade_part(&at, end, head->n_slots, sizeof(*out->slots));
	if (at != end || head->workers < 1 || head->workers > BOARD_WORKERS)
		return sy_fail(err, "what the running program left is not whole: restart instead");
	return 0;
}

/* The look: can this program use what is there? Says no before anything has happened. */
int
upgrade_main(int argc, char **argv)
{
	struct upgrade_state state;
	struct board *board;
	struct sy_err err;
	size_t len = 0;
	void *map;

	(void)argc, (void)argv;
	log_open("upgrade", SPAWN_FD_LOG, LOG_TO_STDERR, LOG_TEXT, LOG_LEVEL_INFO);
	map = memfd_map(SPAWN_FD_CONTROL, 0, &len, &err);
	board = map ? board_map(SPAWN_FD_BOARD, &err) : NULL;
	if (!board || upgrade_read(map, len, &state, &err) != 0) {
		log_err("%s", err.text);
		return EXIT_FAILURE;
	}
	board_unmap(board);
	munmap(map, len);
	return EXIT_SUCCESS;
}

/* As the master. */

static int
adopt_epochs(struct master *master, const struct upgrade_state *state, struct sy_err *err)
{
	for (uint32_t i = 0; i < state->head->n_epochs; i++) {
		const struct upgrade_epoch *record = &state->epochs[i];
		struct epoch *epoch = must_alloc(sizeof(*epoch));

		must(record->n_fds >= 1 && record->n_fds <= 2 + MASTER_MODULES);
		epoch->number = record->number;
		epoch->secrets = record->secrets;
		epoch->open = record->open;
		epoch->n_fds = record->n_fds;
		for (unsigned k = 0; k < record->n_fds; k++)
			epoch->fds[k] = record->fds[k];
		list_append(&master->epochs, &epoch->link);
		epoch->map = memfd_map(epoch->fds[0], 0, &epoch->len, err);
		epoch->head = epoch->map ? generation_head(epoch->map, epoch->len, err) : NULL;
		if (!epoch->head)
			return -1;
		if (epoch->number == state->head->current)
			master->current = epoch;
	}
	must(master->current);
	return 0;
}

static struct epoch *
adopt_find_epoch(struct master *master, uint64_t number)
{
	list_each(link, &master->epochs) {
		struct epoch *epoch = container_of(link, struct epoch, link);

		if (epoch->number == number)
			return epoch;
	}
	return NULL;
}

static void
adopt_process(struct master *master, const struct upgrade_process *record)
{
	struct process *process;

	must(record->row >= ROW_CHECKER && record->row < BOARD_ROWS);
	process = &master->processes[record->row];
	process->pid = record->pid;
	process->pidfd = record->pidfd;
	process->control = record->control;
	process->state = (enum process_state)record->state;
	process->wanted = record->wanted;
	process->transparent = record->transparent;
	process->icmp = record->icmp;
	process->takes = -1;
	process->outdated = PROCESS_TOO_OLD;
	process->started_ms = record->started_ms;
	process->ready_ms = record->ready_ms;
	process->kill_at_ms = record->kill_at_ms;
	supervise_watch(process);
}

static void
adopt_processes(struct master *master, const struct upgrade_state *state)
{
	for (uint32_t i = 0; i < state->head->n_processes; i++)
		adopt_process(master, &state->processes[i]);
	for (uint32_t i = 0; i < state->head->n_holds; i++) {
		struct epoch *epoch = adopt_find_epoch(master, state->holds[i].number);

		must(epoch && state->holds[i].row < BOARD_ROWS);
		epoch_hold(&master->processes[state->holds[i].row], epoch);
	}
	for (unsigned i = 0; i < BOARD_WORKERS; i++)
		master->processes[ROW_WORKER + i].hop = state->head->hops[i];
	for (unsigned i = 0; i < BOARD_WORKERS; i++) {
		uint32_t row = state->head->lanes[i];

		must(row < BOARD_ROWS);
		master->lanes[i] = row ? &master->processes[row] : NULL;
	}
}

static void
adopt_listenings(struct master *master, const struct upgrade_state *state)
{
	uint32_t slot = 0;

	for (uint32_t i = 0; i < state->head->n_listenings; i++) {
		const struct upgrade_listening *record = &state->listenings[i];
		struct listening *listening = must_alloc(sizeof(*listening));

		must(record->n_slots <= state->head->n_slots - slot);
		listening->want = record->want;
		listening->real = record->real;
		listening->n_slots = record->n_slots;
		listening->fds = must_alloc(record->n_slots * sizeof(*listening->fds));
		listening->served = must_alloc(record->n_slots * sizeof(*listening->served));
		for (unsigned k = 0; k < record->n_slots; k++, slot++) {
			listening->fds[k] = state->slots[slot].fd;
			listening->served[k] = state->slots[slot].served;
		}
		list_append(&master->listening, &listening->link);
	}
}

static void
adopt_log_and_door(struct master *master, const struct upgrade_head *head)
{
	struct log_setting log = {
		.fd = head->log_fd,
		.target = (enum log_target)head->log_target,
		.format = (enum log_format)head->log_format,
		.level = (enum log_level)head->log_level,
	};

	memcpy(log.path, head->log_path, GEN_PATH - 1);
	master_log_use(master, &log);
	master->door.fd = head->door_fd;
	master->door.dev = (dev_t)head->door_dev;
	master->door.ino = (ino_t)head->door_ino;
	memcpy(master->door.path, head->door_path, GEN_PATH - 1);
	memcpy(master->pid_path, head->pid_path, GEN_PATH - 1);
}

static void
adopt_state(struct master *master, const struct upgrade_state *state)
{
	master->last_number = state->head->last_number;
	master->workers = state->head->workers;
	master->slots = state->head->slots;
	master->phase = MASTER_RUNNING;
	adopt_log_and_door(master, state->head);
	adopt_listenings(master, state);
	adopt_processes(master, state);
	upgrade_keep_fds(master, false);
}

int
upgrade_adopt(struct master *master, int fd, struct sy_err *err)
{
	struct upgrade_state state;
	size_t len = 0;
	void *map = memfd_map(fd, 0, &len, err);

	if (!map || upgrade_read(map, len, &state, err) != 0)
		return -1;
	master->board_fd = state.head->board_fd;
	master->board = board_map(master->board_fd, err);
	master_record(master);
	if (!master->board || adopt_epochs(master, &state, err) != 0)
		return -1;
	adopt_state(master, &state);
	log_info("upgraded: version " PACKAGE_VERSION " has taken over %u processes and %u addresses",
	         state.head->n_processes, state.head->n_listenings);
	munmap(map, len);
	close(fd);
	return 0;
}
