#include "conf/modules.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/monitor.h"
#include "api/persistence.h"
#include "api/protocol.h"
#include "api/scheduler.h"
#include "base/hash.h"
#include "base/memfd.h"
#include "base/must.h"

const char *const kind_names[SY_KINDS] = { "protocol", "monitor", "scheduler", "persistence" };

enum {
	MODULE_SIZE_MAX = 64 << 20,
	MODULE_PATH = 4096,
};

/* ---- copying ---- */

static const char *
module_refusal(const struct stat *status)
{
	uid_t uid = geteuid();

	if (!S_ISREG(status->st_mode))
		return "it is not a regular file";
	if (status->st_uid != 0 && status->st_uid != uid)
		return uid == 0 ? "it does not belong to root"
				: "it belongs neither to root nor to this user";
	if (status->st_mode & S_IWOTH)
		return "everybody may write to it";
	if ((status->st_mode & S_IWGRP) && status->st_gid != 0 && status->st_gid != getegid())
		return "its group may write to it";
	if (status->st_size > MODULE_SIZE_MAX)
		return "it is larger than 64m";
	return NULL;
}

/* The C library maps what the head of the file promises, and dies of a file that was cut off while
 * it was being installed. Anything else that is wrong with a file it says by itself. */
static bool
module_is_whole(const char *bytes, size_t len)
{
	const ElfW(Ehdr) *head = (const void *)bytes;
	const ElfW(Phdr) *part;

	if (len < sizeof(*head) || memcmp(bytes, ELFMAG, SELFMAG) != 0)
		return true;
	if (head->e_phoff > len || head->e_phnum > (len - head->e_phoff) / sizeof(*part))
		return false;
	part = (const void *)(bytes + head->e_phoff);
	for (unsigned i = 0; i < head->e_phnum; i++)
		if (part[i].p_offset > len || part[i].p_filesz > len - part[i].p_offset)
			return false;
	return true;
}

static int
module_copy_fd(int fd, const char *path, const char *name, uint64_t *hash, struct sy_err *err)
{
	const char *refusal;
	struct stat status;
	char *bytes;
	size_t len = 0;
	int copy = -1;

	if (fstat(fd, &status) < 0)
		return sy_fail(err, "%s: %s", path, strerror(errno));
	refusal = module_refusal(&status);
	if (refusal)
		return sy_fail(err, "%s is refused: %s", path, refusal);
	bytes = must_alloc((size_t)status.st_size + 1);
	while (len < (size_t)status.st_size) {
		ssize_t n = read(fd, bytes + len, (size_t)status.st_size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	*hash = hash_64(&(struct hash_key){ 0, 0 }, bytes, len);
	if (len < (size_t)status.st_size)
		sy_fail(err, "%s: it could not be read to its end", path);
	else if (!module_is_whole(bytes, len))
		sy_fail(err, "%s is refused: it was cut off after %zu bytes", path, len);
	else
		copy = memfd_sealed(name, bytes, len, err);
	free(bytes);
	return copy;
}

int
modules_copy(const char *dir, enum sy_kind kind, const char *name, uint64_t *hash,
	     struct sy_err *err)
{
	char path[MODULE_PATH];
	int fd, copy;

	if (!*name || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != strlen(name) ||
	    strlen(name) > 50)
		return sy_fail(err,
			       "the name of a module has lower-case letters, digits and dashes");
	snprintf(path, sizeof(path), "%s/%s/%s.so", dir, kind_names[kind], name);
	/* O_NONBLOCK: a FIFO must not hold us up before it is refused. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return sy_fail(err, "there is no module %s", path);
	if (fd < 0)
		return sy_fail(err, "%s: %s", path, strerror(errno));
	copy = module_copy_fd(fd, path, name, hash, err);
	close(fd);
	return copy;
}

/* ---- opening ---- */

/* What is open in this process, for ever. */
struct opened {
	uint64_t hash;
	const struct sy_module *module;
	struct opened *next;
};
static struct opened *modules_opened;

/* "/proc/self/fd/9: undefined symbol: x": the path says nothing to anybody. */
static const char *
module_dl_words(void)
{
	const char *words = dlerror(), *colon;

	if (!words)
		return "for an unknown reason";
	colon = strncmp(words, "/proc/", 6) == 0 ? strstr(words, ": ") : NULL;
	return colon ? colon + 2 : words;
}

/* sizeof the table of functions, and whether those that must be there are. */
static const char *
module_check_ops(const struct sy_module *module)
{
	const struct sy_protocol *protocol = module->ops;
	const struct sy_monitor *monitor = module->ops;
	const struct sy_scheduler *scheduler = module->ops;
	const struct sy_persistence *persistence = module->ops;

	if (!module->ops)
		return "it has no functions";
	switch ((enum sy_kind)module->kind) {
	case SY_PROTOCOL:
		if (protocol->size != sizeof(*protocol))
			return "its struct sy_protocol has another size";
		if (protocol->flags & (SY_FLOWS | SY_MESSAGES) && !protocol->data)
			return "it lacks data(), and its flags need it";
		return protocol->load_unit ? NULL : "it names no load_unit";
	case SY_MONITOR:
		if (monitor->size != sizeof(*monitor))
			return "its struct sy_monitor has another size";
		return monitor->plan && monitor->start ? NULL : "it lacks plan() or start()";
	case SY_SCHEDULER:
		if (scheduler->size != sizeof(*scheduler))
			return "its struct sy_scheduler has another size";
		if (scheduler->table_size && !scheduler->build)
			return "it has a table, and no build()";
		return scheduler->pick ? NULL : "it lacks pick()";
	case SY_PERSISTENCE:
		if (persistence->size != sizeof(*persistence))
			return "its struct sy_persistence has another size";
		return persistence->life && persistence->key && persistence->print
			? NULL : "it lacks life(), key() or print()";
	case SY_KINDS:
		break;
	}
	return "it is of no known kind";
}

static bool
module_names_pools(const struct sy_row *rows)
{
	for (; rows && rows->name; rows++)
		if (rows->type == SY_ROW_POOL || module_names_pools(rows->rows))
			return true;
	return false;
}

static int
module_check(const struct sy_module *module, enum sy_kind kind, const char *name,
	     struct sy_err *err)
{
	const char *problem;

	/* Size and ABI numbers stand where they stood in every version. */
	if (module->abi_major != SY_ABI_MAJOR || module->abi_minor > SY_ABI_MINOR)
		return sy_fail(
		    err,
		    "the module was built for version %u.%u of the module interface, and this "
		    "is %u.%u: build it again",
		    module->abi_major, module->abi_minor, SY_ABI_MAJOR, SY_ABI_MINOR);
	if (module->size != sizeof(*module))
		return sy_fail(
		    err,
		    "the module's struct sy_module has %u bytes and not %zu: build it again "
		    "with the installed headers",
		    module->size, sizeof(*module));
	if (!module->api_id || strcmp(module->api_id, SY_API_ID) != 0)
		return sy_fail(
		    err,
		    "the module was built with other headers (%s, and these are %s): build it "
		    "again with the installed ones",
		    module->api_id ? module->api_id : "none", SY_API_ID);
	if (module->kind >= SY_KINDS || module->kind != kind)
		return sy_fail(err, "the module is a %s, and not a %s",
			       module->kind < SY_KINDS ? kind_names[module->kind]
						       : "thing of no known kind",
			       kind_names[kind]);
	if (!module->name || strcmp(module->name, name) != 0)
		return sy_fail(err,
			       "the module calls itself %s: the file must be named like the module",
			       module->name ? module->name : "nothing");
	if (module->rows && module->conf_size == 0)
		return sy_fail(err, "the module has settings, and no place for them");
	if (kind != SY_PROTOCOL && module_names_pools(module->rows))
		return sy_fail(err, "the module is refused: it names pools, and only a protocol may");
	problem = module_check_ops(module);
	return problem ? sy_fail(err, "the module is refused: %s", problem) : 0;
}

const struct sy_module *
modules_open(int fd, uint64_t hash, enum sy_kind kind, const char *name, struct sy_err *err)
{
	const struct sy_module *module;
	struct opened *opened;
	char path[64];
	void *handle;
	int kept;

	for (opened = modules_opened; opened; opened = opened->next)
		if (opened->hash == hash)
			return module_check(opened->module, kind, name, err) < 0 ? NULL
										 : opened->module;
	/* The loader of the C library takes two files of one path for the same: so the number must
	 * never come again, and the descriptor stays open. */
	kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (kept < 0) {
		sy_fail(err, "cannot keep the module's file: %s", strerror(errno));
		return NULL;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", kept);
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	module = handle ? dlsym(handle, "sy_module") : NULL;
	if (!module) {
		sy_fail(err, "it cannot be opened as a module: %s", module_dl_words());
		/* Not open, so the number may come again. */
		if (!handle)
			close(kept);
		return NULL;
	}
	if (module_check(module, kind, name, err) < 0)
		return NULL;
	opened = must_alloc(sizeof(*opened));
	*opened = (struct opened){ hash, module, modules_opened };
	modules_opened = opened;
	return module;
}

/* ---- names ---- */

static int
module_name_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One block: the pointers, and behind them the names. */
static const char **
module_pack(char **names, size_t n)
{
	size_t bytes = (n + 1) * sizeof(char *);
	const char **packed;
	char *at;

	for (size_t i = 0; i < n; i++)
		bytes += strlen(names[i]) + 1;
	packed = must_alloc(bytes);
	at = (char *)(packed + n + 1);
	for (size_t i = 0; i < n; i++) {
		packed[i] = strcpy(at, names[i]);
		at += strlen(at) + 1;
		free(names[i]);
	}
	packed[n] = NULL;
	free(names);
	qsort(packed, n, sizeof(*packed), module_name_order);
	return packed;
}

const char **
modules_names(const char *dir, enum sy_kind kind)
{
	char path[MODULE_PATH], **names = NULL;
	struct dirent *entry;
	size_t n = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/%s", dir, kind_names[kind]);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		size_t len = strlen(entry->d_name);
		char *name;

		if (len < 4 || strcmp(entry->d_name + len - 3, ".so") != 0)
			continue;
		name = must_alloc(len);
		memcpy(name, entry->d_name, len - 3);
		name[len - 3] = '\0';
		names = must_realloc(names, (n + 1) * sizeof(*names));
		names[n++] = name;
	}
	if (folder)
		closedir(folder);
	return module_pack(names, n);
}
