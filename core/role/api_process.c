/* Processes, generations, the configuration in use. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "role/api.h"

static const char *
process_role(unsigned row)
{
	return row == ROW_CHECKER ? "checker" : row == ROW_CONSOLE ? "console"
	     : row == ROW_ROUTING ? "routing" : "worker";
}

/* Resident set in KiB, what is shared included: more is not told of processes that are not ours to
 * look into. -1: it is gone. */
static json_int_t
process_memory(uint32_t pid)
{
	char path[64];
	unsigned long size, resident;
	json_int_t found = -1;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/statm", pid);
	in = fopen(path, "re");
	if (!in)
		return -1;
	if (fscanf(in, "%lu %lu", &size, &resident) == 2)
		found = (json_int_t)(resident * (unsigned long)sysconf(_SC_PAGESIZE) / 1024);
	fclose(in);
	return found;
}

void
api_processes(struct request *request)
{
	struct board *board = request->console->child->board;
	uint64_t now_ms = request->console->child->now_ms;
	json_t *list = json_array();

	for (unsigned row = ROW_CHECKER; row < BOARD_ROWS; row++) {
		const struct board_process *process = board_process(board, row);
		json_int_t memory;
		json_t *json;

		if (!process->pid)
			continue;
		memory = process_memory(process->pid);
		json = json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:i, s:i, s:i}",
		                 "role", process_role(row), "pid", (int)process->pid,
		                 "started", (json_int_t)process->started_wall_ms,
		                 "ready", (json_int_t)process->ready_wall_ms,
		                 "beat_age_ms", (json_int_t)(now_ms > process->beat_ms
		                                             ? now_ms - process->beat_ms : 0),
		                 "generation", (json_int_t)process->generation,
		                 "generations", (int)process->generations,
		                 "connections", (int)process->connections,
		                 "spawns", (int)process->spawns);
		if (row >= ROW_WORKER)
			json_object_set_new(json, "index", json_integer(row - ROW_WORKER));
		if (memory >= 0)
			json_object_set_new(json, "rss_kib", json_integer(memory));
		json_array_append_new(list, json);
	}
	request_json(request, json_pack("{s:o}", "processes", list));
}

void
api_generations(struct request *request)
{
	struct child *child = request->console->child;
	const struct config *config = child->current->config;
	json_t *processes = json_array();

	for (unsigned row = ROW_CHECKER; row < BOARD_ROWS; row++) {
		const struct board_process *process = board_process(child->board, row);

		if (process->pid)
			json_array_append_new(processes, json_pack(
				"{s:s, s:i, s:i, s:I, s:i}", "role", process_role(row), "index",
				row >= ROW_WORKER ? (int)(row - ROW_WORKER) : 0, "pid",
				(int)process->pid, "generation", (json_int_t)process->generation,
				"alive", (int)process->generations));
	}
	request_json(request, json_pack("{s:I, s:i, s:i, s:i, s:o}",
	                                "current", (json_int_t)child->current->number,
	                                "services", (int)config->n_services,
	                                "pools", (int)config->n_pools,
	                                "arena_bytes", (int)arena_size(child->current->arena),
	                                "processes", processes));
}

void
api_config(struct request *request)
{
	struct text text = { 0 };

	tree_print(request->console->child->current->config->root, true, &text);
	text_add(&text, "", 0);
	request_text(request, text.at);
}

static void
memory_done(struct request *request, bool ok, const char *text)
{
	(void)ok;
	(void)text;
	request_json(request, json_pack("{s:O?}", "workers", request->gathered));
}

void
api_memory(struct request *request)
{
	request_ask(request, CONTROL_ASK, ASK_MEMORY, "", memory_done);
}
