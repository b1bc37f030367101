/* Tells others what changed: a program of the operator's, called as keepalived calls its own, and
 * mail. The console does it because it has no privileges and sees every state; nothing is forked
 * (proc/spawn.c), one runs at a time, and one that takes too long is killed with all it started.
 *
 * Once a second every service and every server is looked at. Who was told of one of them is told of
 * its next changes together, `fold` later: with the state that holds then, and how often it changed.
 * A server counts once, however many services use it: up, down, or partly. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "base/must.h"
#include "proc/spawn.h"
#include "role/live.h"

enum {
	NOTIFY_QUEUE = 256,       /* more at once are told in the log alone */
	NOTIFY_STATE = 12,
	NOTIFY_WHY = 240,
	NOTIFY_MAIL = 65536,
	NOTIFY_FRESH_MS = 60000,  /* what is wrong at the first sight is told when the daemon is that young */
};

/* A service, or a server. */
struct subject {
	uint64_t id;
	bool known;               /* it had a state before */
	char seen[NOTIFY_STATE], told[NOTIFY_STATE];
	uint64_t told_ms;         /* 0: never */
	unsigned changes;         /* since then */
};

struct notice {
	bool service;
	char name[80], pool[80], state[NOTIFY_STATE], was[NOTIFY_STATE], why[NOTIFY_WHY];
	unsigned accepting, repeats;
	uint64_t wall_ms;
};

struct notify {
	struct console *console;
	struct subject *subjects; /* those of the services, then those of the servers */
	uint32_t n_subjects;
	struct notice queue[NOTIFY_QUEUE];
	unsigned first, n;
	unsigned lost;
	struct text mail;         /* what the next one says */
	unsigned mail_notices;
	char mail_subject[160];
	uint64_t mailed_ms;
	pid_t pid;                /* what runs now; 0: nothing */
	bool is_mail;
	uint64_t until_ms;
	ev_io ended;
};

struct notify *
notify_new(void)
{
	struct notify *notify = must_alloc(sizeof(*notify));

	memset(notify, 0, sizeof(*notify));
	notify->ended.fd = -1;
	return notify;
}

static const struct notify_settings *
notify_settings(const struct console *console)
{
	return &console->child->current->config->global.notify;
}

static bool
notify_is_on(const struct console *console)
{
	return console->child->current &&
	       (notify_settings(console)->program || notify_settings(console)->mail);
}

/* What was known of those that stay goes on. */
void
notify_switched(struct console *console)
{
	struct notify *notify = console->notify;
	const struct config *config = console->child->current->config;
	struct subject *subjects;
	uint32_t n = config->n_services, at = 0;

	notify->console = console;
	for (uint32_t p = 0; p < config->n_pools; p++)
		n += config->pools[p].n_servers;
	subjects = must_alloc((n + 1) * sizeof(*subjects));
	memset(subjects, 0, (n + 1) * sizeof(*subjects));
	for (uint32_t i = 0; i < config->n_services; i++)
		subjects[at++].id = config->services[i].id;
	for (uint32_t p = 0; p < config->n_pools; p++)
		for (uint32_t i = 0; i < config->pools[p].n_servers; i++)
			subjects[at++].id = config->pools[p].servers[i].id;
	for (uint32_t i = 0, hint = 0; i < n && notify->n_subjects; i++)
		/* The order seldom changes: the search begins where the last one ended. */
		for (uint32_t k = 0; k < notify->n_subjects; k++) {
			uint32_t old = (hint + k) % notify->n_subjects;

			if (notify->subjects[old].id != subjects[i].id)
				continue;
			subjects[i] = notify->subjects[old];
			hint = old + 1;
			break;
		}
	free(notify->subjects);
	notify->subjects = subjects;
	notify->n_subjects = n;
}

/* ---- what changed ---- */

static void
notify_add(struct notify *notify, const struct notice *notice)
{
	if (notify->n == NOTIFY_QUEUE) {
		if (!notify->lost++)
			log_warn("notify: more changes than can be told one by one; the log has all");
		return;
	}
	notify->queue[(notify->first + notify->n++) % NOTIFY_QUEUE] = *notice;
}

/* True when the subject's state is to be told; fills what the notice says of before. */
static bool
notify_due(struct notify *notify, struct subject *subject, const char *state, bool well,
           struct notice *notice)
{
	struct console *console = notify->console;
	uint64_t now_ms = console->child->now_ms;
	bool young = clock_wall_ms() < board_started_wall_ms(console->child->board) + NOTIFY_FRESH_MS;

	if (!subject->known) {
		subject->known = true;
		snprintf(subject->seen, sizeof(subject->seen), "%s", state);
		/* Wrong from the start: news, unless it is only this process that is young. */
		snprintf(subject->told, sizeof(subject->told), "%s", young && !well ? "unknown" : state);
	} else if (strcmp(subject->seen, state) != 0) {
		snprintf(subject->seen, sizeof(subject->seen), "%s", state);
		subject->changes++;
	}
	if (subject->told_ms && now_ms < subject->told_ms + notify_settings(console)->fold.ms)
		return false;
	/* There and back again is told, too, once somebody was told of the first step. */
	if (strcmp(subject->told, state) == 0 && !(subject->told_ms && subject->changes > 1)) {
		subject->changes = 0;
		return false;
	}
	snprintf(notice->was, sizeof(notice->was), "%s", subject->told);
	snprintf(notice->state, sizeof(notice->state), "%s", state);
	notice->repeats = subject->changes > 1 ? subject->changes - 1 : 0;
	notice->wall_ms = clock_wall_ms();
	snprintf(subject->told, sizeof(subject->told), "%s", state);
	subject->told_ms = now_ms;
	subject->changes = 0;
	return true;
}

static void
notify_service(struct notify *notify, const struct service *service, struct subject *subject)
{
	struct notice notice = { .service = true };
	char why[512];
	const char *state = service_state(notify->console, service, why, sizeof(why));

	for (uint32_t i = 0; i < service->target.pool->n_servers; i++) {
		struct cell_health health;

		notice.accepting += live_usable(live_state(seat_state(notify->console, service,
		                                                      &service->target.seats[i], &health)));
		/* No check has ended yet: nothing is known. */
		if (service->n_monitors && health.health == HEALTH_UNKNOWN)
			return;
	}
	if (!notify_due(notify, subject, state, strcmp(state, "up") == 0, &notice))
		return;
	snprintf(notice.name, sizeof(notice.name), "%s", service->name);
	snprintf(notice.pool, sizeof(notice.pool), "%s", service->target.pool->name);
	why[text_cut(why, strlen(why), sizeof(notice.why) - 1)] = '\0';
	snprintf(notice.why, sizeof(notice.why), "%.239s", why);
	notify_add(notify, &notice);
}

/* Over all services; false while nothing is known, or where nothing is checked. */
static bool
notify_server_state(struct notify *notify, const struct pool *pool, uint32_t at, struct notice *notice)
{
	const struct config *config = notify->console->child->current->config;
	unsigned n = 0, down = 0;

	for (uint32_t i = 0; i < config->n_services; i++) {
		const struct target *target = service_target_of(&config->services[i], pool);
		struct cell_health health;

		if (!target || !config->services[i].n_monitors)
			continue;
		board_health_read(board_cell_at(notify->console->child->board, target->seats[at].cell), &health);
		if (health.health == HEALTH_UNKNOWN)
			continue;
		n++;
		notice->accepting += health.health == HEALTH_UP;
		if (health.health == HEALTH_UP)
			continue;
		down += health.health == HEALTH_DOWN;
		health.reason[text_cut(health.reason, strlen(health.reason), sizeof(notice->why) - 1)] = '\0';
		snprintf(notice->why, sizeof(notice->why), "%s", health.reason);
	}
	snprintf(notice->state, sizeof(notice->state), "%s", down == 0 ? "up" : down == n ? "down" : "partly");
	return n > 0;
}

static void
notify_look(struct notify *notify)
{
	const struct config *config = notify->console->child->current->config;
	struct subject *subject = notify->subjects;

	for (uint32_t i = 0; i < config->n_services; i++)
		notify_service(notify, &config->services[i], subject++);
	for (uint32_t p = 0; p < config->n_pools; p++)
		for (uint32_t i = 0; i < config->pools[p].n_servers; i++, subject++) {
			struct notice notice = { .service = false };
			char state[NOTIFY_STATE];

			if (!notify_server_state(notify, &config->pools[p], i, &notice))
				continue;
			memcpy(state, notice.state, sizeof(state));
			if (!notify_due(notify, subject, state, strcmp(state, "up") == 0, &notice))
				continue;
			snprintf(notice.name, sizeof(notice.name), "%s", config->pools[p].servers[i].name);
			snprintf(notice.pool, sizeof(notice.pool), "%s", config->pools[p].name);
			notify_add(notify, &notice);
		}
}

/* ---- telling ---- */

static void
notify_upper(char out[static NOTIFY_STATE], const char *state)
{
	size_t i = 0;

	for (; state[i] && i < NOTIFY_STATE - 1; i++)
		out[i] = state[i] >= 'a' && state[i] <= 'z' ? (char)(state[i] - 'a' + 'A') : state[i];
	out[i] = '\0';
}

static void
notify_end(struct notify *notify)
{
	ev_io_stop(notify->console->child->loop, &notify->ended);
	if (notify->ended.fd >= 0)
		close(notify->ended.fd);
	notify->ended.fd = -1;
	notify->pid = 0;
}

static void notify_next(struct notify *notify);

static void
notify_ended(struct ev_loop *loop, struct ev_io *io, int events)
{
	struct notify *notify = container_of(io, struct notify, ended);
	siginfo_t info = { 0 };

	(void)loop, (void)events;
	if (waitid(P_PIDFD, (id_t)io->fd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
		return;
	if (info.si_code != CLD_EXITED || info.si_status != 0)
		log_warn("notify: the %s ended with %s %d", notify->is_mail ? "sendmail" : "program",
		         info.si_code == CLD_EXITED ? "status" : "signal", info.si_status);
	notify_end(notify);
	notify_next(notify);
}

static void
notify_watch(struct notify *notify, pid_t pid, bool is_mail, const struct sy_err *err)
{
	int fd = pid > 0 ? pidfd_open(pid, 0) : -1;

	if (fd < 0) {
		log_warn("notify: %s", pid > 0 ? strerror(errno) : err->text);
		if (pid > 0) {
			kill(-pid, SIGKILL);
			waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED);
		}
		return;
	}
	notify->pid = pid;
	notify->is_mail = is_mail;
	notify->until_ms = notify->console->child->now_ms + notify_settings(notify->console)->timeout.ms;
	ev_io_init(&notify->ended, notify_ended, fd, EV_READ);
	ev_io_start(notify->console->child->loop, &notify->ended);
}

static void
notify_program(struct notify *notify, const struct notice *notice)
{
	char state[NOTIFY_STATE], was[NOTIFY_STATE], accepting[16], env[8][NOTIFY_WHY + 32];
	const char *argv[] = { notify_settings(notify->console)->program,
	                       notice->service ? "SERVICE" : "SERVER", notice->name, state, accepting, NULL };
	const char *list[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", env[0], env[1], env[2], env[3], env[4],
	                       env[5], env[6], env[7], NULL };
	struct sy_err err;

	notify_upper(state, notice->state);
	notify_upper(was, notice->was);
	snprintf(accepting, sizeof(accepting), "%u", notice->accepting);
	snprintf(env[0], sizeof(env[0]), "STEELYARD_KIND=%s", argv[1]);
	snprintf(env[1], sizeof(env[1]), "STEELYARD_NAME=%s", notice->name);
	snprintf(env[2], sizeof(env[2]), "STEELYARD_POOL=%s", notice->pool);
	snprintf(env[3], sizeof(env[3]), "STEELYARD_STATE=%s", state);
	snprintf(env[4], sizeof(env[4]), "STEELYARD_WAS=%s", was);
	snprintf(env[5], sizeof(env[5]), "STEELYARD_WHY=%s", notice->why);
	snprintf(env[6], sizeof(env[6]), "STEELYARD_REPEATS=%u", notice->repeats);
	snprintf(env[7], sizeof(env[7]), "STEELYARD_TIME=%" PRIu64, notice->wall_ms / 1000);
	notify_watch(notify, spawn_program(argv, list, -1, &err), false, &err);
}

static void
notify_mail_add(struct notify *notify, const struct notice *notice)
{
	char when[32];
	time_t seconds = (time_t)(notice->wall_ms / 1000);
	struct tm tm;

	if (notify->mail.len > NOTIFY_MAIL)
		return;
	localtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	if (!notify->mail_notices++)
		snprintf(notify->mail_subject, sizeof(notify->mail_subject), "%s %s is %s",
		         notice->service ? "service" : "server", notice->name, notice->state);
	text_printf(&notify->mail, "%s  %s %s (pool %s): %s, before %s%s%s", when,
	            notice->service ? "service" : "server", notice->name, notice->pool, notice->state,
	            notice->was, notice->why[0] ? ": " : "", notice->why);
	if (notice->repeats)
		text_printf(&notify->mail, "; it changed %u times more meanwhile", notice->repeats);
	text_puts(&notify->mail, "\n");
}

static void
notify_send(struct notify *notify)
{
	const struct notify_settings *set = notify_settings(notify->console);
	const char *argv[] = { set->sendmail, "-t", "-oi", NULL };
	const char *env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	struct text message = { 0 };
	char host[128] = "";
	struct sy_err err;
	pid_t pid = -1;
	int fd;

	gethostname(host, sizeof(host) - 1);
	text_printf(&message, "To: %s\nSubject: [steelyard %s] %s", set->mail, host, notify->mail_subject);
	if (notify->mail_notices > 1)
		text_printf(&message, ", and %u more", notify->mail_notices - 1);
	text_puts(&message, "\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n"
	          "Content-Type: text/plain; charset=utf-8\n\n");
	text_add(&message, notify->mail.at, notify->mail.len);
	fd = memfd_sealed("steelyard: mail", message.at, message.len, &err);
	if (fd >= 0) {
		lseek(fd, 0, SEEK_SET);
		pid = spawn_filter(argv, env, fd, -1, &err);
		close(fd);
	}
	text_free(&message);
	text_free(&notify->mail);
	notify->mail = (struct text){ 0 };
	notify->mail_notices = 0;
	notify->mailed_ms = notify->console->child->now_ms;
	notify_watch(notify, pid, true, &err);
}

/* One thing at a time, and what was first is first. */
static void
notify_next(struct notify *notify)
{
	const struct notify_settings *set;

	if (!notify_is_on(notify->console))
		return;
	set = notify_settings(notify->console);
	while (!notify->pid && notify->n) {
		struct notice notice = notify->queue[notify->first];

		notify->first = (notify->first + 1) % NOTIFY_QUEUE;
		if (--notify->n == 0)
			notify->lost = 0;
		if (set->mail)
			notify_mail_add(notify, &notice);
		if (set->program)
			notify_program(notify, &notice);
	}
	if (!notify->pid && notify->mail_notices && set->mail &&
	    (!notify->mailed_ms || notify->console->child->now_ms >= notify->mailed_ms + set->fold.ms))
		notify_send(notify);
}

void
notify_beat(struct console *console)
{
	struct notify *notify = console->notify;

	if (notify->pid && console->child->now_ms >= notify->until_ms) {
		log_warn("notify: the %s is killed: it took longer than its timeout",
		         notify->is_mail ? "sendmail" : "program");
		kill(-notify->pid, SIGKILL);
		notify->until_ms = UINT64_MAX;
	}
	if (!notify_is_on(console))
		return;
	notify_look(notify);
	notify_next(notify);
}

/* What runs may finish; nobody waits for it. */
void
notify_stop(struct console *console)
{
	if (console->notify->console)
		notify_end(console->notify);
}
