/* What the console asks for on behalf of people. */
#define _GNU_SOURCE 1
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memfd.h"
#include "base/must.h"
#include "role/master.h"

/* A question on its way through the other processes. */
struct question {
	struct link link;
	uint64_t id;              /* ours: a new console may count from 1 again */
	uint64_t asked;           /* the console's */
	uint64_t until_ms;
	bool pending[BOARD_ROWS];
	unsigned n_pending;
};

void
console_done(struct master *master, uint64_t id, bool ok, const char *words)
{
	struct process *console = &master->processes[ROW_CONSOLE];
	struct control_record record = {
		.type = CONTROL_DONE,
		.flags = ok ? CONTROL_OK : 0,
		.id = id,
	};
	size_t len = strlen(words);
	struct sy_err err;
	int fd = -1;

	if (id == 0 || !process_alive(console))
		return;
	if (len > CONTROL_TEXT) {
		fd = memfd_sealed("steelyard: answer", words, len, &err);
		len = CONTROL_TEXT;
		/* Whole lines only. */
		while (len > 0 && words[len - 1] != '\n')
			len--;
	}
	outbox_send(&console->outbox, &record, words, len, &fd, fd >= 0 ? 1 : 0);
	if (fd >= 0)
		close(fd);
}

/* "CELL drain|disable|enable|none" or "CELL weight N|configured" */
static int
console_parse_wish(const char *text, unsigned long *cell, char *verb, size_t size, char **rest)
{
	char *end;
	size_t len;

	*cell = strtoul(text, &end, 10);
	if (end == text || *end != ' ')
		return -1;
	len = strcspn(++end, " ");
	if (len == 0 || len >= size)
		return -1;
	memcpy(verb, end, len);
	verb[len] = '\0';
	*rest = end + len + strspn(end + len, " ");
	return 0;
}

static int
console_set_wish(struct board_cell *cell, const char *verb, const char *rest)
{
	static const struct {
		const char *verb;
		enum board_wish wish;
	} words[] = {
		{ "none", WISH_NONE }, { "enable", WISH_NONE },
		{ "drain", WISH_DRAIN }, { "disable", WISH_DISABLE },
	};

	if (strcmp(verb, "weight") == 0) {
		uint64_t weight;

		if (strcmp(rest, "configured") == 0)
			cell->wish_weight_plus_1 = 0;
		else if (uint_parse(rest, &weight) && weight <= 65535)
			cell->wish_weight_plus_1 = (uint32_t)weight + 1;
		else
			return -1;
		return 0;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(verb, words[i].verb) == 0) {
			cell->wish = words[i].wish;
			return 0;
		}
	return -1;
}

static void
console_wish(struct master *master, uint64_t id, const char *text)
{
	char verb[16], *rest;
	struct board_cell *cell;
	unsigned long at;

	if (console_parse_wish(text, &at, verb, sizeof(verb), &rest) != 0 ||
	    at >= board_sizes(master->board)->cells) {
		console_done(master, id, false, "not understood: a wish is \"CELL drain|disable|enable\" or "
		                                "\"CELL weight N|configured\"");
		return;
	}
	cell = board_cell_at(master->board, (uint32_t)at);
	if (cell->id == 0) {
		console_done(master, id, false, "there is no such server any more");
		return;
	}
	if (console_set_wish(cell, verb, rest) != 0) {
		console_done(master, id, false, "not understood: a server can be told to drain, disable, "
		                                "enable, or weight 0..65535 (or configured)");
		return;
	}
	cell->wish_since_wall_ms = clock_wall_ms();
	master_each_process(process, master)
		if (process_alive(process))
			process_say(process, CONTROL_CHANGED, 0, master->current->number, at, 0);
	log_debug("wish for cell %lu: %s%s%s", at, verb, *rest ? " " : "", rest);
	console_done(master, id, true, "done");
}

static void
console_level(struct master *master, uint64_t id, const char *text)
{
	static const char *const levels[] = { "err", "warn", "info", "debug" };

	for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(text, levels[i]) == 0) {
			master_log_level(master, (enum log_level)i);
			console_done(master, id, true, "done; the next reload sets the configured level again");
			return;
		}
	console_done(master, id, false, "the level is one of err, warn, info, debug");
}

static void
console_rotate(struct master *master, uint64_t id)
{
	struct sy_err err;

	if (master_log_rotate(master, &err) == 0) {
		console_done(master, id, true, "log reopened");
		return;
	}
	log_err("%s", err.text);
	console_done(master, id, false, err.text);
}

static void
console_stop(struct master *master, uint64_t id, const char *text)
{
	bool graceful = strcmp(text, "graceful") == 0;

	if (!graceful && strcmp(text, "now") != 0) {
		console_done(master, id, false, "stop \"now\" or \"graceful\"");
		return;
	}
	console_done(master, id, true, graceful ? "stopping when the connections have ended" : "stopping");
	log_info("stop (%s) asked for by the console", text);
	master_stop(master, graceful);
}

static void
console_reload(struct master *master, uint64_t id, const char *text)
{
	uint64_t ms;

	if (!*text)
		reload_ask(master, id);
	else if (uint_parse(text, &ms) && ms > 0)
		trial_ask(master, id, ms);
	else
		console_done(master, id, false, "not understood: a trial lasts some milliseconds");
}

void
console_command(struct process *console, const struct control_message *message)
{
	struct master *master = console->master;
	uint64_t id = message->record.id;

	switch (message->record.value) {
	case COMMAND_RELOAD:
		console_reload(master, id, message->text);
		break;
	case COMMAND_CONFIRM:
		trial_confirm(master, id);
		break;
	case COMMAND_BACK:
		trial_worse(master, id, message->text);
		break;
	case COMMAND_WISH:
		console_wish(master, id, message->text);
		break;
	case COMMAND_ROTATE_LOGS:
		console_rotate(master, id);
		break;
	case COMMAND_STOP:
		console_stop(master, id, message->text);
		break;
	case COMMAND_LOG_LEVEL:
		console_level(master, id, message->text);
		break;
	default:
		console_done(master, id, false, "the master does not know this command");
	}
}

static bool
console_concerns(const struct process *process, uint64_t ask)
{
	if (process->state != PROCESS_READY && process->state != PROCESS_LEAVING)
		return false;
	switch (ask) {
	case ASK_CONNECTIONS:
	case ASK_CLEAR_CONNECTIONS:
	case ASK_TRACE:
	case ASK_TRACE_END:
		return process_is_worker(process);
	case ASK_CHECK_NOW:
		return process->row == ROW_CHECKER;
	case ASK_ROUTES:
		return process->row == ROW_ROUTING;
	case ASK_MEMORY:
		return process_is_worker(process) || process->row == ROW_CHECKER;
	default:
		return false;
	}
}

static void
console_close(struct master *master, struct question *question, bool ok, const char *words)
{
	console_done(master, question->asked, ok, words);
	list_remove(&question->link);
	free(question);
}

void
console_question(struct process *console, const struct control_message *message)
{
	struct master *master = console->master;
	struct control_record record = message->record;
	struct question *question = must_alloc(sizeof(*question));

	question->id = ++master->last_question;
	question->asked = message->record.id;
	question->until_ms = clock_ms() + MASTER_ASK_MS;
	list_append(&master->questions, &question->link);
	record.id = question->id;
	record.row = 0;
	master_each_process(process, master) {
		if (!process_alive(process) || !console_concerns(process, record.value))
			continue;
		outbox_send(&process->outbox, &record, message->text, message->len, NULL, 0);
		question->pending[process->row] = true;
		question->n_pending++;
	}
	if (question->n_pending == 0)
		console_close(master, question, false, "nobody is there who could answer");
}

void
console_answer(struct process *from, const struct control_message *message)
{
	struct master *master = from->master;
	struct process *console = &master->processes[ROW_CONSOLE];

	list_each(link, &master->questions) {
		struct question *question = container_of(link, struct question, link);
		struct control_record record = message->record;

		if (question->id != record.id || !question->pending[from->row])
			continue;
		record.id = question->asked;
		record.row = from->row;
		if (process_alive(console))
			outbox_send(&console->outbox, &record, message->text, message->len, message->fds,
			            message->n_fds);
		question->pending[from->row] = false;
		if (--question->n_pending == 0)
			console_close(master, question, true, "");
		return;
	}
}

/* A dead console wants no answers any more; a dead worker's answer is not waited for. */
void
console_forget(struct process *process)
{
	struct master *master = process->master;

	list_each_safe(link, &master->questions) {
		struct question *question = container_of(link, struct question, link);

		if (process->row == ROW_CONSOLE) {
			list_remove(&question->link);
			free(question);
		} else if (question->pending[process->row]) {
			question->pending[process->row] = false;
			if (--question->n_pending == 0)
				console_close(master, question, true, "");
		}
	}
	if (process->row == ROW_CONSOLE)
		master->reload.askers.n = master->reload.askers_again.n = 0;
}

void
console_expire(struct master *master, uint64_t now_ms)
{
	list_each_safe(link, &master->questions) {
		struct question *question = container_of(link, struct question, link);
		char words[128];

		if (now_ms < question->until_ms)
			continue;
		snprintf(words, sizeof(words), "%u of those asked did not answer within %d s",
		         question->n_pending, MASTER_ASK_MS / 1000);
		console_close(master, question, false, words);
	}
}
