#define _GNU_SOURCE 1
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memfd.h"
#include "base/must.h"
#include "role/master.h"

/* The loader is ours, but it ran without rights on what others wrote: look before using. */
static int
epoch_check(const struct gen_head *head, unsigned n_fds, bool secrets, struct sy_err *err)
{
	if (head->workers < 1 || head->workers > BOARD_WORKERS)
		return sy_fail(err, "the loader wants %u workers; possible are 1 to %d", head->workers,
		               BOARD_WORKERS);
	if (head->slots < head->workers || head->slots > MASTER_SLOTS || head->slots & (head->slots - 1))
		return sy_fail(err, "the loader wants %u slots for %u workers", head->slots, head->workers);
	if (head->n_modules + (secrets ? 2 : 1) != n_fds)
		return sy_fail(err, "the loader named %u modules and sent %u descriptors", head->n_modules,
		               n_fds);
	if (head->log_target > LOG_TO_SYSLOG || head->log_format > LOG_JSON ||
	    head->log_level > LOG_LEVEL_DEBUG)
		return sy_fail(err, "the loader's settings of the log make no sense");
	if (!memchr(head->log_path, 0, GEN_PATH) || !memchr(head->control_path, 0, GEN_PATH) ||
	    !memchr(head->pid_path, 0, GEN_PATH))
		return sy_fail(err, "the loader sent a path without an end");
	return 0;
}

/* All but the generation itself, which an upgraded master would want to map again. */
static void
epoch_close(struct epoch *epoch)
{
	for (unsigned i = 1; epoch->open && i < epoch->n_fds; i++)
		close(epoch->fds[i]);
	epoch->open = false;
}

static void
epoch_free(struct epoch *epoch)
{
	epoch_close(epoch);
	close(epoch->fds[0]);
	list_remove(&epoch->link);
	if (epoch->map && epoch->len > 0)
		munmap(epoch->map, epoch->len);
	free(epoch);
}

struct epoch *
epoch_new(struct master *master, struct control_message *loaded, struct sy_err *err)
{
	struct epoch *epoch = must_alloc(sizeof(*epoch));

	link_init(&epoch->link);
	epoch->secrets = loaded->record.flags & CONTROL_SECRETS;
	epoch->number = ++master->last_number;
	if (loaded->n_fds < (epoch->secrets ? 2u : 1u) || loaded->n_fds > 2 + MASTER_MODULES) {
		sy_fail(err, "the loader sent %u descriptors", loaded->n_fds);
		free(epoch);
		return NULL;
	}
	for (; epoch->n_fds < loaded->n_fds; epoch->n_fds++) {
		epoch->fds[epoch->n_fds] = loaded->fds[epoch->n_fds];
		loaded->fds[epoch->n_fds] = -1;
	}
	epoch->open = true;
	epoch->map = memfd_map(epoch->fds[0], 0, &epoch->len, err);
	epoch->head = epoch->map ? generation_head(epoch->map, epoch->len, err) : NULL;
	if (!epoch->head || epoch_check(epoch->head, epoch->n_fds, epoch->secrets, err) != 0) {
		epoch_free(epoch);
		return NULL;
	}
	list_append(&master->epochs, &epoch->link);
	return epoch;
}

void
epoch_hold(struct process *process, struct epoch *epoch)
{
	struct hold *hold = must_alloc(sizeof(*hold));

	hold->epoch = epoch;
	list_append(&process->holds, &hold->link);
	epoch->holders++;
}

static void
epoch_end_hold(struct hold *hold)
{
	must(hold->epoch->holders > 0);
	hold->epoch->holders--;
	list_remove(&hold->link);
	free(hold);
}

void
epoch_let_go(struct process *process, uint64_t number)
{
	list_each_safe(link, &process->holds) {
		struct hold *hold = container_of(link, struct hold, link);

		if (hold->epoch->number == number) {
			epoch_end_hold(hold);
			break;
		}
	}
	epochs_sweep(process->master);
}

void
epoch_let_all_go(struct process *process)
{
	list_each_safe(link, &process->holds)
		epoch_end_hold(container_of(link, struct hold, link));
	epochs_sweep(process->master);
}

static int
epoch_compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* A cell stays as long as any generation knows it: long-lived connections may keep an old one. */
static void
epochs_bury(struct master *master)
{
	uint64_t *keep;
	size_t n = 0;

	list_each(link, &master->epochs)
		n += container_of(link, struct epoch, link)->head->n_cells;
	keep = must_alloc(n * sizeof(*keep));
	n = 0;
	list_each(link, &master->epochs) {
		const struct gen_head *head = container_of(link, struct epoch, link)->head;

		memcpy(keep + n, generation_cells(head), head->n_cells * sizeof(*keep));
		n += head->n_cells;
	}
	qsort(keep, n, sizeof(*keep), epoch_compare_ids);
	board_bury(master->board, keep, n);
	free(keep);
}

void
epochs_sweep(struct master *master)
{
	bool freed = false;

	list_each_safe(link, &master->epochs) {
		struct epoch *epoch = container_of(link, struct epoch, link);

		if (epoch == master->current || epoch == master->reload.next || epoch == master->trial.base)
			continue;
		epoch_close(epoch);
		if (epoch->holders > 0)
			continue;
		epoch_free(epoch);
		freed = true;
	}
	if (freed && master->board && master->current)
		epochs_bury(master);
}

/* Keys are for those who speak TLS: to clients, and to servers that want to know who asks. */
void
epoch_send(struct process *process, struct epoch *epoch)
{
	bool speaks_tls = process_is_worker(process) || process->row == ROW_CHECKER;
	bool secrets = epoch->secrets && speaks_tls;
	bool binds = process->row != ROW_ROUTING; /* which reads plain parts, and runs no module */
	struct control_record record = {
		.type = CONTROL_GENERATION,
		.flags = secrets ? CONTROL_SECRETS : 0,
		.generation = epoch->number,
	};
	int fds[2 + MASTER_MODULES];
	unsigned n = 0;

	must(epoch->open);
	for (unsigned i = 0; i < (binds ? epoch->n_fds : 1); i++)
		if (i != 1 || !epoch->secrets || secrets)
			fds[n++] = epoch->fds[i];
	epoch_hold(process, epoch);
	outbox_send(&process->outbox, &record, NULL, 0, fds, n);
}
