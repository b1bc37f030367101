/* See console.h. Here: the role itself. */
#include "role/live.h"
#include "role/access.h"
#include "role/preflight.h"
#include "role/recorder.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"
#include "role/roles.h"

static struct console the_console;

static int
console_prepare(struct child *child, struct generation *generation, struct sy_err *err)
{
	(void)child;
	if (mhd_load(err) != 0)
		return -1;
	view_prepare(generation);
	return 0;
}

static void
console_left(void *context, const struct finding *finding)
{
	(void)context;
	log_warn("%s", finding->words);
}

static void
console_started(struct console *console)
{
	const struct preflight ask = {
		.config = console->child->current->config, .in_use = true, .leftovers = true, .say = console_left,
	};

	event_add(console, "started with generation %llu",
	          (unsigned long long)console->child->current->number);
	preflight(&ask);
}

static void
console_switched(struct child *child, struct generation *old)
{
	struct console *console = child->run;

	if (old)
		event_add(console, "generation %llu is in use, after %llu",
		          (unsigned long long)child->current->number,
		          (unsigned long long)old->number);
	else
		console_started(console);
	history_switch(old, child->current);
	sessions_look(console);
	notify_switched(console);
	/* The console holds nothing: the old generation may go at once. */
}

static void
console_drop(struct child *child, struct generation *generation)
{
	(void)child;
	history_drop(generation);
}

static void
console_listen(struct child *child, uint64_t listener, unsigned slot, int fd)
{
	if (slot != 0) {
		close(fd);
		return;
	}
	entrance_open(child->run, listener, fd);
}

static void
console_unlisten(struct child *child, uint64_t listener, unsigned slot)
{
	(void)slot;
	entrance_close(child->run, listener);
}

/* Where a listener of the workers really is: the master tells once it is bound. */
static void
console_address(struct console *console, const struct control_message *message)
{
	struct address *address = NULL;

	for (unsigned i = 0; i < console->n_addresses; i++)
		if (console->addresses[i].listener == message->record.id)
			address = &console->addresses[i];
	if (!address) {
		console->addresses = must_realloc(console->addresses, (console->n_addresses + 1) *
		                                                      sizeof(*address));
		address = &console->addresses[console->n_addresses++];
		address->listener = message->record.id;
	}
	snprintf(address->text, sizeof(address->text), "%.63s", message->text);
}

static void
console_message(struct child *child, struct control_message *message)
{
	struct console *console = child->run;

	switch (message->record.type) {
	case CONTROL_LISTEN:
		console_address(console, message);
		break;
	case CONTROL_TRIAL:
		trial_until(console, message->record.value);
		break;
	case CONTROL_CHANGED:
		event_changed(console, (uint32_t)message->record.id);
		break;
	case CONTROL_ANSWER:
	case CONTROL_DONE:
		requests_message(console, message);
		break;
	default:
		log_warn("record of type %u is not for the console", message->record.type);
	}
}

static void
console_stop(struct child *child, bool graceful, uint64_t grace_ms)
{
	struct console *console = child->run;

	(void)grace_ms;
	if (graceful)
		entrances_hear_out(console);
	notify_stop(console);
	requests_expire(console, true);
	streams_end(console, NULL);
	entrances_run(console);
	for (unsigned i = 0; i < CONSOLE_LISTENERS; i++)
		if (console->entrances[i].daemon)
			entrance_close(console, console->entrances[i].listener);
	child_exit(child);
}

static void
console_beat(struct child *child)
{
	struct console *console = child->run;

	requests_expire(console, false);
	for (unsigned i = 0; i < CONSOLE_LISTENERS; i++)
		if (console->entrances[i].daemon)
			door_beat(&console->entrances[i]);
	entrances_run(console);
	view_beat(console);
	trial_beat(console);
	notify_beat(console);
	recorder_beat(console);
	if (console->n_streams)
		live_measure(console);
}

static const struct child_ops console_ops = {
	.role = "console",
	.prepare = console_prepare,
	.switched = console_switched,
	.drop = console_drop,
	.listen = console_listen,
	.unlisten = console_unlisten,
	.message = console_message,
	.stop = console_stop,
	.beat = console_beat,
};

int
console_main(int argc, char **argv)
{
	struct child child = { .row = ROW_CONSOLE, .run = &the_console };

	(void)argc;
	(void)argv;
	the_console.child = &child;
	the_console.events = must_alloc(CONSOLE_EVENTS * sizeof(struct event));
	the_console.live = must_alloc(sizeof(struct live));
	*the_console.live = (struct live){ 0 };
	the_console.history = history_new();
	the_console.access = access_new();
	the_console.notify = notify_new();
	the_console.streamed = must_alloc(STREAM_EVENTS * sizeof(struct text));
	memset(the_console.streamed, 0, STREAM_EVENTS * sizeof(struct text));
	link_init(&the_console.waiting);
	link_init(&the_console.streams);
	return child_run(&child, &console_ops);
}
