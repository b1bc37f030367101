/* Reads configuration files into a tree: `name args;` or `name args { ... }`, # comments, quoted
 * strings with \" \\ \n \t, `set $name value;` and $name or ${name} in arguments, `include GLOB;`
 * (sorted; a pattern without a match is no error, a plain name without a file is), templates
 * (`template NAME { parameter ...; body }` and `deploy NAME { ... }`). All errors are collected. */
#ifndef CONF_PARSE_H
#define CONF_PARSE_H

#include "conf/tree.h"

/* The root node (its children are the statements), never NULL; look at complaints->errors. Relative
 * includes are relative to the including file's folder. */
struct node *parse_file(struct arena *arena, const char *path, struct complaints *complaints);
/* The same from memory, for tests and fuzzing; `name` stands for the file. No includes. */
struct node *parse_bytes(struct arena *arena, const char *name, struct sy_span bytes,
			 struct complaints *complaints);

#endif
