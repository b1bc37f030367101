#define _GNU_SOURCE 1
#include "proc/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "base/must.h"
#include "proc/outbox.h"
#include "proc/privileges.h"
#include "proc/spawn.h"
#include "share/recorder.h"

enum {
	CHILD_RECORDS_AT_ONCE = 64, /* then the traffic has its turn */
};

struct child_core {
	struct child *child;
	const char *name;         /* "worker 0" */
	struct outbox outbox;
	struct ev_io readable;
	struct ev_check turn;     /* sets now_ms */
	struct ev_prepare end;    /* frees what ended in this turn */
	struct ev_timer beat;
	bool some_retired;
	bool dropped;             /* privileges */
	bool ready;
	bool gone;                /* nobody at the other side any more */
	struct control_message message;
};

void
child_send(struct child *child, const struct control_record *record, const char *text, size_t len,
           const int *fds, unsigned n_fds)
{
	outbox_send(&child->core->outbox, record, text, len, fds, n_fds);
}

static void
child_say(struct child *child, enum control_type type, unsigned flags, uint64_t number,
          const char *text)
{
	struct control_record record = {
		.type = (uint16_t)type,
		.flags = (uint16_t)flags,
		.row = child->row,
		.generation = number,
	};

	child_send(child, &record, text, text ? strlen(text) : 0, NULL, 0);
}

/* The life of generations. */

static struct generation *
child_generation(struct child *child, uint64_t number)
{
	list_each(link, &child->generations) {
		struct generation *generation = container_of(link, struct generation, link);

		if (generation->number == number && !generation->retired)
			return generation;
	}
	return NULL;
}

static void
child_count_generations(struct child *child)
{
	struct board_process *process = board_process(child->board, child->row);
	uint32_t n = 0;

	list_each(link, &child->generations)
		n++;
	process->generations = n;
	process->generation = child->current ? child->current->number : 0;
}

static void
child_free(struct child *child, struct generation *generation)
{
	uint64_t number = generation->number;

	list_remove(&generation->link);
	if (child->ops->drop)
		child->ops->drop(child, generation);
	generation_free(generation);
	child_count_generations(child);
	child_say(child, CONTROL_RELEASED, 0, number, NULL);
}

/* Not freed and not unlinked here: the caller's caller may still look at it in this turn, or be on
 * its way along the list. */
static void
child_retire(struct child *child, struct generation *generation)
{
	generation->retired = true;
	child->core->some_retired = true;
}

void
child_release(struct child *child, struct generation *generation)
{
	must(generation->refs > 0);
	generation->refs--;
	if (generation->refs == 0 && !generation->current)
		child_retire(child, generation);
}

static void
child_free_retired(struct child *child)
{
	if (!child->core->some_retired)
		return;
	child->core->some_retired = false;
	list_each_safe(link, &child->generations) {
		struct generation *generation = container_of(link, struct generation, link);

		if (generation->retired)
			child_free(child, generation);
	}
}

static void
child_turn_ends(struct ev_loop *loop, struct ev_prepare *end, int events)
{
	struct child_core *core = container_of(end, struct child_core, end);

	(void)loop, (void)events;
	child_free_retired(core->child);
}

/* Records of the master. */

static int
child_drop_privileges(struct child *child, const struct gen_head *head, struct sy_err *err)
{
	unsigned keep = 0;

	if (child->row >= ROW_WORKER && head->transparent)
		keep = KEEP_NET_RAW | KEEP_NET_BIND;
	if (child->row == ROW_CHECKER && head->icmp)
		keep = KEEP_NET_RAW;
	if (child->row == ROW_ROUTING)
		keep = KEEP_NET_ADMIN;
	if (privileges_drop(head->uid, head->gid, keep, err) != 0)
		return -1;
	child->core->dropped = true;
	return 0;
}

/* Before the first generation is bound: modules never run with rights. */
static int
child_look_at_head(struct child *child, int fd, struct sy_err *err)
{
	const struct gen_head *head;
	size_t len;
	void *map;
	int failed = -1;

	if (child->core->dropped)
		return 0;
	map = memfd_map(fd, 0, &len, err);
	if (!map)
		return -1;
	head = generation_head(map, len, err);
	if (head)
		failed = child_drop_privileges(child, head, err);
	if (len > 0)
		munmap(map, len);
	return failed;
}

static struct generation *
child_bind(struct child *child, const struct control_message *message, struct sy_err *err)
{
	bool secrets = message->record.flags & CONTROL_SECRETS;
	unsigned first_module = secrets ? 2 : 1;
	struct generation *generation;

	must(message->n_fds >= first_module);
	if (child_look_at_head(child, message->fds[0], err) != 0)
		return NULL;
	generation = child->ops->plain
		? generation_map(message->record.generation, message->fds[0], err)
		: generation_bind(message->record.generation, message->fds[0],
		                  secrets ? message->fds[1] : -1, message->fds + first_module,
		                  message->n_fds - first_module, child->board, err);
	if (!generation)
		return NULL;
	link_init(&generation->link);
	if (child->ops->prepare && child->ops->prepare(child, generation, err) != 0) {
		generation_free(generation);
		return NULL;
	}
	return generation;
}

static void
child_take_generation(struct child *child, const struct control_message *message)
{
	struct sy_err err = { "" };
	struct generation *generation;

	must(!child_generation(child, message->record.generation));
	if (message->fds_lost) {
		child_say(child, CONTROL_BOUND, 0, message->record.generation,
		          "no descriptor is left in this process");
		return;
	}
	generation = child_bind(child, message, &err);
	if (!generation) {
		child_say(child, CONTROL_BOUND, 0, message->record.generation, err.text);
		return;
	}
	generation->refs = 0;
	generation->current = false;
	list_append(&child->generations, &generation->link);
	child_count_generations(child);
	child_say(child, CONTROL_BOUND, CONTROL_OK, generation->number, NULL);
}

/* A generation that this process could not bind was refused everywhere: the master never tells us
 * to switch to it, except at our own start, when it kills us instead. */
static void
child_switch(struct child *child, uint64_t number)
{
	struct generation *next = child_generation(child, number), *old = child->current;

	if (!next) {
		must(!child->current);
		return;
	}
	must(next != old);
	child->current = next;
	next->current = true;
	if (old)
		generation_hold(old);
	if (child->ops->switched)
		child->ops->switched(child, old);
	if (old) {
		old->current = false;
		child_release(child, old);
	}
	child_count_generations(child);
	if (!child->core->ready) {
		child->core->ready = true;
		child_say(child, CONTROL_READY, 0, number, NULL);
	}
}

static void
child_forget(struct child *child, uint64_t number)
{
	struct generation *generation = child_generation(child, number);

	if (!generation)
		return;
	must(!generation->current && generation->refs == 0);
	child_retire(child, generation);
}

static void
child_take_log(struct control_message *message)
{
	uint64_t value = message->record.value;

	if (message->fds_lost) {
		log_err("the log stays as it is: no descriptor is left in this process");
		return;
	}
	must(message->n_fds == 1);
	log_change(message->fds[0], (enum log_target)(value & 0xff),
	           (enum log_format)(value >> 8 & 0xff), (enum log_level)(value >> 16 & 0xff));
	message->fds[0] = -1;
}

static void
child_stop(struct child *child, bool graceful, uint64_t grace_ms)
{
	/* A second request counts only when it is the harder one. */
	if (child->stopping && graceful)
		return;
	child->stopping = true;
	if (child->ops->stop)
		child->ops->stop(child, graceful, grace_ms);
	else
		child_exit(child);
}

static void
child_listen(struct child *child, struct control_message *message)
{
	if (!child->ops->listen)
		return;
	child->ops->listen(child, message->record.id, (unsigned)message->record.value, message->fds[0]);
	message->fds[0] = -1;
}

static void
child_dispatch(struct child *child, struct control_message *message)
{
	const struct control_record *record = &message->record;

	switch (record->type) {
	case CONTROL_GENERATION:
		child_take_generation(child, message);
		break;
	case CONTROL_SWITCH:
		child_switch(child, record->generation);
		break;
	case CONTROL_FORGET:
		child_forget(child, record->generation);
		break;
	case CONTROL_LISTEN:
		if (message->fds_lost)
			log_err("listener %llx slot %llu is not served, its clients wait: no descriptor is "
			        "left in this process", (unsigned long long)record->id,
			        (unsigned long long)record->value);
		else if (message->n_fds > 0)
			child_listen(child, message);
		else if (child->ops->message)
			child->ops->message(child, message);
		break;
	case CONTROL_UNLISTEN:
		if (child->ops->unlisten)
			child->ops->unlisten(child, record->id, (unsigned)record->value);
		break;
	case CONTROL_LOG:
		child_take_log(message);
		break;
	case CONTROL_STOP:
		child_stop(child, record->flags & CONTROL_GRACEFUL, record->value);
		break;
	default:
		if (child->ops->message)
			child->ops->message(child, message);
		break;
	}
	control_close_fds(message);
}

/* The master is gone: nobody would hand us anything any more, and its successor starts afresh. */
static void
child_orphaned(struct child *child)
{
	struct child_core *core = child->core;

	ev_io_stop(child->loop, &core->readable);
	outbox_close(&core->outbox);
	core->gone = true;
	log_warn("the master is gone: finishing");
	child_stop(child, true, child->current && child->current->config
	                        ? child->current->config->global.shutdown_timeout.ms : 1);
}

static void
child_readable(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct child_core *core = container_of(io, struct child_core, readable);
	struct child *child = core->child;

	(void)loop, (void)events;
	for (int i = 0; i < CHILD_RECORDS_AT_ONCE; i++) {
		int got = control_receive(child->control, &core->message);

		if (got < 0 && errno == EAGAIN)
			return;
		must(got >= 0);
		if (got == 0) {
			child_orphaned(child);
			return;
		}
		child_dispatch(child, &core->message);
	}
}

static void
child_turn_begins(struct ev_loop *loop, struct ev_check *turn, int events)
{
	(void)loop, (void)events;
	container_of(turn, struct child_core, turn)->child->now_ms = clock_ms();
}

static void
child_beat(struct ev_loop *loop, struct ev_timer *timer, int events)
{
	struct child *child = container_of(timer, struct child_core, beat)->child;

	(void)loop, (void)events;
	if (child->ops->beat && child->current)
		child->ops->beat(child);
	board_process(child->board, child->row)->beat_ms = child->now_ms;
}

/* From start to end. */

static unsigned
child_row(const char *role)
{
	return strcmp(role, "checker") == 0 ? ROW_CHECKER
	     : strcmp(role, "routing") == 0 ? ROW_ROUTING : ROW_CONSOLE;
}

/* What is said is kept by the flight recorder, too. */
static void
child_overhears(void *context, enum log_level level, const char *words, size_t len)
{
	struct child *child = context;

	recorder_line(child->board, child->row, child->now_ms, level, words, len);
}

/* The title is argv[0]; the C library keeps it as the program's name. */
static void
child_who_am_i(struct child *child)
{
	static const char prefix[] = "steelyard: ";
	const char *title = program_invocation_name;

	must(strncmp(title, prefix, sizeof(prefix) - 1) == 0);
	child->core->name = title + sizeof(prefix) - 1;
	if (strcmp(child->ops->role, "worker") == 0) {
		child->index = (unsigned)strtoul(strrchr(title, ' ') + 1, NULL, 10);
		must(child->index < BOARD_WORKERS);
		child->row = ROW_WORKER + child->index;
	} else {
		child->index = 0;
		child->row = child_row(child->ops->role);
	}
}

static void
child_signals(void)
{
	static const int deaf[] = { SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2 };

	/* Meant for the master, when somebody sends them to all who are called steelyard. */
	for (size_t i = 0; i < sizeof(deaf) / sizeof(deaf[0]); i++)
		signal(deaf[i], SIG_IGN);
	must_catch_signals();
}

static int
child_open(struct child *child, const struct child_ops *ops)
{
	struct child_core *core = must_alloc(sizeof(*core));
	struct board_process *process;
	struct sy_err err = { "" };

	child->ops = ops;
	child->core = core;
	core->child = child;
	child_who_am_i(child);
	for (int fd = SPAWN_FD_CONTROL; fd < SPAWN_FDS; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	log_open(core->name, SPAWN_FD_LOG, LOG_TO_STDERR, LOG_TEXT, LOG_LEVEL_INFO);
	child_signals();
	child->board = board_map(SPAWN_FD_BOARD, &err);
	if (!child->board) {
		log_err("%s", err.text);
		free(core);
		return -1;
	}
	close(SPAWN_FD_BOARD);
	process = board_process(child->board, child->row);
	must_set_last_words(process->last_words, sizeof(process->last_words));
	child->loop = ev_loop_new(EVFLAG_AUTO);
	must(child->loop);
	child->timeouts = timeq_set_new(child->loop);
	child->control = SPAWN_FD_CONTROL;
	child->current = NULL;
	child->stopping = false;
	child->now_ms = clock_ms();
	log_overhear(child_overhears, child);
	link_init(&child->generations);
	fcntl(child->control, F_SETFL, fcntl(child->control, F_GETFL) | O_NONBLOCK);
	outbox_open(&core->outbox, child->loop, child->control);
	return 0;
}

static void
child_watch(struct child *child)
{
	struct child_core *core = child->core;

	/* Highest priority: before every other callback of the turn. */
	ev_check_init(&core->turn, child_turn_begins);
	ev_set_priority(&core->turn, EV_MAXPRI);
	ev_check_start(child->loop, &core->turn);
	ev_prepare_init(&core->end, child_turn_ends);
	ev_prepare_start(child->loop, &core->end);
	ev_io_init(&core->readable, child_readable, child->control, EV_READ);
	ev_io_start(child->loop, &core->readable);
	ev_timer_init(&core->beat, child_beat, 0., 1.);
	ev_timer_start(child->loop, &core->beat);
	board_process(child->board, child->row)->beat_ms = child->now_ms;
}

static void
child_close(struct child *child)
{
	struct child_core *core = child->core;

	child->current = NULL;
	while (!list_empty(&child->generations))
		child_free(child, container_of(child->generations.next, struct generation, link));
	ev_io_stop(child->loop, &core->readable);
	ev_check_stop(child->loop, &core->turn);
	ev_prepare_stop(child->loop, &core->end);
	ev_timer_stop(child->loop, &core->beat);
	outbox_close(&core->outbox);
	close(child->control);
	timeq_set_free(child->timeouts);
	ev_loop_destroy(child->loop);
	must_set_last_words(NULL, 0);
	log_overhear(NULL, NULL);
	board_unmap(child->board);
	free(core);
}

void
child_exit(struct child *child)
{
	ev_break(child->loop, EVBREAK_ALL);
}

int
child_run(struct child *child, const struct child_ops *ops)
{
	if (child_open(child, ops) != 0)
		return EXIT_FAILURE;
	child_watch(child);
	ev_run(child->loop, 0);
	child_close(child);
	return EXIT_SUCCESS;
}
