/* From files to a generation and back: what the loader writes is what the others bind. With the
 * modules of the build. */
#define _GNU_SOURCE 1
#include "t/tap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memfd.h"
#include "conf/core_rows.h"
#include "conf/generation.h"
#include "conf/modules.h"
#include "conf/names.h"

static char folder[] = "/tmp/steelyard-XXXXXX";
static char conf_path[64], modules_dir[4096];

static const char conf_text[] =
	"user nobody;\nworkers 3;\nlog file /var/log/x level=warn;\ncontrol /run/x/y mode=0600;\n"
	"worker-connections 50;\nshutdown-timeout 3s;\npid-file /run/x/pid;\n"
	"console { listen 127.0.0.1:8090; }\n"
	"pool p { server a 127.0.0.2; } pool q { server b localhost; }\n"
	"virtual-service v {\n"
	"	listen 127.0.0.1:443 127.0.0.1:444;\n"
	"	pool p; snat off;\n"
	"	monitor tls { verify on; ca ca.pem; certificate sub/cert.pem; key key.pem; }\n"
	"	monitor icmp;\n"
	"}\n"
	"virtual-service w { listen 127.0.0.1:0; pool q; monitor off; }\n";

static void
put(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		bail_out("cannot write %s", path);
}

/* Both halves of the loader. False: refused, and words say why. */
static bool
load(struct loaded *loaded, struct text *words, struct gathered **gathered)
{
	struct complaints complaints = { 0 };
	int result;

	*gathered = generation_gather(conf_path, modules_dir, &complaints);
	result = generation_compile(*gathered, NULL, loaded, &complaints);
	*words = complaints.text;
	return result == 0;
}

static void
unload(struct loaded *loaded, struct text *words, struct gathered *gathered)
{
	if (loaded->generation_fd >= 0)
		close(loaded->generation_fd);
	if (loaded->secrets_fd >= 0)
		close(loaded->secrets_fd);
	text_free(words);
	gathered_free(gathered);
}

static uint64_t
load_hash(const char *text)
{
	struct gathered *gathered;
	struct loaded loaded;
	struct text words;
	uint64_t hash = 0;
	struct sy_err err;
	size_t len;

	put("steelyard.conf", text);
	if (load(&loaded, &words, &gathered)) {
		const struct gen_head *head = memfd_map(loaded.generation_fd, 0, &len, &err);

		hash = head->hash;
		munmap((void *)head, len);
	} else {
		diag("%s", words.at);
	}
	unload(&loaded, &words, gathered);
	return hash;
}

static void
test_head(const struct gen_head *head)
{
	const struct gen_listener *listener = generation_listeners(head);
	const uint64_t *cells = generation_cells(head);
	bool sorted = true;

	is_int(head->workers, 3, "workers");
	is_int(head->slots, 16, "four times as many slots when the number is odd, in a power of "
				"two");
	is_int(head->log_target, 1, "log to a file");
	is_int(head->log_level, 1, "level");
	is_str(head->log_path, "/var/log/x", "log path");
	is_str(head->control_path, "/run/x/y", "control");
	is_int(head->control_mode, 0600, "mode");
	is_str(head->pid_path, "/run/x/pid", "pid file");
	is_int((intmax_t)head->shutdown_timeout_ms, 3000, "shutdown timeout");
	is_int(head->n_listeners, 4, "listeners");
	ok(head->transparent && head->icmp, "needs of services");
	is_int(head->services, 2, "services");
	is_int(head->servers, 2, "servers");
	is_int((intmax_t)head->connections, 50, "connections");
	ok(head->nofile >= 100 + 4 * 16 / 3, "descriptors");
	is_int(head->n_cells, 2 + 2 + 2, "cells: services, servers, seats");
	for (uint32_t i = 1; i < head->n_cells; i++)
		sorted &= cells[i - 1] < cells[i];
	ok(sorted, "sorted");
	ok(head->board.cells > head->board.services &&
	       !(head->board.cells & (head->board.cells - 1)),
	   "sizes of tables");
	for (uint32_t i = 0; i < head->n_listeners; i++)
		has_str(listener[i].where, "steelyard.conf:", "listener %u: place", i);
	is_int(listener[3].console, 1, "the console's comes last");
	ok(geteuid() != 0 || (head->uid && head->uid != geteuid()), "another user");
}

static void
test_bound(const struct generation *generation, bool secrets)
{
	const struct config *config = generation->config;
	const struct service *v = config_service(config, "v");
	const struct node *monitor = node_child(v->node, "monitor");
	const struct node *key = node_child(monitor, "key"), *ca = node_child(monitor, "ca");
	const struct server *b = &config->pools[1].servers[0];

	is_int(ca->found_what, FOUND_FILES, "a file came along");
	ok(ca->found[0].len == 3 && memcmp(ca->found[0].at, "CA\n", 3) == 0, "its content");
	is_int(key->found_what, FOUND_SECRETS, "a secret, too");
	is_int((intmax_t)key->found[0].len, secrets ? 5 : 0, "%s",
	       secrets ? "its content" : "without content");
	is_str(b->host, "localhost", "a name is remembered");
	ok(b->addr.family != SY_NO_ADDR, "and has an address");
	is_int(config->global.worker_connections, 50, "settings");
	is_int(v->snat, SNAT_OFF, "of services");
	ok(v->protocol.module && v->scheduler.module && v->n_monitors == 2, "modules");
}

static void
test_generation(void)
{
	struct gathered *gathered;
	struct loaded loaded;
	struct text words;
	struct generation *generation;
	const struct gen_head *head;
	struct sy_err err = { 0 };
	char *copy;

	put("steelyard.conf", conf_text);
	if (!ok(load(&loaded, &words, &gathered), "loads")) {
		diag("%s", words.at);
		unload(&loaded, &words, gathered);
		return;
	}
	is_int(loaded.n_modules, 4, "modules");
	is_int(write(loaded.module_fds[0], "x", 1), -1, "a module's copy cannot be written");
	is_int(write(loaded.generation_fd, "x", 1), -1, "nor the generation");
	generation = generation_bind(1, loaded.generation_fd, loaded.secrets_fd, loaded.module_fds,
				     loaded.n_modules, NULL, &err);
	if (!ok(generation != NULL, "binds"))
		bail_out("%s", err.text);
	head = generation_head(generation->map, generation->map_len, &err);
	test_head(head);
	test_bound(generation, true);
	ok(!memmem(generation->map, generation->map_len, "hush", 4), "no secret in the generation");
	ok(memmem(generation->secrets, generation->secrets_len, "hush", 4), "but in the secrets");
	copy = malloc(generation->map_len);
	memcpy(copy, generation->map, generation->map_len);
	((struct gen_head *)(void *)copy)->n_cells++;
	ok(!generation_head(copy, generation->map_len, &err), "a damaged head is refused: %s",
	   err.text);
	memcpy(copy, generation->map, generation->map_len);
	ok(!generation_head(copy, generation->map_len - 1, &err), "one that is short, too");
	ok(!generation_head(copy, 7, &err), "and nearly nothing: %s", err.text);
	free(copy);
	generation_free(generation);
	generation = generation_bind(2, loaded.generation_fd, -1, loaded.module_fds,
				     loaded.n_modules, NULL, &err);
	if (ok(generation != NULL, "binds without secrets"))
		test_bound(generation, false);
	generation_free(generation);
	ok(!generation_bind(3, loaded.generation_fd, -1, loaded.module_fds, loaded.n_modules - 1,
			    NULL, &err),
	   "not with a module less: %s", err.text);
	ok(!generation_bind(3, loaded.module_fds[0], -1, loaded.module_fds, loaded.n_modules, NULL,
			    &err),
	   "not from something else: %s", err.text);
	unload(&loaded, &words, gathered);
}

static void
test_hash(void)
{
	uint64_t hash = load_hash(conf_text);
	struct text other = { 0 };

	text_printf(&other, "# a comment\n\n%s", conf_text);
	ok(hash && load_hash(other.at) == hash, "a comment is no other generation");
	text_free(&other);
	text_printf(&other, "%slog-connections off;", conf_text);
	ok(load_hash(other.at) != hash, "another setting is");
	text_free(&other);
	put("key.pem", "hash\n");
	ok(load_hash(conf_text) != hash, "another key is, too");
	put("key.pem", "hush\n");
	ok(load_hash(conf_text) == hash, "and the old one again");
}

static void
test_missing(void)
{
	struct gathered *gathered;
	struct loaded loaded;
	struct text words;
	char path[128];

	put("steelyard.conf", conf_text);
	snprintf(path, sizeof(path), "%s/ca.pem", folder);
	unlink(path);
	ok(!load(&loaded, &words, &gathered), "a file that is missing");
	has_str(words.at, "steelyard.conf:13: ca: cannot read ", "where");
	has_str(words.at, "/ca.pem: No such file or directory\n", "and why");
	ok(loaded.generation_fd < 0 && loaded.secrets_fd < 0, "nothing is left");
	unload(&loaded, &words, gathered);
	put("ca.pem", "");
	ok(!load(&loaded, &words, &gathered), "an empty file");
	has_str(words.at, "/ca.pem is empty\n", "is said to be that");
	unload(&loaded, &words, gathered);
	unlink(path);
	mkfifo(path, 0600);
	ok(!load(&loaded, &words, &gathered), "a FIFO");
	has_str(words.at, "/ca.pem: it is not a regular file\n", "does not hold us up");
	unload(&loaded, &words, gathered);
	unlink(path);
	put("ca.pem", "CA\n");
}

/* ---- the modules of the build ---- */

static void
check_module_rows(const struct sy_module *module, const struct sy_row *rows, bool inner)
{
	struct arena *arena = arena_new();
	struct names *names = names_new(arena);

	for (const struct sy_row *row = monitor_rows;
	     module->kind == SY_MONITOR && row->name && !inner; row++)
		names_add(names, row->name, (void *)row);
	/* Statements that are carried out while a file is read never come to a module. */
	for (const struct core_block *block = core_blocks; block->doc; block++)
		for (const struct rows_other *other = block->others;
		     strncmp(block->name, "include", 7) == 0 && other->name; other++)
			names_add(names, other->name, (void *)other);
	for (; rows && rows->name; rows++) {
		ok(!names_add(names, rows->name, (void *)rows), "%s %s: %s is not there twice, "
								"and no "
		   "setting of the core", kind_names[module->kind], module->name, rows->name);
		ok(rows->doc && rows->doc[strlen(rows->doc) - 1] == '.', "%s %s: %s has a sentence",
		   kind_names[module->kind], module->name, rows->name);
		if (row_is_block(rows))
			check_module_rows(module, rows->rows, true);
	}
	arena_free(arena);
}

static void
check_module_presets(const struct sy_module *module)
{
	struct complaints complaints = { 0 };
	struct arena *arena = arena_new();
	const struct node nothing = { .name = "" };
	struct sy_row *rows;
	struct rows_into into;
	uint32_t n = 0;

	for (const struct sy_row *row = module->rows; row && row->name; row++)
		n++;
	rows = arena_array(arena, struct sy_row, n + 1);
	for (uint32_t i = 0; i < n; i++) {
		rows[i] = module->rows[i];
		rows[i].flags &= ~(uint32_t)SY_REQUIRED;
	}
	into = (struct rows_into){ rows, arena_alloc(arena, module->conf_size) };
	rows_bind(arena, &nothing, 0, &into, 1, NULL, &complaints);
	is_str(complaints.text.at ? complaints.text.at : "", "", "%s %s: presets",
	       kind_names[module->kind], module->name);
	text_free(&complaints.text);
	arena_free(arena);
}

static void
test_modules(void)
{
	for (unsigned kind = 0; kind < SY_KINDS; kind++) {
		const char **names = modules_names(modules_dir, (enum sy_kind)kind);

		for (unsigned i = 0; names[i]; i++) {
			const struct sy_module *module = NULL;
			struct sy_err err = { 0 };
			uint64_t hash;
			int fd =
			    modules_copy(modules_dir, (enum sy_kind)kind, names[i], &hash, &err);

			if (fd >= 0)
				module = modules_open(fd, hash, (enum sy_kind)kind, names[i], &err);
			ok(module, "%s %s opens%s", kind_names[kind], names[i], err.text);
			if (!module)
				continue;
			ok(module == modules_open(fd, hash, (enum sy_kind)kind, names[i], &err),
			   "the same content is opened once");
			close(fd);
			ok(module->summary && module->summary[strlen(module->summary) - 1] == '.',
			   "%s %s says what it is", kind_names[kind], names[i]);
			check_module_rows(module, module->rows, false);
			check_module_presets(module);
		}
		free(names);
	}
}

int
main(void)
{
	static const char *const made[] = {"ca.pem",         "sub/cert.pem", "key.pem",
					   "steelyard.conf", "sub",          ""};
	const char *build = getenv("STEELYARD_BUILD");
	char sub[64];

	snprintf(modules_dir, sizeof(modules_dir), "%s/t/modules", build ? build : ".");
	if (access(modules_dir, R_OK) != 0)
		bail_out("no modules in %s: set STEELYARD_BUILD", modules_dir);
	if (!mkdtemp(folder))
		bail_out("mkdtemp: %s", folder);
	snprintf(conf_path, sizeof(conf_path), "%s/steelyard.conf", folder);
	snprintf(sub, sizeof(sub), "%s/sub", folder);
	mkdir(sub, 0755);
	put("ca.pem", "CA\n");
	put("sub/cert.pem", "CERT\n");
	put("key.pem", "hush\n");
	test_generation();
	test_hash();
	test_missing();
	test_modules();
	for (unsigned i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", folder, made[i]);
		remove(path);
	}
	return done_testing();
}
