#define _GNU_SOURCE 1
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "role/master.h"

#define BIT(type) (UINT32_C(1) << (type))

/* A child that says what is not its to say is broken or taken over, and is replaced. */
static const uint32_t records_all = BIT(CONTROL_READY) | BIT(CONTROL_BOUND) | BIT(CONTROL_RELEASED);
static const uint32_t records_worker = BIT(CONTROL_SUSPECT) | BIT(CONTROL_ANSWER);
static const uint32_t records_checker = BIT(CONTROL_CHANGED) | BIT(CONTROL_ANSWER);
static const uint32_t records_routing = BIT(CONTROL_ANSWER);
static const uint32_t records_console = BIT(CONTROL_COMMAND) | BIT(CONTROL_ASK);

static bool
records_allowed(const struct process *process, unsigned type)
{
	uint32_t more = process_is_worker(process)         ? records_worker
	                : process->row == ROW_CHECKER ? records_checker
	                : process->row == ROW_ROUTING ? records_routing : records_console;

	return type < 32 && (records_all | more) & BIT(type);
}

void
process_say(struct process *process, enum control_type type, unsigned flags, uint64_t generation,
            uint64_t id, uint64_t value)
{
	struct control_record record = {
		.type = (uint16_t)type,
		.flags = (uint16_t)flags,
		.generation = generation,
		.id = id,
		.value = value,
	};

	outbox_send(&process->outbox, &record, NULL, 0, NULL, 0);
}

/* Health: from the checker to all others. */
static void
records_changed(struct process *from, const struct control_message *message)
{
	master_each_process(process, from->master)
		if (process != from && process_alive(process))
			process_say(process, CONTROL_CHANGED, 0, message->record.generation,
			            message->record.id, message->record.value);
}

static void
records_suspect(struct process *from, const struct control_message *message)
{
	struct process *checker = &from->master->processes[ROW_CHECKER];

	if (process_alive(checker))
		process_say(checker, CONTROL_SUSPECT, 0, message->record.generation, message->record.id,
		            message->record.value);
}

static void
records_bound(struct process *process, const struct control_message *message)
{
	uint64_t number = message->record.generation;
	bool ok = message->record.flags & CONTROL_OK;

	if (process->binding != 0 && number == process->binding)
		reload_bound(process, message);
	else if (!ok && process->state == PROCESS_STARTING)
		supervise_kill(process, "it cannot use generation %llu: %s", (unsigned long long)number,
		               message->text);
	/* Last: it may free the generation. */
	if (!ok)
		epoch_let_go(process, number);
}

static void
records_dispatch(struct process *process, struct control_message *message)
{
	switch (message->record.type) {
	case CONTROL_READY:
		supervise_ready(process);
		break;
	case CONTROL_BOUND:
		records_bound(process, message);
		break;
	case CONTROL_RELEASED:
		epoch_let_go(process, message->record.generation);
		break;
	case CONTROL_CHANGED:
		records_changed(process, message);
		break;
	case CONTROL_SUSPECT:
		records_suspect(process, message);
		break;
	case CONTROL_COMMAND:
		console_command(process, message);
		break;
	case CONTROL_ASK:
		console_question(process, message);
		break;
	case CONTROL_ANSWER:
		console_answer(process, message);
		break;
	default:
		break;
	}
}

bool
records_from(struct process *process)
{
	struct control_message *message = &process->master->message;
	int got;

	if (process->control < 0)
		return false;
	got = control_receive(process->control, message);
	if (got < 0 && errno == EAGAIN)
		return false;
	if (got > 0 && message->fds_lost)
		log_err("what %s sent is lost: no descriptor is left in the master", process->name);
	if (got > 0 && records_allowed(process, message->record.type)) {
		records_dispatch(process, message);
		control_close_fds(message);
		return true;
	}
	/* End of file: it is about to end, or lost its way and will be killed for its silence. */
	ev_io_stop(process->master->loop, &process->readable);
	if (got > 0) {
		supervise_kill(process, "it sent a record of type %u, which is not its to send",
		               message->record.type);
		control_close_fds(message);
	} else if (got < 0) {
		supervise_kill(process, "it sent a malformed record (%s)", strerror(errno));
	}
	return false;
}
