#define _GNU_SOURCE 1
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "config.h"
#include "proc/spawn.h"
#include "role/roles.h"

struct role {
	const char *name;
	int (*main)(int argc, char **argv);
};

static const struct role roles[] = {
	{ "loader", loader_main },
	{ "worker", worker_main },
	{ "checker", checker_main },
	{ "console", console_main },
	{ "routing", routing_main },
	{ "upgrade", upgrade_main },
};

static const char main_usage[] =
	"usage: steelyardd [-c FILE] [-m DIR] [-q] [-t | -T | -V]\n"
	"\n"
	"  -c FILE    configuration (" SYSCONFDIR "/steelyard/steelyard.conf)\n"
	"  -m DIR     folder of the modules (" MODULEDIR ")\n"
	"  -t         test the configuration and exit\n"
	"  -T         test it and print it, normalised, with all defaults\n"
	"  -q         say only what needs attention\n"
	"  -V         print the version\n"
	"  --manual   print the reference of all directives (mdoc)\n"
	"  --explain  where a client would go; what steelyardctl explain --config runs\n"
	"\n"
	"Signals: TERM, INT stop now; QUIT stop gracefully; HUP reload; USR1 reopen the log;\n"
	"USR2 upgrade to the program that is installed now.\n";

/* argv[0] is the title that ps shows; the first word behind the prefix is the role. Without the
 * prefix we were started by a person or by init: the master. */
static const struct role *
main_role(const char *title)
{
	static const char prefix[] = "steelyard: ";

	if (!title || strncmp(title, prefix, sizeof(prefix) - 1) != 0)
		return NULL;
	title += sizeof(prefix) - 1;
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		size_t len = strlen(roles[i].name);

		if (strncmp(title, roles[i].name, len) == 0 && (!title[len] || title[len] == ' '))
			return &roles[i];
	}
	return NULL;
}

/* What top shows: exec of /proc/self/exe would leave "exe" there. */
static void
main_name(const char *title)
{
	char name[16];

	if (snprintf(name, sizeof(name), "sy:%s", title + strlen("steelyard: ")) > 0)
		prctl(PR_SET_NAME, name, 0, 0, 0);
}

static int
main_bad_usage(const char *what, const char *which)
{
	fprintf(stderr, "steelyardd: %s%s\n%s", what, which, main_usage);
	return EXIT_FAILURE;
}

/* Each letter alone, as `-t -c FILE`; returns -1 to go on, or the exit status. */
static int
main_options(int argc, char **argv, struct options *options)
{
	int letter;

	opterr = 0;
	while ((letter = getopt(argc, argv, "c:m:tTqVh")) != -1) {
		switch (letter) {
		case 'c':
			options->config = optarg;
			break;
		case 'm':
			options->module_dir = optarg;
			break;
		case 't':
			options->test = 1;
			break;
		case 'T':
			options->print = 1;
			break;
		case 'q':
			options->quiet = 1;
			break;
		case 'V':
			printf("steelyardd %s\n", PACKAGE_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			fputs(main_usage, stdout);
			return EXIT_SUCCESS;
		default: {
			char which[3] = { '-', (char)optopt, '\0' };

			return main_bad_usage(optopt == 'c' || optopt == 'm' ? "a name is missing after "
			                                                     : "unknown option ", which);
		}
		}
	}
	if (optind < argc)
		return main_bad_usage("what is meant by ", argv[optind]);
	if (options->test && options->print)
		return main_bad_usage("either -t or -T, ", "not both");
	return -1;
}

int
main(int argc, char **argv)
{
	struct options options = {
		.config = SYSCONFDIR "/steelyard/steelyard.conf",
		.module_dir = MODULEDIR,
		.argv = argv,
	};
	const struct role *role;
	int status;

	spawn_guard_standard_fds();
	role = main_role(argc > 0 ? argv[0] : NULL);
	if (role) {
		main_name(argv[0]);
		return role->main(argc, argv);
	}
	if (argc > 1 && strcmp(argv[1], "--manual") == 0) {
		argv[1] = argv[0];
		status = main_options(argc - 1, argv + 1, &options);
		return status >= 0 ? status : manual_main(&options);
	}
	if (argc > 1 && strcmp(argv[1], "--explain") == 0) {
		argv[1] = argv[0];
		status = main_options(argc - 1, argv + 1, &options);
		return status >= 0 ? status : loader_explain(&options);
	}
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		printf("steelyardd %s\n", PACKAGE_VERSION);
		return EXIT_SUCCESS;
	}
	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		fputs(main_usage, stdout);
		return EXIT_SUCCESS;
	}
	status = main_options(argc, argv, &options);
	if (status >= 0)
		return status;
	if (options.test || options.print)
		return loader_test(&options);
	return master_main(&options);
}
