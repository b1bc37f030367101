/* Rules: which one a request matches, and the texts with variables that they lead to. */
#ifndef PROTOCOL_HTTP_RULES_H
#define PROTOCOL_HTTP_RULES_H

#include "api/protocol.h"
#include "message.h"
#include "out.h"
#include "settings.h"

/* Compiles what the elements of the blocks hold. -1 with err, after which they can be freed, too. */
int rules_make(struct sy_blocks *rules, struct sy_err *err);
void rules_free(struct sy_blocks *rules);
int changes_make(const char *what, struct sy_blocks *changes, bool captures, struct sy_err *err);
void changes_free(struct sy_blocks *changes);
/* Are all variables of the text known? captures: it may hold \1 and so on. */
int rules_check_text(const char *what, const char *text, bool captures, struct sy_err *err);

/* What a text with variables is made from. */
struct scene {
	const struct sy_session *session;
	const struct message *request;  /* NULL: only what the facts tell */
	struct sy_span path;            /* decoded, without query; at NULL when there are no rules */
	struct captures captures;
	bool unclear;                   /* what the path names, see rules_path() */
};

/* The path without its query, decoded and with . and .. resolved, so that what names the same file is
 * the same text; room: as many bytes as the path has, and one. *unclear: .. and an encoded slash are in it;
 * servers understand that differently, so nobody can say what it names. */
struct sy_span rules_path(struct sy_span path, char *room, bool *unclear);
/* The first rule that matches; NULL when none does. *gave_up: a pattern took too long, and nobody knows. */
const struct rule *rules_find(const struct sy_blocks *rules, struct scene *scene, bool *gave_up);
/* Appends the text with its variables filled in. */
void rules_expand(struct out *out, const char *text, const struct scene *scene);
/* Marks the fields that are changed as gone, and appends what takes their place. */
void changes_apply(const struct sy_blocks *changes, struct message *message, struct out *out,
                   const struct scene *scene);
/* The path and query for the server. False: what came out of it is no path. */
bool rules_rewrite(const struct sy_blocks *rewrites, struct sy_span path, struct out *out,
                   const struct scene *scene);

#endif
