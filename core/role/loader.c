/* The loader: a short-lived process that reads the configuration, so that the long-lived ones need
 * not. First as root what only root may read, then without privileges everything that runs the code
 * of others: modules, the name service. `steelyardd -t` is the same work in the foreground. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memfd.h"
#include "conf/generation.h"
#include "conf/manual.h"
#include "proc/control.h"
#include "proc/privileges.h"
#include "proc/spawn.h"
#include "role/preflight.h"
#include "role/explain.h"
#include "role/roles.h"

struct load {
	struct gathered *gathered;
	struct loaded loaded;
	struct complaints complaints;
};

/* Where Steelyard sets up the routing, it says at once what it cannot do itself. */
static void
loader_found(void *context, const struct finding *finding)
{
	complain_mildly(context, finding->at, "virtual-service %s: %s", finding->service->name,
			finding->words);
}

static void
loader_look(const struct config *config, struct complaints *complaints)
{
	const struct preflight ask = { .config = config, .say = loader_found, .context = complaints };

	if (config->global.manage_routing)
		preflight(&ask);
}

static int
loader_load(struct load *load, const char *path, const char *module_dir)
{
	struct sy_err err;
	uint32_t uid, gid;

	load->gathered = generation_gather(path, module_dir, &load->complaints);
	gathered_user(load->gathered, &uid, &gid);
	if (privileges_drop(uid, gid, 0, &err) < 0) {
		complain(&load->complaints, NULL, "%s: the loader cannot give up root's rights: %s",
			 path, err.text);
		return -1;
	}
	return generation_compile(load->gathered, loader_look, &load->loaded, &load->complaints);
}

/* The master reads; when its socket is full it will read soon. */
static int
loader_send(const struct control_record *record, const char *text, size_t len, const int *fds,
	    unsigned n_fds)
{
	struct pollfd room = { .fd = SPAWN_FD_CONTROL, .events = POLLOUT };

	while (control_send(SPAWN_FD_CONTROL, record, text, len, fds, n_fds) < 0) {
		if (errno != EAGAIN)
			return -1;
		if (poll(&room, 1, 1000) == 0)
			usleep(1000); /* descriptors on their way, not bytes: the socket says
					 nothing */
	}
	return 0;
}

static int
loader_send_good(const struct load *load)
{
	const struct loaded *loaded = &load->loaded;
	struct control_record record = { .type = CONTROL_LOADED, .flags = CONTROL_OK };
	size_t len = load->complaints.text.len;
	int fds[CONTROL_FDS];
	unsigned n = 0;

	fds[n++] = loaded->generation_fd;
	if (loaded->secrets_fd >= 0) {
		record.flags |= CONTROL_SECRETS;
		fds[n++] = loaded->secrets_fd;
	}
	for (uint32_t i = 0; i < loaded->n_modules; i++)
		fds[n++] = loaded->module_fds[i];
	return loader_send(&record, load->complaints.text.at,
			   len < CONTROL_TEXT ? len : CONTROL_TEXT, fds, n);
}

static int
loader_send_bad(const struct load *load)
{
	const struct text *text = &load->complaints.text;
	struct control_record record = { .type = CONTROL_REFUSED };
	struct sy_err err;
	int fd = memfd_sealed("steelyard-messages", text->at ? text->at : "", text->len, &err);

	if (fd < 0)
		return loader_send(&record, err.text, strlen(err.text), NULL, 0);
	return loader_send(&record, NULL, 0, &fd, 1);
}

int
loader_main(int argc, char **argv)
{
	struct load load = { 0 };
	int result;

	if (argc < 3) {
		fprintf(stderr,
			"steelyard: loader: started without a configuration and a module folder\n");
		return EXIT_FAILURE;
	}
	result = loader_load(&load, argv[1], argv[2]);
	if (result == 0)
		result = loader_send_good(&load);
	else if (loader_send_bad(&load) == 0)
		result = -1;
	gathered_free(load.gathered);
	text_free(&load.complaints.text);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
loader_test(const struct options *options)
{
	struct load load = { 0 };
	struct text tree = { 0 };
	int result = loader_load(&load, options->config, options->module_dir);

	if (load.complaints.text.len)
		fputs(load.complaints.text.at, stderr);
	if (result < 0) {
		fprintf(stderr, "configuration %s is not good: %u error%s\n", options->config,
			load.complaints.errors - load.complaints.repeated,
			load.complaints.errors - load.complaints.repeated == 1 ? "" : "s");
	} else if (options->print) {
		tree_print(gathered_tree(load.gathered), true, &tree);
		fputs(tree.at ? tree.at : "", stdout);
	} else if (!options->quiet) {
		printf("configuration %s is good: %u service%s, %u server%s\n", options->config,
		       load.loaded.services, load.loaded.services == 1 ? "" : "s",
		       load.loaded.servers, load.loaded.servers == 1 ? "" : "s");
	}
	text_free(&tree);
	text_free(&load.complaints.text);
	gathered_free(load.gathered);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "steelyardd: cannot write: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
loader_explain(const struct options *options)
{
	struct load load = { 0 };
	struct sy_err err = { "" };
	json_t *ask = json_loadfd(SPAWN_FD_CONTROL, 0, NULL), *answer = NULL;
	int result = loader_load(&load, options->config, options->module_dir);

	if (load.complaints.errors)
		fputs(load.complaints.text.at, stderr);
	else if (result == 0 && !(answer = explain_candidate(&load.loaded, ask, &err)))
		fprintf(stderr, "steelyardd: %s\n", err.text);
	if (answer)
		json_dumpf(answer, stdout, JSON_COMPACT);
	json_decref(ask);
	text_free(&load.complaints.text);
	gathered_free(load.gathered);
	if (!answer)
		return EXIT_FAILURE;
	json_decref(answer);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
manual_main(const struct options *options)
{
	struct text text = { 0 };
	struct sy_err err;
	int result = manual_print(options->module_dir, &text, &err);

	if (result < 0)
		fprintf(stderr, "steelyardd: %s\n", err.text);
	else
		fputs(text.at, stdout);
	text_free(&text);
	return result == 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
