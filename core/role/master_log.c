#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "role/master.h"
#include "share/recorder.h"

static void
master_overhears(void *context, enum log_level level, const char *words, size_t len)
{
	const struct master *master = context;

	recorder_line(master->board, ROW_FOLDED, clock_ms(), level, words, len);
}

void
master_record(struct master *master)
{
	if (master->board)
		log_overhear(master_overhears, master);
}

static int
master_log_syslog(struct sy_err *err)
{
	const struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	sy_fail(err, "cannot reach syslog at /dev/log: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static int
master_log_fd(enum log_target target, const char *path, struct sy_err *err)
{
	int fd = -1;

	switch (target) {
	case LOG_TO_STDERR:
		return 2;
	case LOG_TO_SYSLOG:
		return master_log_syslog(err);
	case LOG_TO_FILE:
		/* The master must not wait: a pipe without a reader would keep it for ever. */
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		          0640);
		if (fd < 0)
			sy_fail(err, "cannot open the log \"%s\": %s", path,
			        errno == ENXIO ? "it is a pipe that nobody reads" : strerror(errno));
		return fd;
	}
	return sy_fail(err, "log target %u is not known", (unsigned)target);
}

static enum log_level
master_log_most(const struct master *master, enum log_level level)
{
	return master->options->quiet && level > LOG_LEVEL_WARN ? LOG_LEVEL_WARN : level;
}

int
master_log_open(const struct gen_head *head, struct log_setting *out, struct sy_err *err)
{
	*out = (struct log_setting){
		.target = (enum log_target)head->log_target,
		.format = (enum log_format)head->log_format,
		.level = (enum log_level)head->log_level,
	};
	memcpy(out->path, head->log_path, sizeof(out->path) - 1);
	out->fd = master_log_fd(out->target, out->path, err);
	return out->fd < 0 ? -1 : 0;
}

void
master_log_tell(struct process *process)
{
	const struct log_setting *log = &process->master->log;
	struct control_record record = {
		.type = CONTROL_LOG,
		.value = (uint64_t)log->target | (uint64_t)log->format << 8 |
		         (uint64_t)master_log_most(process->master, log->level) << 16,
	};

	outbox_send(&process->outbox, &record, NULL, 0, &log->fd, 1);
}

void
master_log_use(struct master *master, const struct log_setting *setting)
{
	master->log = *setting;
	/* Closes the descriptor in use before, too. */
	log_change(setting->fd, setting->target, setting->format, master_log_most(master, setting->level));
	master_each_process(process, master)
		if (process_alive(process))
			master_log_tell(process);
}

int
master_log_rotate(struct master *master, struct sy_err *err)
{
	struct log_setting setting = master->log;

	setting.fd = master_log_fd(setting.target, setting.path, err);
	if (setting.fd < 0)
		return -1;
	master_log_use(master, &setting);
	log_info("log reopened");
	return 0;
}

void
master_log_level(struct master *master, enum log_level level)
{
	struct log_setting setting = master->log;

	setting.level = level;
	master_log_use(master, &setting);
}
