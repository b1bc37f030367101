/* Every role is a function; main.c chooses by argv[0]. */
#ifndef ROLE_ROLES_H
#define ROLE_ROLES_H

struct options {
	const char *config;       /* -c */
	const char *module_dir;   /* -m, default $libdir/steelyard */
	int test;                 /* -t */
	int print;                /* -T */
	int quiet;
	char **argv;              /* as given, for an upgrade in place */
};

int master_main(const struct options *options);
int loader_main(int argc, char **argv);   /* as a child of the master; argv: title, config, module dir */
int loader_test(const struct options *options); /* -t and -T: the same work in the foreground */
int loader_explain(const struct options *options); /* --explain: explain.h, from descriptor 3 */
int manual_main(const struct options *options); /* --manual: the reference of all directives */
int upgrade_main(int argc, char **argv); /* looks at what it would take over; see upgrade.h */
int worker_main(int argc, char **argv);
int checker_main(int argc, char **argv);
int console_main(int argc, char **argv);
int routing_main(int argc, char **argv);

#endif
